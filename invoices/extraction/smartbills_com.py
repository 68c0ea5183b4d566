"""Asking smartbills.com: the intent before each submission, looks planned from the budget, answers kept as they came.

The API has no idempotency key (contract sheet 01 §6). A submission whose outcome is unknown is first looked up in the
vendor's list and proved by the bytes it holds; only if that is impossible is it repeated, once, and flagged.
"""

from __future__ import annotations

import datetime as dt
import heapq
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from invoices.clients.classification import NotFound
from invoices.clients.smartbills_com import Job as RemoteJob
from invoices.clients.smartbills_com import JobSummary, RateLimit, SubmittedJob
from invoices.documents.store import DocumentStore
from invoices.errors import AccountError, ContractError, DocumentError, TransientError, UnknownOutcome
from invoices.extraction.budget import Budget, Window
from invoices.ledger import Ledger
from invoices.ledger.documents import Pending, settle
from invoices.ledger.extractions import Job, advance, intend, jobs_of, remote_ids
from invoices.model import document_sha256, extraction_id

EXTRACTOR = "smartbills_com"
CONFIGURATION = "1"
SUFFIXES = {"application/pdf": "pdf", "image/png": "png", "image/jpeg": "jpg"}  # sheet 01 §2.1
LARGEST_BYTES = 10 * 1024 * 1024  # sheet 01 §8
PLANS = {  # sheet 01 §5: both windows apply at once, every route uses them
    "free": (Window(10, 60), Window(100, 3600)),
    "pro": (Window(100, 60), Window(1_000, 3600)),
    "enterprise": (Window(1_000, 60), Window(10_000, 3600)),
}
LOOK_AFTER = (5.0, 5.0, 10.0, 20.0, 30.0)  # seconds, the last one for ever (sheet 01 §3)
FAILURES_TO_STOP = 5  # in a row: then the vendor is left alone until the next run
LOOKUP_SLACK = dt.timedelta(minutes=10)


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


