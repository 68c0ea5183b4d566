"""One vendor's desk: what asking writes to the ledger, whoever is asked, and where a document goes from there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from invoices.documents.store import DocumentStore
from invoices.errors import DocumentError
from invoices.ledger import Ledger, Transaction
from invoices.ledger.claims import LEASE, holds
from invoices.ledger.documents import Pending, State, is_at, settle
from invoices.ledger.extractions import Job, Terms, advance, all_jobs, find_job, intend, jobs_of
from invoices.model import extraction_id

READABLE = {"application/pdf": "pdf", "image/png": "png", "image/jpeg": "jpg"}  # what each of the vendors takes
CANNOT_READ = "extractor_cannot_read"  # before anybody is asked: a person decides what becomes of it


class NotOurs(Exception):
    """Another worker has taken the document over, or so much time has passed that one may have."""


@dataclass(slots=True)
class Asked:
    """What asking came to; ``problems`` are sentences for a person and make the run end with an error."""

    calls: int = 0  # submissions that the vendor took
    pages: int = 0  # charged, as far as it told
    answered: int = 0
    set_aside: int = 0
    passed_on: int = 0  # to the next extractor
    remarks: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Intent:
    """A committed intent; it is acted upon at once, or not at all."""

    extraction_id: str
    at: float = field(default_factory=time.monotonic)

    def check(self) -> None:
        """Raise NotOurs when the claim on the document may have run out since."""
        if time.monotonic() - self.at > LEASE.total_seconds() / 3:
            raise NotOurs(self.extraction_id)


class Desk:
    """Writes what one vendor is asked and answers in one run, each change with where its document stands."""

    def __init__(
        self,
        ledger: Ledger,
        store: DocumentStore,
        worker: str,
        terms: Terms,
        vendor: str,
        configuration: str,
        has_other: Callable[[str], bool] = lambda _: False,
        *,
        counts_pages: bool = True,
    ) -> None:
        """Take what is needed; ``has_other`` tells whether another extractor comes after this one for a document.

        A vendor that does not count pages charges one for each document.
        """
        self.ledger, self._store, self.worker = ledger, store, worker
        self.terms, self.vendor, self._configuration, self._has_other = terms, vendor, configuration, has_other
        self._counts_pages = counts_pages
        self.asked = Asked()
        self.put_off: set[str] = set()  # documents that the vendor did not take in this run, for no fault of theirs
        self._open_ids: dict[str, str] = {}

    def pages(self, document: Pending) -> int:
        """Return what the document may cost, in the vendor's pages."""
        return (document.page_count or 1) if self._counts_pages else 1

    def take_asked(self) -> Asked:
        """Return what asking came to, and begin to count anew."""
        taken, self.asked = self.asked, Asked()
        return taken

    @property
    def extractor(self) -> str:
        """The name under which the vendor's answers are kept."""
        return self.terms.extracted_by

    def extraction_id(self, document: str) -> str:
        """Return the id of this vendor's answer about a document: of its content and of what is asked.

        A question that is open keeps its id, whatever is asked for by now.
        """
        return self._open_ids.get(document) or extraction_id(document, self.extractor, self._configuration)

    def remember(self, jobs: Iterable[Job]) -> None:
        """Take note of questions that are open under another configuration."""
        for job in jobs:
            usual = extraction_id(job.document_sha256, self.extractor, self._configuration)
            if job.is_open and job.extraction_id != usual:
                self._open_ids[job.document_sha256] = job.extraction_id
            else:
                self._open_ids.pop(job.document_sha256, None)

    def job(self, document: str) -> Job | None:
        """Return the latest job about a document here, or None."""
        with self.ledger.reading() as connection:
            jobs = jobs_of(connection, document, self.extractor)
        self.remember(jobs)
        return jobs[-1] if jobs else None

    def open_among(self, documents: Iterable[str]) -> set[str]:
        """Return about which of the documents an answer of this vendor is still missing."""
        with self.ledger.reading() as connection:
            found = all_jobs(connection, documents)
        return {sha256 for sha256, jobs in found.items() if any(self._is_mine_and_open(job) for job in jobs)}

    def content(self, document: Pending, largest: int, *, may_have_cost: int = 0) -> bytes | None:
        """Return the bytes; or None after setting the document aside, because the store has none that fit.

        ``may_have_cost`` are the pages of an earlier submission whose outcome is unknown.
        """
        try:
            content = self._store.read(document.document_sha256)
        except DocumentError as error:
            reason_code, reason = error.reason_code, str(error)
        else:
            if document.media_type in READABLE and len(content) <= largest:
                return content
            said = f"{document.media_type}, {len(content):,} bytes"
            reason_code = CANNOT_READ
            reason = f"{self.vendor} reads PDF, PNG and JPEG up to {largest // 1024**2} MB; this is {said}."
        with self.ledger.transaction() as tx:
            self.set_aside_in(tx, document.document_sha256, reason_code, reason, pages_charged=may_have_cost)
        return None

    # Before the request

    def intend(self, document: Pending, *, is_repeat: bool = False) -> Intent:
        """Write, and commit, that the document is about to be submitted; from here on it may have arrived.

        Raises:
            NotOurs: another worker has the document.
            CapReached: a cap leaves no room for its pages.
        """
        with self.ledger.transaction() as tx:
            self.intend_in(tx, document, is_repeat=is_repeat)
        return Intent(self.extraction_id(document.document_sha256))

    def intend_in(
        self,
        tx: Transaction,
        document: Pending,
        *,
        is_repeat: bool = False,
        batch: str | None = None,
        generation: int = 1,
    ) -> None:
        """Do the same in a transaction with others."""
        if not holds(tx, self.worker, document.document_sha256):
            raise NotOurs(document.document_sha256)
        intend(
            tx, self.terms, self.extraction_id(document.document_sha256), document.document_sha256,
            pages=self.pages(document), run=self.worker, is_repeat=is_repeat, batch=batch, generation=generation,
        )  # fmt: skip

    # After it

    def refused(self, extraction: str, message: str) -> None:
        """Write that the vendor did not take it: nothing is charged, and it may be intended again.

        After a repeat that was refused, the submission before it is as unknown as it was.
        """
        with self.ledger.transaction() as tx:
            job = find_job(tx.connection, extraction)
            if job is not None and job.possible_double_charge:
                advance(tx, extraction, "unknown", message=message, possible_double_charge=False)
            else:
                advance(tx, extraction, "refused", message=message, pages_charged=0)

    def unknown(self, extraction: str, message: str) -> None:
        """Write that it may have arrived, and nobody knows."""
        with self.ledger.transaction() as tx:
            advance(tx, extraction, "unknown", message=message)

    def submitted(self, extraction: str, document: str, remote_id: str, pages: int) -> None:
        """Write the vendor's id of a submission; the document waits for its answer."""
        reason = f"Submitted to {self.vendor}; not answered yet."
        with self.ledger.transaction() as tx:
            if is_at(tx.connection, document, "ask"):  # else another worker has concluded it meanwhile
                advance(tx, extraction, "submitted", remote_id=remote_id, submitted_at=tx.at, pages_charged=pages)
                settle(tx, document, stage="ask", state="waiting", reason_code="submitted", reason=reason)
            self.asked.calls += 1  # in the transaction, where no other thread is
            self.asked.pages += pages

    def answered_at_once(
        self, extraction: str, document: str, payload: dict[str, Any], remote_id: str | None, pages: int
    ) -> None:
        """Write what a submission was answered with directly, and what that cost."""
        with self.ledger.transaction() as tx:
            learned = {"remote_id": remote_id, "submitted_at": tx.at, "pages_charged": pages}
            self.answered_in(tx, extraction, document, payload, **learned)
            self.asked.calls += 1
            self.asked.pages += pages

    def answered(self, job: Job, payload: dict[str, Any], **learned: Any) -> None:
        """Write the answer as it came; the document waits to be judged."""
        with self.ledger.transaction() as tx:
            self.answered_in(tx, job.extraction_id, job.document_sha256, payload, **learned)

    def answered_in(
        self, tx: Transaction, extraction: str, document: str, payload: dict[str, Any], **learned: Any
    ) -> None:
        """Do the same in a transaction with others."""
        if not is_at(tx.connection, document, "ask"):
            return
        advance(tx, extraction, "answered", payload=as_json(payload), answered_at=tx.at, **learned)
        reason = f"Answered by {self.vendor}; not judged yet."
        settle(tx, document, stage="judge", state="waiting", reason_code="answered", reason=reason)
        self.asked.answered += 1

    def failed(self, document: str, reason_code: str, reason: str, **learned: Any) -> None:
        """Write that there will be no answer here; the document goes to the next extractor, or is set aside."""
        with self.ledger.transaction() as tx:
            self.failed_in(tx, document, reason_code, reason, **learned)

    def failed_in(self, tx: Transaction, document: str, reason_code: str, reason: str, **learned: Any) -> None:
        """Do the same in a transaction with others; nothing, where another worker has concluded it meanwhile."""
        if not is_at(tx.connection, document, "ask"):
            return
        if not self._has_other(document):
            self.set_aside_in(tx, document, reason_code, reason, **learned)
            return
        self._end(tx, document, reason, learned)
        reason = f"{reason} Another extractor is asked."
        settle(tx, document, stage="ask", state="waiting", reason_code="next_extractor", reason=reason)
        self.asked.passed_on += 1

    def set_aside_in(self, tx: Transaction, document: str, reason_code: str, reason: str, **learned: Any) -> None:
        """Set a document aside, whoever else could be asked; unless another worker has concluded it meanwhile."""
        if not is_at(tx.connection, document, "ask"):
            return
        self._end(tx, document, reason, learned)
        state: State = "review" if reason_code == CANNOT_READ else "quarantined"
        settle(tx, document, stage="done", state=state, reason_code=reason_code, reason=reason)
        self.asked.set_aside += 1

    def give_to_person(self, document: str, reason_code: str, reason: str) -> None:
        """Set a document aside whose question stays open, and tell: it may have been paid for."""
        with self.ledger.transaction() as tx:
            if not is_at(tx.connection, document, "ask"):
                return
            self.asked.problems.append(f"document {document[:12]}: {reason}")
            settle(tx, document, stage="done", state="quarantined", reason_code=reason_code, reason=reason)
            self.asked.set_aside += 1

    def leave_waiting(self, documents: Iterable[str], reason_code: str, reason: str) -> None:
        """Leave documents to a later run; about those that another worker has by now, that one writes."""
        with self.ledger.transaction() as tx:
            for document in documents:
                if holds(tx, self.worker, document) and is_at(tx.connection, document, "ask"):
                    settle(tx, document, stage="ask", state="waiting", reason_code=reason_code, reason=reason)

    def _end(self, tx: Transaction, document: str, reason: str, learned: dict[str, Any]) -> None:
        job = find_job(tx.connection, self.extraction_id(document))
        if job is None or job.status == "answered":
            return
        if job.status == "intended" and job.possible_double_charge:  # refused, but the one before may have been charged
            learned = {**learned, "pages_charged": job.pages_reserved, "possible_double_charge": False}
        advance(tx, job.extraction_id, "failed", message=reason, answered_at=tx.at, **learned)

    def _is_mine_and_open(self, job: Job) -> bool:
        return job.extracted_by == self.extractor and job.is_open


def as_json(data: dict[str, Any]) -> str:
    """Return JSON in which every fraction stands as its exact decimal text."""

    def exact(value: object) -> str:
        if isinstance(value, Decimal):
            return str(value)
        raise TypeError(f"not JSON: {type(value).__name__}")

    return json.dumps(data, ensure_ascii=False, default=exact, allow_nan=False)
