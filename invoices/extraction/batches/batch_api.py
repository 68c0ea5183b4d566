"""What is spoken with invoicedataextraction.com about batches; the client in ``invoices.clients`` does."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from invoices.clients.invoicedataextraction_com import (
    CreditBalance,
    Extraction,
    ExtractionResults,
    ExtractionSummary,
    FileToUpload,
    NotEnoughCredits,
    Submission,
    TaskError,
    TaskRefused,
    UploadSession,
)


class BatchApi(Protocol):
    """The calls, in the order in which a batch needs them."""

    def open_session(self, session_id: str, files: Sequence[FileToUpload]) -> UploadSession:
        """Open a session, or find it open."""
        ...

    def request_part_urls(self, session_id: str, file_id: str, part_numbers: Sequence[int]) -> dict[int, str]:
        """Return presigned addresses."""
        ...

    def upload_part(self, url: str, content: bytes) -> str:
        """Store a part and return its ETag."""
        ...

    def finish_file_upload(self, session_id: str, file_id: str, e_tags: Mapping[int, str]) -> None:
        """Say that a file is complete."""
        ...

    def fetch_balance(self) -> CreditBalance:
        """Return the account's credits."""
        ...

    def submit_extraction(self, submission: Submission) -> str:
        """Submit uploaded files and return the extraction's id."""
        ...

    def poll_extraction(self, extraction_id: str, hold_seconds: int | None = None) -> Extraction:
        """Return where an extraction stands."""
        ...

    def fetch_results(self, extraction_id: str) -> ExtractionResults:
        """Return its rows."""
        ...

    def fetch_output_rows(self, extraction_id: str) -> list[dict[str, Any]]:
        """Return its rows from the output file."""
        ...

    def list_extractions(self, *, created_after: dt.datetime | None = None) -> Iterable[ExtractionSummary]:
        """List extractions."""
        ...


@contextmanager
def convert_credit_error_to_task_refusal() -> Iterator[None]:
    """Tell a lack of credits in the way of a failed task: what the vendor has already is still worth looking at."""
    try:
        yield
    except NotEnoughCredits as error:
        refusal = TaskRefused(str(error))
        refusal.error = TaskError("INSUFFICIENT_CREDITS", message=str(error))
        raise refusal from None
