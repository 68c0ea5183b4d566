"""Batches: documents submitted together, selected within caps and credits, or resumed from an earlier run."""

from __future__ import annotations

import hashlib
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from invoices.extraction.extraction_recorder import SUFFIX_BY_MEDIA_TYPE, ExtractionRecorder
from invoices.ledger.documents import PendingDocument, filter_pending_documents
from invoices.ledger.extraction_batch_documents import (
    PlannedExtraction,
    filter_claimed_hashes,
    list_documents_by_hash,
    record_intents,
)
from invoices.ledger.extraction_batches import ExtractionBatch, find_extraction_batch, start_extraction_batch
from invoices.ledger.extractions import ExtractionJob, list_batch_jobs
from invoices.ledger.spending import compute_remaining_pages

MAX_SESSION_BYTES = 2_000_000_000  # contract sheet 02 §6

ClaimAllOrNone = Callable[[Sequence[str]], bool]


@dataclass(slots=True)
class Batch:
    """An open batch of this run; ``documents`` are those still in it, by hash."""

    record: ExtractionBatch
    documents: dict[str, PendingDocument]
    to_upload: deque[PendingDocument] = field(default_factory=deque)
    part_sizes: Mapping[str, int] | None = None  # of the open session, by file id
    running_actions: int = 0
    restarts: int = 0  # new generations in this run after failures
    session_renewals: int = 0
    unreadable_responses: int = 0  # in a row
    submission_deferrals: int = 0
    concluded_file_names: frozenset[str] = frozenset()  # files whose answers an earlier run recorded
    due_at: float = 0.0  # monotonic clock: the next poll, or the earliest next submission

    @property
    def id(self) -> str:
        """The batch's id, derived from its documents and the configuration."""
        return self.record.batch_id

    @property
    def session_id(self) -> str:
        """The id of its upload session, the same until the session expires."""
        return f"sess:{self.id}:{self.record.session_generation}"

    @property
    def submission_id(self) -> str:
        """The id of its submission, the same until the submission has ended (contract sheet 02 §5)."""
        configuration_hash = hashlib.sha256(self.record.configuration.encode()).hexdigest()[:12]
        return f"sub:{self.id}:{configuration_hash}:{self.record.generation}"

    @property
    def is_submitted(self) -> bool:
        """Whether the vendor has accepted its submission."""
        return self.record.status == "submitted"

    @property
    def page_count(self) -> int:
        """The number of its pages; a document of unknown length counts as one page."""
        return sum(document.page_count or 1 for document in self.documents.values())

    def begin_uploads(self) -> None:
        """Plan to upload all documents in a session that is not open yet."""
        self.to_upload, self.part_sizes = deque(self.documents.values()), None

    def schedule_after(self, seconds: float) -> None:
        """Schedule the next poll or submission."""
        self.due_at = time.monotonic() + seconds


@dataclass(frozen=True, slots=True)
class CreatedBatch:
    """A new batch or None, the remaining documents, and those that another worker has claimed."""

    batch: Batch | None
    remaining: Sequence[PendingDocument]
    claimed_elsewhere: Sequence[str]


def build_upload_name(document: PendingDocument) -> str:
    """Return the file name for an upload: unique in any session, without information about the customer."""
    return f"{document.document_sha256}.{SUFFIX_BY_MEDIA_TYPE[document.media_type]}"


