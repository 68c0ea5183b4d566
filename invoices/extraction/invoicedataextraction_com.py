"""Asking invoicedataextraction.com: hundreds of documents in one session and one submission, each page charged once.

The caller chooses the ids of session and submission (contract sheet 02 §5): they are derived from the documents and
from what is asked, and written before they are used. A submission is repeated under the same id, which costs nothing;
only after the vendor has said that it ended, and how, is there a new generation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from invoices.clients.classification import NotFound
from invoices.clients.invoicedataextraction_com import (
    ExpiredUrl,
    FilesRefused,
    OutputGone,
    SessionGone,
    TaskError,
    TaskRefused,
)
from invoices.errors import ConfigurationError, ContractError, InvoicesError, TransientError
from invoices.extraction.batches.batch import Batch, Batching, ClaimAll, NoCredit
from invoices.extraction.batches.board import Board
from invoices.extraction.batches.conclusions import Conclusions
from invoices.extraction.batches.failures import Failures
from invoices.extraction.batches.looking import POLL_SECONDS, Looking
from invoices.extraction.batches.prompt import OutputStructure
from invoices.extraction.batches.sessions import LARGEST_BYTES as LARGEST_BYTES  # for who chooses an extractor
from invoices.extraction.batches.sessions import Sessions
from invoices.extraction.batches.submitting import Paused, Submitting
from invoices.extraction.batches.submitting import configuration as configuration  # for who sets this up
from invoices.extraction.batches.uploading import Uploading
from invoices.extraction.batches.vendor import Client
from invoices.extraction.desk import Desk, NotOurs
from invoices.extraction.patience.budget import Budget, Window
from invoices.extraction.patience.crew import Action, Crew
from invoices.extraction.patience.pacing import Pacing, VendorStopped
from invoices.extraction.queue import Queue
from invoices.ledger.documents import Pending
from invoices.ledger.extractions import all_jobs
from invoices.ledger.spending import CapReached

EXTRACTOR = "invoicedataextraction_com"
VENDOR = "invoicedataextraction.com"
LIMITS = {  # calls a minute of each group of routes (contract sheet 02 §2)
    "upload": 600, "poll": 120, "balance": 60, "submit": 30, "download": 30, "list": 60, "results": 60,
}  # fmt: skip
MOST_BATCHES = 11  # in hand: those that run, and one that is uploaded meanwhile
MOST_PAUSES = 3
ODDITIES_TO_STOP = 5  # in a row
ODDITIES_TO_LOSE = 3  # in a row about one batch that the vendor does not know any more


def windows(group: str) -> tuple[Window, ...]:
    """Return the limits of a group of routes."""
    return (Window(LIMITS[group], 60),)


class InvoiceDataExtraction:
    """Asks the vendor about documents until each is answered, set aside, or has to wait for a later run."""

    def __init__(
        self,
        desk: Desk,
        client: Client,
        budgets: dict[str, Budget],
        claim_all: ClaimAll,
        *,
        structure: OutputStructure = "per_line_item",
        batch_documents: int = 250,
        deadline_minutes: float = 120,
        connections: int = 1,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """Take what is needed; nothing is asked yet."""
        self.desk, self._client = desk, client
        self.pacing = Pacing(VENDOR, budgets, sleep)
        self._scale, self._patience = budgets["poll"].scale, budgets["submit"].patience
        self._connections, self._crew = connections, Crew(connections)
        self._batching = Batching(desk, configuration(structure), batch_documents, claim_all)
        self._board, self._queue = Board(), Queue(desk)
        self._conclusions = Conclusions(desk, self._queue)
        self._submitting = Submitting(desk, client, self.pacing, self._conclusions)
        self._sessions = Sessions(
            desk, self._board, self._queue, self._conclusions, self._submitting, Uploading(client, self.pacing)
        )
        self._looking = Looking(client, self.pacing, self._conclusions, self._scale, deadline_minutes)
        self._failures = Failures(desk, self._board, self._queue, self._conclusions, self._scale)
        self._oddities = 0  # answers in a row that were not understood

    def ask(self, documents: Sequence[Pending], done: Callable[[int], None] = lambda _: None) -> None:
        """Ask about the documents; ``done`` is told how many were just concluded.

        Raises:
            VendorStopped: the vendor has to be left alone for the rest of this run; what waits has been written.
        """
        with self.desk.ledger.reading() as connection:
            jobs = all_jobs(connection, [document.document_sha256 for document in documents])
        mine = {
            sha256: job for sha256, found in jobs.items() for job in found if job.extracted_by == self.desk.extractor
        }
        batches, fresh = self._batching.resume(documents, mine)
        self._board.begin(batches)
        started = [one for batch in batches for one in batch.documents.values()]
        self._queue.fill([*fresh], done, also=started)
        try:
            self._crew.work(self)
            if stopped := self._board.parked or self._board.closed:
                raise stopped
        except VendorStopped as stop:
            if stop.reason_code == "account_stopped":
                self._release_uploads(str(stop))
            self._queue.leave_waiting(stop)
            raise

    # The plan

    def next(self) -> Action | float | None:
        """Return what comes next: a look that is due, a submission, a session, an upload, a new batch, or a wait."""
        board = self._board
        with board.lock:
            now = time.monotonic()
            for batch in sorted(board.batches, key=lambda one: one.due):
                action = self._next_of(batch, now)
                if action is not None:
                    batch.under_way += 1
                    return partial(self._do, batch, action)
            if self._may_form():
                board.is_forming = True
                return self._form
            dues = [one.due for one in board.batches if one.under_way == 0 and (one.is_submitted or one.due > now)]
            return max(min(dues) - now, 0.001) if dues else None

    def _next_of(self, batch: Batch, now: float) -> Action | None:
        if batch.is_submitted:
            return partial(self._look, batch) if batch.under_way == 0 and batch.due <= now else None
        if self._board.parked is not None:
            return None
        if batch.to_upload and batch.part_sizes is not None:
            if batch.under_way >= max(self._connections - min(self._board.running, 1), 1):  # one is left to look
                return None
            return partial(self._sessions.upload, batch, batch.to_upload.popleft())
        if batch.under_way or batch.due > now:
            return None
        if batch.to_upload:
            return partial(self._sessions.open, batch)
        return partial(self._submit, batch) if self._board.running < self._board.slots else None

    def _may_form(self) -> bool:
        board = self._board
        if board.is_forming or board.parked or board.closed or len(board.batches) >= MOST_BATCHES:
            return False
        is_uploading = any(batch.to_upload for batch in board.batches)
        return not is_uploading and (bool(board.groups) or len(self._queue) > 0)

    def abandon(self) -> None:
        """Let nobody sleep or call any more."""
        self.pacing.halt()

    def _do(self, batch: Batch, action: Action) -> None:
        """Do something about a batch; what concerns it alone ends here."""
        try:
            self._in_session(batch, action)
        except NotOurs:
            self._board.drop(batch)
            self._queue.concluded(*batch.documents)
        except TaskRefused as error:
            self._failures.task_failed(batch, error.error)
        except FilesRefused as error:
            self._failures.refused(batch, error)
        except TransientError as error:
            self._failures.leave(batch, f"{VENDOR} did not answer: {error}")
        except ConfigurationError:
            raise
        except InvoicesError as error:
            self._not_understood(batch, error)
        finally:
            with self._board.lock:
                batch.under_way -= 1

    def _in_session(self, batch: Batch, action: Action) -> None:
        session = batch.session_id
        try:
            action()
        except SessionGone as error:
            self._sessions.renew(batch, session, error)

    def _not_understood(self, batch: Batch, error: InvoicesError) -> None:
        """Ask again for an answer that is odd, but not for ever; give up what the vendor does not know any more."""
        batch.oddities += 1
        is_gone = isinstance(error, NotFound) and not isinstance(error, (OutputGone, ExpiredUrl))
        if batch.is_submitted and (self._looking.is_overdue(batch) or (is_gone and batch.oddities >= ODDITIES_TO_LOSE)):
            self._conclusions.lost(batch, error)
            self._board.drop(batch)
            return
        self._oddities += not isinstance(error, NotFound)
        if self._oddities >= ODDITIES_TO_STOP:
            self.pacing.stop("contract_changed", f"{VENDOR} answers differently: {error}", is_problem=True)
        if not batch.is_submitted:
            self._failures.leave(batch, f"{VENDOR} answers differently: {error}")
            return
        if batch.oddities >= ODDITIES_TO_STOP:
            self._failures.leave(batch, f"{VENDOR} answers differently: {error}")
        batch.rest(POLL_SECONDS * self._scale)

    # Forming

    def _form(self) -> None:
        """Form a batch of what waits, as large as caps and credits allow."""
        board = self._board
        try:
            with board.lock:
                documents = board.groups.popleft() if board.groups else self._queue.take_all()
            self._form_of(documents)
        finally:
            with board.lock:
                board.is_forming = False

    def _form_of(self, documents: list[Pending]) -> None:
        try:
            balance = self.pacing.call(self._client.balance, "balance")
            formed = self._batching.form(documents, balance.spendable - self._board.promised_pages)
        except CapReached as cap:
            self._queue.hold_back(documents, cap)
        except NoCredit as error:
            held = f"{balance.credits_reserved:,} of {balance.credits_balance:,} are held by running extractions"
            self._board.close("account_stopped", f"{VENDOR}: {error} ({held})")
        except TransientError as error:
            self._board.close("vendor_unavailable", f"{VENDOR} did not answer: {error}")
        except ContractError as error:
            self._board.close("contract_changed", f"{VENDOR} answers differently: {error}")
        else:
            self._queue.put_back(formed.rest)
            self._queue.concluded(*formed.not_ours)
            if formed.batch is not None:
                self._board.add(formed.batch)

    # Submitting and looking

    def _submit(self, batch: Batch) -> None:
        try:
            self._submitting.submit(batch)
        except Paused as pause:
            self._pause(batch, pause)
        else:
            self._oddities = 0
            batch.rest(POLL_SECONDS * self._scale)

    def _pause(self, batch: Batch, pause: Paused) -> None:
        """Submit again after a short pause; after a long one only a later run does."""
        batch.pauses += 1
        if pause.seconds > self._patience or batch.pauses > MOST_PAUSES:
            self._board.park("vendor_unavailable", f"{VENDOR} takes no submissions now: {pause}", is_problem=False)
        else:
            self.pacing.block(pause.seconds, "submit")
            batch.rest(pause.seconds)

    def _look(self, batch: Batch) -> None:
        extraction = self._looking.look(batch, may_hold=self._is_idle(), running=self._board.running)
        if extraction.status == "failed":
            self._failures.task_failed(batch, extraction.error or TaskError("UNKNOWN"))
        elif extraction.status == "input_required":
            self._failures.leave(batch, f"{VENDOR} asks questions that a person must answer: {extraction.id}")
        elif self._looking.conclude(batch, extraction):
            self._board.drop(batch)
        self._oddities = batch.oddities = 0

    def _is_idle(self) -> bool:
        board = self._board
        with board.lock:
            if board.parked:
                return True
            is_empty = not board.is_forming and not self._may_form()
            return is_empty and all(batch.is_submitted for batch in board.batches)

    def _release_uploads(self, told: str) -> None:
        """Let documents that were not submitted be asked about elsewhere, or here under better terms."""
        for batch in self._board.batches:
            if batch.known.status == "uploading":
                self._failures.release(batch, told)
