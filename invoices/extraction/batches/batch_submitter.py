"""Submitting a batch once: under an id that is written before, and adopted wherever the vendor knows it already."""

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
from invoices.errors import TransientError
from invoices.extraction.batches.batch import Batch, is_session_stale
from invoices.extraction.batches.batch_api import BatchApi, convert_credit_error_to_task_refusal
from invoices.extraction.batches.batch_recorder import BatchRecorder
from invoices.extraction.batches.prompt import PROMPT_VERSION, OutputStructure, build_prompt
from invoices.extraction.extraction_recorder import ClaimLost, ExtractionRecorder
from invoices.extraction.resilience.retry import RetryingCaller
from invoices.ledger.extraction_batch_documents import filter_claimed_hashes, mark_batch_sent
from invoices.ledger.extraction_batches import update_extraction_batch

MAX_SESSION_HOURS = 20.0  # uploaded files are deleted within 24 (contract sheet 02 §7)
MAX_CLOCK_DIFFERENCE = dt.timedelta(minutes=10)  # how far the vendor's clock may be behind ours


class SubmissionDeferred(Exception):
    """The vendor takes no submissions for ``seconds``; this one is welcome afterwards under the same id."""

    def __init__(self, error: SubmissionsPaused) -> None:
        """Take what the vendor said."""
        super().__init__(str(error))
        self.retry_after_seconds = error.retry_after or 0.0


class BatchSubmitter:
    """Submits the batches of one run."""

    def __init__(
        self, recorder: ExtractionRecorder, client: BatchApi, caller: RetryingCaller, batch_recorder: BatchRecorder
    ) -> None:
        """Take whom to ask, and where to write that it was."""
        self._recorder, self._client, self._caller, self._batch_recorder = recorder, client, caller, batch_recorder

    def submit_batch(self, batch: Batch) -> None:
        """Write that the batch is about to be submitted, submit it, and write the vendor's id of it.

        Raises:
            NotOurs: another worker has one of its documents; nothing was submitted.
            SessionGone: its files are not there any more.
            TaskRefused: the vendor does not take it, and says why as of a failed task.
            Paused: the vendor takes no submissions now.
        """
        require_fresh_session(batch)
        was_sent_before = batch.record.status == "submitting"  # by an earlier run, perhaps
        attempts = 0
        self._record_intent(batch)

        def send_submission() -> str:
            nonlocal attempts
            attempts += 1
            return self._send_submission(self._build_submission(batch))

        try:
            remote_id = self._caller.send_with_retries(send_submission, "submit")
        except SubmissionExists as error:
            remote_id = self._get_existing_extraction_id(error)
        except SubmissionDeferred:
            if attempts == 1 and not was_sent_before:
                self._record_not_submitted(batch)
            raise
        except (TaskRefused, FilesRefused) as error:
            self._recover_or_raise_refusal(batch, error, was_sent_before=was_sent_before, attempts=attempts)
            return
        self._batch_recorder.record_submission(batch, remote_id)

    def recover_existing_submission(self, batch: Batch) -> bool:
        """Return whether the vendor's list shows our submission; then it is written as ours."""
        created_after, submission_id = batch.record.opened_at - MAX_CLOCK_DIFFERENCE, batch.submission_id

        def find_remote_id() -> str | None:
            summaries = self._client.list_extractions(created_after=created_after)
            return next((summary.id for summary in summaries if summary.submission_id == submission_id), None)

        remote_id = self._caller.send_with_retries(find_remote_id, "list")
        if remote_id is not None:
            self._batch_recorder.record_submission(batch, remote_id)
        return remote_id is not None

    def _build_submission(self, batch: Batch) -> Submission:
        structure = parse_output_structure(batch.record.configuration)
        return Submission(
            submission_id=batch.submission_id,
            session_id=batch.session_id,
            file_ids=sorted(batch.documents),
            task_name=f"invoices {batch.id[:16]}",
            prompt=build_prompt(structure),
            output_structure=structure,
            options={"json_typed_values": True},
        )

    def _record_intent(self, batch: Batch) -> None:
        with self._recorder.ledger.begin_transaction() as tx:
            if filter_claimed_hashes(tx, self._recorder.worker, batch.documents) < batch.documents.keys():
                raise ClaimLost(batch.id)
            batch.record = update_extraction_batch(tx, batch.id, "submitting")
            mark_batch_sent(tx, batch.id, is_sent=True)

    def _send_submission(self, submission: Submission) -> str:
        """Return the extraction's id; no credit and a pause say surely that there is none."""
        try:
            with convert_credit_error_to_task_refusal():
                return self._client.submit_extraction(submission)
        except SubmissionsPaused as error:
            raise SubmissionDeferred(error) from None

    def _recover_or_raise_refusal(
        self, batch: Batch, error: TaskRefused | FilesRefused, *, was_sent_before: bool, attempts: int
    ) -> None:
        """Raise a refusal, unless an earlier submission has arrived, or may have: the list may be behind."""
        if (was_sent_before or attempts > 1) and self.recover_existing_submission(batch):
            return
        if attempts > 1:
            raise TransientError(f"the submission was refused after its answer was lost, {error}") from error
        self._record_not_submitted(batch)
        raise error

    def _record_not_submitted(self, batch: Batch) -> None:
        with self._recorder.ledger.begin_transaction() as tx:
            batch.record = update_extraction_batch(tx, batch.id, "uploading")
            mark_batch_sent(tx, batch.id, is_sent=False)

    def _get_existing_extraction_id(self, error: SubmissionExists) -> str:
        """Return the extraction that our id stands for already: what we derive an id from has not changed."""
        if error.extraction_id is None:
            self._caller.suspend_vendor(
                "contract_changed", f"{self._recorder.vendor} names no extraction: {error}", is_problem=True
            )
        return error.extraction_id


def build_configuration(structure: OutputStructure) -> str:
    """Return what tells one way of asking from another, as part of each answer's identity."""
    return f"{PROMPT_VERSION}:{structure}"


def parse_output_structure(configuration_text: str) -> OutputStructure:
    """Return the structure in a configuration: an open batch is asked about as it was begun."""
    return "per_invoice" if configuration_text.endswith(":per_invoice") else "per_line_item"


def require_fresh_session(batch: Batch) -> None:
    """Raise SessionGone where the batch's uploads have gone, or are about to."""
    if is_session_stale(batch.record, dt.datetime.now(dt.UTC), MAX_SESSION_HOURS):
        raise SessionGone(f"the upload session {batch.session_id!r} is older than {MAX_SESSION_HOURS:g} hours")
