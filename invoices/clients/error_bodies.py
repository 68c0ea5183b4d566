"""What can be told from an error's body: a code, a sentence, a request id; never a secret, never markup, never much.

Five shapes are known from one vendor alone (contract sheet 05 §8); others answer with a string, nothing, or an HTML
page that echoes the ``Authorization`` header.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from invoices.clients.json_text import NotStrictJson, parse

LONGEST_TEXT = 200
_HIDDEN = "[hidden]"
_SECRETS = re.compile(
    r"(?i)\b(?:bearer|basic)\s+[^\s\"'<>,;]+|\b(?:sk|pk|rk|bf)_(?:live|test)_\w+|\beyJ[\w-]+\.[\w-]+\.[\w-]*"
    r"|\b(?:authorization|x-api-key|x-api-secret|api[_-]?key|token|password|cookie)\b\s*[\"']?\s*[:=]\s*[\"']?"
    r"(?:(?:bearer|basic)\s+)?[^\s\"'<>,;&]+"
)
_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:/+=-]{1,100}")


@dataclass(frozen=True, slots=True)
class ErrorDetail:
    """What a vendor says about an error; ``wait`` is the body's own retry_after, as it came."""

    code: str | None = None
    message: str | None = None
    request_id: str | None = None
    wait: object = None


def read_error(body: bytes, secrets: Iterable[str] = ()) -> ErrorDetail:
    """Return what an error body tells, in any known shape; an empty, HTML or broken body tells nothing."""
    try:
        value = parse(body)
    except NotStrictJson:
        return ErrorDetail()
    if isinstance(value, str):
        return _detail({"message": value}, {}, tuple(secrets))
    if not isinstance(value, dict):
        return ErrorDetail()
    inner = value.get("error")
    if isinstance(inner, dict):
        return _detail(inner, value, tuple(secrets))
    if isinstance(inner, str):
        return _detail({"code": inner, **value}, value, tuple(secrets))
    errors = value.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    return _detail({**first, **{key: item for key, item in value.items() if item is not None}}, value, tuple(secrets))


def safe_text(text: object, secrets: Iterable[str] = (), longest: int = LONGEST_TEXT) -> str | None:
    """Return printable text of at most ``longest`` characters in which no secret is left, or None for no text."""
    if not isinstance(text, str) or not text.strip():
        return None
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        for form in (secret, quote(secret, safe="")):
            text = text.replace(form, _HIDDEN)
    text = " ".join(_SECRETS.sub(_HIDDEN, text).split())
    text = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def safe_request_id(*candidates: object) -> str | None:
    """Return the first candidate that looks like a request id, or None."""
    for candidate in candidates:
        if isinstance(candidate, str) and _REQUEST_ID.fullmatch(candidate):
            return candidate
    return None


def _detail(fields: Mapping[str, Any], outer: Mapping[str, Any], secrets: tuple[str, ...]) -> ErrorDetail:
    details = fields.get("details")
    places: list[Mapping[str, Any]] = [fields, outer, *([details] if isinstance(details, dict) else [])]
    return ErrorDetail(
        code=_code(_first(places[:1], "code"), secrets),
        message=safe_text(_first(places[:1], "message", "detail", "title"), secrets),
        request_id=safe_request_id(_first(places, "requestId", "request_id", "traceId")),
        wait=_first(places, "retry_after_seconds", "retry_after", "retryAfter"),
    )


def _first(places: Iterable[Mapping[str, Any]], *names: str) -> Any:
    return next((place[name] for place in places for name in names if place.get(name) is not None), None)


def _code(value: object, secrets: tuple[str, ...]) -> str | None:
    text = safe_text(str(value) if isinstance(value, int) else value, secrets)
    return text if text is not None and _CODE.fullmatch(text) else None