class _Stop(Exception):
    """Leave the vendor alone for the rest of this run; the documents keep waiting with this reason."""

    def __init__(self, reason_code: str, reason: str, *, is_problem: bool) -> None:
        super().__init__(reason)
        self.reason_code, self.reason, self.is_problem = reason_code, reason, is_problem


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
        self._ledger, self._store, self._client, self._budget = ledger, store, client, budget
        self._repeat_after_unknown = repeat_after_unknown
        self._deadline = dt.timedelta(minutes=deadline_minutes * budget.scale)
        self._sleep = sleep
        self._failures = 0
        self._looks: list[tuple[float, int, int, Job]] = []  # due, tie-breaker, looks so far, job

    def ask(self, documents: Sequence[Pending], asked: Asked, done: Callable[[], None] = lambda: None) -> bool:
        """Ask about the documents; return False when the vendor has to be left alone for the rest of this run."""
        todo = list(reversed(documents))
        try:
            while todo or self._looks:
                if self._looks and (not todo or self._looks[0][0] <= time.monotonic()):
                    self._look(asked, done)
                else:
                    document = todo[-1]
                    if not self._start(document, asked):
                        done()
                    todo.pop()
        except _Stop as stop:
            if stop.is_problem:
                asked.problems.append(stop.reason)
            self._leave_waiting((d.document_sha256 for d in todo), stop)
            self._leave_waiting((job.document_sha256 for _, _, _, job in self._looks), stop)
            self._looks.clear()
            return False
        return True

    # Starting

    def _start(self, document: Pending, asked: Asked) -> bool:
        """Bring a document to where its job can be looked at; return whether there is a job to look at."""
        with self._ledger.reading() as connection:
            jobs = jobs_of(connection, document.document_sha256, EXTRACTOR)
        job = jobs[-1] if jobs else None
        if job is not None and job.status == "submitted":
            self._plan_look(job, 0, 0.0)
            return True
        if job is not None and job.status in ("intended", "unknown"):
            return self._recover(document, job, asked)
        if job is not None:
            return self._submit(document, job.generation, asked, is_repeat=job.possible_double_charge, known=True)
        return self._submit(document, 1, asked, is_repeat=False, known=False)

    def _submit(self, document: Pending, generation: int, asked: Asked, *, is_repeat: bool, known: bool) -> bool:
        content = self._readable(document, asked)
        if content is None:
            return False
        self._await_turn()
        extraction = extraction_id(document.document_sha256, EXTRACTOR, CONFIGURATION, generation)
        with self._ledger.transaction() as tx:
            if not known:
                intend(tx, extraction, document.document_sha256, EXTRACTOR, generation)
            advance(tx, extraction, "intended", possible_double_charge=is_repeat)  # from here on it may have arrived
        file_name = f"{document.document_sha256}.{SUFFIXES[document.media_type]}"
        try:
            self._budget.spend()
            submitted = self._client.submit(content, file_name, document.media_type)
        except UnknownOutcome as error:
            self._write(extraction, "unknown", message=str(error))
            return self._recover(document, self._job(document), asked)
        except (TransientError, AccountError) as error:
            self._write(extraction, "refused", message=str(error))
            self._heed(error)
            return self._submit(document, generation, asked, is_repeat=is_repeat, known=True)
        except DocumentError as error:
            self._set_aside(self._job(document), error.reason_code, str(error), asked)
            return False
        except ContractError as error:  # a clear answer, and not one of success: nothing was charged
            self._write(extraction, "refused", message=str(error))
            raise _Stop("contract_changed", f"smartbills.com answers differently: {error}", is_problem=True) from error
        self._heard(submitted.limits)
        asked.calls += 1
        asked.pages += 1
        with self._ledger.transaction() as tx:
            self._mark_submitted(tx, extraction, document.document_sha256, submitted.id)
        self._plan_look(self._job(document), 0, self._first_look())
        return True

    def _readable(self, document: Pending, asked: Asked) -> bytes | None:
        """Return the bytes, or None after setting aside what the vendor does not take or the store does not have."""
        try:
            content = self._store.read(document.document_sha256)
        except DocumentError as error:
            reason_code, reason = error.reason_code, str(error)
        else:
            if document.media_type in SUFFIXES and len(content) <= LARGEST_BYTES:
                return content
            reason_code = "extractor_cannot_read"
            reason = (
                f"smartbills.com reads PDF, PNG and JPEG of up to 10 MB; this is {document.media_type} "
                f"with {len(content):,} bytes."
            )
        with self._ledger.transaction() as tx:
            settle(
                tx, document.document_sha256, stage="done", state="quarantined", reason_code=reason_code, reason=reason
            )
        asked.set_aside += 1
        return None

    # After an unknown outcome

    def _recover(self, document: Pending, job: Job, asked: Asked) -> bool:
        """Find out whether a submission arrived; adopt it, repeat it once, or leave it to a person."""
        try:
            found = self._patiently_find_submitted(job)
        except ContractError as error:
            found, why = None, f"the vendor's list cannot be used: {error}"
        else:
            why = "the vendor's list does not show it"
        if found is not None:
            with self._ledger.transaction() as tx:
                self._mark_submitted(tx, job.extraction_id, job.document_sha256, found)
            asked.calls += 1
            asked.pages += 1
            self._plan_look(self._job(document), 0, 0.0)
            return True
        if self._repeat_after_unknown and not job.possible_double_charge:
            return self._submit(document, job.generation, asked, is_repeat=True, known=True)
        reason = (
            f"Submitted to smartbills.com, but whether it arrived is unknown ({why}); it is not repeated by itself."
        )
        asked.problems.append(f"document {job.document_sha256[:12]}: {reason}")
        with self._ledger.transaction() as tx:
            settle(
                tx, job.document_sha256, stage="done", state="quarantined", reason_code="outcome_unknown", reason=reason
            )
        asked.set_aside += 1
        return False

    def _patiently_find_submitted(self, job: Job) -> str | None:
        while True:
            try:
                return self._find_submitted(job)
            except (TransientError, AccountError) as error:
                self._heed(error)

    def _find_submitted(self, job: Job) -> str | None:
        """Return the vendor's id of the job that holds exactly this document's bytes, if its list shows one."""
        earliest = job.requested_at - LOOKUP_SLACK
        for summary in self._unclaimed():
            if (summary.created_at is not None and summary.created_at < earliest) or not summary.file_url:
                continue
            self._await_turn()
            self._budget.spend()
            if document_sha256(self._client.file(summary.file_url)) == job.document_sha256:
                return summary.id
        return None

    def _unclaimed(self) -> list[JobSummary]:
        self._await_turn()
        self._budget.spend()
        listed = {summary.id: summary for summary in self._client.jobs()}
        with self._ledger.reading() as connection:
            claimed = remote_ids(connection, EXTRACTOR, listed)
        return [summary for remote_id, summary in listed.items() if remote_id not in claimed]

    # Looking

    def _look(self, asked: Asked, done: Callable[[], None]) -> None:
        """Look at the job that is due next."""
        due = self._looks[0][0]
        if (pause := due - time.monotonic()) > 0:
            self._sleep(pause)
        self._await_turn()
        _, _, looks, job = self._looks[0]
        self._budget.spend()
        try:
            remote = self._client.job(job.remote_id or "")
        except (TransientError, AccountError) as error:
            self._heed(error)
            return
        except (ContractError, DocumentError) as error:
            if self._is_odd(job, error):
                heapq.heapreplace(self._looks, self._look_at(job, looks + 1, self._delay(looks + 1)))
                return
            heapq.heappop(self._looks)
            self._set_aside(job, "extraction_lost", f"smartbills.com does not tell about the job: {error}", asked)
            done()
            return
        heapq.heappop(self._looks)
        self._heard(remote.limits)
        if not self._conclude(job, remote, asked):
            self._plan_look(job, looks + 1, self._delay(looks + 1))
            return
        done()

    def _is_odd(self, job: Job, error: ContractError | DocumentError) -> bool:
        """Whether an answer about a paid job is only not understood, so that it is asked for again until the deadline.

        Several in a row mean that the vendor changed; then everything waits for a person.
        """
        if not isinstance(error, ContractError) or isinstance(error, NotFound) or self._is_overdue(job):
            return False
        self._failures += 1
        if self._failures >= FAILURES_TO_STOP:
            raise _Stop("contract_changed", f"smartbills.com answers differently: {error}", is_problem=True) from error
        return True

    def _is_overdue(self, job: Job) -> bool:
        return job.submitted_at is not None and dt.datetime.now(dt.UTC) - job.submitted_at > self._deadline

    def _conclude(self, job: Job, remote: RemoteJob, asked: Asked) -> bool:
        if remote.status == "completed":
            self._answer(job, remote.extracted_data)
            asked.answered += 1
        elif remote.status == "failed":
            text = remote.error_message or remote.error_code or "no reason given"
            self._set_aside(job, "extraction_failed", f"smartbills.com could not read it: {text}", asked)
        elif self._is_overdue(job):
            self._set_aside(job, "extraction_stuck", f"smartbills.com still says {remote.status!r}.", asked)
        else:
            return False
        return True

    def _answer(self, job: Job, data: dict[str, Any] | None) -> None:
        with self._ledger.transaction() as tx:
            advance(tx, job.extraction_id, "answered", payload=_as_json(data or {}), answered_at=tx.at)
            settle(
                tx, job.document_sha256, stage="judge", state="waiting", reason_code="answered",
                reason="Answered by smartbills.com; not judged yet.",
            )  # fmt: skip

    # Patience

    def _await_turn(self) -> None:
        """Sleep until the budget allows a call; a wait beyond patience ends the vendor's part of this run."""
        pause = self._budget.wait()
        if pause > self._budget.patience:
            raise _Stop(
                "rate_limited", f"smartbills.com: the plan's limit is used up for {pause:.0f} s.", is_problem=False
            )
        if pause > 0:
            self._sleep(pause)

    def _heed(self, error: TransientError | AccountError) -> None:
        """Wait as the vendor asks, or stop: at once for money and keys, else after several failures in a row."""
        if isinstance(error, AccountError):
            raise _Stop("account_stopped", f"smartbills.com refuses the account: {error}", is_problem=True) from error
        self._failures += 1
        if self._failures >= FAILURES_TO_STOP:
            raise _Stop("vendor_unavailable", f"smartbills.com is not available: {error}", is_problem=True) from error
        if error.retry_after is not None:
            self._budget.block(error.retry_after)
        else:
            self._budget.block(min(2.0 ** (self._failures - 1), 32.0) * self._budget.scale)

    def _heard(self, limits: RateLimit | None) -> None:
        self._failures = 0
        if limits is not None and limits.remaining == 0 and limits.reset_at is not None:
            self._budget.block((limits.reset_at - dt.datetime.now(dt.UTC)).total_seconds())

    def _first_look(self) -> float:
        return max(LOOK_AFTER[0] * self._budget.scale, self._budget.stretch(len(self._looks) + 1))

    def _delay(self, looks: int) -> float:
        planned = LOOK_AFTER[min(looks, len(LOOK_AFTER) - 1)] * self._budget.scale
        return max(planned, self._budget.stretch(len(self._looks) + 1))

    def _plan_look(self, job: Job, looks: int, delay: float) -> None:
        heapq.heappush(self._looks, self._look_at(job, looks, delay))

    def _look_at(self, job: Job, looks: int, delay: float) -> tuple[float, int, int, Job]:
        return time.monotonic() + delay, id(job), looks, job

    # Writing

    def _job(self, document: Pending) -> Job:
        with self._ledger.reading() as connection:
            return jobs_of(connection, document.document_sha256, EXTRACTOR)[-1]

    def _write(self, extraction: str, status: Any, **values: Any) -> None:
        with self._ledger.transaction() as tx:
            advance(tx, extraction, status, **values)

    def _mark_submitted(self, tx: Any, extraction: str, document: str, remote_id: str) -> None:
        advance(tx, extraction, "submitted", remote_id=remote_id, submitted_at=tx.at, pages_charged=1)
        settle(
            tx, document, stage="ask", state="waiting", reason_code="submitted",
            reason="Submitted to smartbills.com; not answered yet.",
        )  # fmt: skip

    def _set_aside(self, job: Job, reason_code: str, reason: str, asked: Asked) -> None:
        with self._ledger.transaction() as tx:
            advance(tx, job.extraction_id, "failed", message=reason, answered_at=tx.at)
            settle(tx, job.document_sha256, stage="done", state="quarantined", reason_code=reason_code, reason=reason)
        asked.set_aside += 1

    def _leave_waiting(self, documents: Iterable[str], stop: _Stop) -> None:
        with self._ledger.transaction() as tx:
            for document in documents:
                settle(tx, document, stage="ask", state="waiting", reason_code=stop.reason_code, reason=stop.reason)


def _as_json(data: dict[str, Any]) -> str:
    """Return JSON in which every number stands as its exact decimal text."""

    def exact(value: object) -> str:
        if isinstance(value, Decimal):
            return str(value)
        raise TypeError(f"not JSON: {type(value).__name__}")

    return json.dumps(data, ensure_ascii=False, default=exact, allow_nan=False)
