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
from invoices.extraction.batches.batch import Batch, is_stale
from invoices.extraction.batches.conclusions import Conclusions
from invoices.extraction.batches.prompt import VERSION, OutputStructure, prompt
from invoices.extraction.batches.vendor import Client, lacking_credits_as_task
from invoices.extraction.desk import Desk, NotOurs
from invoices.extraction.patience.pacing import Pacing
from invoices.ledger.extraction_batches import advance_batch
from invoices.ledger.extraction_pieces import held_among, mark_sent

SESSION_HOURS = 20.0  # uploaded files are deleted within 24 (contract sheet 02 §7)
LOOKUP_SLACK = dt.timedelta(minutes=10)  # how far the vendor's clock may be behind ours


class Paused(Exception):
    """The vendor takes no submissions for ``seconds``; this one is welcome afterwards under the same id."""

    def __init__(self, error: SubmissionsPaused) -> None:
        """Take what the vendor said."""
        super().__init__(str(error))
        self.seconds = error.retry_after or 0.0


class Submitting:
    """Submits the batches of one run."""

    def __init__(self, desk: Desk, client: Client, pacing: Pacing, conclusions: Conclusions) -> None:
        """Take whom to ask, and where to write that it was."""
        self._desk, self._client, self._pacing, self._conclusions = desk, client, pacing, conclusions

    def submit(self, batch: Batch) -> None:
        """Write that the batch is about to be submitted, submit it, and write the vendor's id of it.

        Raises:
            NotOurs: another worker has one of its documents; nothing was submitted.
            SessionGone: its files are not there any more.
            TaskRefused: the vendor does not take it, and says why as of a failed task.
            Paused: the vendor takes no submissions now.
        """
        check_fresh(batch)
        was_sent_before = batch.known.status == "submitting"  # by an earlier run, perhaps
        times_sent = 0
        self._intend(batch)

        def send() -> str:
            nonlocal times_sent
            times_sent += 1
            return self._send(self._submission(batch))

        try:
            remote_id = self._pacing.call(send, "submit")
        except SubmissionExists as error:
            remote_id = self._existing(error)
        except Paused:
            if times_sent == 1 and not was_sent_before:
                self._surely_not(batch)
            raise
        except (TaskRefused, FilesRefused) as error:
            self._after_refusal(batch, error, was_sent_before=was_sent_before, times_sent=times_sent)
            return
        self._conclusions.submitted(batch, remote_id)

    def adopt(self, batch: Batch) -> bool:
        """Return whether the vendor's list shows our submission; then it is written as ours."""
        since, wanted = batch.known.opened_at - LOOKUP_SLACK, batch.submission_id

        def found() -> str | None:
            listed = self._client.extractions(created_after=since)
            return next((one.id for one in listed if one.submission_id == wanted), None)

        remote_id = self._pacing.call(found, "list")
        if remote_id is not None:
            self._conclusions.submitted(batch, remote_id)
        return remote_id is not None

    def _submission(self, batch: Batch) -> Submission:
        structure = structure_of(batch.known.configuration)
        return Submission(
            submission_id=batch.submission_id,
            session_id=batch.session_id,
            file_ids=sorted(batch.documents),
            task_name=f"invoices {batch.id[:16]}",
            prompt=prompt(structure),
            output_structure=structure,
            options={"json_typed_values": True},
        )

    def _intend(self, batch: Batch) -> None:
        with self._desk.ledger.transaction() as tx:
            if held_among(tx, self._desk.worker, batch.documents) < batch.documents.keys():
                raise NotOurs(batch.id)
            batch.known = advance_batch(tx, batch.id, "submitting")
            mark_sent(tx, batch.id, is_sent=True)

    def _send(self, submission: Submission) -> str:
        """Return the extraction's id; no credit and a pause say surely that there is none."""
        try:
            with lacking_credits_as_task():
                return self._client.submit(submission)
        except SubmissionsPaused as error:
            raise Paused(error) from None

    def _after_refusal(
        self, batch: Batch, error: TaskRefused | FilesRefused, *, was_sent_before: bool, times_sent: int
    ) -> None:
        """Raise a refusal, unless an earlier submission has arrived, or may have: the list may be behind."""
        if (was_sent_before or times_sent > 1) and self.adopt(batch):
            return
        if times_sent > 1:
            raise TransientError(f"the submission was refused after its answer was lost, {error}") from error
        self._surely_not(batch)
        raise error

    def _surely_not(self, batch: Batch) -> None:
        with self._desk.ledger.transaction() as tx:
            batch.known = advance_batch(tx, batch.id, "uploading")
            mark_sent(tx, batch.id, is_sent=False)

    def _existing(self, error: SubmissionExists) -> str:
        """Return the extraction that our id stands for already: what we derive an id from has not changed."""
        if error.extraction_id is None:
            self._pacing.stop("contract_changed", f"{self._desk.vendor} names no extraction: {error}", is_problem=True)
        return error.extraction_id


def configuration(structure: OutputStructure) -> str:
    """Return what tells one way of asking from another, as part of each answer's identity."""
    return f"{VERSION}:{structure}"


def structure_of(asked: str) -> OutputStructure:
    """Return the structure in a configuration: an open batch is asked about as it was begun."""
    return "per_invoice" if asked.endswith(":per_invoice") else "per_line_item"


def check_fresh(batch: Batch) -> None:
    """Raise SessionGone where the batch's uploads have gone, or are about to."""
    if is_stale(batch.known, dt.datetime.now(dt.UTC), SESSION_HOURS):
        raise SessionGone(f"the upload session {batch.session_id!r} is older than {SESSION_HOURS:g} hours")
