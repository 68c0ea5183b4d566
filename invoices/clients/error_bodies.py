"""Parsing error bodies: a code, a message and a request id, short and without secrets or markup.

One vendor alone uses five shapes (contract sheet 05 §8). Others answer with a string, with nothing, or with an HTML
page that echoes the ``Authorization`` header.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from invoices.clients.strict_json import InvalidJsonError, parse_json

MAX_TEXT_CHARS = 200
_REDACTED = "[hidden]"
_SECRET_PATTERN = re.compile(
    r"(?i)\b(?:bearer|basic)\s+[^\s\"'<>,;]+|\b(?:sk|pk|rk|bf)_(?:live|test)_\w+|\beyJ[\w-]+\.[\w-]+\.[\w-]*"
    r"|\b(?:authorization|x-api-key|x-api-secret|api[_-]?key|token|password|cookie)\b\s*+(?:[\"']\s*+)?[:=]\s*+[\"']?"
    r"(?:(?:bearer|basic)\s+)?[^\s\"'<>,;&]+"
)
_CODE_PATTERN = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9_.:/+=-]{1,100}")


@dataclass(frozen=True, slots=True)
class ErrorDetail:
    """The vendor's description of an error; ``retry_after`` is the value in the body, unparsed."""

    code: str | None = None
    message: str | None = None
    request_id: str | None = None
    retry_after: object = None


def parse_error_body(body: bytes, secrets: Iterable[str] = ()) -> ErrorDetail:
    """Return the details in an error body of any known shape; an empty, HTML or broken body has none."""
    try:
        value = parse_json(body)
    except InvalidJsonError:
        return ErrorDetail()
    if isinstance(value, str):
        return _build_error_detail({"message": value}, {}, tuple(secrets))
    if not isinstance(value, dict):
        return ErrorDetail()
    error_object = value.get("error")
    if isinstance(error_object, dict):
        return _build_error_detail(error_object, value, tuple(secrets))
    if isinstance(error_object, str):
        return _build_error_detail({"code": error_object, **value}, value, tuple(secrets))
    errors = value.get("errors")
    first_error = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    return _build_error_detail(
        {**first_error, **{key: item for key, item in value.items() if item is not None}}, value, tuple(secrets)
    )


def redact_secrets(text: object, secrets: Iterable[str] = (), max_chars: int = MAX_TEXT_CHARS) -> str | None:
    """Return printable text of at most ``max_chars`` characters without any secret, or None if there is no text."""
    if not isinstance(text, str) or not text.strip():
        return None
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        for spelling in (secret, quote(secret, safe="")):
            text = text.replace(spelling, _REDACTED)
    text = " ".join(_SECRET_PATTERN.sub(_REDACTED, text).split())
    text = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"


def find_plausible_request_id(*candidates: object) -> str | None:
    """Return the first candidate that looks like a request id, or None."""
    for candidate in candidates:
        if isinstance(candidate, str) and _REQUEST_ID_PATTERN.fullmatch(candidate):
            return candidate
    return None


def _build_error_detail(fields: Mapping[str, Any], outer: Mapping[str, Any], secrets: tuple[str, ...]) -> ErrorDetail:
    details = fields.get("details")
    objects: list[Mapping[str, Any]] = [fields, outer, *([details] if isinstance(details, dict) else [])]
    code = fields.get("code")
    code_text = redact_secrets(str(code) if isinstance(code, int) else code, secrets)
    return ErrorDetail(
        code=code_text if code_text is not None and _CODE_PATTERN.fullmatch(code_text) else None,
        message=redact_secrets(_find_first_value([fields], "message", "detail", "title"), secrets),
        request_id=find_plausible_request_id(_find_first_value(objects, "requestId", "request_id", "traceId")),
        retry_after=_find_first_value(objects, "retry_after_seconds", "retry_after", "retryAfter"),
    )


def _find_first_value(objects: Iterable[Mapping[str, Any]], *names: str) -> Any:
    return next(
        (json_object[name] for json_object in objects for name in names if json_object.get(name) is not None), None
    )
