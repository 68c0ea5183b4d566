"""Looking at a submitted batch, and taking its answer: held where there is nothing else to do, never too often."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from invoices.clients.invoicedataextraction_com import Extraction, OutputGone
from invoices.errors import ContractError, TransientError
from invoices.extraction.batches.batch import Batch
from invoices.extraction.batches.conclusions import Conclusions
from invoices.extraction.batches.vendor import Client
from invoices.extraction.patience.pacing import Pacing

POLL_SECONDS = 5.0  # at least, between polls that are not held (contract sheet 02 §2.6)
HELD_SECONDS = 30  # of a held poll


class Looking:
    """Looks at batches until each is over, or has taken too long."""

    def __init__(
        self, client: Client, pacing: Pacing, conclusions: Conclusions, scale: float, deadline_minutes: float
    ) -> None:
        """Take whom to ask and where to write; ``scale`` shortens the vendor's minutes for a rehearsal."""
        self._client, self._pacing, self._conclusions, self._scale = client, pacing, conclusions, scale
        self._deadline = dt.timedelta(minutes=deadline_minutes * scale)

    def look(self, batch: Batch, *, may_hold: bool, running: int) -> Extraction:
        """Return how the extraction stands; the batch rests until it may be looked at again.

        120 polls a minute are shared by all that are ``running`` (contract sheet 02 §3). A vendor that does not hold
        an answer though asked to is not asked more often for that.
        """
        wait = max(1, round(HELD_SECONDS * self._scale)) if may_hold else None
        began, pace = time.monotonic(), max(POLL_SECONDS, running / 2) * self._scale
        extraction = self._pacing.call(partial(self._client.extraction, batch.known.remote_id or "", wait), "poll")
        took = time.monotonic() - began if may_hold else 0.0
        batch.rest(max(pace - took, 0.0))
        return extraction

    def conclude(self, batch: Batch, extraction: Extraction) -> bool:
        """Return whether the batch is over, and then everything about it has been written."""
        if extraction.status == "completed":
            self._take_answer(batch, extraction)
        elif extraction.status == "cancelled":
            self._conclusions.cancelled(batch, extraction)
        elif self.is_overdue(batch):
            self._conclusions.stuck(batch, extraction)
        else:
            return False
        return True

    def is_overdue(self, batch: Batch) -> bool:
        """Return whether an answer has taken longer than we wait for one."""
        since = batch.known.submitted_at
        return since is not None and dt.datetime.now(dt.UTC) - since > self._deadline

    def _take_answer(self, batch: Batch, extraction: Extraction) -> None:
        try:
            rows = self._rows(extraction.id)
        except OutputGone as error:
            if not self.is_overdue(batch):
                raise
            self._conclusions.unfetched(batch, extraction, error)
        else:
            self._conclusions.completed(batch, extraction, rows)

    def _rows(self, extraction_id: str) -> Sequence[Mapping[str, Any]]:
        """Return all rows; from the output file where the vendor does not give them directly.

        Raises ExpiredUrl for an address that was too old; the next look asks for a new one.
        """
        try:
            return self._pacing.call(partial(self._client.results, extraction_id), "results").rows
        except (ContractError, TransientError):
            return self._pacing.call(partial(self._client.output_rows, extraction_id), "download")
