"""Batches in hand: which documents are asked about together, formed within caps and credits, or found open again."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
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

MAX_SESSION_BYTES = 2_000_000_000  # bytes (contract sheet 02 §6)

ClaimAllOrNone = Callable[[Sequence[str]], bool]


@dataclass(slots=True)
class Batch:
    """A batch that this run works on; ``documents`` are those still in it, by hash."""

    record: ExtractionBatch
    documents: dict[str, PendingDocument]
    to_upload: deque[PendingDocument] = field(default_factory=deque)
    part_sizes: Mapping[str, int] | None = None  # of the open session, by file id
    running_actions: int = 0  # actions about it
    restarts: int = 0  # begun in this run after one that failed
    session_renewals: int = 0
    unreadable_responses: int = 0  # answers about it in a row that were not understood
    submission_deferrals: int = 0
    concluded_file_names: frozenset[str] = frozenset()  # of files about which an earlier run has written the answer
    due_at: float = 0.0  # on the monotonic clock: the next look, or not before then the next submission

    @property
    def id(self) -> str:
        """The batch's id: of its documents and of what is asked."""
        return self.record.batch_id

    @property
    def session_id(self) -> str:
        """The id of its upload session, the same until that has gone."""
        return f"sess:{self.id}:{self.record.session_generation}"

    @property
    def submission_id(self) -> str:
        """The id of its submission, the same until one has ended (contract sheet 02 §5)."""
        configuration_hash = hashlib.sha256(self.record.configuration.encode()).hexdigest()[:12]
        return f"sub:{self.id}:{configuration_hash}:{self.record.generation}"

    @property
    def is_submitted(self) -> bool:
        """Whether the vendor has it."""
        return self.record.status == "submitted"

    @property
    def page_count(self) -> int:
        """How many pages it has, as far as we know."""
        return sum(document.page_count or 1 for document in self.documents.values())

    def begin_uploads(self) -> None:
        """Upload everything, in a session that is still to be opened."""
        self.to_upload, self.part_sizes = deque(self.documents.values()), None

    def schedule_after(self, seconds: float) -> None:
        """Do nothing about it for so long."""
        self.due_at = time.monotonic() + seconds


@dataclass(frozen=True, slots=True)
class FormedBatch:
    """A new batch, if any, the documents left over, and those that another worker has in hand."""

    batch: Batch | None
    remaining: Sequence[PendingDocument]
    claimed_elsewhere: Sequence[str]


def build_upload_name(document: PendingDocument) -> str:
    """Return the name under which a document is uploaded: unique in any session, and saying nothing about us."""
    return f"{document.document_sha256}.{SUFFIX_BY_MEDIA_TYPE[document.media_type]}"


class BatchBuilder:
    """Forms the batches of one vendor, and finds those that an earlier run left open."""

    def __init__(
        self, recorder: ExtractionRecorder, configuration: str, max_documents: int, claim_all_or_none: ClaimAllOrNone
    ) -> None:
        """Take what is asked for, and how to claim documents that are not in hand yet."""
        self._recorder, self._configuration = recorder, configuration
        self._max_documents, self._claim_all_or_none = max_documents, claim_all_or_none

    def create_batch(self, documents: Sequence[PendingDocument], credits_left: int | None) -> FormedBatch:
        """Write a batch of the first documents that fit, and return what came of it.

        Raises:
            CapReached: not even the first document fits under the caps.
            NoCredit: it does not fit under the credits.
        """
        terms, worker = self._recorder.terms, self._recorder.worker
        with self._recorder.ledger.begin_transaction() as tx:
            cap_pages_left = compute_remaining_pages(
                tx.connection, terms.extracted_by, terms.caps, tx.timestamp, worker
            )
            fitting_documents = self._select_fitting_documents(
                documents, cap_pages_left, credits_left
            ) or self._select_first_within_credit(documents[0], credits_left)
            taken_hashes = {document.document_sha256 for document in fitting_documents}
            claimed_hashes = filter_claimed_hashes(tx, worker, taken_hashes)
            own_documents = [document for document in fitting_documents if document.document_sha256 in claimed_hashes]
            remaining = [document for document in documents if document.document_sha256 not in taken_hashes]
            claimed_elsewhere = sorted(taken_hashes - claimed_hashes)
            if not own_documents:
                return FormedBatch(None, remaining, claimed_elsewhere)
            record = start_extraction_batch(
                tx, self._build_batch_id(own_documents), terms.extracted_by, self._configuration, len(own_documents)
            )
            planned = [self._build_planned_extraction(document) for document in own_documents]
            record_intents(tx, terms, planned, run_id=worker, batch_id=record.batch_id, generation=record.generation)
        batch = Batch(record, {document.document_sha256: document for document in own_documents})
        batch.begin_uploads()
        return FormedBatch(batch, remaining, claimed_elsewhere)

    def resume_open_batches(
        self, documents: Sequence[PendingDocument], jobs_by_document: Mapping[str, ExtractionJob]
    ) -> tuple[list[Batch], list[PendingDocument]]:
        """Return the open batches that the documents are in, whole, and the documents that are in none.

        A batch of which another worker has a part in hand is left to that one.
        """
        batch_ids = {job.batch_id for job in jobs_by_document.values() if job.is_open and job.batch_id is not None}
        with self._recorder.ledger.open_snapshot() as connection:
            loaded_batches = [_load_batch_with_jobs(connection, batch) for batch in sorted(batch_ids)]
        resumed_batches, taken_hashes = [], set[str]()
        for batch, jobs_of_batch in loaded_batches:
            self._recorder.remember_open_extraction_ids(jobs_of_batch)
            if batch is not None:
                taken_hashes.update(batch.documents)
                if self._claim_all_or_none(list(batch.documents)):
                    resumed_batches.append(batch)
        return resumed_batches, [document for document in documents if document.document_sha256 not in taken_hashes]

    def _select_fitting_documents(
        self, documents: Sequence[PendingDocument], cap_pages_left: int | None, credits_left: int | None
    ) -> list[PendingDocument]:
        """Return documents that fit, in order; one that is too large lets smaller ones pass."""
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

    def _select_first_within_credit(self, document: PendingDocument, credits_left: int | None) -> list[PendingDocument]:
        """Return the first document alone: if it does not fit under a cap, writing its intent tells which."""
        pages = self._recorder.count_billable_pages(document)
        if credits_left is not None and credits_left < pages:
            raise CreditExhausted(f"{credits_left:,} pages of credit are left, and the next document has {pages:,}")
        return [document]

    def _build_planned_extraction(self, document: PendingDocument) -> PlannedExtraction:
        sha256 = document.document_sha256
        return PlannedExtraction(
            self._recorder.get_extraction_id(sha256), sha256, self._recorder.count_billable_pages(document)
        )

    def _build_batch_id(self, documents: Iterable[PendingDocument]) -> str:
        hashes = sorted(document.document_sha256 for document in documents)
        return hashlib.sha256("\x1f".join(["batch", self._configuration, *hashes]).encode()).hexdigest()[:32]


class CreditExhausted(Exception):
    """The account's credits do not reach for a single document."""


def is_session_stale(batch: ExtractionBatch, now: dt.datetime, max_hours: float) -> bool:
    """Return whether the files of a session have gone, or are about to (contract sheet 02 §7: within 24 hours)."""
    return now - batch.opened_at > dt.timedelta(hours=max_hours)


def _load_batch_with_jobs(connection: Connection, batch_id: str) -> tuple[Batch | None, list[ExtractionJob]]:
    """Return a batch as an earlier run left it, or None where nothing more comes of it, and its jobs."""
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
