"""Extraction with BillflowAI: one call per document, answered at once; a call that may be charged is repeated once.

The API has no idempotency key and no documented list (contract sheet 03 §2, §7). After a lost answer the call is
repeated once and flagged as a possible double charge; the vendor's cache may make it free. Documents are uploaded, or
the vendor fetches them from presigned URLs of ours. A document that it cannot fetch is uploaded.
"""

from __future__ import annotations

import datetime as dt
import heapq
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from invoices.clients.billflowai import ExtractionFailed, ExtractionResponse
from invoices.clients.presigned_urls import PresignedUrl, build_presigned_url
from invoices.errors import AccountError, ContractError, DocumentError, TransientError, UnknownOutcome
from invoices.extraction.answer_adoption import AnswerNotAdoptable, FetchedAnswer
from invoices.extraction.document_queue import DocumentQueue
from invoices.extraction.extraction_recorder import SUFFIX_BY_MEDIA_TYPE, ExtractionRecorder
from invoices.extraction.resilience.contract_drift import ContractDriftDetector
from invoices.extraction.resilience.rate_limit import RateLimiter
from invoices.extraction.resilience.retry import ALL_ROUTES, RetryingCaller, VendorSuspended
from invoices.extraction.resilience.worker_pool import Action, WorkerPool
from invoices.extraction.unrecorded_submissions import may_lack_submission
from invoices.ledger.documents import PendingDocument
from invoices.ledger.extractions import ExtractionJob

EXTRACTOR = "billflowai"
VENDOR = "BillflowAI"
CONFIGURATION = "1"  # raised when a call requests something else
MAX_BYTES = 20 * 1024 * 1024  # sheet 03 §6
RETRY_DELAY_SECONDS = 30.0  # before a document is submitted again (sheet 03 §4)
URL_LIFETIME = dt.timedelta(minutes=10)  # a little longer than the vendor needs for a document
FETCH_FAILURE_REASONS = {"fetch_failed", "url_refused"}  # the document is uploaded instead

UrlSigner = Callable[[str, str], PresignedUrl]  # from a document's hash and file suffix


def build_url_signer(base_url: str, secret: str) -> UrlSigner:
    """Return a function that builds presigned URLs, valid for ``URL_LIFETIME``.

    Raises:
        ConfigurationError: the vendor could not fetch from ``base_url``, or the secret is too short.
    """

    def sign_document_url(sha256: str, suffix: str) -> PresignedUrl:
        return build_presigned_url(base_url, secret, sha256, suffix, dt.datetime.now(dt.UTC) + URL_LIFETIME)

    sign_document_url("0" * 64, "pdf")  # checks the settings now
    return sign_document_url


class BillflowAiApi(Protocol):
    """The calls that extraction needs."""

    def extract_file(self, content: bytes, file_name: str, media_type: str) -> ExtractionResponse:
        """Upload a document and return its extraction."""
        ...

    def extract_url(self, presigned_url: PresignedUrl) -> ExtractionResponse:
        """Let the vendor fetch a document and return its extraction."""
        ...


@dataclass(frozen=True, slots=True)
class _ExtractionAttempt:
    """One submission of a document: by which route, and after which earlier attempts."""

    document: PendingDocument
    is_by_url: bool
    is_repeat: bool = False  # an earlier attempt may have been charged
    is_last: bool = False  # a failure to read the document is final


