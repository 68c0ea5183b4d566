"""Asking smartbills.com: the intent before each submission, looks planned from the budget, answers kept as they came.

The API has no idempotency key (contract sheet 01 §6). A submission whose outcome is unknown is first looked up in the
vendor's list and proved by the bytes it holds; only if that is impossible is it repeated, once, and flagged.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from invoices.clients.classification import NotFound
from invoices.clients.smartbills_com import Job as RemoteJob
from invoices.clients.smartbills_com import JobSummary, RateLimit, SubmittedJob
from invoices.documents.store import DocumentStore
from invoices.errors import AccountError, ContractError, DocumentError, TransientError, UnknownOutcome
from invoices.extraction.budget import Budget, Window
from invoices.extraction.looks import Looks
from invoices.extraction.pacing import FAILURES_TO_STOP, Pacing, VendorStopped
from invoices.extraction.recording import leave_waiting, record_answered, record_failed, record_submitted, set_aside
from invoices.ledger import Ledger
from invoices.ledger.documents import Pending
from invoices.ledger.extractions import Job, Status, advance, intend, jobs_of, remote_ids
from invoices.model import document_sha256, extraction_id

EXTRACTOR = "smartbills_com"
VENDOR = "smartbills.com"
CONFIGURATION = "1"  # raised when a submission asks for something else
SUFFIXES = {"application/pdf": "pdf", "image/png": "png", "image/jpeg": "jpg"}  # sheet 01 §2.1
LARGEST_BYTES = 10 * 1024 * 1024  # sheet 01 §8
PLANS = {  # sheet 01 §5: both windows apply at once, every route uses them
    "free": (Window(10, 60), Window(100, 3600)),
    "pro": (Window(100, 60), Window(1_000, 3600)),
    "enterprise": (Window(1_000, 60), Window(10_000, 3600)),
}
LOOKUP_SLACK = dt.timedelta(minutes=10)  # how far the vendor's clock may be behind ours


class Client(Protocol):
    """What is spoken with the vendor."""

    def submit(self, content: bytes, file_name: str, media_type: str) -> SubmittedJob:
        """Submit one document."""
        ...

    def job(self, job_id: str) -> RemoteJob:
        """Return a job's state."""
        ...

    def jobs(self) -> list[JobSummary]:
        """Return the vendor's list of jobs."""
        ...

    def file(self, file_url: str) -> bytes:
        """Return the bytes a job was submitted with."""
        ...


@dataclass(slots=True)
class Asked:
    """What asking came to; ``problems`` are sentences for a person and make the run end with an error."""

    calls: int = 0
    pages: int = 0
    answered: int = 0
    set_aside: int = 0
    problems: list[str] = field(default_factory=list)


