"""One reader process as its parent sees it: a path in, a reading out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from invoices.documents.child import Limits
from invoices.documents.limited_process import Answer, LimitedProcess, Stopped
from invoices.documents.outcomes import Reading, because
from invoices.documents.sniffing import HEAD, UNKNOWN, media_type


class ReaderProcess:
    """A child that reads one document at a time; not for several threads at once."""

    def __init__(self, limits: Limits, module: str = "invoices.documents.child") -> None:
        self._child = LimitedProcess(limits, module)

    def read(self, path: Path) -> Reading:
        """Return what the document is, or why its reader was stopped. Raises TransientError if no child starts."""
        reading = self._child.ask(json.dumps({"path": str(path.absolute())}).encode() + b"\n", _reading)
        if isinstance(reading, Stopped):
            return because(reading.reason_code, _type_of(path), reading.reason)
        return replace(reading, media_type=_type_of(path)) if reading.media_type == UNKNOWN else reading

    def close(self) -> None:
        """End the child: politely, then not."""
        self._child.close()


def _reading(answer: Answer) -> tuple[Reading, bool]:
    told = json.loads(answer.line())
    return Reading(**told["reading"]), bool(told["last"])


def _type_of(path: Path) -> str:
    """Return the media type of a document whose reader could not say it any more."""
    try:
        with path.open("rb") as file:
            return media_type(file.read(HEAD))
    except OSError:
        return UNKNOWN
