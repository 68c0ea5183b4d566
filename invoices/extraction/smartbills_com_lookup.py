"""Finds out whether a submission to smartbills.com arrived: by the vendor's job list and the bytes of its files."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Protocol

from invoices.clients.smartbills_com import JobSummary
from invoices.errors import ContractError
from invoices.extraction.resilience.retry import RetryingCaller
from invoices.ledger import Ledger
from invoices.ledger.extractions import ExtractionJob, filter_known_remote_ids
from invoices.model import compute_document_sha256

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
            content = caller.send_with_retries(partial(client.fetch_job_file, summary.file_url or ""))
        except ContractError as error:
            unreadable_error = error
            continue
        if compute_document_sha256(content) == job.document_sha256:
            return summary.id
    if unreadable_error is not None:
        raise unreadable_error
    return None


def _select_candidate_jobs(summaries: Sequence[JobSummary], ledger: Ledger, job: ExtractionJob) -> Iterator[JobSummary]:
    """Yield the jobs that are not in the ledger, link to their file, and are not older than the submission."""
    with ledger.open_snapshot() as connection:
        known_ids = filter_known_remote_ids(connection, job.extracted_by, (summary.id for summary in summaries))
    for summary in summaries:
        is_older = summary.created_at is not None and summary.created_at < job.requested_at - MAX_CLOCK_DIFFERENCE
        if summary.id not in known_ids and not is_older and summary.file_url:
            yield summary
