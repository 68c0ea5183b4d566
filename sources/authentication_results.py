"""What our own mail servers found out about a sender (RFC 8601), read without believing anybody else."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

UNKNOWN_RESULT = "unknown"

_KNOWN_METHODS = ("spf", "dkim", "dmarc")
_KNOWN_RESULTS = {"pass", "fail", "none", "neutral", "policy", "softfail", "hardfail", "temperror", "permerror"}
_MAX_FIELD_CHARS = 20_000  # characters
_MAX_RESULTS = 12  # results, of all methods together, in the order of the methods
_AUTHSERV_PATTERN = re.compile(r"([^\s;]{1,255})(?:\s+([0-9]+))?")
_RESULT_PATTERN = re.compile(r"([A-Za-z][\w-]*)\s*(?:/\s*([0-9]+)\s*)?=\s*([A-Za-z]+)(?=\s|$)")


def summarise_authentication_results(header_fields: Sequence[str], authserv_ids: Collection[str]) -> str:
    """Return such as ``spf=pass dkim=fail dmarc=none``, or ``unknown``.

    ``results`` are the Authentication-Results fields, topmost first. The topmost one counts alone, and only if it was
    written by one of ``authserv_ids``: whoever sends a mail can write such fields too, but not above ours (RFC 8601 §5,
    reliability S-35). Comments and quoted strings are taken away first, as anything may stand in them.
    """
    field = _remove_comments_and_quotes(header_fields[0]) if header_fields and authserv_ids else None
    if field is None:
        return UNKNOWN_RESULT
    server, *statements = (part.strip() for part in field.split(";"))
    if not _is_our_server(server, authserv_ids):
        return UNKNOWN_RESULT
    stated_results = [
        (match[1].lower(), match[3].lower())
        for statement in statements
        if (match := _RESULT_PATTERN.match(statement)) is not None
    ]
    known_results = [
        (method, result) for method, result in stated_results if method in _KNOWN_METHODS and result in _KNOWN_RESULTS
    ]
    ordered_results = sorted(dict.fromkeys(known_results), key=lambda pair: _KNOWN_METHODS.index(pair[0]))
    return " ".join(f"{method}={result}" for method, result in ordered_results[:_MAX_RESULTS]) or UNKNOWN_RESULT


def _is_our_server(server: str, authserv_ids: Collection[str]) -> bool:
    """Return whether the field begins with one of our names, and a version of the format that we know, which is 1."""
    match = _AUTHSERV_PATTERN.fullmatch(server)
    our_names = {name.lower() for name in authserv_ids}
    return match is not None and match[1].lower() in our_names and match[2] in (None, "1")


def _remove_comments_and_quotes(field: str) -> str | None:
    """Return a field without comments, and with ``"`` for each quoted string; None where one does not end.

    The server's own name may be quoted too (RFC 8601 §2.2): ours never is, so that one is nobody's.
    """
    kept_characters: list[str] = []
    comment_depth, is_quoted, is_escaped = 0, False, False
    for character in field[:_MAX_FIELD_CHARS]:
        if is_escaped:
            is_escaped = False
        elif character == "\\" and (comment_depth or is_quoted):
            is_escaped = True
        elif character == '"' and not comment_depth:
            is_quoted = not is_quoted
            kept_characters.append('"')
        elif is_quoted:
            pass
        elif character == "(":
            comment_depth += 1
            kept_characters.append(" ")
        elif character == ")" and comment_depth:
            comment_depth -= 1
        elif not comment_depth:
            kept_characters.append(character)
    return (
        None if comment_depth or is_quoted or is_escaped or len(field) > _MAX_FIELD_CHARS else "".join(kept_characters)
    )
