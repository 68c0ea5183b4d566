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

from invoices.extraction.desk import READABLE, Desk
from invoices.ledger.documents import Pending, pending_among
from invoices.ledger.extraction_batches import ExtractionBatch, find_batch, open_batch
from invoices.ledger.extraction_pieces import Wanted, held_among, intend_all, known_among
from invoices.ledger.extractions import Job, batch_jobs
from invoices.ledger.spending import room

LARGEST_SESSION = 2_000_000_000  # bytes (contract sheet 02 §6)

ClaimAll = Callable[[Sequence[str]], bool]


@dataclass(slots=True)
class Batch:
    """A batch that this run works on; ``documents`` are those still in it, by hash."""

    known: ExtractionBatch
    documents: dict[str, Pending]
    to_upload: deque[Pending] = field(default_factory=deque)
    part_sizes: Mapping[str, int] | None = None  # of the open session, by file id
    under_way: int = 0  # actions about it
    generations: int = 0  # begun in this run after one that failed
    sessions: int = 0
    oddities: int = 0  # answers about it in a row that were not understood
    pauses: int = 0
    concluded_names: frozenset[str] = frozenset()  # of files about which an earlier run has written the answer
    due: float = 0.0  # on the monotonic clock: the next look, or not before then the next submission

    @property
    def id(self) -> str:
        """The batch's id: of its documents and of what is asked."""
        return self.known.batch_id

    @property
    def session_id(self) -> str:
        """The id of its upload session, the same until that has gone."""
        return f"sess:{self.id}:{self.known.session_generation}"

    @property
    def submission_id(self) -> str:
        """The id of its submission, the same until one has ended (contract sheet 02 §5)."""
        asked = hashlib.sha256(self.known.configuration.encode()).hexdigest()[:12]
        return f"sub:{self.id}:{asked}:{self.known.generation}"

    @property
    def is_submitted(self) -> bool:
        """Whether the vendor has it."""
        return self.known.status == "submitted"

    @property
    def pages(self) -> int:
        """How many pages it has, as far as we know."""
        return sum(document.page_count or 1 for document in self.documents.values())

    def begin_uploads(self) -> None:
        """Upload everything, in a session that is still to be opened."""
        self.to_upload, self.part_sizes = deque(self.documents.values()), None

    def rest(self, seconds: float) -> None:
        """Do nothing about it for so long."""
        self.due = time.monotonic() + seconds


@dataclass(frozen=True, slots=True)
class Formed:
    """A new batch, if any, the documents left over, and those that another worker has in hand."""

    batch: Batch | None
    rest: Sequence[Pending]
    not_ours: Sequence[str]


def file_name(document: Pending) -> str:
    """Return the name under which a document is uploaded: unique in any session, and saying nothing about us."""
    return f"{document.document_sha256}.{READABLE[document.media_type]}"


