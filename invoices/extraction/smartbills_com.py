"""Extraction with smartbills.com: one job per document, an intent before each submission, polls within the rate limit.

The API has no idempotency key (contract sheet 01 §6). A submission with an unknown outcome is first looked up in the
vendor's job list and identified by its bytes. If it is not found, it is repeated once and flagged.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NoReturn, Protocol

from invoices.clients.error_mapping import NotFound
from invoices.clients.smartbills_com import RemoteJob, SubmittedJob
from invoices.errors import AccountError, ContractError, DocumentError, TransientError, UnknownOutcome
from invoices.extraction import smartbills_com_lookup
from invoices.extraction.answer_adoption import FetchedAnswer, fetch_smartbills_answer
from invoices.extraction.document_queue import DocumentQueue
from invoices.extraction.extraction_recorder import SUFFIX_BY_MEDIA_TYPE, ExtractionRecorder, to_exact_json
from invoices.extraction.resilience.contract_drift import ContractDriftDetector
from invoices.extraction.resilience.poll_schedule import FIRST_POLL_SECONDS, PollSchedule
from invoices.extraction.resilience.rate_limit import RateLimiter, RateWindow
from invoices.extraction.resilience.retry import ALL_ROUTES, RetryingCaller, VendorSuspended
from invoices.extraction.resilience.worker_pool import Action, WorkerPool
from invoices.extraction.smartbills_com_lookup import UnrecordedJobIndex, find_submitted_job_id
from invoices.extraction.unrecorded_submissions import may_lack_submission
from invoices.ledger.documents import PendingDocument
from invoices.ledger.extractions import ExtractionJob

EXTRACTOR = "smartbills_com"
VENDOR = "smartbills.com"
CONFIGURATION = "1"  # raised when a submission asks for something else
MAX_BYTES = 10 * 1024 * 1024  # sheet 01 §8
RATE_WINDOWS_BY_PLAN = {  # sheet 01 §5: both windows apply at once, every route uses them
    "free": (RateWindow(10, 60), RateWindow(100, 3600)),
    "pro": (RateWindow(100, 60), RateWindow(1_000, 3600)),
    "enterprise": (RateWindow(1_000, 60), RateWindow(10_000, 3600)),
}


class SmartBillsApi(smartbills_com_lookup.SmartBillsLookupApi, Protocol):
    """The calls that extraction needs."""

    def submit_document(self, content: bytes, file_name: str, media_type: str) -> SubmittedJob:
        """Submit one document."""
        ...

    def poll_job(self, job_id: str) -> RemoteJob:
        """Return the state of a job."""
        ...


@dataclass(frozen=True, slots=True)
class _UnansweredPoll:
    """A job whose poll failed despite retries, and the number of the vendor's readable responses before that."""

    job: ExtractionJob
    error_message: str
    readable_responses_before: int


