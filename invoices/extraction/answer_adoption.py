"""Fetches the answer of a submission that a run has given up: proves that it is about the document; costs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from invoices.clients.invoicedataextraction_com import Extraction
from invoices.clients.smartbills_com import RemoteJob
from invoices.errors import InvoicesError
from invoices.extraction.batches.batch import build_upload_name
from invoices.extraction.batches.batch_answer import (
    SOURCE_FILE_COLUMN,
    build_payload,
    parse_file_name,
    split_answer_by_document,
)
from invoices.extraction.batches.prompt import PROMPT_VERSION
from invoices.extraction.resilience.retry import RetryingCaller
from invoices.extraction.smartbills_com_lookup import SmartBillsLookupApi, find_submitted_job_id
from invoices.ledger import Ledger
from invoices.ledger.documents import PendingDocument
from invoices.ledger.extractions import ExtractionJob, filter_known_remote_ids
from invoices.model import compute_document_sha256


class AnswerNotAdoptable(InvoicesError):
    """There is no answer about this document, or nothing proves it: name another job, or release or abandon it."""


@dataclass(frozen=True, slots=True)
class FetchedAnswer:
    """An answer as the vendor gave it, the vendor's id of the job, and the pages that it was charged."""

    payload: Mapping[str, Any]
    remote_id: str | None
    pages_charged: int


class SmartBillsAnswerApi(SmartBillsLookupApi, Protocol):
    """The calls of smartbills.com that adoption needs."""

    def poll_job(self, job_id: str) -> RemoteJob:
        """Return the state of a job."""
        ...


def fetch_smartbills_answer(
    caller: RetryingCaller, client: SmartBillsAnswerApi, ledger: Ledger, job: ExtractionJob, remote_id: str | None
) -> FetchedAnswer:
    """Return the answer of a job: of ``remote_id``, else of the recorded one, else of one with the document's bytes.

    Raises:
        AnswerNotAdoptable: there is no such job, it has other bytes, or it is not completed.
    """
    job_id = remote_id or job.remote_id or find_submitted_job_id(caller, client, ledger, job)
    if job_id is None:
        raise _build_refusal("the vendor's list has no job with the bytes of this document")
    remote_job = caller.send_with_retries(partial(client.poll_job, job_id))
    if job_id != job.remote_id:
        _require_same_bytes(caller, client, ledger, job, remote_job)
    if remote_job.status != "completed":
        raise _build_refusal(f"the job {job_id!r} is {remote_job.status!r}, not completed")
    return FetchedAnswer(remote_job.extracted_data or {}, job_id, job.pages_reserved)


def build_batch_answer(
    extraction: Extraction, rows: Sequence[Mapping[str, Any]], document: PendingDocument, job: ExtractionJob
) -> FetchedAnswer:
    """Return the part of an extraction's answer that names the document's file, which has its hash as name.

    Raises:
        AnswerNotAdoptable: the answer does not name it.
    """
    names = {parse_file_name(source) for row in rows if isinstance(source := row.get(SOURCE_FILE_COLUMN), str)}
    if extraction.pages is not None:
        names |= {page.file_name for page in extraction.pages.successful if page.file_name}
    name = build_upload_name(document)
    if name not in names:
        raise _build_refusal(f"the extraction {extraction.id!r} has no row and no page of the file {name!r}")
    answer = split_answer_by_document(extraction, rows, names).documents[name]
    payload = build_payload(
        extraction, answer, name, names - {name}, prompt_version=PROMPT_VERSION, page_count=document.page_count
    )
    pages = job.pages_reserved if extraction.pages is None else len(set(answer.pages_read))
    return FetchedAnswer(payload, extraction.id, pages)


def require_completed_extraction(extraction: Extraction) -> None:
    """Raise AnswerNotAdoptable unless the extraction has an answer."""
    if extraction.status != "completed":
        raise _build_refusal(f"the extraction {extraction.id!r} is {extraction.status!r}, not completed")


def _require_same_bytes(
    caller: RetryingCaller, client: SmartBillsAnswerApi, ledger: Ledger, job: ExtractionJob, remote_job: RemoteJob
) -> None:
    with ledger.open_snapshot() as connection:
        if filter_known_remote_ids(connection, job.extracted_by, [remote_job.id]):
            raise _build_refusal(f"the job {remote_job.id!r} belongs to another document of this ledger")
    if remote_job.file_url is None:
        raise _build_refusal(f"the job {remote_job.id!r} names no file, so nothing proves which document it is about")
    content = caller.send_with_retries(partial(client.fetch_job_file, remote_job.file_url))
    if compute_document_sha256(content) != job.document_sha256:
        raise _build_refusal(f"the job {remote_job.id!r} is about another file")


def _build_refusal(problem: str) -> AnswerNotAdoptable:
    return AnswerNotAdoptable(f"the answer cannot be adopted: {problem}")
