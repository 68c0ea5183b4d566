"""Handles batches whose task failed (contract sheet 02 §4.2); the vendor charges nothing for them."""

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

RESUBMIT_DELAY_SECONDS = 15.0  # before a failed batch is submitted again
MAX_RESTARTS = 3  # of one batch in a run, after retryable failures
GENERATIONS_BEFORE_SPLIT = 8  # then a document is suspected, not the vendor
REASON_CODE_BY_TASK_ERROR = {
    "ENCRYPTED_FILE": "encrypted",
    "FILE_PAGE_LIMIT_EXCEEDED": "too_many_pages",
    "NO_PAGES_FOUND": "no_pages",
}
REFUSED_PROMPTS_TO_SUSPEND = 2  # in a run; one may be due to the documents of its batch
PROMPT_ERROR_CODES = ("PROMPT_REJECTED", "PROMPT_UNCLEAR")


class BatchFailureHandler:
    """Decides for each failure whether the account, the prompt, a passing condition or some documents caused it."""

    def __init__(
        self,
        recorder: ExtractionRecorder,
        batch_queue: BatchQueue,
        document_queue: DocumentQueue,
        batch_recorder: BatchRecorder,
        time_scale: float,
    ) -> None:
        """Keep the queues and where to record; ``time_scale`` shortens delays for a rehearsal."""
        self._recorder, self._batch_queue = recorder, batch_queue
        self._document_queue, self._batch_recorder = document_queue, batch_recorder
        self._time_scale, self._refused_prompts = time_scale, 0

    def handle_task_failure(self, batch: Batch, error: TaskError) -> None:
        """Suspend submission, submit again, defer, or split the batch, as the failure's code requires."""
        vendor, description = self._recorder.vendor, format_task_error(error)
        if error.code == "INSUFFICIENT_CREDITS":
            self._batch_queue.suspend_submission("account_stopped", f"{vendor}: {description}", is_problem=True)
            self.release_documents(batch, description)
        elif error.code in PROMPT_ERROR_CODES:
            self._release_batch_without_prompt(batch, f"{vendor} does not accept the prompt: {description}")
        elif error.retryable:
            self._retry_defer_or_split_batch(batch, error)
        else:
            reason_code = REASON_CODE_BY_TASK_ERROR.get(error.code, "extraction_failed")
            self._reject_files_or_halve(batch, error.file_names, reason_code, description)

    def handle_refused_files(self, batch: Batch, error: FilesRefused) -> None:
        """Reject the files that the vendor refuses; halve the batch when it names none."""
        self._reject_files_or_halve(batch, (*error.file_names, *error.file_ids), error.reason_code, str(error))

    def defer_batch(self, batch: Batch, reason: str, reason_code: str = "vendor_unavailable") -> None:
        """Leave the batch unchanged for a later run, and report a problem; the other batches continue."""
        self._batch_queue.remove_batch(batch)
        self._document_queue.defer_documents(list(batch.documents.values()), reason, reason_code)

    def release_documents(self, batch: Batch, message: str) -> None:
        """Conclude a batch without charge; its documents may be submitted again, to this or another vendor."""
        self._batch_queue.remove_batch(batch)
        self._batch_recorder.record_failed_batch(batch, (), "", message)

    def _release_batch_without_prompt(self, batch: Batch, reason: str) -> None:
        """Release a batch whose prompt is refused; after a second one the prompt is the cause, and no batch follows."""
        self._refused_prompts += 1
        if self._refused_prompts >= REFUSED_PROMPTS_TO_SUSPEND:
            self._batch_queue.suspend_submission("contract_changed", reason, is_problem=True)
        documents = list(batch.documents.values())
        self.release_documents(batch, reason)
        self._document_queue.defer_documents(documents, reason, "contract_changed")

    def _retry_defer_or_split_batch(self, batch: Batch, error: TaskError) -> None:
        is_vendor_full = error.code == "CONCURRENT_TASK_LIMIT"
        if batch.restarts < MAX_RESTARTS:
            self._start_next_generation(batch, error)
            if is_vendor_full:
                self._batch_queue.reduce_max_running()
        elif is_vendor_full or batch.record.generation < GENERATIONS_BEFORE_SPLIT:
            self.defer_batch(batch, f"{self._recorder.vendor} keeps failing: {format_task_error(error)}")
        else:
            self._reject_files_or_halve(batch, error.file_names, "extraction_failed", format_task_error(error))

    def _start_next_generation(self, batch: Batch, error: TaskError) -> None:
        """Schedule the same uploads under a new submission id: the old id would return the same failure for ever."""
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
        """Reject the named files, or the only file; halve the batch when none is named."""
        rejected_hashes = {sha256 for sha256 in batch.documents if any(sha256 in name for name in file_names)}
        if not rejected_hashes and len(batch.documents) == 1:
            rejected_hashes = set(batch.documents)
        remaining = [document for sha256, document in batch.documents.items() if sha256 not in rejected_hashes]
        middle = len(remaining) if rejected_hashes else len(remaining) // 2
        self._batch_recorder.record_failed_batch(batch, rejected_hashes, reason_code, message)
        self._batch_queue.remove_batch(batch)
        self._batch_queue.add_document_groups(remaining[:middle], remaining[middle:])


def format_task_error(error: TaskError) -> str:
    """Return the code and the message of a failure."""
    return f"{error.code}: {error.message}" if error.message else error.code
