"""Polls submitted batches and fetches their answers: long polls when nothing else is to do, never too often."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from invoices.clients.invoicedataextraction_com import Extraction, OutputGone
from invoices.errors import ContractError, TransientError
from invoices.extraction.batches.batch import Batch
from invoices.extraction.batches.batch_api import BatchApi
from invoices.extraction.batches.batch_recorder import BatchRecorder
from invoices.extraction.resilience.retry import RetryingCaller

MIN_POLL_SECONDS = 5.0  # between polls that are no long polls (contract sheet 02 §2.6)
LONG_POLL_SECONDS = 30  # that the vendor holds its response


class BatchPoller:
    """Polls batches and records their outcomes."""

    def __init__(
        self,
        client: BatchApi,
        caller: RetryingCaller,
        batch_recorder: BatchRecorder,
        time_scale: float,
        deadline_minutes: float,
    ) -> None:
        """Keep the client and where to record; ``time_scale`` shortens the vendor's minutes for a rehearsal."""
        self._client, self._caller, self._batch_recorder, self._time_scale = client, caller, batch_recorder, time_scale
        self._deadline = dt.timedelta(minutes=deadline_minutes * time_scale)

    def poll_batch(self, batch: Batch, *, may_long_poll: bool, running_count: int) -> Extraction:
        """Return the state of the extraction, and schedule the next poll of the batch.

        The ``running_count`` batches share 120 polls a minute (contract sheet 02 §3). If the vendor does not hold a
        long poll, the next one still comes no sooner. The time of failed attempts and of waits between them is no rest.
        """
        long_poll_seconds = max(1, round(LONG_POLL_SECONDS * self._time_scale)) if may_long_poll else None
        interval = max(MIN_POLL_SECONDS, running_count / 2) * self._time_scale
        sent_at = 0.0

        def send_poll() -> Extraction:
            nonlocal sent_at
            sent_at = time.monotonic()
            return self._client.poll_extraction(batch.record.remote_id or "", long_poll_seconds)

        extraction = self._caller.send_with_retries(
            send_poll, "poll", repeats_unreadable=False, min_pause_seconds=MIN_POLL_SECONDS
        )
        elapsed = time.monotonic() - sent_at if may_long_poll else 0.0
        batch.schedule_after(max(interval - elapsed, 0.0))
        return extraction

    def record_outcome_if_over(self, batch: Batch, extraction: Extraction) -> bool:
        """Return whether the batch is over; if so, its outcome is recorded."""
        if extraction.status == "completed":
            self._fetch_and_record_answer(batch, extraction)
        elif extraction.status == "cancelled":
            self._batch_recorder.record_cancelled_batch(batch, extraction)
        elif self.is_batch_overdue(batch):
            self._batch_recorder.record_stuck_extraction(batch, extraction)
        else:
            return False
        return True

    def is_batch_overdue(self, batch: Batch) -> bool:
        """Return whether the deadline for the batch's answer has passed."""
        submitted_at = batch.record.submitted_at
        return submitted_at is not None and dt.datetime.now(dt.UTC) - submitted_at > self._deadline

    def _fetch_and_record_answer(self, batch: Batch, extraction: Extraction) -> None:
        try:
            rows = self.fetch_rows(extraction.id)
        except OutputGone as error:
            if not self.is_batch_overdue(batch):
                raise
            self._batch_recorder.record_missing_output(batch, extraction, error)
        else:
            self._batch_recorder.record_completed_batch(batch, extraction, rows)

    def fetch_rows(self, extraction_id: str) -> Sequence[Mapping[str, Any]]:
        """Return all rows; from the output file when the vendor does not return them directly.

        Raises ExpiredUrl for an expired download URL; the next poll requests a new one.
        """
        try:
            return self._caller.send_with_retries(partial(self._client.fetch_results, extraction_id), "results").rows
        except (ContractError, TransientError):
            return self._caller.send_with_retries(partial(self._client.fetch_output_rows, extraction_id), "download")