class SmartBillsExtractor:
    """Extracts documents with smartbills.com until each is answered, quarantined, or deferred to a later run."""

    def __init__(
        self,
        recorder: ExtractionRecorder,
        client: SmartBillsApi,
        rate_limiter: RateLimiter,
        *,
        repeat_after_unknown: bool = True,
        deadline_minutes: float = 30,
        connections: int = 1,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """Set up extraction; no call is made yet."""
        self.recorder, self._client, self._rate_limiter = recorder, client, rate_limiter
        self.caller = RetryingCaller(VENDOR, {ALL_ROUTES: rate_limiter}, sleep)
        self._repeat_after_unknown = repeat_after_unknown
        self._deadline = dt.timedelta(minutes=deadline_minutes * rate_limiter.time_scale)
        self._worker_pool, self._lock = WorkerPool(connections), threading.RLock()
        self._poll_schedule, self._unanswered_polls = PollSchedule(rate_limiter), list[_UnansweredPoll]()
        self._drift_detector = ContractDriftDetector()
        self._document_queue = DocumentQueue(recorder)
        self._unrecorded_jobs = UnrecordedJobIndex(self.caller, client, recorder.ledger, recorder.extractor)

    def extract_documents(
        self, documents: Sequence[PendingDocument], on_progress: Callable[[int], None] = lambda _: None
    ) -> None:
        """Extract the documents; ``on_progress`` receives the number of documents just concluded.

        Raises:
            VendorSuspended: the vendor must not be called again in this run; the waiting documents are recorded.
        """
        self._document_queue.set_documents(documents, on_progress)
        self._poll_schedule, self._unanswered_polls = PollSchedule(self._rate_limiter), []
        try:
            self._worker_pool.run_until_done(self)
        except VendorSuspended as suspension:
            self._document_queue.defer_all_documents(suspension)
            raise
        for unanswered_poll in self._unanswered_polls:
            self._defer_or_quarantine_unanswered_job(unanswered_poll)

    # What to do next

    def find_next_action_or_wait(self) -> Action | float | None:
        """Return the poll that is due, else the next submission, else the seconds until a poll is due."""
        with self._lock:
            wait_seconds = self._poll_schedule.get_seconds_until_next_poll() if self._poll_schedule else None
            if wait_seconds == 0:
                job, poll_count = self._poll_schedule.pop_next_job()
                poll = partial(self._poll_job, job, poll_count)
                return partial(self._document_queue.run_or_defer_document, job.document_sha256, poll)
            document = self._document_queue.take_next_document()
            return (
                partial(self._document_queue.start_or_defer_document, document, self._submit_or_resume_document)
                if document is not None
                else wait_seconds
            )

    def stop_running_actions(self) -> None:
        """Stop all waits and calls."""
        self.caller.stop_all_calls()

    def _submit_or_resume_document(self, document: PendingDocument) -> None:
        """Submit a document, or continue with the job that an earlier run left open."""
        job = self.recorder.find_latest_job(document.document_sha256)
        if job is not None and job.status == "submitted":
            self._schedule_poll(job, is_due_now=True)
        elif job is not None and job.status in ("intended", "unknown"):
            self._recover_unknown_submission(document, job)
        elif may_lack_submission(self.recorder.ledger, document.document_sha256):
            self._adopt_or_submit_document(document)
        else:  # refused and flagged: released by a person, after a submission that may have been charged
            self._submit_document(document, is_repeat=job is not None and job.possible_double_charge)

    def _adopt_or_submit_document(self, document: PendingDocument) -> None:
        """Adopt the job that was submitted before the ledger was restored; submit the document if there is none."""
        try:
            remote_id = self._unrecorded_jobs.find_job_id(document.document_sha256)
        except ContractError:  # nobody can tell: it may be charged twice, and is flagged
            self._submit_document(document, is_repeat=True)
            return
        if remote_id is None:
            self._submit_document(document, is_repeat=False)
        else:
            intent = self.recorder.record_intent(document)
            self._record_submission_and_schedule_poll(document, intent.extraction_id, remote_id, is_due_now=True)

    def _schedule_poll(self, job: ExtractionJob, poll_count: int = 0, *, is_due_now: bool = False) -> None:
        with self._lock:
            self._poll_schedule.add_job(job, poll_count, is_due_now=is_due_now)

    # Submitting

    def _submit_document(self, document: PendingDocument, *, is_repeat: bool) -> None:
        content = self.recorder.read_content_or_quarantine(
            document, MAX_BYTES, possibly_charged_pages=self.recorder.count_billable_pages(document) * is_repeat
        )
        if content is None:
            self._document_queue.mark_concluded(document.document_sha256)
            return
        extraction_id = self.recorder.get_extraction_id(document.document_sha256)
        try:
            submitted_job = self.caller.send_with_retries(
                partial(self._record_intent_and_submit, document, content, is_repeat=is_repeat)
            )
        except UnknownOutcome as error:
            self.recorder.record_unknown_outcome(extraction_id, str(error))
            self._recover_unknown_submission(document, self._get_latest_job(document.document_sha256))
        except DocumentError as error:
            self._record_failure(document.document_sha256, error.reason_code, str(error))
        except ContractError as error:  # a clear refusal: nothing was charged
            self.recorder.record_refusal(extraction_id, str(error))
            self._suspend_for_contract_change(error)
        else:
            self._drift_detector.record_readable_response()
            self.caller.apply_reported_limit(submitted_job.rate_limit)
            self._record_submission_and_schedule_poll(document, extraction_id, submitted_job.id, is_due_now=False)

    def _record_intent_and_submit(self, document: PendingDocument, content: bytes, *, is_repeat: bool) -> SubmittedJob:
        """Commit the intent and submit at once; a refusal is recorded before the wait for the next attempt."""
        intent = self.recorder.record_intent(document, is_repeat=is_repeat)
        file_name = f"{document.document_sha256}.{SUFFIX_BY_MEDIA_TYPE[document.media_type]}"
        intent.require_fresh_claim()
        try:
            return self._client.submit_document(content, file_name, document.media_type)
        except (TransientError, AccountError) as error:
            self.recorder.record_refusal(intent.extraction_id, str(error))
            raise

    def _record_submission_and_schedule_poll(
        self, document: PendingDocument, extraction_id: str, remote_id: str, *, is_due_now: bool
    ) -> None:
        """Record the vendor's id of a submission before anything else, and schedule the first poll."""
        self.recorder.record_submission(
            extraction_id, document.document_sha256, remote_id, self.recorder.count_billable_pages(document)
        )
        self._schedule_poll(self._get_latest_job(document.document_sha256), is_due_now=is_due_now)

    def fetch_lost_answer(self, _document: PendingDocument, job: ExtractionJob, remote_id: str | None) -> FetchedAnswer:
        """Return the answer of a submission that was given up; raises AnswerNotAdoptable if there is none to adopt."""
        return fetch_smartbills_answer(self.caller, self._client, self.recorder.ledger, job, remote_id)

    # After an unknown outcome

    def _recover_unknown_submission(self, document: PendingDocument, job: ExtractionJob) -> None:
        """Find out whether a submission arrived; adopt it, repeat it once, or quarantine the document."""
        try:
            remote_id = find_submitted_job_id(self.caller, self._client, self.recorder.ledger, job)
            explanation = "it is not in the vendor's job list"
        except ContractError as error:
            remote_id, explanation = None, f"the vendor's job list cannot be used: {error}"
        if remote_id is not None:
            self._record_submission_and_schedule_poll(document, job.extraction_id, remote_id, is_due_now=True)
        elif self._repeat_after_unknown and not job.possible_double_charge:
            self._submit_document(document, is_repeat=True)
        else:
            reason = (
                f"Submitted to {VENDOR}, but it is unknown whether it arrived: {explanation}. "
                "It is not submitted again automatically."
            )
            self._record_quarantine_keeping_job_open(job, "outcome_unknown", reason)

    # Polling

    def _poll_job(self, job: ExtractionJob, poll_count: int) -> None:
        """Poll a job, and schedule the next poll if it is not over."""
        try:
            remote_job = self.caller.send_with_retries(
                partial(self._client.poll_job, job.remote_id or ""),
                repeats_unreadable=False,
                min_pause_seconds=FIRST_POLL_SECONDS,
            )
        except TransientError as error:
            with self._lock:
                self._unanswered_polls.append(_UnansweredPoll(job, str(error), self._drift_detector.readable_responses))
            return
        except ContractError as error:
            is_over = self._give_up_if_unreadable(job, error)
        else:
            self._drift_detector.record_readable_response(job.extraction_id)
            self.caller.apply_reported_limit(remote_job.rate_limit)
            is_over = self._record_outcome_if_over(job, remote_job)
        if not is_over:
            self._schedule_poll(job, poll_count + 1)

    def _give_up_if_unreadable(self, job: ExtractionJob, error: ContractError) -> bool:
        """Return True after giving up a job whose responses are unreadable, False if it should be polled again.

        A job that the vendor no longer has counts as failed. A job that exists but is never readable may be charged:
        a later run polls it again; after the deadline its document is quarantined, and the job stays open, so that no
        other extractor gets the document.

        Raises:
            VendorSuspended: several unreadable responses in a row: the vendor's API has changed.
        """
        decision = self._drift_detector.record_unreadable_response(
            job.extraction_id, is_overdue=self._is_job_overdue(job), is_gone=isinstance(error, NotFound)
        )
        if decision == "suspend vendor":
            self._suspend_for_contract_change(error)
        if decision == "poll again":
            return False
        reason = f"{VENDOR} gives no readable answer about job {job.remote_id!r}: {error}"
        if decision == "defer job":
            self._defer_job(job, "contract_changed", reason)
        elif isinstance(error, NotFound):
            self._record_failure(job.document_sha256, "extraction_lost", reason)
        else:
            self._record_quarantine_keeping_job_open(job, "extraction_lost", reason)
        return True

    def _defer_or_quarantine_unanswered_job(self, unanswered_poll: _UnansweredPoll) -> None:
        """Defer a job whose polls failed to a later run; quarantine it if overdue while other jobs were readable."""
        job = unanswered_poll.job
        reason = f"{VENDOR} did not answer about job {job.remote_id!r}: {unanswered_poll.error_message}"
        if (
            self._is_job_overdue(job)
            and self._drift_detector.readable_responses > unanswered_poll.readable_responses_before
        ):
            self._record_quarantine_keeping_job_open(job, "extraction_lost", reason)
            return
        self._defer_job(job, "vendor_unavailable", reason)

    def _defer_job(self, job: ExtractionJob, reason_code: str, reason: str) -> None:
        """Leave a job to a later run, and report a problem."""
        self.recorder.record_waiting_reason([job.document_sha256], reason_code, reason)
        self.recorder.report.problems.append(f"document {job.document_sha256[:12]}: {reason}")
        self._document_queue.mark_concluded(job.document_sha256)

    def _is_job_overdue(self, job: ExtractionJob) -> bool:
        return job.submitted_at is not None and dt.datetime.now(dt.UTC) - job.submitted_at > self._deadline

    def _record_outcome_if_over(self, job: ExtractionJob, remote_job: RemoteJob) -> bool:
        """Record an answer, a failure or a missed deadline; return False when the job must be polled again."""
        if remote_job.status == "completed":
            extracted_data = {} if remote_job.extracted_data is None else remote_job.extracted_data
            payload = to_exact_json(extracted_data) if isinstance(extracted_data, str) else extracted_data
            self.recorder.record_answer(job, payload)
            self._document_queue.mark_concluded(job.document_sha256)
        elif remote_job.status == "failed":
            vendor_message = remote_job.error_message or remote_job.error_code or "no reason given"
            self._record_failure(
                job.document_sha256, "extraction_failed", f"{VENDOR} could not read it: {vendor_message}"
            )
        elif self._is_job_overdue(job):
            self._record_failure(
                job.document_sha256,
                "extraction_stuck",
                f"{VENDOR} still reports the status {remote_job.status!r} after the deadline.",
            )
        else:
            return False
        return True

    # Recording

    def _get_latest_job(self, document_sha256: str) -> ExtractionJob:
        job = self.recorder.find_latest_job(document_sha256)
        if job is None:
            raise LookupError(document_sha256)
        return job

    def _record_failure(self, document_sha256: str, reason_code: str, reason: str) -> None:
        self.recorder.record_failure(document_sha256, reason_code, reason)
        self._document_queue.mark_concluded(document_sha256)

    def _record_quarantine_keeping_job_open(self, job: ExtractionJob, reason_code: str, reason: str) -> None:
        self.recorder.record_quarantine_keeping_job_open(job.document_sha256, reason_code, reason)
        self._document_queue.mark_concluded(job.document_sha256)

    def _suspend_for_contract_change(self, error: ContractError) -> NoReturn:
        self.caller.suspend_vendor(
            "contract_changed", f"{VENDOR} no longer answers as documented: {error}", is_problem=True
        )
