"""What becomes of a batch whose task failed (contract sheet 02 §4.2): nothing was charged for it."""

from __future__ import annotations

from collections.abc import Collection

from invoices.clients.invoicedataextraction_com import FilesRefused, TaskError
from invoices.extraction.batches.batch import Batch
from invoices.extraction.batches.board import Board
from invoices.extraction.batches.conclusions import Conclusions
from invoices.extraction.desk import Desk
from invoices.extraction.queue import Queue
from invoices.ledger.extraction_batches import advance_batch
from invoices.ledger.extraction_pieces import mark_sent

REST_SECONDS = 15.0  # before a submission that failed is made again
MOST_GENERATIONS = 3  # of one batch in a run, after failures that are worth a new try
GENERATIONS_TO_DOUBT = 8  # after so many, the fault is looked for in the documents and not in the vendor
REASON_CODES = {
    "ENCRYPTED_FILE": "encrypted",
    "FILE_PAGE_LIMIT_EXCEEDED": "too_many_pages",
    "NO_PAGES_FOUND": "no_pages",
}
OUR_PROMPT = ("PROMPT_REJECTED", "PROMPT_UNCLEAR")


class Failures:
    """Decides for each failure who is to blame: the account, our prompt, the moment, or some of the documents."""

    def __init__(self, desk: Desk, board: Board, queue: Queue, conclusions: Conclusions, scale: float) -> None:
        """Take what is in hand and where to write; ``scale`` shortens rests for a rehearsal."""
        self._desk, self._board, self._queue, self._conclusions = desk, board, queue, conclusions
        self._scale = scale

    def task_failed(self, batch: Batch, error: TaskError) -> None:
        """Do what the failure asks for."""
        told = f"{self._desk.vendor}: {said(error)}"
        if error.code == "INSUFFICIENT_CREDITS":
            self._board.park("account_stopped", told, is_problem=True)
            self.release(batch, said(error))
        elif error.code in OUR_PROMPT:
            told = f"{self._desk.vendor} does not take our prompt: {said(error)}"
            self._board.park("contract_changed", told, is_problem=True)
            self.release(batch, said(error))
        elif error.retryable:
            self._try_again(batch, error)
        else:
            self._let_go(batch, error.file_names, REASON_CODES.get(error.code, "extraction_failed"), said(error))

    def refused(self, batch: Batch, error: FilesRefused) -> None:
        """Let go of the files that the vendor does not take, or of half of a batch at a time, until they are found."""
        self._let_go(batch, (*error.file_names, *error.file_ids), error.reason_code, str(error))

    def leave(self, batch: Batch, reason: str) -> None:
        """Leave a batch as it stands to a later run, and tell."""
        self._board.drop(batch)
        self._queue.give_up_for_now(list(batch.documents.values()), reason)

    def release(self, batch: Batch, message: str) -> None:
        """Let the documents of a batch that nobody was charged for be asked about anew, here or elsewhere."""
        self._board.drop(batch)
        self._conclusions.failed(batch, (), "", message)

    def _try_again(self, batch: Batch, error: TaskError) -> None:
        is_full = error.code == "CONCURRENT_TASK_LIMIT"
        if batch.generations < MOST_GENERATIONS:
            self._next_generation(batch, error)
            if is_full:
                self._board.lose_slots()
        elif is_full or batch.known.generation < GENERATIONS_TO_DOUBT:
            self.leave(batch, f"{self._desk.vendor} fails again and again: {said(error)}")
        else:
            self._let_go(batch, error.file_names, "extraction_failed", said(error))

    def _next_generation(self, batch: Batch, error: TaskError) -> None:
        """Submit the same uploads again, under a new id: the old one stands for the failure for ever."""
        with self._desk.ledger.transaction() as tx:
            known = advance_batch(
                tx, batch.id, "uploading", generation=batch.known.generation + 1, remote_id=None, message=said(error)
            )
            mark_sent(tx, batch.id, is_sent=False)
        with self._board.lock:
            batch.known = known
            batch.generations += 1
            batch.rest(REST_SECONDS * self._scale)

    def _let_go(self, batch: Batch, names: Collection[str], reason_code: str, told: str) -> None:
        """Let go of the files that are named, or of the only one; halve a batch in which none is named."""
        named = {sha256 for sha256 in batch.documents if any(sha256 in name for name in names)}
        if not named and len(batch.documents) == 1:
            named = set(batch.documents)
        rest = [document for sha256, document in batch.documents.items() if sha256 not in named]
        middle = len(rest) if named else len(rest) // 2
        self._conclusions.failed(batch, named, reason_code, told)
        self._board.drop(batch)
        self._board.add_groups(rest[:middle], rest[middle:])


def said(error: TaskError) -> str:
    """Return a failure's code and words."""
    return f"{error.code}: {error.message}" if error.message else error.code
