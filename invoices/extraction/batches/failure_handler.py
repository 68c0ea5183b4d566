"""What becomes of a batch whose task failed (contract sheet 02 §4.2): nothing was charged for it."""

from __future__ import annotations

from collections.abc import Collection

from invoices.clients.invoicedataextraction_com import FilesRefused, TaskError
from invoices.extraction.batches.batch import Batch
from invoices.extraction.batches.batch_queue import BatchQueue
from invoices.extraction.batches.batch_recorder import BatchRecorder
from invoices.extraction.document_queue import DocumentQueue
from invoices.extraction.extraction_recorder import ExtractionRecorder
from invoices.ledger.extraction_batch_documents import mark_batch_sent
from invoices.ledger.extraction_batches import update_extraction_batch

RESUBMIT_DELAY_SECONDS = 15.0  # before a submission that failed is made again
MAX_RESTARTS = 3  # of one batch in a run, after failures that are worth a new try
GENERATIONS_BEFORE_SPLIT = 8  # after so many, the fault is looked for in the documents and not in the vendor
REASON_CODE_BY_TASK_ERROR = {
    "ENCRYPTED_FILE": "encrypted",
    "FILE_PAGE_LIMIT_EXCEEDED": "too_many_pages",
    "NO_PAGES_FOUND": "no_pages",
}
PROMPT_ERROR_CODES = ("PROMPT_REJECTED", "PROMPT_UNCLEAR")


class BatchFailureHandler:
    """Decides for each failure who is to blame: the account, our prompt, the moment, or some of the documents."""

    def __init__(
        self,
        recorder: ExtractionRecorder,
        batch_queue: BatchQueue,
        document_queue: DocumentQueue,
        batch_recorder: BatchRecorder,
        time_scale: float,
    ) -> None:
        """Take what is in hand and where to write; ``scale`` shortens rests for a rehearsal."""
        self._recorder, self._batch_queue, self._document_queue, self._batch_recorder = (
            recorder,
            batch_queue,
            document_queue,
            batch_recorder,
        )
        self._time_scale = time_scale

    def handle_task_failure(self, batch: Batch, error: TaskError) -> None:
        """Do what the failure asks for."""
        message = f"{self._recorder.vendor}: {format_task_error(error)}"
        if error.code == "INSUFFICIENT_CREDITS":
            self._batch_queue.suspend_submission("account_stopped", message, is_problem=True)
            self.release_documents(batch, format_task_error(error))
        elif error.code in PROMPT_ERROR_CODES:
            message = f"{self._recorder.vendor} does not take our prompt: {format_task_error(error)}"
            self._batch_queue.suspend_submission("contract_changed", message, is_problem=True)
            self.release_documents(batch, format_task_error(error))
        elif error.retryable:
            self._retry_hold_or_split_batch(batch, error)
        else:
            self._reject_files_or_halve(
                batch,
                error.file_names,
                REASON_CODE_BY_TASK_ERROR.get(error.code, "extraction_failed"),
                format_task_error(error),
            )

    def handle_refused_files(self, batch: Batch, error: FilesRefused) -> None:
        """Let go of the files that the vendor does not take, or of half of a batch at a time, until they are found."""
        self._reject_files_or_halve(batch, (*error.file_names, *error.file_ids), error.reason_code, str(error))

    def hold_batch_for_later_run(self, batch: Batch, reason: str) -> None:
        """Leave a batch as it stands to a later run, and tell."""
        self._batch_queue.remove_batch(batch)
        self._document_queue.hold_for_later_run(list(batch.documents.values()), reason)

    def release_documents(self, batch: Batch, message: str) -> None:
        """Let the documents of a batch that nobody was charged for be asked about anew, here or elsewhere."""
        self._batch_queue.remove_batch(batch)
        self._batch_recorder.record_failed_batch(batch, (), "", message)

    def _retry_hold_or_split_batch(self, batch: Batch, error: TaskError) -> None:
        is_vendor_full = error.code == "CONCURRENT_TASK_LIMIT"
        if batch.restarts < MAX_RESTARTS:
            self._start_next_generation(batch, error)
            if is_vendor_full:
                self._batch_queue.reduce_max_running()
        elif is_vendor_full or batch.record.generation < GENERATIONS_BEFORE_SPLIT:
            self.hold_batch_for_later_run(
                batch, f"{self._recorder.vendor} fails again and again: {format_task_error(error)}"
            )
        else:
            self._reject_files_or_halve(batch, error.file_names, "extraction_failed", format_task_error(error))

    def _start_next_generation(self, batch: Batch, error: TaskError) -> None:
        """Submit the same uploads again, under a new id: the old one stands for the failure for ever."""
        with self._recorder.ledger.begin_transaction() as tx:
            record = update_extraction_batch(
                tx,
                batch.id,
                "uploading",
                generation=batch.record.generation + 1,
                remote_id=None,
                message=format_task_error(error),
            )
            mark_batch_sent(tx, batch.id, is_sent=False)
        with self._batch_queue.lock:
            batch.record = record
            batch.restarts += 1
            batch.schedule_after(RESUBMIT_DELAY_SECONDS * self._time_scale)

    def _reject_files_or_halve(self, batch: Batch, file_names: Collection[str], reason_code: str, message: str) -> None:
        """Let go of the files that are named, or of the only one; halve a batch in which none is named."""
        rejected_hashes = {sha256 for sha256 in batch.documents if any(sha256 in name for name in file_names)}
        if not rejected_hashes and len(batch.documents) == 1:
            rejected_hashes = set(batch.documents)
        remaining = [document for sha256, document in batch.documents.items() if sha256 not in rejected_hashes]
        middle = len(remaining) if rejected_hashes else len(remaining) // 2
        self._batch_recorder.record_failed_batch(batch, rejected_hashes, reason_code, message)
        self._batch_queue.remove_batch(batch)
        self._batch_queue.add_document_groups(remaining[:middle], remaining[middle:])


def format_task_error(error: TaskError) -> str:
    """Return a failure's code and words."""
    return f"{error.code}: {error.message}" if error.message else error.code
