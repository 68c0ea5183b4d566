"""Aliases for the boundaries of mails, the same in every mail: the parser compiles a pattern for each new boundary.

An alias replaces the start of every line after its two hyphens, and the start of the boundary that an entity states. So
a line is a boundary with the alias exactly if it is one without: no boundary with an alias ends in a hyphen or a blank,
which may follow a boundary, and the aliases are secrets of this process, so no mail contains one. They begin with a
character that no boundary has, so no alias is taken for the start of another boundary.
"""

from __future__ import annotations

import re
import secrets

_MAX_ALIASES = 8  # a mail rarely has more than three boundaries
_ALIAS_PREFIX = f"\x01{secrets.token_hex(8)}"
_ALIASES = [f"{_ALIAS_PREFIX}{number}" for number in range(_MAX_ALIASES)]
_BOUNDARY_PARAMETER_PATTERN = re.compile(rb"""\bboundary=(?:"([!-~ ]{1,200})"|([!-~]{1,200}))""", re.IGNORECASE)
_ALIAS_PATTERN = re.compile(rf"{_ALIAS_PREFIX}([0-{_MAX_ALIASES - 1}])".encode())


class BoundaryAliases:
    """The boundaries that a mail seems to state, the longest first, each with an alias."""

    def __init__(self, content: bytes) -> None:
        found_boundaries = {
            quoted or unquoted.partition(b";")[0] for quoted, unquoted in _BOUNDARY_PARAMETER_PATTERN.findall(content)
        }
        aliasable_boundaries = sorted(
            (boundary for boundary in found_boundaries if boundary and boundary[-1] not in b'- "\\'),
            key=lambda boundary: (-len(boundary), boundary),
        )
        self._boundaries = aliasable_boundaries[:_MAX_ALIASES]

    def replace_boundaries(self, content: bytes) -> bytes:
        """Return the text with aliases in its boundary lines."""
        for boundary, alias in zip(self._boundaries, _ALIASES, strict=False):
            for line_start in (b"\n--", b"\r--"):
                content = content.replace(line_start + boundary, line_start + alias.encode())
            if content.startswith(b"--" + boundary):
                content = b"--" + alias.encode() + content[2 + len(boundary) :]
        return content

    def get_alias(self, boundary: str) -> str:
        """Return the boundary as it is in the lines of the text with aliases."""
        for known_boundary, alias in zip(self._boundaries, _ALIASES, strict=False):
            if boundary.startswith(known_boundary.decode("ascii")):
                return alias + boundary[len(known_boundary) :]
        return boundary

    def restore_boundaries(self, payload: bytes) -> bytes:
        """Return a payload of the text with aliases as it was before."""
        return _ALIAS_PATTERN.sub(lambda match: self._boundaries[int(match[1])], payload)