class Batching:
    """Forms the batches of one vendor, and finds those that an earlier run left open."""

    def __init__(self, desk: Desk, configuration: str, most_documents: int, claim_all: ClaimAll) -> None:
        """Take what is asked for, and how to claim documents that are not in hand yet."""
        self._desk, self._configuration = desk, configuration
        self._most_documents, self._claim_all = most_documents, claim_all

    def form(self, documents: Sequence[Pending], credits_left: int | None) -> Formed:
        """Write a batch of the first documents that fit, and return what came of it.

        Raises:
            CapReached: not even the first document fits under the caps.
            NoCredit: it does not fit under the credits.
        """
        terms, worker = self._desk.terms, self._desk.worker
        with self._desk.ledger.transaction() as tx:
            left = room(tx.connection, terms.extracted_by, terms.caps, tx.at, worker)
            fitting = self._fitting(documents, left, credits_left) or self._first(documents[0], credits_left)
            taken = {document.document_sha256 for document in fitting}
            held = held_among(tx, worker, taken)
            ours = [document for document in fitting if document.document_sha256 in held]
            rest = [document for document in documents if document.document_sha256 not in taken]
            not_ours = sorted(taken - held)
            if not ours:
                return Formed(None, rest, not_ours)
            known = open_batch(tx, self._id(ours), terms.extracted_by, self._configuration, len(ours))
            wanted = [self._wanted(document) for document in ours]
            intend_all(tx, terms, wanted, run=worker, batch=known.batch_id, generation=known.generation)
        batch = Batch(known, {document.document_sha256: document for document in ours})
        batch.begin_uploads()
        return Formed(batch, rest, not_ours)

    def resume(self, documents: Sequence[Pending], jobs: Mapping[str, Job]) -> tuple[list[Batch], list[Pending]]:
        """Return the open batches that the documents are in, whole, and the documents that are in none.

        A batch of which another worker has a part in hand is left to that one.
        """
        batch_ids = {job.batch_id for job in jobs.values() if job.is_open and job.batch_id is not None}
        with self._desk.ledger.reading() as connection:
            open_ones = [_found(connection, batch) for batch in sorted(batch_ids)]
        resumed, taken = [], set[str]()
        for batch, jobs_of_batch in open_ones:
            self._desk.remember(jobs_of_batch)
            if batch is not None:
                taken.update(batch.documents)
                if self._claim_all(list(batch.documents)):
                    resumed.append(batch)
        return resumed, [document for document in documents if document.document_sha256 not in taken]

    def _fitting(self, documents: Sequence[Pending], left: int | None, credits_left: int | None) -> list[Pending]:
        """Return documents that fit, in order; one that is too large lets smaller ones pass."""
        fitting: list[Pending] = []
        pages_left = min((limit for limit in (left, credits_left) if limit is not None), default=math.inf)
        bytes_left = LARGEST_SESSION
        for document in documents:
            pages = self._desk.pages(document)
            if pages <= pages_left and document.byte_count <= bytes_left:
                fitting.append(document)
                pages_left, bytes_left = pages_left - pages, bytes_left - document.byte_count
            if len(fitting) == self._most_documents or pages_left < 1:
                break
        return fitting

    def _first(self, document: Pending, credits_left: int | None) -> list[Pending]:
        """Return the first document alone: if it does not fit under a cap, writing its intent tells which."""
        pages = self._desk.pages(document)
        if credits_left is not None and credits_left < pages:
            raise NoCredit(f"{credits_left:,} pages of credit are left, and the next document has {pages:,}")
        return [document]

    def _wanted(self, document: Pending) -> Wanted:
        sha256 = document.document_sha256
        return Wanted(self._desk.extraction_id(sha256), sha256, self._desk.pages(document))

    def _id(self, documents: Iterable[Pending]) -> str:
        hashes = sorted(document.document_sha256 for document in documents)
        return hashlib.sha256("\x1f".join(["batch", self._configuration, *hashes]).encode()).hexdigest()[:32]


class NoCredit(Exception):
    """The account's credits do not reach for a single document."""


def is_stale(batch: ExtractionBatch, now: dt.datetime, hours: float) -> bool:
    """Return whether the files of a session have gone, or are about to (contract sheet 02 §7: within 24 hours)."""
    return now - batch.opened_at > dt.timedelta(hours=hours)


def _found(connection: Connection, batch_id: str) -> tuple[Batch | None, list[Job]]:
    """Return a batch as an earlier run left it, or None where nothing more comes of it, and its jobs."""
    known, jobs = find_batch(connection, batch_id), batch_jobs(connection, batch_id)
    if known is None or known.status == "concluded":
        return None, jobs
    waiting = pending_among(connection, "ask", [job.document_sha256 for job in jobs if job.is_open])
    over = [job.document_sha256 for job in jobs if job.status in ("answered", "failed")]
    names = frozenset(file_name(one) for one in known_among(connection, over) if one.media_type in READABLE)
    found = Batch(known, {one.document_sha256: one for one in waiting}, concluded_names=names)
    if known.status == "uploading":
        found.begin_uploads()
    return found, jobs
