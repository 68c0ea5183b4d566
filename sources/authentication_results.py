"""Summarises what the recipient's own mail servers found about a sender (RFC 8601); no other server is trusted."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

UNKNOWN_RESULT = "unknown"

_KNOWN_METHODS = ("spf", "dkim", "dmarc")
_KNOWN_RESULTS = {"pass", "fail", "none", "neutral", "policy", "softfail", "hardfail", "temperror", "permerror"}
_MAX_FIELD_CHARS = 20_000
_MAX_RESULTS = 12  # of all methods together, in the order of the methods
_AUTHSERV_PATTERN = re.compile(r"([^\s;]{1,255})(?:\s+([0-9]+))?")
_RESULT_PATTERN = re.compile(r"([A-Za-z][\w-]*)\s*(?:/\s*([0-9]+)\s*)?=\s*([A-Za-z]+)(?=\s|$)")


def summarise_authentication_results(header_fields: Sequence[str], authserv_ids: Collection[str]) -> str:
    """Return the results as text, for example ``spf=pass dkim=fail dmarc=none``, or ``unknown``.

    ``header_fields`` are the Authentication-Results fields, topmost first. Only the topmost one counts, and only if
    one of ``authserv_ids`` wrote it in version 1 of the format: a sender can add such fields too, but not above those
    of our server (RFC 8601 §5, reliability S-35). Comments and quoted strings are removed first, because they can
    contain anything.
    """
    field = _remove_comments_and_quotes(header_fields[0]) if header_fields and authserv_ids else None
    if field is None:
        return UNKNOWN_RESULT
    server, *statements = (part.strip() for part in field.split(";"))
    match = _AUTHSERV_PATTERN.fullmatch(server)
    our_names = {name.lower() for name in authserv_ids}
    if match is None or match[1].lower() not in our_names or match[2] not in (None, "1"):
        return UNKNOWN_RESULT
    stated_results = [
        (result_match[1].lower(), result_match[3].lower())
        for statement in statements
        if (result_match := _RESULT_PATTERN.match(statement)) is not None
    ]
    known_results = [
        (method, result) for method, result in stated_results if method in _KNOWN_METHODS and result in _KNOWN_RESULTS
    ]
    ordered_results = sorted(dict.fromkeys(known_results), key=lambda pair: _KNOWN_METHODS.index(pair[0]))
    return " ".join(f"{method}={result}" for method, result in ordered_results[:_MAX_RESULTS]) or UNKNOWN_RESULT


def _remove_comments_and_quotes(field: str) -> str | None:
    """Return a field without comments, with ``"`` for each quoted string; None if one does not end.

    The name of a server may be quoted (RFC 8601 §2.2). Ours never is, so a quoted name is not ours.
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
    if comment_depth or is_quoted or is_escaped or len(field) > _MAX_FIELD_CHARS:
        return None
    return "".join(kept_characters)
