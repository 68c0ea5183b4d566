"""One unwrapping process as its parent sees it: bytes in, what was in them out, the parts on their way to the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass as checked

from invoices.documents.child import Limits
from invoices.documents.landing import Landing
from invoices.documents.limited_process import Answer, LimitedProcess, Stopped
from invoices.documents.outcomes import REASONS
from invoices.documents.unwrapping.parts import LEFT_OUT, Unwrapped

_LONGEST_TYPE = 120  # characters, as the ledger keeps it
_MOST_BYTES = 512 * 1024 * 1024  # of all parts together; what is opened keeps far below it


class UnwrapperProcess:
    """A child that opens one container at a time; not for several threads at once."""

    def __init__(self, limits: Limits, module: str = "invoices.documents.unwrapping.child") -> None:
        self._child = LimitedProcess(limits, module)

    def unwrap(self, content: bytes, landing: Landing, file_name: str | None, unpack_archives: bool) -> Unwrapped:
        """Return what was in the container, its parts in the landing; or why its process was stopped, and no part.

        Raises OSError where the landing cannot write, TransientError if no child starts.
        """
        asked = {"length": len(content), "file_name": file_name, "unpack_archives": unpack_archives}
        question = json.dumps(asked).encode() + b"\n" + content
        unwrapped = self._child.ask(question, lambda answer: _landed(answer, landing))
        if isinstance(unwrapped, Stopped):
            reason = unwrapped.reason or REASONS[unwrapped.reason_code][1]
            return Unwrapped(reason_code=unwrapped.reason_code, reason=reason)
        return unwrapped

    def close(self) -> None:
        """End the child: politely, then not."""
        self._child.close()


@checked(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class _Told:
    """The first line of an answer."""

    found: Unwrapped
    lengths: Sequence[Annotated[int, Field(ge=0, le=_MOST_BYTES)]]
    last: bool


_TOLD = TypeAdapter(_Told)


@dataclass(slots=True)
class _Part:
    """The bytes of one part, as a landing reads them."""

    answer: Answer
    left: int

    def read(self, size: int, /) -> bytes:
        content = self.answer.exactly(min(size, self.left))
        self.left -= len(content)
        return content


def _landed(answer: Answer, landing: Landing) -> tuple[Unwrapped, bool]:
    """Return what the child found, its parts written. Raises ValueError over an answer that makes no sense."""
    told = _TOLD.validate_json(answer.line())
    found = told.found
    if len(found.parts) != len(told.lengths) or sum(told.lengths) > _MOST_BYTES or found.hashes or found.byte_counts:
        raise ValueError("the lengths do not fit the parts")
    if any(part.left_out not in {None, *LEFT_OUT} for part in found.parts):
        raise ValueError("a part is left out for no known reason")
    if found.reason_code not in {None, *REASONS} or any(len(part.media_type) > _LONGEST_TYPE for part in found.parts):
        raise ValueError("no such reason or type is known")
    hashes = tuple(landing.put_file(_Part(answer, length))[0] for length in told.lengths)
    return replace(found, hashes=hashes, byte_counts=tuple(told.lengths)), told.last
