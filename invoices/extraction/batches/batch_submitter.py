"""Submits each batch once: under an id that is recorded before, and adopted if the vendor has it already."""

from __future__ import annotations

import datetime as dt

from invoices.clients.invoicedataextraction_com import (
    FilesRefused,
    SessionGone,
    Submission,
    SubmissionExists,
    SubmissionsPaused,
    TaskRefused,
)
from invoices.errors import ContractError, TransientError
from invoices.extraction.batches.batch import Batch
from invoices.extraction.batches.batch_api import BatchApi, convert_credit_error_to_task_refusal
from invoices.extraction.batches.batch_recorder import BatchRecorder
from invoices.extraction.batches.prompt import PROMPT_VERSION, OutputStructure, build_prompt
from invoices.extraction.extraction_recorder import ClaimLost, ExtractionRecorder
from invoices.extraction.resilience.retry import RetryingCaller
from invoices.ledger.extraction_batch_documents import filter_claimed_hashes, mark_batch_sent
from invoices.ledger.extraction_batches import update_extraction_batch

MAX_SESSION_HOURS = 20.0  # uploaded files are deleted within 24 (contract sheet 02 §7)
MAX_CLOCK_DIFFERENCE = dt.timedelta(minutes=10)  # the vendor's clock may be this much behind ours


class SubmissionDeferred(Exception):
    """The vendor accepts no submissions for ``retry_after_seconds``; repeat this one afterwards under the same id."""

    def __init__(self, error: SubmissionsPaused) -> None:
        """Keep the vendor's message and wait."""
        super().__init__(str(error))
        self.retry_after_seconds = error.retry_after or 0.0


class BatchSubmitter:
    """Submits the batches of one run."""

    def __init__(
        self, recorder: ExtractionRecorder, client: BatchApi, caller: RetryingCaller, batch_recorder: BatchRecorder
    ) -> None:
        """Keep the client, and where to record submissions."""
        self._recorder, self._client, self._caller, self._batch_recorder = recorder, client, caller, batch_recorder

    def submit_batch(self, batch: Batch) -> None:
        """Record the intent, submit the batch, and record the vendor's extraction id.

        Raises:
            ClaimLost: another worker holds one of its documents; nothing was submitted.
            SessionGone: the vendor has deleted its files.
            TaskRefused: the vendor refuses it, with the reason of a failed task.
            FilesRefused: the vendor refuses some of its files.
            SubmissionDeferred: the vendor accepts no submissions now.
        """
        require_fresh_session(batch)
        was_sent_before = batch.record.status == "submitting"  # perhaps by an earlier run
        attempts = 0
        self._record_intent(batch)
        submission = _build_submission(batch)

        def send_submission() -> str:
            nonlocal attempts
            attempts += 1
            try:
                with convert_credit_error_to_task_refusal():
                    return self._client.submit_extraction(submission)
            except SubmissionsPaused as error:  # like missing credits, it means that nothing was created
                raise SubmissionDeferred(error) from None

        try:
            remote_id = self._caller.send_with_retries(send_submission, "submit")
        except SubmissionExists as error:  # the same submission id means the same content
            if error.extraction_id is None:
                raise ContractError(
                    f"the vendor does not name the extraction under our submission id: {error}"
                ) from None
            remote_id = error.extraction_id
        except SubmissionDeferred:
            if attempts == 1 and not was_sent_before:
                self._record_not_submitted(batch)
            raise
        except (TaskRefused, FilesRefused) as error:
            self._recover_or_raise_refusal(batch, error, was_sent_before=was_sent_before, attempts=attempts)
            return
        self._batch_recorder.record_submission(batch, remote_id)

    def recover_existing_submission(self, batch: Batch) -> bool:
        """Return whether the vendor's list has our submission; if so, it is recorded."""
        created_after, submission_id = batch.record.opened_at - MAX_CLOCK_DIFFERENCE, batch.submission_id

        def find_remote_id() -> str | None:
            summaries = self._client.list_extractions(created_after=created_after)
            return next((summary.id for summary in summaries if summary.submission_id == submission_id), None)

        remote_id = self._caller.send_with_retries(find_remote_id, "list")
        if remote_id is not None:
            self._batch_recorder.record_submission(batch, remote_id)
        return remote_id is not None

    def _record_intent(self, batch: Batch) -> None:
        with self._recorder.ledger.begin_transaction() as tx:
            if filter_claimed_hashes(tx, self._recorder.worker, batch.documents) < batch.documents.keys():
                raise ClaimLost(batch.id)
            batch.record = update_extraction_batch(tx, batch.id, "submitting")
            mark_batch_sent(tx, batch.id, is_sent=True)

    def _recover_or_raise_refusal(
        self, batch: Batch, error: TaskRefused | FilesRefused, *, was_sent_before: bool, attempts: int
    ) -> None:
        """Raise the refusal, unless an earlier submission has arrived, or may have, because the list may lag."""
        if (was_sent_before or attempts > 1) and self.recover_existing_submission(batch):
            return
        if attempts > 1:
            raise TransientError(f"the submission was refused after an earlier answer was lost: {error}") from error
        self._record_not_submitted(batch)
        raise error

    def _record_not_submitted(self, batch: Batch) -> None:
        with self._recorder.ledger.begin_transaction() as tx:
            batch.record = update_extraction_batch(tx, batch.id, "uploading")
            mark_batch_sent(tx, batch.id, is_sent=False)


def _build_submission(batch: Batch) -> Submission:
    # An open batch is submitted with the structure with which it was created.
    structure: OutputStructure = (
        "per_invoice" if batch.record.configuration.endswith(":per_invoice") else "per_line_item"
    )
    return Submission(
        submission_id=batch.submission_id,
        session_id=batch.session_id,
        file_ids=sorted(batch.documents),
        task_name=f"invoices {batch.id[:16]}",
        prompt=build_prompt(structure),
        output_structure=structure,
        options={"json_typed_values": True},
    )


def build_configuration(structure: OutputStructure) -> str:
    """Return the prompt version and output structure, which are part of each extraction id."""
    return f"{PROMPT_VERSION}:{structure}"


def require_fresh_session(batch: Batch) -> None:
    """Raise SessionGone when the batch's uploads are deleted or may be soon (contract sheet 02 §7: within 24 hours)."""
    if dt.datetime.now(dt.UTC) - batch.record.opened_at > dt.timedelta(hours=MAX_SESSION_HOURS):
        raise SessionGone(f"the upload session {batch.session_id!r} is older than {MAX_SESSION_HOURS:g} hours")