class BillflowAiExtractor:
    """Extracts documents with BillflowAI until each is answered, quarantined, or deferred to a later run."""

    def __init__(
        self,
        recorder: ExtractionRecorder,
        client: BillflowAiApi,
        rate_limiter: RateLimiter,
        *,
        sign_document_url: UrlSigner | None = None,
        repeat_after_unknown: bool = True,
        connections: int = 1,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """Set up extraction; with ``sign_document_url`` the vendor fetches the documents. No call is made yet."""
        self.recorder, self._client, self._rate_limiter = recorder, client, rate_limiter
        self._sign_document_url = sign_document_url
        self.caller = RetryingCaller(VENDOR, {ALL_ROUTES: rate_limiter}, sleep)
        self._repeat_after_unknown = repeat_after_unknown
        self._worker_pool, self._lock = WorkerPool(connections), threading.RLock()
        self._document_queue, self._drift_detector = DocumentQueue(recorder), ContractDriftDetector()
        self._retry_heap: list[tuple[float, int, Action]] = []  # heap of due time, sequence number, action
        self._sequence = itertools.count()

    def extract_documents(
        self, documents: Sequence[PendingDocument], on_progress: Callable[[int], None] = lambda _: None
    ) -> None:
        """Extract the documents; ``on_progress`` receives the number of documents just concluded.

        Raises:
            VendorSuspended: the vendor must not be called again in this run; the waiting documents are recorded.
        """
        self._document_queue.set_documents(documents, on_progress)
        self._retry_heap = []
        try:
            self._worker_pool.run_until_done(self)
        except VendorSuspended as suspension:
            self._document_queue.defer_all_documents(suspension)
            raise

    def fetch_lost_answer(
        self, _document: PendingDocument, _job: ExtractionJob, _remote_id: str | None
    ) -> FetchedAnswer:
        """Raise AnswerNotAdoptable: the vendor documents no way to fetch an answer again (contract sheet 03 §2)."""
        raise AnswerNotAdoptable(
            f"{VENDOR} has no way to fetch an answer again; save it from its web site as JSON, and name the file with "
            "--answer"
        )

    # What to do next

    def find_next_action_or_wait(self) -> Action | float | None:
        """Return the attempt that is due, else the next document, else the seconds until an attempt is due."""
        with self._lock:
            wait_seconds = self._retry_heap[0][0] - time.monotonic() if self._retry_heap else None
            if wait_seconds is not None and wait_seconds <= 0:
                return heapq.heappop(self._retry_heap)[2]
            document = self._document_queue.take_next_document()
            return (
                partial(self._document_queue.start_or_defer_document, document, self._start_or_repeat_document)
                if document is not None
                else wait_seconds
            )

    def stop_running_actions(self) -> None:
        """Stop all waits and calls."""
        self.caller.stop_all_calls()

    def _start_or_repeat_document(self, document: PendingDocument) -> None:
        job = self.recorder.find_latest_job(document.document_sha256)
        attempt = _ExtractionAttempt(document, is_by_url=self._sign_document_url is not None)
        if job is not None and job.status in ("intended", "unknown"):
            self._repeat_once_or_quarantine(attempt, job, "the earlier run ended before the answer", with_delay=False)
        elif may_lack_submission(self.recorder.ledger, document.document_sha256):
            self._extract_or_quarantine_possible_repeat(attempt)
        else:  # refused and flagged: released by a person, after a submission that may have been charged
            is_repeat = job is not None and job.possible_double_charge
            self._extract_document(replace(attempt, is_repeat=is_repeat))

    def _extract_or_quarantine_possible_repeat(self, attempt: _ExtractionAttempt) -> None:
        """Submit and flag a document that was perhaps submitted before the ledger was restored."""
        if self._repeat_after_unknown:
            self._extract_document(replace(attempt, is_repeat=True))
            return
        reason = f"The ledger was restored, and {VENDOR} may have charged for it before. It is not submitted again."
        self.recorder.record_quarantine_keeping_job_open(attempt.document.document_sha256, "outcome_unknown", reason)
        self._document_queue.mark_concluded(attempt.document.document_sha256)

    # Submitting

    def _extract_document(self, attempt: _ExtractionAttempt) -> None:
        document = attempt.document
        extraction_id = self.recorder.get_extraction_id(document.document_sha256)
        content: bytes | None = b""  # nothing to upload when the vendor fetches the document
        if not attempt.is_by_url:
            possibly_charged_pages = self.recorder.count_billable_pages(document) * attempt.is_repeat
            content = self.recorder.read_content_or_quarantine(
                document, MAX_BYTES, possibly_charged_pages=possibly_charged_pages
            )
        if content is None:
            self._document_queue.mark_concluded(document.document_sha256)
            return
        try:
            response = self.caller.send_with_retries(partial(self._record_intent_and_extract, attempt, content))
        except UnknownOutcome as error:
            self.recorder.record_unknown_outcome(extraction_id, str(error))
            job = self.recorder.find_latest_job(document.document_sha256)
            self._repeat_once_or_quarantine(attempt, job, str(error), with_delay=True)
        except DocumentError as error:
            self._handle_document_error(attempt, error)
        except ContractError as error:
            self.recorder.record_refusal(extraction_id, str(error))
            reason = f"{VENDOR} no longer answers as documented: {error}"
            self.caller.suspend_vendor("contract_changed", reason, is_problem=True)
        else:
            self.caller.apply_reported_limit(response.rate_limit)
            self._record_answer(attempt, response)
            self._suspend_if_no_invoices_come(extraction_id, response)

    def _record_intent_and_extract(self, attempt: _ExtractionAttempt, content: bytes) -> ExtractionResponse:
        """Commit the intent and submit at once; a refusal is recorded before the wait for the next attempt."""
        sha256, media_type = attempt.document.document_sha256, attempt.document.media_type
        intent = self.recorder.record_intent(attempt.document, is_repeat=attempt.is_repeat)
        suffix = SUFFIX_BY_MEDIA_TYPE[media_type]
        intent.require_fresh_claim()
        try:
            if attempt.is_by_url and self._sign_document_url is not None:
                return self._client.extract_url(self._sign_document_url(sha256, suffix))
            return self._client.extract_file(content, f"{sha256}.{suffix}", media_type)
        except (TransientError, AccountError) as error:
            self.recorder.record_refusal(intent.extraction_id, str(error))
            raise

    def _record_answer(self, attempt: _ExtractionAttempt, response: ExtractionResponse) -> None:
        """Record the answer and its charge.

        Answers from the vendor's cache are free (sheet 03 §5), but after a repeat the earlier attempt was charged.
        """
        sha256 = attempt.document.document_sha256
        is_free = response.source == "cache" and not attempt.is_repeat
        pages = 0 if is_free else self.recorder.count_billable_pages(attempt.document)
        self.recorder.record_immediate_answer(
            self.recorder.get_extraction_id(sha256), sha256, response.payload, response.invoice_id, pages
        )
        self._document_queue.mark_concluded(sha256)

    def _suspend_if_no_invoices_come(self, extraction_id: str, response: ExtractionResponse) -> None:
        """Suspend the vendor after several answers in a row without any field of an invoice: its API has changed."""
        if response.is_invoice:
            self._drift_detector.record_readable_response()
        elif self._drift_detector.record_unreadable_response(extraction_id, is_overdue=False) == "suspend vendor":
            reason = f"{VENDOR} no longer answers as documented: its last answers have no field of an invoice."
            self.caller.suspend_vendor("contract_changed", reason, is_problem=True)

    # After a failure

    def _repeat_once_or_quarantine(
        self, attempt: _ExtractionAttempt, job: ExtractionJob | None, explanation: str, *, with_delay: bool
    ) -> None:
        """Repeat once a submission that may have been charged; after that, quarantine the document."""
        if self._repeat_after_unknown and job is not None and not job.possible_double_charge:
            self._schedule_attempt(replace(attempt, is_repeat=True), with_delay=with_delay)
            return
        reason = f"{VENDOR} may have charged it, but the answer is missing ({explanation}). It is not submitted again."
        self.recorder.record_quarantine_keeping_job_open(attempt.document.document_sha256, "outcome_unknown", reason)
        self._document_queue.mark_concluded(attempt.document.document_sha256)

    def _handle_document_error(self, attempt: _ExtractionAttempt, error: DocumentError) -> None:
        """Upload a document that could not be fetched, retry a failed extraction once (sheet 03 §4), or give up."""
        sha256 = attempt.document.document_sha256
        if attempt.is_by_url and error.reason_code in FETCH_FAILURE_REASONS:
            self.recorder.record_refusal(self.recorder.get_extraction_id(sha256), str(error))
            self._schedule_attempt(replace(attempt, is_by_url=False), with_delay=False)
        elif isinstance(error, ExtractionFailed) and not attempt.is_last:
            self.recorder.record_refusal(self.recorder.get_extraction_id(sha256), str(error))
            self._schedule_attempt(replace(attempt, is_last=True), with_delay=True)
        else:
            reason = f"{VENDOR} could not read it: {error}"
            self.recorder.record_failure(sha256, error.reason_code, reason, pages_charged=0)
            self._document_queue.mark_concluded(sha256)

    def _schedule_attempt(self, attempt: _ExtractionAttempt, *, with_delay: bool) -> None:
        due_at = time.monotonic() + (RETRY_DELAY_SECONDS * self._rate_limiter.time_scale if with_delay else 0.0)
        action: Action = partial(
            self._document_queue.start_or_defer_document, attempt.document, lambda _: self._extract_document(attempt)
        )
        with self._lock:
            heapq.heappush(self._retry_heap, (due_at, next(self._sequence), action))
