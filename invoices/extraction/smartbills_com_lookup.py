"""Finds out whether a submission to smartbills.com arrived: by the vendor's job list and the bytes of its files."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Protocol

from invoices.clients.smartbills_com import JobSummary
from invoices.errors import ContractError, UnreadableResponse
from invoices.extraction.resilience.retry import RetryingCaller
from invoices.ledger import Ledger
from invoices.ledger.extractions import ExtractionJob, filter_known_remote_ids
from invoices.model import compute_document_sha256

PDF_SIGNATURE, PNG_SIGNATURE, JPEG_SIGNATURE = b"%PDF-", b"\x89PNG", b"\xff\xd8\xff"
PDF_HEADER_BYTES = 1024  # readers accept other bytes before the signature
MAX_CLOCK_DIFFERENCE = dt.timedelta(minutes=10)  # how far the vendor's clock may be behind ours


class SmartBillsLookupApi(Protocol):
    """The calls that the lookup needs."""

    def list_jobs(self) -> list[JobSummary]:
        """Return the account's jobs."""
        ...

    def fetch_job_file(self, file_url: str) -> bytes:
        """Return the bytes that a job was submitted with."""
        ...


def find_submitted_job_id(
    caller: RetryingCaller, client: SmartBillsLookupApi, ledger: Ledger, job: ExtractionJob
) -> str | None:
    """Return the vendor's id of the job that holds exactly this document's bytes, or None if its list has none.

    Raises:
        ContractError: the list cannot be used, or the file of a possible match cannot be read.
    """
    unreadable_error: ContractError | None = None
    for summary in _select_candidate_jobs(caller.send_with_retries(client.list_jobs), ledger, job):
        try:
            content = caller.send_with_retries(partial(_fetch_document, client, summary, job.document_sha256))
        except ContractError as error:
            unreadable_error = error
            continue
        if compute_document_sha256(content) == job.document_sha256:
            return summary.id
    if unreadable_error is not None:
        raise unreadable_error
    return None


class UnrecordedJobIndex:
    """The account's jobs that the ledger does not have, by the bytes that they were submitted with; read once.

    For a ledger that was restored: the submission may have been made after the backup.
    """

    def __init__(self, caller: RetryingCaller, client: SmartBillsLookupApi, ledger: Ledger, extractor: str) -> None:
        """Keep the dependencies; no call is made yet."""
        self._caller, self._client, self._ledger, self._extractor = caller, client, ledger, extractor
        self._lock = threading.Lock()
        self._job_ids_by_hash: dict[str, str] | None = None
        self._error: ContractError | None = None

    def find_job_id(self, document_sha256: str) -> str | None:
        """Return the vendor's id of the job that was submitted with exactly this document, or None.

        Raises:
            ContractError: the list cannot be used, or the file of a job that may be this one cannot be read.
        """
        with self._lock:
            if self._job_ids_by_hash is None:
                self._job_ids_by_hash = self._read_job_ids_by_hash()
            job_id = self._job_ids_by_hash.get(document_sha256)
            if job_id is None and self._error is not None:
                raise self._error
            return job_id

    def _read_job_ids_by_hash(self) -> dict[str, str]:
        job_ids: dict[str, str] = {}
        try:
            summaries = self._caller.send_with_retries(self._client.list_jobs)
        except ContractError as error:
            self._error = error
            return job_ids
        with self._ledger.open_snapshot() as connection:
            known_ids = filter_known_remote_ids(connection, self._extractor, (summary.id for summary in summaries))
        for summary in summaries:
            if summary.id in known_ids or not summary.file_url:
                continue
            try:
                content = self._caller.send_with_retries(partial(self._client.fetch_job_file, summary.file_url))
                job_ids[compute_document_sha256(content)] = summary.id
            except ContractError as error:
                self._error = error
        return job_ids


def _fetch_document(client: SmartBillsLookupApi, summary: JobSummary, document_sha256: str) -> bytes:
    """Return the file of a job; raises UnreadableResponse for something that nobody can have submitted, like a page.

    Such a response is no proof that the job is about another document.
    """
    content = client.fetch_job_file(summary.file_url or "")
    is_document = content.startswith((PNG_SIGNATURE, JPEG_SIGNATURE)) or PDF_SIGNATURE in content[:PDF_HEADER_BYTES]
    if not is_document and compute_document_sha256(content) != document_sha256:
        raise UnreadableResponse(f"the file of the job {summary.id!r} is no PDF, PNG or JPEG")
    return content


def _select_candidate_jobs(summaries: Sequence[JobSummary], ledger: Ledger, job: ExtractionJob) -> Iterator[JobSummary]:
    """Yield the jobs that are not in the ledger, link to their file, and are not older than the submission."""
    with ledger.open_snapshot() as connection:
        known_ids = filter_known_remote_ids(connection, job.extracted_by, (summary.id for summary in summaries))
    for summary in summaries:
        is_older = summary.created_at is not None and summary.created_at < job.requested_at - MAX_CLOCK_DIFFERENCE
        if summary.id not in known_ids and not is_older and summary.file_url:
            yield summary
