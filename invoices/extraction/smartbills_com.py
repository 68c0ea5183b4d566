"""Asking smartbills.com: the intent before each submission, looks planned from the budget, answers kept as they came.

The API has no idempotency key (contract sheet 01 §6). A submission whose outcome is unknown is first looked up in the
vendor's list and proved by the bytes it holds; only if that is impossible is it repeated, once, and flagged.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NoReturn, Protocol

from invoices.clients.classification import NotFound
from invoices.clients.smartbills_com import Job as RemoteJob
from invoices.clients.smartbills_com import SubmittedJob
from invoices.errors import AccountError, ContractError, DocumentError, TransientError, UnknownOutcome
from invoices.extraction import smartbills_com_lookup
from invoices.extraction.desk import READABLE, Desk
from invoices.extraction.patience.budget import Budget, Window
from invoices.extraction.patience.crew import Action, Crew
from invoices.extraction.patience.looks import Looks
from invoices.extraction.patience.oddities import Oddities
from invoices.extraction.patience.pacing import CALLS, Pacing, VendorStopped
from invoices.extraction.queue import Queue
from invoices.extraction.smartbills_com_lookup import find_submitted
from invoices.ledger.documents import Pending
from invoices.ledger.extractions import Job

EXTRACTOR = "smartbills_com"
VENDOR = "smartbills.com"
CONFIGURATION = "1"  # raised when a submission asks for something else
LARGEST_BYTES = 10 * 1024 * 1024  # sheet 01 §8
PLANS = {  # sheet 01 §5: both windows apply at once, every route uses them
    "free": (Window(10, 60), Window(100, 3600)),
    "pro": (Window(100, 60), Window(1_000, 3600)),
    "enterprise": (Window(1_000, 60), Window(10_000, 3600)),
}


class Client(smartbills_com_lookup.Client, Protocol):
    """What is spoken with the vendor."""

    def submit(self, content: bytes, file_name: str, media_type: str) -> SubmittedJob:
        """Submit one document."""
        ...

    def job(self, job_id: str) -> RemoteJob:
        """Return a job's state."""
        ...


@dataclass(frozen=True, slots=True)
class _Silence:
    """A job that could not be looked at although it was tried often; ``answers`` had been understood until then."""

    job: Job
    why: str
    answers: int


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
        self._looks, self._silences = Looks(budget), list[_Silence]()
        self._oddities = Oddities()
        self._queue = Queue(desk)

    def ask(self, documents: Sequence[Pending], done: Callable[[int], None] = lambda _: None) -> None:
        """Ask about the documents; ``done`` is told how many were just concluded.

        Raises:
            VendorStopped: the vendor has to be left alone for the rest of this run; what waits has been written.
        """
        self._queue.fill(documents, done)
        self._looks, self._silences = Looks(self._budget), []
        try:
            self._crew.work(self)
        except VendorStopped as stop:
            self._queue.leave_waiting(stop)
            raise
        for silence in self._silences:
            self._put_off(silence)

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
        content = self.desk.content(document, LARGEST_BYTES, may_have_cost=self.desk.pages(document) * is_repeat)
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
            self._oddities.understood()
            self.pacing.heard(submitted.limits)
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
            found = find_submitted(self.pacing, self._client, self.desk.ledger, job)
            why = "its list does not show it"
        except ContractError as error:
            found, why = None, f"its list cannot be used: {error}"
        if found is not None:
            self._adopt(document, job.extraction_id, found, at_once=True)
        elif self._repeat_after_unknown and not job.possible_double_charge:
            self._submit(document, is_repeat=True)
        else:
            reason = f"Submitted to {VENDOR}; whether it arrived is unknown ({why}), and it is not repeated by itself."
            self._give_to_person(job, "outcome_unknown", reason)

    # Looking

    def _look(self, job: Job, looks: int) -> None:
        """Look at a job, and plan the next look if it is not over."""
        try:
            remote = self.pacing.call(partial(self._client.job, job.remote_id or ""))
        except TransientError as error:
            with self._lock:
                self._silences.append(_Silence(job, str(error), self._oddities.answers))
            return
        except ContractError as error:
            is_over = self._give_up(job, error)
        else:
            self._oddities.understood()
            self.pacing.heard(remote.limits)
            is_over = self._conclude(job, remote)
        if not is_over:
            self._plan(job, looks + 1)

    def _give_up(self, job: Job, error: ContractError) -> bool:
        """Return whether to look no more at a job that the vendor was not understood about.

        What it does not know any more has failed. An answer that is there, paid for, and never readable goes to a
        person, with the question left open: nobody else is asked.

        Raises:
            VendorStopped: several answers in a row were not understood: the vendor changed.
        """
        verdict = self._oddities.odd(job.extraction_id, is_overdue=self._is_overdue(job))
        if verdict == "stop the vendor":
            self._changed(error)
        if verdict == "look again":
            return False
        reason = f"{VENDOR} does not tell about the job {job.remote_id}: {error}"
        if isinstance(error, NotFound):
            self._failed(job.document_sha256, "extraction_lost", reason)
        else:
            self._give_to_person(job, "extraction_lost", reason)
        return True

    def _put_off(self, silence: _Silence) -> None:
        """Leave a job that could not be looked at to a later run; to a person where only that job keeps failing."""
        job, reason = silence.job, f"{VENDOR} did not tell about the job {silence.job.remote_id}: {silence.why}"
        if self._is_overdue(job) and self._oddities.answers > silence.answers:
            self._give_to_person(job, "extraction_lost", reason)
            return
        self.desk.leave_waiting([job.document_sha256], "vendor_unavailable", reason)
        self.desk.asked.problems.append(f"document {job.document_sha256[:12]}: {reason}")
        self._queue.concluded(job.document_sha256)

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

    # Writing

    def _known(self, document: str) -> Job:
        job = self.desk.job(document)
        if job is None:
            raise LookupError(document)
        return job

    def _failed(self, document: str, reason_code: str, reason: str) -> None:
        self.desk.failed(document, reason_code, reason)
        self._queue.concluded(document)

    def _give_to_person(self, job: Job, reason_code: str, reason: str) -> None:
        self.desk.give_to_person(job.document_sha256, reason_code, reason)
        self._queue.concluded(job.document_sha256)

    def _changed(self, error: ContractError) -> NoReturn:
        self.pacing.stop("contract_changed", f"{VENDOR} answers differently: {error}", is_problem=True)
