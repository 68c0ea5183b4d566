"""Handles unreadable responses about batches: poll again, set one batch apart, or suspend the vendor."""

from __future__ import annotations

from invoices.clients.error_mapping import NotFound
from invoices.clients.invoicedataextraction_com import ExpiredUrl, OutputGone
from invoices.errors import InvoicesError
from invoices.extraction.batches.batch import Batch
from invoices.extraction.batches.batch_poller import MIN_POLL_SECONDS, BatchPoller
from invoices.extraction.batches.batch_queue import BatchQueue
from invoices.extraction.batches.batch_recorder import BatchRecorder
from invoices.extraction.batches.failure_handler import BatchFailureHandler
from invoices.extraction.resilience.retry import RetryingCaller

UNREADABLE_RESPONSES_TO_SUSPEND = 5  # in a row: about several batches the vendor, about one batch only that batch
UNREADABLE_RESPONSES_TO_GIVE_UP = 3  # in a row about one batch that is overdue, or that the vendor no longer has


class UnreadableResponseHandler:
    """Counts the unreadable responses in a row, of each batch and of all; one batch never suspends the vendor."""

    def __init__(
        self,
        vendor: str,
        caller: RetryingCaller,
        batch_queue: BatchQueue,
        batch_poller: BatchPoller,
        batch_recorder: BatchRecorder,
        failure_handler: BatchFailureHandler,
        time_scale: float,
    ) -> None:
        """Keep the queue and where to record; ``time_scale`` shortens delays for a rehearsal."""
        self._vendor, self._caller, self._batch_queue, self._batch_poller = vendor, caller, batch_queue, batch_poller
        self._batch_recorder, self._failure_handler, self._time_scale = batch_recorder, failure_handler, time_scale
        self._batch_ids: list[str] = []  # of the unreadable responses in a row

    def record_readable_response(self, batch: Batch) -> None:
        """Start to count again."""
        batch.unreadable_responses = 0
        self._batch_ids.clear()

    def handle_unreadable_response(self, batch: Batch, error: InvoicesError) -> None:
        """Poll again after an unreadable response, up to a limit; give up a batch that the vendor no longer has.

        Raises:
            VendorSuspended: the responses about several batches are unreadable.
        """
        batch.unreadable_responses += 1
        is_gone = isinstance(error, NotFound) and not isinstance(error, (OutputGone, ExpiredUrl))
        if (
            batch.is_submitted
            and batch.unreadable_responses >= UNREADABLE_RESPONSES_TO_GIVE_UP
            and (is_gone or self._batch_poller.is_batch_overdue(batch))
        ):
            self._batch_recorder.record_lost_extraction(batch, error)
            self._batch_queue.remove_batch(batch)
            return
        if not isinstance(error, NotFound):
            self._batch_ids.append(batch.id)
        reason = f"{self._vendor} no longer answers as documented: {error}"
        if len(self._batch_ids) >= UNREADABLE_RESPONSES_TO_SUSPEND and len(set(self._batch_ids)) > 1:
            self._caller.suspend_vendor("contract_changed", reason, is_problem=True)
        if batch.is_submitted and batch.unreadable_responses < UNREADABLE_RESPONSES_TO_SUSPEND:
            batch.schedule_after(MIN_POLL_SECONDS * self._time_scale)
        else:
            reason_code = "vendor_unavailable" if isinstance(error, NotFound) else "contract_changed"
            self._failure_handler.defer_batch(batch, reason, reason_code)
