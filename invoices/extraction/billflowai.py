"""Asking BillflowAI: one call that answers at once; what may have been done and charged is asked once more at most.

The API has no idempotency key and no list whose shape is known (contract sheet 03 §2, §7). A lost answer is asked for
once more, flagged as a possible double charge; the vendor's own cache may then make it free.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn, Protocol

from invoices.clients.billflowai import ExtractionFailed, Reading
from invoices.errors import AccountError, ContractError, DocumentError, TransientError, UnknownOutcome
from invoices.extraction.budget import Budget
from invoices.extraction.crew import Action, Crew
from invoices.extraction.desk import READABLE, Desk
from invoices.extraction.pacing import CALLS, Pacing, VendorStopped
from invoices.extraction.queue import Queue
from invoices.ledger.documents import Pending
from invoices.ledger.extractions import Job

EXTRACTOR = "billflowai"
VENDOR = "BillflowAI"
CONFIGURATION = "1"  # raised when something else is asked for
LARGEST_BYTES = 20 * 1024 * 1024  # sheet 03 §6
REST_SECONDS = 30.0  # before a document is asked about once more (sheet 03 §4)


class Client(Protocol):
    """What is spoken with the vendor."""

    def extract_file(self, content: bytes, file_name: str, media_type: str) -> Reading:
        """Return what the vendor read in a document."""
        ...


class BillflowAiExtraction:
    """Asks BillflowAI about documents until each is answered, set aside, or has to wait for a later run."""

    def __init__(
        self,
        desk: Desk,
        client: Client,
        budget: Budget,
        *,
        repeat_after_unknown: bool = True,
        connections: int = 1,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """Take what is needed; nothing is asked yet."""
        self.desk, self._client, self._budget = desk, client, budget
        self.pacing = Pacing(VENDOR, {CALLS: budget}, sleep)
        self._repeat_after_unknown = repeat_after_unknown
        self._crew, self._lock = Crew(connections), threading.RLock()
        self._queue = Queue(desk)
        self._again: list[tuple[float, Action]] = []  # when, and what

    def ask(self, documents: Sequence[Pending], done: Callable[[int], None] = lambda _: None) -> None:
        """Ask about the documents; ``done`` is told how many were just concluded.

        Raises:
            VendorStopped: the vendor has to be left alone for the rest of this run; what waits has been written.
        """
        self._queue.fill(documents, done)
        self._again = []
        try:
            self._crew.work(self)
        except VendorStopped as stop:
            self._queue.leave_waiting(stop)
            raise

    # The plan

    def next(self) -> Action | float | None:
        """Return what is due to be asked once more, else the next document, else how long until something is due."""
        with self._lock:
            wait = self._again[0][0] - time.monotonic() if self._again else None
            if wait is not None and wait <= 0:
                return self._again.pop(0)[1]
            document = self._queue.take()
            return partial(self._queue.one, document, self._start) if document is not None else wait

    def abandon(self) -> None:
        """Let nobody sleep or call any more."""
        self.pacing.halt()

    def _start(self, document: Pending) -> None:
        job = self.desk.job(document.document_sha256)
        if job is not None and job.status in ("intended", "unknown"):
            self._once_more(document, job, "The answer of an earlier run is missing.")
        else:
            self._ask(document, is_repeat=False)

    def _ask(self, document: Pending, *, is_repeat: bool, is_second_try: bool = False) -> None:
        content = self.desk.content(document, LARGEST_BYTES)
        if content is None:
            self._queue.concluded(document.document_sha256)
            return
        extraction = self.desk.extraction_id(document.document_sha256)
        try:
            reading = self.pacing.call(partial(self._send, document, content, is_repeat=is_repeat))
        except UnknownOutcome as error:
            self.desk.unknown(extraction, str(error))
            job = self.desk.job(document.document_sha256)
            self._once_more(document, job, str(error), rest=True)
        except ExtractionFailed as error:
            self._failed_to_read(document, extraction, error, is_second_try=is_second_try)
        except DocumentError as error:
            self._failed(document.document_sha256, error.reason_code, str(error))
        except ContractError as error:
            self.desk.refused(extraction, str(error))
            self._changed(error)
        else:
            self._conclude(document, extraction, reading)

    def _send(self, document: Pending, content: bytes, *, is_repeat: bool) -> Reading:
        """Commit the intent and ask at once; what is refused is written before anybody waits for the next try."""
        intent = self.desk.intend(document, is_repeat=is_repeat)
        file_name = f"{document.document_sha256}.{READABLE[document.media_type]}"
        intent.check()
        try:
            return self._client.extract_file(content, file_name, document.media_type)
        except (TransientError, AccountError) as error:
            self.desk.refused(intent.extraction_id, str(error))
            raise

    def _conclude(self, document: Pending, extraction: str, reading: Reading) -> None:
        pages = 0 if reading.source == "cache" else self.desk.pages(document)  # sheet 03 §5
        self.desk.answered_at_once(extraction, document.document_sha256, reading.answer, reading.invoice_id, pages)
        self._queue.concluded(document.document_sha256)

    def _once_more(self, document: Pending, job: Job | None, why: str, *, rest: bool = False) -> None:
        """Ask again what may have been charged, once; then leave it to a person."""
        if self._repeat_after_unknown and job is not None and not job.possible_double_charge:
            self._plan(document, partial(self._ask, is_repeat=True), rest=rest)
            return
        reason = f"{VENDOR} may have read and charged it, but its answer is missing, and it is not asked again: {why}"
        self.desk.give_to_person(document.document_sha256, "outcome_unknown", reason)
        self._queue.concluded(document.document_sha256)

    def _failed_to_read(
        self, document: Pending, extraction: str, error: ExtractionFailed, *, is_second_try: bool
    ) -> None:
        """Try once more what failed without being charged (sheet 03 §4), then let it go."""
        if is_second_try:
            self._failed(document.document_sha256, "extraction_failed", f"{VENDOR} could not read it: {error}")
            return
        self.desk.refused(extraction, str(error))
        self._plan(document, partial(self._ask, is_repeat=False, is_second_try=True), rest=True)

    def _plan(self, document: Pending, ask: Callable[[Pending], None], *, rest: bool) -> None:
        due = time.monotonic() + (REST_SECONDS * self._budget.scale if rest else 0.0)
        with self._lock:
            self._again.append((due, partial(self._queue.one, document, ask)))

    def _failed(self, document: str, reason_code: str, reason: str) -> None:
        self.desk.failed(document, reason_code, reason, pages_charged=0)
        self._queue.concluded(document)

    def _changed(self, error: ContractError) -> NoReturn:
        self.pacing.stop("contract_changed", f"{VENDOR} answers differently: {error}", is_problem=True)
