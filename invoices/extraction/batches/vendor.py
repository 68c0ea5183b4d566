"""What is spoken with invoicedataextraction.com about batches; the client in ``invoices.clients`` does."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from invoices.clients.invoicedataextraction_com import (
    Balance,
    Extraction,
    ExtractionSummary,
    FileToUpload,
    NotEnoughCredits,
    Results,
    Submission,
    TaskError,
    TaskRefused,
    UploadSession,
)


class Client(Protocol):
    """The calls, in the order in which a batch needs them."""

    def open_session(self, session_id: str, files: Sequence[FileToUpload]) -> UploadSession:
        """Open a session, or find it open."""
        ...

    def part_urls(self, session_id: str, file_id: str, part_numbers: Sequence[int]) -> dict[int, str]:
        """Return presigned addresses."""
        ...

    def put_part(self, url: str, content: bytes) -> str:
        """Store a part and return its ETag."""
        ...

    def complete(self, session_id: str, file_id: str, e_tags: Mapping[int, str]) -> None:
        """Say that a file is complete."""
        ...

    def balance(self) -> Balance:
        """Return the account's credits."""
        ...

    def submit(self, submission: Submission) -> str:
        """Submit uploaded files and return the extraction's id."""
        ...

    def extraction(self, extraction_id: str, wait: int | None = None) -> Extraction:
        """Return where an extraction stands."""
        ...

    def results(self, extraction_id: str) -> Results:
        """Return its rows."""
        ...

    def output_rows(self, extraction_id: str) -> list[dict[str, Any]]:
        """Return its rows from the output file."""
        ...

    def extractions(self, *, created_after: dt.datetime | None = None) -> Iterable[ExtractionSummary]:
        """List extractions."""
        ...


@contextmanager
def lacking_credits_as_task() -> Iterator[None]:
    """Tell a lack of credits in the way of a failed task: what the vendor has already is still worth looking at."""
    try:
        yield
    except NotEnoughCredits as error:
        refused = TaskRefused(str(error))
        refused.error = TaskError("INSUFFICIENT_CREDITS", message=str(error))
        raise refused from None
