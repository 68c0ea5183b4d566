"""Whether a submission to smartbills.com arrived: looked up in the vendor's list, proved by the bytes a job holds."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Protocol

from invoices.clients.smartbills_com import JobSummary
from invoices.errors import ContractError
from invoices.extraction.patience.pacing import Pacing
from invoices.ledger import Ledger
from invoices.ledger.extractions import Job, remote_ids
from invoices.model import document_sha256

LOOKUP_SLACK = dt.timedelta(minutes=10)  # how far the vendor's clock may be behind ours


class Client(Protocol):
    """What is spoken with the vendor."""

    def jobs(self) -> list[JobSummary]:
        """Return the vendor's list of jobs."""
        ...

    def file(self, file_url: str) -> bytes:
        """Return the bytes a job was submitted with."""
        ...


def find_submitted(pacing: Pacing, client: Client, ledger: Ledger, job: Job) -> str | None:
    """Return the vendor's id of the job that holds exactly this document's bytes, if its list shows one.

    Raises:
        ContractError: the list cannot be used, or it has a job that may be the one and cannot be looked into.
    """
    closed: ContractError | None = None
    for summary in _candidates(pacing.call(client.jobs), ledger, job):
        try:
            held = pacing.call(partial(client.file, summary.file_url or ""))
        except ContractError as error:
            closed = error
            continue
        if document_sha256(held) == job.document_sha256:
            return summary.id
    if closed is not None:
        raise closed
    return None


def _candidates(listed: Sequence[JobSummary], ledger: Ledger, job: Job) -> Iterator[JobSummary]:
    """Yield the jobs that nobody here knows, that show their file, and that are not older than the submission."""
    with ledger.reading() as connection:
        known = remote_ids(connection, job.extracted_by, (summary.id for summary in listed))
    for summary in listed:
        is_older = summary.created_at is not None and summary.created_at < job.requested_at - LOOKUP_SLACK
        if summary.id not in known and not is_older and summary.file_url:
            yield summary
