"""What our own mail servers found out about a sender (RFC 8601), read without believing anybody else."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

UNKNOWN = "unknown"

_METHODS = ("spf", "dkim", "dmarc")
_RESULTS = {"pass", "fail", "none", "neutral", "policy", "softfail", "hardfail", "temperror", "permerror"}
_LONGEST = 20_000  # characters
_MOST = 12  # results, of all methods together, in the order of the methods
_SERVER = re.compile(r"([^\s;]{1,255})(?:\s+([0-9]+))?")
_STATEMENT = re.compile(r"([A-Za-z][\w-]*)\s*(?:/\s*([0-9]+)\s*)?=\s*([A-Za-z]+)(?=\s|$)")


def authentication(results: Sequence[str], authserv_ids: Collection[str]) -> str:
    """Return such as ``spf=pass dkim=fail dmarc=none``, or ``unknown``.

    ``results`` are the Authentication-Results fields, topmost first. The topmost one counts alone, and only if it was
    written by one of ``authserv_ids``: whoever sends a mail can write such fields too, but not above ours (RFC 8601 §5,
    reliability S-35). Comments and quoted strings are taken away first, as anything may stand in them.
    """
    bare = _bare(results[0]) if results and authserv_ids else None
    if bare is None:
        return UNKNOWN
    server, *statements = (part.strip() for part in bare.split(";"))
    if not _is_ours(server, authserv_ids):
        return UNKNOWN
    found = [(said[1].lower(), said[3].lower()) for text in statements if (said := _STATEMENT.match(text)) is not None]
    known = [(method, result) for method, result in found if method in _METHODS and result in _RESULTS]
    ordered = sorted(dict.fromkeys(known), key=lambda pair: _METHODS.index(pair[0]))
    return " ".join(f"{method}={result}" for method, result in ordered[:_MOST]) or UNKNOWN


def _is_ours(server: str, authserv_ids: Collection[str]) -> bool:
    """Return whether the field begins with one of our names, and a version of the format that we know, which is 1."""
    told = _SERVER.fullmatch(server)
    ours = {name.lower() for name in authserv_ids}
    return told is not None and told[1].lower() in ours and told[2] in (None, "1")


def _bare(field: str) -> str | None:
    """Return a field without comments, and with ``"`` for each quoted string; None where one does not end.

    The server's own name may be quoted too (RFC 8601 §2.2): ours never is, so that one is nobody's.
    """
    kept: list[str] = []
    depth, is_quoted, is_escaped = 0, False, False
    for sign in field[:_LONGEST]:
        if is_escaped:
            is_escaped = False
        elif sign == "\\" and (depth or is_quoted):
            is_escaped = True
        elif sign == '"' and not depth:
            is_quoted = not is_quoted
            kept.append('"')
        elif is_quoted:
            pass
        elif sign == "(":
            depth += 1
            kept.append(" ")
        elif sign == ")" and depth:
            depth -= 1
        elif not depth:
            kept.append(sign)
    return None if depth or is_quoted or is_escaped or len(field) > _LONGEST else "".join(kept)
