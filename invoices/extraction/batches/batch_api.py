"""The API of invoicedataextraction.com that batches need; the client in ``invoices.clients`` implements it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from invoices.clients.invoicedataextraction_com import (
    CreditBalance,
    Extraction,
    ExtractionDetails,
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
    """The calls, in the order in which a batch makes them."""

    def open_session(self, session_id: str, files: Sequence[FileToUpload]) -> UploadSession:
        """Open a session, or return the open one."""
        ...

    def request_part_urls(self, session_id: str, file_id: str, part_numbers: Sequence[int]) -> dict[int, str]:
        """Return presigned URLs by part number."""
        ...

    def upload_part(self, url: str, content: bytes) -> str:
        """Store a part and return its ETag."""
        ...

    def finish_file_upload(self, session_id: str, file_id: str, e_tags: Mapping[int, str]) -> None:
        """Complete the upload of a file."""
        ...

    def fetch_balance(self) -> CreditBalance:
        """Return the account's credits."""
        ...

    def submit_extraction(self, submission: Submission) -> str:
        """Submit uploaded files and return the extraction's id."""
        ...

    def poll_extraction(self, extraction_id: str, hold_seconds: int | None = None) -> Extraction:
        """Return the state of an extraction; the vendor may hold the response for ``hold_seconds``."""
        ...

    def fetch_results(self, extraction_id: str) -> ExtractionResults:
        """Return the rows of an extraction."""
        ...

    def fetch_output_rows(self, extraction_id: str) -> list[dict[str, Any]]:
        """Return the rows of an extraction from its output file."""
        ...

    def fetch_extraction_details(self, extraction_id: str) -> ExtractionDetails:
        """Return how an extraction was submitted, with the names of its files."""
        ...

    def list_extractions(self, *, created_after: dt.datetime | None = None) -> Iterable[ExtractionSummary]:
        """Return the account's extractions."""
        ...


@contextmanager
def convert_credit_error_to_task_refusal() -> Iterator[None]:
    """Turn NotEnoughCredits into a refused task, so that batches already at the vendor are still polled."""
    try:
        yield
    except NotEnoughCredits as error:
        refusal = TaskRefused(str(error))
        refusal.error = TaskError("INSUFFICIENT_CREDITS", message=str(error))
        raise refusal from None
