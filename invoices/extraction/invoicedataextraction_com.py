"""Extraction with invoicedataextraction.com: batches of up to hundreds of documents, each page charged once.

The caller chooses the ids of sessions and submissions (contract sheet 02 §5). They are derived from the documents and
the configuration, and recorded before they are used. A submission is repeated under the same id at no cost. A new
generation starts only after the vendor has reported how the submission ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from invoices.clients.invoicedataextraction_com import (
    FilesRefused,
    SessionGone,
    TaskError,
    TaskRefused,
)
from invoices.errors import ConfigurationError, ContractError, InvoicesError, TransientError
from invoices.extraction.answer_adoption import (
    AnswerNotAdoptable,
    FetchedAnswer,
    build_batch_answer,
    require_completed_extraction,
)
from invoices.extraction.batches.batch import Batch, BatchBuilder, ClaimAllOrNone, CreditExhausted
from invoices.extraction.batches.batch_api import BatchApi
from invoices.extraction.batches.batch_poller import MIN_POLL_SECONDS, BatchPoller
from invoices.extraction.batches.batch_queue import BatchQueue
from invoices.extraction.batches.batch_recorder import BatchRecorder
from invoices.extraction.batches.batch_submitter import BatchSubmitter, SubmissionDeferred
from invoices.extraction.batches.batch_submitter import (
    build_configuration as build_configuration,  # part of this module's interface
)
from invoices.extraction.batches.batch_uploader import (
    MAX_BYTES_BY_MEDIA_TYPE as MAX_BYTES_BY_MEDIA_TYPE,  # part of this module's interface
)
from invoices.extraction.batches.batch_uploader import BatchUploader
from invoices.extraction.batches.failure_handler import BatchFailureHandler
from invoices.extraction.batches.file_uploader import STORAGE_ROUTES, FileUploader
from invoices.extraction.batches.prompt import OutputStructure
from invoices.extraction.batches.unreadable_response_handler import UnreadableResponseHandler
from invoices.extraction.batches.unrecorded_batches import UnrecordedBatchFinder
from invoices.extraction.document_queue import DocumentQueue
from invoices.extraction.extraction_recorder import ClaimLost, ExtractionRecorder
from invoices.extraction.resilience.rate_limit import RateLimiter, RateWindow
from invoices.extraction.resilience.retry import RetryingCaller, StorageSuspended, VendorSuspended
from invoices.extraction.resilience.worker_pool import Action, WorkerPool
from invoices.ledger.documents import PendingDocument
from invoices.ledger.extractions import ExtractionJob, list_jobs_by_document
from invoices.ledger.spending import CapReached

EXTRACTOR = "invoicedataextraction_com"
VENDOR = "invoicedataextraction.com"
CALLS_PER_MINUTE = {  # by route group (contract sheet 02 §2)
    "upload": 600, "poll": 120, "balance": 60, "submit": 30, "download": 30, "list": 60, "results": 60,
}  # fmt: skip
MAX_OPEN_BATCHES = 11  # those that run at the vendor, and one that is uploaded meanwhile
MAX_SUBMISSION_DEFERRALS = 3


def get_rate_windows(route_group: str) -> tuple[RateWindow, ...]:
    """Return the rate limits of a route group."""
    return (RateWindow(CALLS_PER_MINUTE[route_group], 60),)


class InvoiceDataExtractor:
    """Extracts documents in batches until each is answered, quarantined, or deferred to a later run."""

    def __init__(
        self,
        recorder: ExtractionRecorder,
        client: BatchApi,
        rate_limiters: dict[str, RateLimiter],
        claim_all_or_none: ClaimAllOrNone,
        *,
        structure: OutputStructure = "per_line_item",
        batch_documents: int = 250,
        deadline_minutes: float = 120,
        connections: int = 1,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """Set up extraction; no call is made yet."""
        self.recorder, self._client = recorder, client
        self.caller = RetryingCaller(VENDOR, rate_limiters, sleep, storage_groups=(STORAGE_ROUTES,))
        self._time_scale = rate_limiters["poll"].time_scale
        self._max_wait_seconds = rate_limiters["submit"].max_wait_seconds
        self._connections, self._worker_pool = connections, WorkerPool(connections)
        self._batch_builder = BatchBuilder(recorder, build_configuration(structure), batch_documents, claim_all_or_none)
        self._batch_queue, self._document_queue = BatchQueue(), DocumentQueue(recorder)
        self._unrecorded_batches = UnrecordedBatchFinder(recorder, client, self.caller, build_configuration(structure))
        self._batch_recorder = BatchRecorder(recorder, self._document_queue)
        self._submitter = BatchSubmitter(recorder, client, self.caller, self._batch_recorder)
        self._batch_uploader = BatchUploader(
            recorder,
            self._batch_queue,
            self._document_queue,
            self._batch_recorder,
            self._submitter,
            FileUploader(client, self.caller),
        )
        self._batch_poller = BatchPoller(client, self.caller, self._batch_recorder, self._time_scale, deadline_minutes)
        self._failure_handler = BatchFailureHandler(
            recorder, self._batch_queue, self._document_queue, self._batch_recorder, self._time_scale
        )
        self._unreadable_response_handler = UnreadableResponseHandler(
            VENDOR,
            self.caller,
            self._batch_queue,
            self._batch_poller,
            self._batch_recorder,
            self._failure_handler,
            self._time_scale,
        )

    def extract_documents(
        self, documents: Sequence[PendingDocument], on_progress: Callable[[int], None] = lambda _: None
    ) -> None:
        """Extract the documents; ``on_progress`` receives the number of documents just concluded.

        Raises:
            VendorSuspended: the vendor must not be called again in this run; the waiting documents are recorded.
        """
        with self.recorder.ledger.open_snapshot() as connection:
            jobs = list_jobs_by_document(connection, [document.document_sha256 for document in documents])
        own_jobs = {
            sha256: job
            for sha256, document_jobs in jobs.items()
            for job in document_jobs
            if job.extracted_by == self.recorder.extractor
        }
        batches, unbatched = self._batch_builder.resume_open_batches(documents, own_jobs)
        self._batch_queue.reset_batches(batches)
        adopted_batches = self._adopt_unrecorded_batches(unbatched)
        for batch in adopted_batches:
            self._batch_queue.add_batch(batch)
        batches = [*batches, *adopted_batches]
        adopted_hashes = {sha256 for batch in adopted_batches for sha256 in batch.documents}
        unbatched = [document for document in unbatched if document.document_sha256 not in adopted_hashes]
        batched = [batch_document for batch in batches for batch_document in batch.documents.values()]
        self._document_queue.set_documents([*unbatched], on_progress, already_started=batched)
        try:
            self._worker_pool.run_until_done(self)
            if queue_suspension := self._batch_queue.submission_suspension or self._batch_queue.creation_suspension:
                raise queue_suspension
        except VendorSuspended as suspension:
            if suspension.reason_code == "account_stopped":
                for batch in self._batch_queue.batches:
                    if batch.record.status == "uploading":
                        self._failure_handler.release_documents(batch, str(suspension))
            self._document_queue.defer_all_documents(suspension)
            raise

    def fetch_lost_answer(self, document: PendingDocument, job: ExtractionJob, remote_id: str | None) -> FetchedAnswer:
        """Return the answer of a submission that was given up; raises AnswerNotAdoptable if there is none to adopt."""
        extraction_id = remote_id or job.remote_id
        if extraction_id is None:
            raise AnswerNotAdoptable("the ledger has no id of the vendor's extraction: name it with --job")
        extraction = self.caller.send_with_retries(partial(self._client.poll_extraction, extraction_id), "poll")
        require_completed_extraction(extraction)
        return build_batch_answer(extraction, self._batch_poller.fetch_rows(extraction_id), document, job)

    def _adopt_unrecorded_batches(self, documents: Sequence[PendingDocument]) -> list[Batch]:
        """Return the batches that a restored ledger lacks; create no batch while the vendor's list cannot be read."""
        try:
            return self._unrecorded_batches.adopt_batches(documents)
        except VendorSuspended as suspension:
            self._batch_queue.suspend_creation(
                suspension.reason_code, suspension.reason, is_problem=suspension.is_problem
            )
        except (TransientError, ContractError) as error:
            reason = (
                f"{VENDOR} has to be asked for submissions that the restored ledger lacks, and did not answer: {error}"
            )
            self._batch_queue.suspend_creation("vendor_unavailable", reason, is_problem=True)
        except CapReached as cap_error:
            self._batch_queue.suspend_creation("cap_reached", str(cap_error), is_problem=False)
        return []

    # What to do next

    def find_next_action_or_wait(self) -> Action | float | None:
        """Return the action of the batch that is due first, else the creation of a batch, else the seconds to wait."""
        batch_queue = self._batch_queue
        with batch_queue.lock:
            now = time.monotonic()
            for batch in sorted(batch_queue.batches, key=lambda open_batch: open_batch.due_at):
                action = self._find_batch_action(batch, now)
                if action is not None:
                    batch.running_actions += 1
                    return partial(self._run_batch_action, batch, action)
            if self._can_create_batch():
                batch_queue.is_creating_batch = True
                return self._create_next_batch
            due_times = [
                open_batch.due_at
                for open_batch in batch_queue.batches
                if open_batch.running_actions == 0 and (open_batch.is_submitted or open_batch.due_at > now)
            ]
            return max(min(due_times) - now, 0.001) if due_times else None

    def _find_batch_action(self, batch: Batch, now: float) -> Action | None:
        """Return the next poll, upload, session or submission of a batch, or None when none is possible now."""
        if batch.is_submitted:
            return partial(self._poll_batch, batch) if batch.running_actions == 0 and batch.due_at <= now else None
        if self._batch_queue.submission_suspension is not None:
            return None
        if batch.to_upload and batch.part_sizes is not None:
            # One connection stays free for polls while a batch runs at the vendor.
            if batch.running_actions >= max(self._connections - min(self._batch_queue.running_count, 1), 1):
                return None
            return partial(self._batch_uploader.upload_document, batch, batch.to_upload.popleft())
        if batch.running_actions or batch.due_at > now:
            return None
        if batch.to_upload:
            return partial(self._batch_uploader.open_session, batch)
        if self._batch_queue.running_count >= self._batch_queue.max_running:
            return None
        return partial(self._submit_batch, batch)

    def _can_create_batch(self) -> bool:
        batch_queue = self._batch_queue
        if (
            batch_queue.is_creating_batch
            or batch_queue.submission_suspension
            or batch_queue.creation_suspension
            or len(batch_queue.batches) >= MAX_OPEN_BATCHES
        ):
            return False
        is_uploading = any(batch.to_upload for batch in batch_queue.batches)
        return not is_uploading and (bool(batch_queue.document_groups) or len(self._document_queue) > 0)

    def stop_running_actions(self) -> None:
        """Stop all waits and calls."""
        self.caller.stop_all_calls()

    def _run_batch_action(self, batch: Batch, action: Action) -> None:
        """Run an action and handle the errors that concern only this batch."""
        session_id = batch.session_id
        try:
            try:
                action()
            except SessionGone as error:
                self._batch_uploader.renew_session(batch, session_id, error)
        except ClaimLost:
            self._batch_queue.remove_batch(batch)
            self._document_queue.mark_concluded(*batch.documents)
        except StorageSuspended as suspension:
            self._defer_batch_without_storage(batch, suspension)
        except TaskRefused as error:
            self._failure_handler.handle_task_failure(batch, error.error)
        except FilesRefused as error:
            self._failure_handler.handle_refused_files(batch, error)
        except TransientError as error:
            self._failure_handler.defer_batch(batch, f"{VENDOR} did not answer: {error}")
        except ConfigurationError:
            raise
        except InvoicesError as error:
            self._unreadable_response_handler.handle_unreadable_response(batch, error)
        finally:
            with self._batch_queue.lock:
                batch.running_actions -= 1

    def _defer_batch_without_storage(self, batch: Batch, suspension: StorageSuspended) -> None:
        """Leave a batch that cannot be uploaded to a later run, and create no more; uploaded ones continue."""
        self._batch_queue.remove_batch(batch)
        self._document_queue.defer_documents(
            list(batch.documents.values()), suspension.reason, suspension.reason_code, is_problem=False
        )
        self._batch_queue.suspend_creation(suspension.reason_code, suspension.reason, is_problem=suspension.is_problem)

    # Creating batches

    def _create_next_batch(self) -> None:
        """Create a batch of waiting documents, as large as caps and credits allow."""
        batch_queue = self._batch_queue
        try:
            with batch_queue.lock:
                documents = (
                    batch_queue.document_groups.popleft()
                    if batch_queue.document_groups
                    else self._document_queue.take_all_documents()
                )
            self._create_batch_from(documents)
        finally:
            with batch_queue.lock:
                batch_queue.is_creating_batch = False

    def _create_batch_from(self, documents: list[PendingDocument]) -> None:
        try:
            balance = self.caller.send_with_retries(self._client.fetch_balance, "balance")
            created_batch = self._batch_builder.create_batch(
                documents, balance.credits_available - self._batch_queue.unsubmitted_pages
            )
        except CapReached as cap_error:
            self._document_queue.defer_documents_over_cap(documents, cap_error)
        except CreditExhausted as error:
            reserved_credits = (
                f"{balance.credits_reserved:,} of {balance.credits_balance:,} are reserved by running extractions"
            )
            self._batch_queue.suspend_creation(
                "account_stopped", f"{VENDOR}: {error} ({reserved_credits})", is_problem=True
            )
        except TransientError as error:
            self._batch_queue.suspend_creation(
                "vendor_unavailable", f"{VENDOR} did not answer: {error}", is_problem=True
            )
        except ContractError as error:
            self._batch_queue.suspend_creation(
                "contract_changed", f"{VENDOR} no longer answers as documented: {error}", is_problem=True
            )
        else:
            self._document_queue.put_back_first(created_batch.remaining)
            self._document_queue.mark_concluded(*created_batch.claimed_elsewhere)
            if created_batch.batch is not None:
                self._batch_queue.add_batch(created_batch.batch)

    # Submitting and polling

    def _submit_batch(self, batch: Batch) -> None:
        try:
            self._submitter.submit_batch(batch)
        except SubmissionDeferred as deferral:
            self._handle_deferred_submission(batch, deferral)
        else:
            self._unreadable_response_handler.record_readable_response(batch)
            batch.schedule_after(MIN_POLL_SECONDS * self._time_scale)

    def _handle_deferred_submission(self, batch: Batch, deferral: SubmissionDeferred) -> None:
        """Schedule another submission after a short pause; leave it to a later run when the pause is long."""
        batch.submission_deferrals += 1
        if (
            deferral.retry_after_seconds > self._max_wait_seconds
            or batch.submission_deferrals > MAX_SUBMISSION_DEFERRALS
        ):
            self._batch_queue.suspend_submission(
                "vendor_unavailable", f"{VENDOR} accepts no submissions now: {deferral}", is_problem=False
            )
        else:
            self.caller.block_route_group(deferral.retry_after_seconds, "submit")
            batch.schedule_after(deferral.retry_after_seconds)

    def _poll_batch(self, batch: Batch) -> None:
        extraction = self._batch_poller.poll_batch(
            batch, may_long_poll=self._has_only_polls_left(), running_count=self._batch_queue.running_count
        )
        if extraction.status == "failed":
            self._failure_handler.handle_task_failure(batch, extraction.error or TaskError("UNKNOWN"))
        elif extraction.status == "input_required":
            self._failure_handler.defer_batch(
                batch, f"{VENDOR} requires input from a person for extraction {extraction.id!r}"
            )
        elif self._batch_poller.record_outcome_if_over(batch, extraction):
            self._batch_queue.remove_batch(batch)
        self._unreadable_response_handler.record_readable_response(batch)

    def _has_only_polls_left(self) -> bool:
        batch_queue = self._batch_queue
        with batch_queue.lock:
            if batch_queue.submission_suspension:
                return True
            is_empty = not batch_queue.is_creating_batch and not self._can_create_batch()
            return is_empty and all(batch.is_submitted for batch in batch_queue.batches)
