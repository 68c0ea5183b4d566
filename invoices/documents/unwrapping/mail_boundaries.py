"""The boundaries of a mail under names that are the same in every mail: the parser compiles a pattern for each new one.

A name replaces the beginning of every line after its two hyphens, and the beginning of what an entity states as its
boundary. So a line is a boundary under its name exactly if it is one as it stands: no boundary that gets a name ends
in a hyphen or a blank, which may follow one, and the names are a secret of this process, so that none is in a mail.
They begin with a sign that no boundary has, so that none is taken for the beginning of a boundary in its turn.
"""

from __future__ import annotations

import re
import secrets

_NAMED = 8  # boundaries; a mail rarely has more than three
_SECRET = f"\x01{secrets.token_hex(8)}"
_NAMES = [f"{_SECRET}{number}" for number in range(_NAMED)]
_STATED = re.compile(rb"""\bboundary=(?:"([!-~ ]{1,200})"|([!-~]{1,200}))""", re.IGNORECASE)
_RENAMED = re.compile(rf"{_SECRET}([0-{_NAMED - 1}])".encode())


class Boundaries:
    """The boundaries that a mail seems to state, the longest first, each with its name."""

    def __init__(self, content: bytes) -> None:
        found = {quoted or bare.partition(b";")[0] for quoted, bare in _STATED.findall(content)}
        stated = sorted((one for one in found if one and one[-1] not in b'- "\\'), key=lambda one: (-len(one), one))
        self._stated = stated[:_NAMED]

    def renamed(self, content: bytes) -> bytes:
        """Return the text with the names in its lines."""
        for boundary, name in zip(self._stated, _NAMES, strict=False):
            for start in (b"\n--", b"\r--"):
                content = content.replace(start + boundary, start + name.encode())
            if content.startswith(b"--" + boundary):
                content = b"--" + name.encode() + content[2 + len(boundary) :]
        return content

    def name_of(self, boundary: str) -> str:
        """Return what stands in the lines of the renamed text for a boundary."""
        for stated, name in zip(self._stated, _NAMES, strict=False):
            if boundary.startswith(stated.decode("ascii")):
                return name + boundary[len(stated) :]
        return boundary

    def restored(self, payload: bytes) -> bytes:
        """Return a payload of the renamed text as it was."""
        return _RENAMED.sub(lambda name: self._stated[int(name[1])], payload)