class BatchBuilder:
    """Creates batches, and resumes those that an earlier run left open."""

    def __init__(
        self, recorder: ExtractionRecorder, configuration: str, max_documents: int, claim_all_or_none: ClaimAllOrNone
    ) -> None:
        """Keep the configuration of new batches, and how to claim documents of resumed ones."""
        self._recorder, self._configuration = recorder, configuration
        self._max_documents, self._claim_all_or_none = max_documents, claim_all_or_none

    def create_batch(self, documents: Sequence[PendingDocument], credits_left: int | None) -> CreatedBatch:
        """Record a batch of the first documents that fit.

        Raises:
            CapReached: not even the first document fits under the caps.
            CreditExhausted: it does not fit under the credits.
        """
        terms, worker = self._recorder.terms, self._recorder.worker
        with self._recorder.ledger.begin_transaction() as tx:
            cap_pages_left = compute_remaining_pages(
                tx.connection, terms.extracted_by, terms.caps, tx.timestamp, worker
            )
            fitting_documents = self._select_fitting_documents(
                documents, cap_pages_left, credits_left
            ) or self._require_credit_for_first_document(documents[0], credits_left)
            selected_hashes = {document.document_sha256 for document in fitting_documents}
            claimed_hashes = filter_claimed_hashes(tx, worker, selected_hashes)
            own_documents = [document for document in fitting_documents if document.document_sha256 in claimed_hashes]
            remaining = [document for document in documents if document.document_sha256 not in selected_hashes]
            claimed_elsewhere = sorted(selected_hashes - claimed_hashes)
            if not own_documents:
                return CreatedBatch(None, remaining, claimed_elsewhere)
            id_parts = ["batch", self._configuration, *sorted(document.document_sha256 for document in own_documents)]
            batch_id = hashlib.sha256("\x1f".join(id_parts).encode()).hexdigest()[:32]
            record = start_extraction_batch(tx, batch_id, terms.extracted_by, self._configuration, len(own_documents))
            planned = [
                PlannedExtraction(
                    self._recorder.get_extraction_id(document.document_sha256),
                    document.document_sha256,
                    self._recorder.count_billable_pages(document),
                )
                for document in own_documents
            ]
            record_intents(tx, terms, planned, run_id=worker, batch_id=record.batch_id, generation=record.generation)
        batch = Batch(record, {document.document_sha256: document for document in own_documents})
        batch.begin_uploads()
        return CreatedBatch(batch, remaining, claimed_elsewhere)

    def resume_open_batches(
        self, documents: Sequence[PendingDocument], jobs_by_document: Mapping[str, ExtractionJob]
    ) -> tuple[list[Batch], list[PendingDocument]]:
        """Return the open batches of the documents, complete, and the documents that are in none.

        A batch with documents that another worker has claimed is skipped.
        """
        batch_ids = {job.batch_id for job in jobs_by_document.values() if job.is_open and job.batch_id is not None}
        with self._recorder.ledger.open_snapshot() as connection:
            loaded_batches = [_load_batch_with_jobs(connection, batch) for batch in sorted(batch_ids)]
        resumed_batches, batched_hashes = [], set[str]()
        for batch, jobs_of_batch in loaded_batches:
            self._recorder.remember_open_extraction_ids(jobs_of_batch)
            if batch is not None:
                batched_hashes.update(batch.documents)
                if self._claim_all_or_none(list(batch.documents)):
                    resumed_batches.append(batch)
        return resumed_batches, [document for document in documents if document.document_sha256 not in batched_hashes]

    def _select_fitting_documents(
        self, documents: Sequence[PendingDocument], cap_pages_left: int | None, credits_left: int | None
    ) -> list[PendingDocument]:
        """Return documents that fit, in order; one that is too large is skipped for smaller ones behind it."""
        selected: list[PendingDocument] = []
        pages_left = min((limit for limit in (cap_pages_left, credits_left) if limit is not None), default=math.inf)
        bytes_left = MAX_SESSION_BYTES
        for document in documents:
            pages = self._recorder.count_billable_pages(document)
            if pages <= pages_left and document.byte_count <= bytes_left:
                selected.append(document)
                pages_left, bytes_left = pages_left - pages, bytes_left - document.byte_count
            if len(selected) == self._max_documents or pages_left < 1:
                break
        return selected

    def _require_credit_for_first_document(
        self, document: PendingDocument, credits_left: int | None
    ) -> list[PendingDocument]:
        """Return the document alone; recording its intent then raises CapReached with the cap that it exceeds.

        Raises CreditExhausted when the credits are the limit.
        """
        pages = self._recorder.count_billable_pages(document)
        if credits_left is not None and credits_left < pages:
            raise CreditExhausted(f"the next document needs {pages:,} credits, but only {credits_left:,} are left")
        return [document]


class CreditExhausted(Exception):
    """The account's credits are not enough for a single document."""


def _load_batch_with_jobs(connection: Connection, batch_id: str) -> tuple[Batch | None, list[ExtractionJob]]:
    """Return a batch as an earlier run left it, or None when it is concluded, and its jobs."""
    record, jobs = find_extraction_batch(connection, batch_id), list_batch_jobs(connection, batch_id)
    if record is None or record.status == "concluded":
        return None, jobs
    waiting_documents = filter_pending_documents(
        connection, "extract_remote", [job.document_sha256 for job in jobs if job.is_open]
    )
    concluded_hashes = [job.document_sha256 for job in jobs if job.status in ("answered", "failed")]
    concluded_file_names = frozenset(
        build_upload_name(document)
        for document in list_documents_by_hash(connection, concluded_hashes)
        if document.media_type in SUFFIX_BY_MEDIA_TYPE
    )
    batch = Batch(
        record,
        {document.document_sha256: document for document in waiting_documents},
        concluded_file_names=concluded_file_names,
    )
    if record.status == "uploading":
        batch.begin_uploads()
    return batch, jobs
