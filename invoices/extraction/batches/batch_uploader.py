"""The upload session of a batch: opened or resumed, filled, and renewed when the vendor has lost it."""

from __future__ import annotations

from invoices.clients.invoicedataextraction_com import FilesRefused, SessionGone
from invoices.errors import ContractError, TransientError
from invoices.extraction.batches.batch import Batch
from invoices.extraction.batches.batch_queue import BatchQueue
from invoices.extraction.batches.batch_recorder import BatchRecorder
from invoices.extraction.batches.batch_submitter import BatchSubmitter, require_fresh_session
from invoices.extraction.batches.file_uploader import FileUploader
from invoices.extraction.document_queue import DocumentQueue
from invoices.extraction.extraction_recorder import ExtractionRecorder
from invoices.ledger.documents import PendingDocument
from invoices.ledger.extraction_batches import update_extraction_batch

MEGABYTE = 1024 * 1024
MAX_BYTES_BY_MEDIA_TYPE = {  # contract sheet 02 §6
    "application/pdf": 150 * MEGABYTE, "image/png": 5 * MEGABYTE, "image/jpeg": 5 * MEGABYTE,
}  # fmt: skip
MAX_SESSION_RENEWALS = 3  # of one batch in a run


class BatchUploader:
    """Uploads the documents of batches to the vendor."""

    def __init__(
        self,
        recorder: ExtractionRecorder,
        batch_queue: BatchQueue,
        document_queue: DocumentQueue,
        batch_recorder: BatchRecorder,
        submitter: BatchSubmitter,
        file_uploader: FileUploader,
    ) -> None:
        """Keep the queues, where to record, and the clients of the vendor."""
        self._recorder, self._batch_queue = recorder, batch_queue
        self._document_queue, self._batch_recorder = document_queue, batch_recorder
        self._submitter, self._file_uploader = submitter, file_uploader

    def open_session(self, batch: Batch) -> None:
        """Open the session of a batch; raises SessionGone when it is too old or used for other files."""
        require_fresh_session(batch)
        self._file_uploader.open_session(batch)

    def upload_document(self, batch: Batch, document: PendingDocument) -> None:
        """Upload one document, or remove it from its batch."""
        sha256, vendor = document.document_sha256, self._recorder.vendor
        content = self._recorder.read_content_or_quarantine(document, MAX_BYTES_BY_MEDIA_TYPE[document.media_type])
        if content is None:
            self._remove_document(batch, sha256)
            return
        try:
            self._file_uploader.upload_file(batch, document, content)
        except TransientError as error:
            self._recorder.record_refusal(self._recorder.get_extraction_id(sha256), str(error))
            self._document_queue.defer_documents([document], f"The upload to {vendor} failed: {error}")
            self._remove_document(batch, sha256)
        except FilesRefused as error:
            self._recorder.record_failure(
                sha256, error.reason_code, f"{vendor} does not accept it: {error}", pages_charged=0
            )
            self._remove_document(batch, sha256)

    def renew_session(self, batch: Batch, session_id: str, error: SessionGone) -> None:
        """Plan the upload in a new session, unless the submission has arrived after all.

        Raises ContractError when the batch has lost too many sessions in this run.
        """
        if batch.record.status == "submitting" and self._submitter.recover_existing_submission(batch):
            return
        with self._batch_queue.lock:
            if batch.session_id != session_id:
                return  # another thread has renewed it already
            batch.session_renewals += 1
            if batch.session_renewals > MAX_SESSION_RENEWALS:
                raise ContractError(f"the upload sessions of this batch are lost again and again: {error}")
            with self._recorder.ledger.begin_transaction() as tx:
                next_generation = batch.record.session_generation + 1
                batch.record = update_extraction_batch(
                    tx, batch.id, "uploading", session_generation=next_generation, opened_at=tx.timestamp
                )
            batch.begin_uploads()

    def _remove_document(self, batch: Batch, sha256: str) -> None:
        with self._batch_queue.lock:
            batch.documents.pop(sha256, None)
            is_empty = not batch.documents
        self._document_queue.mark_concluded(sha256)
        if is_empty:
            self._batch_recorder.close_batch(batch, "none of its documents could be uploaded")
            self._batch_queue.remove_batch(batch)
