"""Asking smartbills.com: the intent before each submission, looks planned from the budget, answers kept as they came.

The API has no idempotency key (contract sheet 01 §6). A submission whose outcome is unknown is first looked up in the
vendor's list and proved by the bytes it holds; only if that is impossible is it repeated, once, and flagged.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn, Protocol

from invoices.clients.classification import NotFound
from invoices.clients.smartbills_com import Job as RemoteJob
from invoices.clients.smartbills_com import JobSummary, RateLimit, SubmittedJob
from invoices.errors import AccountError, ContractError, DocumentError, TransientError, UnknownOutcome
from invoices.extraction.budget import Budget, Window
from invoices.extraction.crew import Action, Crew
from invoices.extraction.desk import READABLE, Desk
from invoices.extraction.looks import Looks
from invoices.extraction.pacing import CALLS, Pacing, VendorStopped
from invoices.extraction.queue import Queue
from invoices.ledger.documents import Pending
from invoices.ledger.extractions import Job, remote_ids
from invoices.model import document_sha256

EXTRACTOR = "smartbills_com"
VENDOR = "smartbills.com"
CONFIGURATION = "1"  # raised when a submission asks for something else
LARGEST_BYTES = 10 * 1024 * 1024  # sheet 01 §8
PLANS = {  # sheet 01 §5: both windows apply at once, every route uses them
    "free": (Window(10, 60), Window(100, 3600)),
    "pro": (Window(100, 60), Window(1_000, 3600)),
    "enterprise": (Window(1_000, 60), Window(10_000, 3600)),
}
ODDITIES_TO_STOP = 5  # in a row
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


class SmartBillsExtraction:
    """Asks smartbills.com about documents until each is answered, set aside, or has to wait for a later run."""

    def __init__(
        self,
        desk: Desk,
        client: Client,
        budget: Budget,
        *,
        repeat_after_unknown: bool = True,
        deadline_minutes: float = 30,
        connections: int = 1,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """Take what is needed; nothing is asked yet."""
        self.desk, self._client, self._budget = desk, client, budget
        self.pacing = Pacing(VENDOR, {CALLS: budget}, sleep)
        self._repeat_after_unknown = repeat_after_unknown
        self._deadline = dt.timedelta(minutes=deadline_minutes * budget.scale)
        self._crew, self._lock = Crew(connections), threading.RLock()
        self._looks = Looks(budget)
        self._oddities = 0  # answers in a row that were not understood
        self._queue = Queue(desk)

    def ask(self, documents: Sequence[Pending], done: Callable[[int], None] = lambda _: None) -> None:
        """Ask about the documents; ``done`` is told how many were just concluded.

        Raises:
            VendorStopped: the vendor has to be left alone for the rest of this run; what waits has been written.
        """
        self._queue.fill(documents, done)
        self._looks = Looks(self._budget)
        try:
            self._crew.work(self)
        except VendorStopped as stop:
            self._queue.leave_waiting(stop)
            raise

    # The plan

    def next(self) -> Action | float | None:
        """Return the look that is due, else the next submission, else how long until a look is due."""
        with self._lock:
            wait = self._looks.wait() if self._looks else None
            if wait == 0:
                return partial(self._look, *self._looks.pop())
            document = self._queue.take()
            return partial(self._queue.one, document, self._start) if document is not None else wait

    def abandon(self) -> None:
        """Let nobody sleep or call any more."""
        self.pacing.halt()

    def _start(self, document: Pending) -> None:
        """Bring a document to where its job can be looked at, or set it aside."""
        job = self.desk.job(document.document_sha256)
        if job is not None and job.status == "submitted":
            self._plan(job, at_once=True)
        elif job is not None and job.status in ("intended", "unknown"):
            self._recover(document, job)
        else:
            self._submit(document, is_repeat=False)

    def _plan(self, job: Job, looks: int = 0, *, at_once: bool = False) -> None:
        with self._lock:
            self._looks.add(job, looks, at_once=at_once)

    # Submitting

    def _submit(self, document: Pending, *, is_repeat: bool) -> None:
        content = self.desk.content(document, LARGEST_BYTES)
        if content is None:
            self._queue.concluded(document.document_sha256)
            return
        extraction = self.desk.extraction_id(document.document_sha256)
        try:
            submitted = self.pacing.call(partial(self._send, document, content, is_repeat=is_repeat))
        except UnknownOutcome as error:
            self.desk.unknown(extraction, str(error))
            self._recover(document, self._known(document.document_sha256))
        except DocumentError as error:
            self._failed(document.document_sha256, error.reason_code, str(error))
        except ContractError as error:  # a clear answer, and not one of success: nothing was charged
            self.desk.refused(extraction, str(error))
            self._changed(error)
        else:
            self._heard(submitted.limits)
            self._adopt(document, extraction, submitted.id, at_once=False)

    def _send(self, document: Pending, content: bytes, *, is_repeat: bool) -> SubmittedJob:
        """Commit the intent and submit at once; what is refused is written before anybody waits for the next try."""
        intent = self.desk.intend(document, is_repeat=is_repeat)
        file_name = f"{document.document_sha256}.{READABLE[document.media_type]}"
        intent.check()
        try:
            return self._client.submit(content, file_name, document.media_type)
        except (TransientError, AccountError) as error:
            self.desk.refused(intent.extraction_id, str(error))
            raise

    def _adopt(self, document: Pending, extraction: str, remote_id: str, *, at_once: bool) -> None:
        """Write the vendor's id of a submission, before anything else happens, and plan to look at it."""
        self.desk.submitted(extraction, document.document_sha256, remote_id, self.desk.pages(document))
        self._plan(self._known(document.document_sha256), at_once=at_once)

    # After an unknown outcome

    def _recover(self, document: Pending, job: Job) -> None:
        """Find out whether a submission arrived; adopt it, repeat it once, or leave it to a person."""
        try:
            found = self._find_submitted(job)
            why = "its list does not show it"
        except ContractError as error:
            found, why = None, f"its list cannot be used: {error}"
        if found is not None:
            self._adopt(document, job.extraction_id, found, at_once=True)
        elif self._repeat_after_unknown and not job.possible_double_charge:
            self._submit(document, is_repeat=True)
        else:
            reason = f"Submitted to {VENDOR}; whether it arrived is unknown ({why}), and it is not repeated by itself."
            self.desk.give_to_person(job.document_sha256, "outcome_unknown", reason)
            self._queue.concluded(job.document_sha256)

    def _find_submitted(self, job: Job) -> str | None:
        """Return the vendor's id of the job that holds exactly this document's bytes, if its list shows one."""
        listed = {summary.id: summary for summary in self.pacing.call(self._client.jobs)}
        with self.desk.ledger.reading() as connection:
            claimed = remote_ids(connection, EXTRACTOR, listed)
        for remote_id, summary in listed.items():
            is_older = summary.created_at is not None and summary.created_at < job.requested_at - LOOKUP_SLACK
            if remote_id not in claimed and not is_older and summary.file_url:
                held = self.pacing.call(partial(self._client.file, summary.file_url))
                if document_sha256(held) == job.document_sha256:
                    return remote_id
        return None

    # Looking

    def _look(self, job: Job, looks: int) -> None:
        """Look at a job, and plan the next look if it is not over."""
        try:
            remote = self.pacing.call(partial(self._client.job, job.remote_id or ""))
        except TransientError:
            is_over = False
        except (ContractError, DocumentError) as error:
            is_over = self._give_up(job, error)
        else:
            self._oddities = 0
            self._heard(remote.limits)
            is_over = self._conclude(job, remote)
        if not is_over:
            self._plan(job, looks + 1)

    def _give_up(self, job: Job, error: ContractError | DocumentError) -> bool:
        """Set a job aside that the vendor no longer knows; an answer that is only not understood is asked for again.

        Raises:
            VendorStopped: several answers in a row were not understood: the vendor changed.
        """
        is_odd = isinstance(error, ContractError) and not isinstance(error, NotFound) and not self._is_overdue(job)
        if not is_odd:
            self._failed(job.document_sha256, "extraction_lost", f"{VENDOR} does not tell about the job: {error}")
            return True
        self._oddities += 1
        if self._oddities >= ODDITIES_TO_STOP:
            self._changed(error)
        return False

    def _is_overdue(self, job: Job) -> bool:
        return job.submitted_at is not None and dt.datetime.now(dt.UTC) - job.submitted_at > self._deadline

    def _conclude(self, job: Job, remote: RemoteJob) -> bool:
        """Write an answer, a failure or the end of patience; return False when the job has to be looked at again."""
        if remote.status == "completed":
            self.desk.answered(job, remote.extracted_data or {})
            self._queue.concluded(job.document_sha256)
        elif remote.status == "failed":
            said = remote.error_message or remote.error_code or "no reason given"
            self._failed(job.document_sha256, "extraction_failed", f"{VENDOR} could not read it: {said}")
        elif self._is_overdue(job):
            self._failed(job.document_sha256, "extraction_stuck", f"{VENDOR} still says {remote.status!r}.")
        else:
            return False
        return True

    def _heard(self, limits: RateLimit | None) -> None:
        """Stop before the wall: when the vendor says that nothing is left, keep quiet until its window ends."""
        if limits is not None and limits.remaining == 0 and limits.reset_at is not None:
            self.pacing.block((limits.reset_at - dt.datetime.now(dt.UTC)).total_seconds())

    # Writing

    def _known(self, document: str) -> Job:
        job = self.desk.job(document)
        if job is None:
            raise LookupError(document)
        return job

    def _failed(self, document: str, reason_code: str, reason: str) -> None:
        self.desk.failed(document, reason_code, reason)
        self._queue.concluded(document)

    def _changed(self, error: ContractError | DocumentError) -> NoReturn:
        self.pacing.stop("contract_changed", f"{VENDOR} answers differently: {error}", is_problem=True)
