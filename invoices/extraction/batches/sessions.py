"""The upload session of a batch: opened or found open, filled, and made anew when the vendor has lost it."""

from __future__ import annotations

from invoices.clients.invoicedataextraction_com import FilesRefused, SessionGone
from invoices.errors import TransientError
from invoices.extraction.batches.batch import Batch
from invoices.extraction.batches.board import Board
from invoices.extraction.batches.conclusions import Conclusions
from invoices.extraction.batches.submitting import Submitting, check_fresh
from invoices.extraction.batches.uploading import Uploading
from invoices.extraction.desk import Desk
from invoices.extraction.queue import Queue
from invoices.ledger.documents import Pending
from invoices.ledger.extraction_batches import advance_batch

MEGABYTE = 1024 * 1024
LARGEST_BYTES = {  # contract sheet 02 §6
    "application/pdf": 150 * MEGABYTE, "image/png": 5 * MEGABYTE, "image/jpeg": 5 * MEGABYTE,
}  # fmt: skip
MOST_SESSIONS = 3  # of one batch in a run


class Sessions:
    """Brings the documents of batches to the vendor."""

    def __init__(
        self,
        desk: Desk,
        board: Board,
        queue: Queue,
        conclusions: Conclusions,
        submitting: Submitting,
        uploading: Uploading,
    ) -> None:
        """Take what is in hand, where to write, and who speaks with the vendor."""
        self._desk, self._board, self._queue, self._conclusions = desk, board, queue, conclusions
        self._submitting, self._uploading, self._pacing = submitting, uploading, uploading.pacing

    def open(self, batch: Batch) -> None:
        """Open the session of a batch; raises SessionGone where it is of long ago or another's."""
        check_fresh(batch)
        self._uploading.open_session(batch)

    def upload(self, batch: Batch, document: Pending) -> None:
        """Bring one document to the vendor, or take it out of its batch."""
        sha256, vendor = document.document_sha256, self._desk.vendor
        content = self._desk.content(document, LARGEST_BYTES[document.media_type])
        if content is None:
            self._take_out(batch, sha256)
            return
        try:
            self._uploading.upload(batch, document, content)
        except TransientError as error:
            self._desk.refused(self._desk.extraction_id(sha256), str(error))
            self._queue.give_up_for_now([document], f"It could not be uploaded to {vendor}: {error}")
            self._take_out(batch, sha256)
        except FilesRefused as error:
            self._desk.failed(sha256, error.reason_code, f"{vendor} does not take it: {error}", pages_charged=0)
            self._take_out(batch, sha256)

    def renew(self, batch: Batch, session: str, error: SessionGone) -> None:
        """Upload again in a new session; if the submission may have arrived, look for it first."""
        if batch.known.status == "submitting" and self._submitting.adopt(batch):
            return
        with self._board.lock:
            if batch.session_id != session:
                return  # another upload of it has seen that already
            batch.sessions += 1
            if batch.sessions > MOST_SESSIONS:
                told = f"{self._desk.vendor} loses upload sessions: {error}"
                self._pacing.stop("contract_changed", told, is_problem=True)
            with self._desk.ledger.transaction() as tx:
                raised = batch.known.session_generation + 1
                batch.known = advance_batch(tx, batch.id, "uploading", session_generation=raised, opened_at=tx.at)
            batch.begin_uploads()

    def _take_out(self, batch: Batch, sha256: str) -> None:
        with self._board.lock:
            batch.documents.pop(sha256, None)
            is_empty = not batch.documents
        self._queue.concluded(sha256)
        if is_empty:
            self._conclusions.close(batch, "nothing of it could be uploaded")
            self._board.drop(batch)