class SmartBillsExtraction:
    """Asks smartbills.com about documents until each is answered, set aside, or has to wait for a later run."""

    def __init__(
        self,
        ledger: Ledger,
        store: DocumentStore,
        client: Client,
        budget: Budget,
        *,
        repeat_after_unknown: bool,
        deadline_minutes: float,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take what is needed; nothing is asked yet."""
        self._ledger, self._store, self._client = ledger, store, client
        self._budget, self._pacing, self._sleep = budget, Pacing(VENDOR, budget, sleep), sleep
        self._repeat_after_unknown = repeat_after_unknown
        self._deadline = dt.timedelta(minutes=deadline_minutes * budget.scale)
        self._looks = Looks(budget)
        self._oddities = 0  # answers in a row that were not understood

    def ask(self, documents: Sequence[Pending], asked: Asked, done: Callable[[int], None] = lambda _: None) -> bool:
        """Ask about the documents; return False when the vendor has to be left alone for the rest of this run.

        ``done`` is told how many documents were just concluded.
        """
        todo, concluded = list(reversed(documents)), 0
        try:
            while todo or self._looks:
                if self._looks and (not todo or self._looks.wait() == 0):
                    self._look(asked)
                else:
                    self._start(todo[-1], asked)
                    todo.pop()
                done(len(documents) - len(todo) - len(self._looks) - concluded)
                concluded = len(documents) - len(todo) - len(self._looks)
        except VendorStopped as stop:
            if stop.is_problem:
                asked.problems.append(stop.reason)
            waiting = [document.document_sha256 for document in todo] + self._looks.clear()
            with self._ledger.transaction() as tx:
                for sha256 in waiting:
                    leave_waiting(tx, sha256, stop.reason_code, stop.reason)
            return False
        return True

    def _start(self, document: Pending, asked: Asked) -> None:
        """Bring a document to where its job can be looked at, or set it aside."""
        with self._ledger.reading() as connection:
            jobs = jobs_of(connection, document.document_sha256, EXTRACTOR)
        job = jobs[-1] if jobs else None
        if job is not None and job.status == "submitted":
            self._looks.add(job, at_once=True)
        elif job is not None and job.status in ("intended", "unknown"):
            self._recover(document, job, asked)
        else:
            self._submit(document, asked, is_repeat=job is not None and job.possible_double_charge)

    # Submitting

    def _submit(self, document: Pending, asked: Asked, *, is_repeat: bool) -> None:
        content = self._content(document, asked)
        if content is None:
            return
        extraction = extraction_id(document.document_sha256, EXTRACTOR, CONFIGURATION)
        try:
            submitted = self._pacing.call(partial(self._send, document, content, is_repeat=is_repeat))
        except UnknownOutcome as error:
            self._write(extraction, "unknown", message=str(error))
            self._recover(document, self._job(document), asked)
        except DocumentError as error:
            self._set_aside(self._job(document), error.reason_code, str(error), asked)
        except ContractError as error:  # a clear answer, and not one of success: nothing was charged
            self._write(extraction, "refused", message=str(error))
            raise _changed(error) from error
        else:
            self._heard(submitted.limits)
            self._adopt(document, extraction, submitted.id, asked, at_once=False)

    def _send(self, document: Pending, content: bytes, *, is_repeat: bool) -> SubmittedJob:
        """Commit the intent and submit at once; what is refused is written before anybody waits for the next try."""
        extraction = self._intend(document, is_repeat=is_repeat)
        file_name = f"{document.document_sha256}.{SUFFIXES[document.media_type]}"
        try:
            return self._client.submit(content, file_name, document.media_type)
        except (TransientError, AccountError) as error:
            self._write(extraction, "refused", message=str(error))
            raise

    def _content(self, document: Pending, asked: Asked) -> bytes | None:
        """Return the bytes, or None after setting aside what the vendor does not take or the store does not have."""
        try:
            content = self._store.read(document.document_sha256)
        except DocumentError as error:
            reason_code, reason = error.reason_code, str(error)
        else:
            if document.media_type in SUFFIXES and len(content) <= LARGEST_BYTES:
                return content
            said = f"{document.media_type}, {len(content):,} bytes"
            reason_code = "extractor_cannot_read"
            reason = f"{VENDOR} reads PDF, PNG and JPEG up to 10 MB; this is {said}."
        with self._ledger.transaction() as tx:
            set_aside(tx, document.document_sha256, reason_code, reason)
        asked.set_aside += 1
        return None

    def _intend(self, document: Pending, *, is_repeat: bool) -> str:
        """Write, and commit, that the document is about to be submitted; from here on it may have arrived."""
        extraction = extraction_id(document.document_sha256, EXTRACTOR, CONFIGURATION)
        with self._ledger.transaction() as tx:
            if not jobs_of(tx.connection, document.document_sha256, EXTRACTOR):
                intend(tx, extraction, document.document_sha256, EXTRACTOR)
            advance(tx, extraction, "intended", possible_double_charge=is_repeat)
        return extraction

    def _adopt(self, document: Pending, extraction: str, remote_id: str, asked: Asked, *, at_once: bool) -> None:
        """Write the vendor's id of a submission, before anything else happens, and plan to look at it."""
        with self._ledger.transaction() as tx:
            record_submitted(tx, extraction, document.document_sha256, VENDOR, remote_id)
        asked.calls += 1
        asked.pages += 1
        self._looks.add(self._job(document), at_once=at_once)

    # After an unknown outcome

    def _recover(self, document: Pending, job: Job, asked: Asked) -> None:
        """Find out whether a submission arrived; adopt it, repeat it once, or leave it to a person."""
        try:
            found = self._find_submitted(job)
            why = "its list does not show it"
        except ContractError as error:
            found, why = None, f"its list cannot be used: {error}"
        if found is not None:
            self._adopt(document, job.extraction_id, found, asked, at_once=True)
        elif self._repeat_after_unknown and not job.possible_double_charge:
            self._submit(document, asked, is_repeat=True)
        else:
            reason = f"Submitted to {VENDOR}; whether it arrived is unknown ({why}), and it is not repeated by itself."
            asked.problems.append(f"document {job.document_sha256[:12]}: {reason}")
            asked.set_aside += 1
            with self._ledger.transaction() as tx:
                set_aside(tx, job.document_sha256, "outcome_unknown", reason)

    def _find_submitted(self, job: Job) -> str | None:
        """Return the vendor's id of the job that holds exactly this document's bytes, if its list shows one."""
        listed = {summary.id: summary for summary in self._pacing.call(self._client.jobs)}
        with self._ledger.reading() as connection:
            claimed = remote_ids(connection, EXTRACTOR, listed)
        for remote_id, summary in listed.items():
            is_older = summary.created_at is not None and summary.created_at < job.requested_at - LOOKUP_SLACK
            if remote_id not in claimed and not is_older and summary.file_url:
                held = self._pacing.call(partial(self._client.file, summary.file_url))
                if document_sha256(held) == job.document_sha256:
                    return remote_id
        return None

    # Looking

    def _look(self, asked: Asked) -> None:
        """Look at the job that is due next."""
        if (pause := self._looks.wait()) > 0:
            self._sleep(pause)
        job, looks = self._looks.first()
        try:
            remote = self._pacing.call(partial(self._client.job, job.remote_id or ""))
        except (ContractError, DocumentError) as error:
            is_over = self._give_up(job, error, asked)
        else:
            self._oddities = 0
            self._heard(remote.limits)
            is_over = self._conclude(job, remote, asked)
        self._looks.drop_first()
        if not is_over:
            self._looks.add(job, looks + 1)

    def _give_up(self, job: Job, error: ContractError | DocumentError, asked: Asked) -> bool:
        """Set a job aside that the vendor no longer knows; an answer that is only not understood is asked for again.

        Raises:
            VendorStopped: several answers in a row were not understood: the vendor changed.
        """
        is_odd = isinstance(error, ContractError) and not isinstance(error, NotFound) and not self._is_overdue(job)
        if not is_odd:
            self._set_aside(job, "extraction_lost", f"{VENDOR} does not tell about the job: {error}", asked)
            return True
        self._oddities += 1
        if self._oddities >= FAILURES_TO_STOP:
            raise _changed(error) from error
        return False

    def _is_overdue(self, job: Job) -> bool:
        return job.submitted_at is not None and dt.datetime.now(dt.UTC) - job.submitted_at > self._deadline

    def _conclude(self, job: Job, remote: RemoteJob, asked: Asked) -> bool:
        """Write an answer, a failure or the end of patience; return False when the job has to be looked at again."""
        if remote.status == "completed":
            with self._ledger.transaction() as tx:
                record_answered(tx, job, VENDOR, remote.extracted_data or {})
            asked.answered += 1
        elif remote.status == "failed":
            said = remote.error_message or remote.error_code or "no reason given"
            self._set_aside(job, "extraction_failed", f"{VENDOR} could not read it: {said}", asked)
        elif self._is_overdue(job):
            self._set_aside(job, "extraction_stuck", f"{VENDOR} still says {remote.status!r}.", asked)
        else:
            return False
        return True

    def _heard(self, limits: RateLimit | None) -> None:
        """Stop before the wall: when the vendor says that nothing is left, keep quiet until its window ends."""
        if limits is not None and limits.remaining == 0 and limits.reset_at is not None:
            self._budget.block((limits.reset_at - dt.datetime.now(dt.UTC)).total_seconds())

    # Writing

    def _job(self, document: Pending) -> Job:
        with self._ledger.reading() as connection:
            return jobs_of(connection, document.document_sha256, EXTRACTOR)[-1]

    def _write(self, extraction: str, status: Status, **values: Any) -> None:
        with self._ledger.transaction() as tx:
            advance(tx, extraction, status, **values)

    def _set_aside(self, job: Job, reason_code: str, reason: str, asked: Asked) -> None:
        with self._ledger.transaction() as tx:
            record_failed(tx, job, reason_code, reason)
        asked.set_aside += 1


def _changed(error: ContractError | DocumentError) -> VendorStopped:
    return VendorStopped("contract_changed", f"{VENDOR} answers differently: {error}", is_problem=True)
