"""Asking BillflowAI: one call that answers at once; what may have been done and charged is asked once more at most.

The API has no idempotency key and no list whose shape is known (contract sheet 03 §2, §7). A lost answer is asked for
once more, flagged as a possible double charge; the vendor's own cache may then make it free. Documents are uploaded,
or fetched by the vendor at addresses of ours; what it cannot fetch is uploaded.
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
from typing import NoReturn, Protocol

from invoices.clients.billflowai import ExtractionFailed, ExtractionResponse
from invoices.clients.presigned_urls import PresignedUrl, build_presigned_url
from invoices.errors import AccountError, ContractError, DocumentError, TransientError, UnknownOutcome
from invoices.extraction.document_queue import DocumentQueue
from invoices.extraction.extraction_recorder import SUFFIX_BY_MEDIA_TYPE, ExtractionRecorder
from invoices.extraction.resilience.rate_limit import RateLimiter
from invoices.extraction.resilience.retry import ALL_ROUTES, RetryingCaller, VendorSuspended
from invoices.extraction.resilience.worker_pool import Action, WorkerPool
from invoices.ledger.documents import PendingDocument
from invoices.ledger.extractions import ExtractionJob

EXTRACTOR = "billflowai"
VENDOR = "BillflowAI"
CONFIGURATION = "1"  # raised when something else is asked for
MAX_BYTES = 20 * 1024 * 1024  # sheet 03 §6
RETRY_DELAY_SECONDS = 30.0  # before a document is asked about once more (sheet 03 §4)
URL_LIFETIME = dt.timedelta(minutes=10)  # longer than the vendor takes for a document, and not much
FETCH_FAILURE_REASONS = {"fetch_failed", "url_refused"}  # reasons for which a document is uploaded after all

UrlSigner = Callable[[str, str], PresignedUrl]  # of a document's hash and suffix: where the vendor may fetch it


def build_url_signer(base_url: str, secret: str) -> UrlSigner:
    """Return what makes addresses that are good for some minutes.

    Raises:
        ConfigurationError: nobody could fetch anything there, or the secret is too short.
    """

    def sign_document_url(sha256: str, suffix: str) -> PresignedUrl:
        return build_presigned_url(base_url, secret, sha256, suffix, dt.datetime.now(dt.UTC) + URL_LIFETIME)

    sign_document_url("0" * 64, "pdf")
    return sign_document_url


class BillflowAiApi(Protocol):
    """What is spoken with the vendor."""

    def extract_file(self, content: bytes, file_name: str, media_type: str) -> ExtractionResponse:
        """Return what the vendor read in a document."""
        ...

    def extract_url(self, presigned_url: PresignedUrl) -> ExtractionResponse:
        """Return what the vendor read in a document that it fetched."""
        ...


@dataclass(frozen=True, slots=True)
class _ExtractionAttempt:
    """One question about a document: how, and after what."""

    document: PendingDocument
    is_by_url: bool
    is_repeat: bool = False  # of one that may have been charged
    is_last: bool = False  # a failure to read is final


class BillflowAiExtractor:
    """Asks BillflowAI about documents until each is answered, set aside, or has to wait for a later run."""

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
        """Take what is needed; with ``mint`` the vendor fetches documents. Nothing is asked yet."""
        self.recorder, self._client, self._rate_limiter, self._sign_document_url = (
            recorder,
            client,
            rate_limiter,
            sign_document_url,
        )
        self.caller = RetryingCaller(VENDOR, {ALL_ROUTES: rate_limiter}, sleep)
        self._repeat_after_unknown = repeat_after_unknown
        self._worker_pool, self._lock = WorkerPool(connections), threading.RLock()
        self._document_queue = DocumentQueue(recorder)
        self._retry_heap: list[tuple[float, int, Action]] = []  # a heap: when, order of planning, what
        self._sequence = itertools.count()

    def extract_documents(
        self, documents: Sequence[PendingDocument], on_progress: Callable[[int], None] = lambda _: None
    ) -> None:
        """Ask about the documents; ``done`` is told how many were just concluded.

        Raises:
            VendorStopped: the vendor has to be left alone for the rest of this run; what waits has been written.
        """
        self._document_queue.set_documents(documents, on_progress)
        self._retry_heap = []
        try:
            self._worker_pool.run_until_done(self)
        except VendorSuspended as suspension:
            self._document_queue.hold_all_for_later_run(suspension)
            raise

    # The plan

    def find_next_action_or_wait(self) -> Action | float | None:
        """Return what is due to be asked once more, else the next document, else how long until something is due."""
        with self._lock:
            wait_seconds = self._retry_heap[0][0] - time.monotonic() if self._retry_heap else None
            if wait_seconds is not None and wait_seconds <= 0:
                return heapq.heappop(self._retry_heap)[2]
            document = self._document_queue.take_next_document()
            return (
                partial(self._document_queue.start_or_hold_document, document, self._start_or_repeat_document)
                if document is not None
                else wait_seconds
            )

    def stop_running_actions(self) -> None:
        """Let nobody sleep or call any more."""
        self.caller.stop_all_calls()

    def _start_or_repeat_document(self, document: PendingDocument) -> None:
        job, attempt = (
            self.recorder.find_latest_job(document.document_sha256),
            _ExtractionAttempt(document, is_by_url=self._sign_document_url is not None),
        )
        if job is not None and job.status in ("intended", "unknown"):
            self._repeat_once_or_quarantine(
                attempt, job, "the run that asked for it ended before it came", with_delay=False
            )
        else:
            self._extract_document(attempt)

    # Asking

    def _extract_document(self, attempt: _ExtractionAttempt) -> None:
        document = attempt.document
        content = self._read_upload_content(attempt)
        if content is None:
            self._document_queue.mark_concluded(document.document_sha256)
            return
        try:
            response = self.caller.send_with_retries(partial(self._record_intent_and_extract, attempt, content))
        except UnknownOutcome as error:
            self.recorder.record_unknown_outcome(self._get_extraction_id(attempt), str(error))
            self._repeat_once_or_quarantine(
                attempt, self.recorder.find_latest_job(document.document_sha256), str(error), with_delay=True
            )
        except DocumentError as error:
            self._handle_document_error(attempt, error)
        except ContractError as error:
            self.recorder.record_refusal(self._get_extraction_id(attempt), str(error))
            self._suspend_for_contract_change(error)
        else:
            self.caller.apply_reported_limit(response.rate_limit)
            self._record_answer(attempt, response)

    def _read_upload_content(self, attempt: _ExtractionAttempt) -> bytes | None:
        """Return the bytes to upload, none where the vendor fetches them; None after letting the document go."""
        if attempt.is_by_url:
            return b""
        possibly_charged_pages = self.recorder.count_billable_pages(attempt.document) * attempt.is_repeat
        return self.recorder.read_content_or_quarantine(
            attempt.document, MAX_BYTES, possibly_charged_pages=possibly_charged_pages
        )

    def _record_intent_and_extract(self, attempt: _ExtractionAttempt, content: bytes) -> ExtractionResponse:
        """Commit the intent and ask at once; what is refused is written before anybody waits for the next try."""
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
        """Write the answer. The cache is free (sheet 03 §5), but what a repeat finds there was charged before."""
        sha256 = attempt.document.document_sha256
        pages = (
            0
            if response.source == "cache" and not attempt.is_repeat
            else self.recorder.count_billable_pages(attempt.document)
        )
        self.recorder.record_immediate_answer(
            self._get_extraction_id(attempt), sha256, response.payload, response.invoice_id, pages
        )
        self._document_queue.mark_concluded(sha256)

    # What went wrong

    def _repeat_once_or_quarantine(
        self, attempt: _ExtractionAttempt, job: ExtractionJob | None, explanation: str, *, with_delay: bool
    ) -> None:
        """Ask again what may have been charged, once; then leave it to a person."""
        if self._repeat_after_unknown and job is not None and not job.possible_double_charge:
            self._schedule_attempt(replace(attempt, is_repeat=True), with_delay=with_delay)
            return
        reason = f"{VENDOR} may have read and charged it, but its answer is missing, and it is not asked again: {explanation}"
        self.recorder.record_quarantine_keeping_job_open(attempt.document.document_sha256, "outcome_unknown", reason)
        self._document_queue.mark_concluded(attempt.document.document_sha256)

    def _handle_document_error(self, attempt: _ExtractionAttempt, error: DocumentError) -> None:
        """Upload what could not be fetched, try once more what could not be read (sheet 03 §4), or let it go."""
        if attempt.is_by_url and error.reason_code in FETCH_FAILURE_REASONS:
            self.recorder.record_refusal(self._get_extraction_id(attempt), str(error))
            self._schedule_attempt(replace(attempt, is_by_url=False), with_delay=False)
        elif isinstance(error, ExtractionFailed) and not attempt.is_last:
            self.recorder.record_refusal(self._get_extraction_id(attempt), str(error))
            self._schedule_attempt(replace(attempt, is_last=True), with_delay=True)
        else:
            reason = f"{VENDOR} could not read it: {error}"
            self.recorder.record_failure(attempt.document.document_sha256, error.reason_code, reason, pages_charged=0)
            self._document_queue.mark_concluded(attempt.document.document_sha256)

    def _schedule_attempt(self, attempt: _ExtractionAttempt, *, with_delay: bool) -> None:
        due_at = time.monotonic() + (RETRY_DELAY_SECONDS * self._rate_limiter.time_scale if with_delay else 0.0)
        action: Action = partial(
            self._document_queue.start_or_hold_document, attempt.document, lambda _: self._extract_document(attempt)
        )
        with self._lock:
            heapq.heappush(self._retry_heap, (due_at, next(self._sequence), action))

    def _get_extraction_id(self, attempt: _ExtractionAttempt) -> str:
        return self.recorder.get_extraction_id(attempt.document.document_sha256)

    def _suspend_for_contract_change(self, error: ContractError) -> NoReturn:
        self.caller.suspend_vendor("contract_changed", f"{VENDOR} answers differently: {error}", is_problem=True)
