"""Asking invoicedataextraction.com: hundreds of documents in one session and one submission, each page charged once.

The caller chooses the ids of session and submission (contract sheet 02 §5): they are derived from the documents and
from what is asked, and written before they are used. A submission is repeated under the same id, which costs nothing;
only after the vendor has said that it ended, and how, is there a new generation.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from invoices.clients.classification import NotFound
from invoices.clients.invoicedataextraction_com import (
    Balance,
    Extraction,
    ExtractionSummary,
    FilesRefused,
    Results,
    SessionGone,
    Submission,
    SubmissionExists,
    TaskError,
    TaskRefused,
)
from invoices.errors import ContractError, TransientError
from invoices.extraction.batch_conclusions import Conclusions
from invoices.extraction.batches import Batch, Batching, ClaimAll, NoCredit, is_stale
from invoices.extraction.budget import Budget, Window
from invoices.extraction.crew import Action, Crew
from invoices.extraction.desk import Desk, NotOurs
from invoices.extraction.pacing import Pacing, VendorStopped
from invoices.extraction.prompt import VERSION, OutputStructure, prompt
from invoices.extraction.queue import Queue
from invoices.extraction.uploading import Client as UploadClient
from invoices.extraction.uploading import Uploading
from invoices.ledger.claims import holds
from invoices.ledger.documents import Pending
from invoices.ledger.extraction_batches import advance_batch
from invoices.ledger.extractions import all_jobs
from invoices.ledger.spending import CapReached

EXTRACTOR = "invoicedataextraction_com"
VENDOR = "invoicedataextraction.com"
MEGABYTE = 1024 * 1024
LARGEST_BYTES = {"application/pdf": 150 * MEGABYTE, "image/png": 5 * MEGABYTE, "image/jpeg": 5 * MEGABYTE}  # §6
LIMITS = {  # calls a minute of each group of routes (contract sheet 02 §2)
    "upload": 600, "poll": 120, "balance": 60, "submit": 30, "download": 30, "list": 60, "results": 60,
}  # fmt: skip
MOST_RUNNING = 10  # extractions at once: 15 are allowed, and those begun in the web app count (§6)
SESSION_HOURS = 20.0  # uploaded files are deleted within 24 (§7)
POLL_SECONDS = 5.0  # at least, between polls that are not held (§2.6)
HELD_SECONDS = 30  # of a held poll
REST_SECONDS = 15.0  # before a submission that failed for want of a slot is made again
MOST_GENERATIONS = 3  # of one batch in a run, after failures that are worth a new try
MOST_SESSIONS = 3  # of one batch in a run
ODDITIES_TO_STOP = 5  # in a row
LOOKUP_SLACK = dt.timedelta(minutes=10)  # how far the vendor's clock may be behind ours


def windows(group: str) -> tuple[Window, ...]:
    """Return the limits of a group of routes."""
    return (Window(LIMITS[group], 60),)


class Client(UploadClient, Protocol):
    """What is spoken with the vendor."""

    def balance(self) -> Balance:
        """Return the account's credits."""
        ...

    def submit(self, submission: Submission) -> str:
        """Submit uploaded files and return the extraction's id."""
        ...

    def extraction(self, extraction_id: str, wait: int | None = None) -> Extraction:
        """Return where an extraction stands."""
        ...

    def results(self, extraction_id: str) -> Results:
        """Return its rows."""
        ...

    def output_rows(self, extraction_id: str) -> list[dict[str, Any]]:
        """Return its rows from the output file."""
        ...

    def extractions(self, *, created_after: dt.datetime | None = None) -> Iterable[ExtractionSummary]:
        """List extractions."""
        ...


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
        self._scale = budgets["poll"].scale
        self._structure, self._configuration = structure, configuration(structure)
        self._deadline = dt.timedelta(minutes=deadline_minutes * self._scale)
        self._batching = Batching(desk, self._configuration, batch_documents, claim_all)
        self._uploading = Uploading(client, self.pacing)
        self._connections, self._crew, self._lock = connections, Crew(connections), threading.RLock()
        self._queue = Queue(desk)
        self._conclusions = Conclusions(desk, self._queue)
        self._batches: list[Batch] = []
        self._groups: deque[list[Pending]] = deque()  # to be formed into batches of their own
        self._is_forming = False
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
        self._batches, fresh = self._batching.resume(documents, mine)
        self._groups, self._is_forming = deque(), False
        members = {sha256: one for batch in self._batches for sha256, one in batch.documents.items()}
        self._queue.fill([*fresh], done, also=members.values())
        try:
            self._crew.work(self)
        except VendorStopped as stop:
            self._queue.leave_waiting(stop)
            raise

    # The plan

    def next(self) -> Action | float | None:
        """Return what comes next: a look that is due, a submission, a session, an upload, a new batch, or a wait."""
        with self._lock:
            now = time.monotonic()
            for batch in sorted(self._batches, key=lambda one: one.due):
                action = self._next_of(batch, now)
                if action is not None:
                    batch.under_way += 1
                    return partial(self._do, batch, action)
            if self._may_form():
                self._is_forming = True
                return self._form
            dues = [batch.due for batch in self._batches if batch.under_way == 0]
            return max(min(dues) - now, 0.001) if dues else None

    def _next_of(self, batch: Batch, now: float) -> Action | None:
        if batch.is_submitted:
            return partial(self._look, batch) if batch.under_way == 0 and batch.due <= now else None
        if batch.to_upload and batch.part_sizes is not None:
            if batch.under_way >= max(self._connections - 1, 1):  # one is left to look
                return None
            return partial(self._upload, batch, batch.to_upload.popleft())
        if batch.under_way or batch.due > now:
            return None
        if batch.to_upload:
            return partial(self._open_session, batch)
        running = sum(one.is_submitted for one in self._batches)
        return partial(self._submit, batch) if running < MOST_RUNNING else None

    def _may_form(self) -> bool:
        is_busy = any(batch.to_upload for batch in self._batches) or len(self._batches) > MOST_RUNNING
        return not self._is_forming and not is_busy and (bool(self._groups) or len(self._queue) > 0)

    def abandon(self) -> None:
        """Let nobody sleep or call any more."""
        self.pacing.halt()

    def _do(self, batch: Batch, action: Action) -> None:
        """Do something about a batch; what concerns it alone ends here."""
        try:
            action()
        except SessionGone as error:
            self._next_session(batch, error)
        except NotOurs:
            self._drop(batch)
            self._queue.concluded(*batch.documents)
        except TransientError as error:
            self._leave(batch, f"{VENDOR} did not answer: {error}")
        except FilesRefused as error:
            named = (*error.file_names, *error.file_ids)
            self._regroup(batch, TaskError(error.reason_code, message=str(error), file_names=named))
        except ContractError as error:
            self._not_understood(batch, error)
        finally:
            with self._lock:
                batch.under_way -= 1

    def _not_understood(self, batch: Batch, error: ContractError) -> None:
        """Give up an extraction that the vendor no longer knows; ask again for an answer that is only odd."""
        if batch.is_submitted and (isinstance(error, NotFound) or self._is_overdue(batch)):
            self._conclusions.lost(batch, error)
            self._drop(batch)
            return
        self._oddities += 1
        if not batch.is_submitted or self._oddities >= ODDITIES_TO_STOP:
            self.pacing.stop("contract_changed", f"{VENDOR} answers differently: {error}", is_problem=True)
        batch.rest(POLL_SECONDS * self._scale)

    # Forming and uploading

    def _form(self) -> None:
        """Form a batch of what waits, as large as caps and credits allow."""
        try:
            with self._lock:
                documents = self._groups.popleft() if self._groups else self._queue.take_all()
            self._form_of(documents)
        finally:
            with self._lock:
                self._is_forming = False

    def _form_of(self, documents: list[Pending]) -> None:
        try:
            credits_left = self.pacing.call(self._client.balance, "balance").spendable
            formed = self._batching.form(documents, credits_left)
        except CapReached as cap:
            self._queue.hold_back(documents, cap)
        except NoCredit as error:
            self.pacing.stop("account_stopped", f"{VENDOR}: {error}", is_problem=True)
        except TransientError as error:
            self._queue.give_up_for_now(documents, f"{VENDOR} did not answer: {error}")
        else:
            self._queue.put_back(formed.rest)
            self._queue.concluded(*formed.not_ours)
            with self._lock:
                if formed.batch is not None:
                    self._batches.append(formed.batch)

    def _open_session(self, batch: Batch) -> None:
        if is_stale(batch.known, dt.datetime.now(dt.UTC), SESSION_HOURS):
            raise SessionGone(f"the upload session {batch.session_id!r} is older than {SESSION_HOURS:g} hours")
        self._uploading.open_session(batch)

    def _upload(self, batch: Batch, document: Pending) -> None:
        sha256 = document.document_sha256
        content = self.desk.content(document, LARGEST_BYTES[document.media_type])
        if content is None:
            self._take_out(batch, sha256)
            return
        try:
            self._uploading.upload(batch, document, content)
        except TransientError as error:
            self.desk.refused(self.desk.extraction_id(sha256), str(error))
            self.desk.leave_waiting([sha256], "vendor_unavailable", f"It could not be uploaded to {VENDOR}: {error}")
            self._take_out(batch, sha256)

    def _take_out(self, batch: Batch, sha256: str) -> None:
        with self._lock:
            batch.documents.pop(sha256, None)
            is_empty = not batch.documents
        self._queue.concluded(sha256)
        if is_empty:
            self._conclusions.close(batch, "nothing of it could be uploaded")
            self._drop(batch)

    def _next_session(self, batch: Batch, error: SessionGone) -> None:
        """Upload again in a new session; if the submission may have arrived, look for it first."""
        if batch.known.status == "submitting" and self._adopt_if_found(batch):
            return
        batch.sessions += 1
        if batch.sessions > MOST_SESSIONS:
            self.pacing.stop("contract_changed", f"{VENDOR} loses upload sessions: {error}", is_problem=True)
        with self._lock, self.desk.ledger.transaction() as tx:
            batch.known = advance_batch(
                tx, batch.id, "uploading", session_generation=batch.known.session_generation + 1, opened_at=tx.at
            )
            batch.begin_uploads()

    # Submitting

    def _submit(self, batch: Batch) -> None:
        """Write that the batch is about to be submitted, and submit it."""
        self._intend(batch)
        submission = Submission(
            submission_id=batch.submission_id(self._configuration),
            session_id=batch.session_id,
            file_ids=sorted(batch.documents),
            task_name=f"invoices {batch.id[:16]}",
            prompt=prompt(self._structure),
            output_structure=self._structure,
            options={"json_typed_values": True},
        )
        try:
            remote_id = self.pacing.call(partial(self._client.submit, submission), "submit")
        except SubmissionExists as error:
            remote_id = self._existing(error)
        except TaskRefused as error:
            self._task_failed(batch, error.error)
            return
        self._submitted(batch, remote_id)

    def _intend(self, batch: Batch) -> None:
        with self.desk.ledger.transaction() as tx:
            if not all(holds(tx, self.desk.worker, sha256) for sha256 in batch.documents):
                raise NotOurs(batch.id)
            batch.known = advance_batch(tx, batch.id, "submitting")

    def _existing(self, error: SubmissionExists) -> str:
        """Return the extraction that our id stands for already: what we derive an id from has not changed."""
        if error.extraction_id is None:
            self.pacing.stop("contract_changed", f"{VENDOR} names no extraction: {error}", is_problem=True)
        return error.extraction_id

    def _adopt_if_found(self, batch: Batch) -> bool:
        """Return whether the vendor's list shows our submission; then it is ours."""
        since = batch.known.opened_at - LOOKUP_SLACK
        wanted = batch.submission_id(self._configuration)
        listed = self.pacing.call(lambda: list(self._client.extractions(created_after=since)), "list")
        found = next((one.id for one in listed if one.submission_id == wanted), None)
        if found is not None:
            self._submitted(batch, found)
        return found is not None

    def _submitted(self, batch: Batch, remote_id: str) -> None:
        self._conclusions.submitted(batch, remote_id)
        batch.rest(POLL_SECONDS * self._scale)

    # Looking

    def _look(self, batch: Batch) -> None:
        held = HELD_SECONDS if self._is_idle() else None
        wait = None if held is None else max(1, round(held * self._scale))
        extraction = self.pacing.call(partial(self._client.extraction, batch.known.remote_id or "", wait), "poll")
        self._oddities = 0
        if extraction.status == "completed":
            self._completed(batch, extraction)
        elif extraction.status == "failed":
            self._task_failed(batch, extraction.error or TaskError("UNKNOWN"))
        elif extraction.status == "cancelled":
            self._conclusions.cancelled(batch, extraction)
            self._drop(batch)
        elif self._is_overdue(batch):
            self._conclusions.stuck(batch, extraction)
            self._drop(batch)
        else:
            batch.looks += 1
            running = sum(one.is_submitted for one in self._batches)
            batch.rest(0.0 if wait else max(POLL_SECONDS, running / 2) * self._scale)

    def _is_idle(self) -> bool:
        with self._lock:
            is_empty = not self._is_forming and not self._groups and len(self._queue) == 0
            return is_empty and all(batch.is_submitted for batch in self._batches)

    def _is_overdue(self, batch: Batch) -> bool:
        since = batch.known.submitted_at
        return since is not None and dt.datetime.now(dt.UTC) - since > self._deadline

    def _completed(self, batch: Batch, extraction: Extraction) -> None:
        self._conclusions.completed(batch, extraction, self._rows(batch))
        self._drop(batch)

    def _rows(self, batch: Batch) -> Sequence[Mapping[str, Any]]:
        """Return all rows; from the output file where the vendor does not give them directly."""
        remote_id = batch.known.remote_id or ""
        try:
            return self.pacing.call(partial(self._client.results, remote_id), "results").rows
        except ContractError:
            return self.pacing.call(partial(self._client.output_rows, remote_id), "download")

    # After a failed task

    def _task_failed(self, batch: Batch, error: TaskError) -> None:
        """Do what the failure asks for (contract sheet 02 §4.2): nothing was charged."""
        if error.code == "INSUFFICIENT_CREDITS":
            self._release(batch, error)
            self.pacing.stop("account_stopped", f"{VENDOR}: {_said(error)}", is_problem=True)
        if error.code in ("PROMPT_REJECTED", "PROMPT_UNCLEAR"):
            self._release(batch, error)
            self.pacing.stop("contract_changed", f"{VENDOR} does not take our prompt: {_said(error)}", is_problem=True)
        if error.retryable and batch.generations < MOST_GENERATIONS:
            self._next_generation(batch, error)
            return
        if error.code == "CONCURRENT_TASK_LIMIT":
            self._leave(batch, f"{VENDOR} has no free slot: {_said(error)}")
            return
        self._regroup(batch, error)

    def _next_generation(self, batch: Batch, error: TaskError) -> None:
        with self._lock, self.desk.ledger.transaction() as tx:
            batch.known = advance_batch(
                tx, batch.id, "uploading", generation=batch.known.generation + 1, remote_id=None, message=_said(error)
            )
            batch.generations += 1
            batch.rest(REST_SECONDS * self._scale)

    def _regroup(self, batch: Batch, error: TaskError) -> None:
        """Let go of the files that are named, or of the only one; halve a batch in which none is named."""
        named = {sha256 for sha256 in batch.documents if any(sha256 in name for name in error.file_names)}
        rest = [document for sha256, document in batch.documents.items() if sha256 not in named]
        self._drop(batch)
        if not named and len(rest) == 1:
            named, rest = {rest[0].document_sha256}, []
        self._conclusions.failed(batch, named, error.code, f"{VENDOR} could not read it: {_said(error)}")
        self._conclusions.release(batch, [document.document_sha256 for document in rest], _said(error))
        middle = len(rest) if named else len(rest) // 2
        with self._lock:
            self._groups.extend(group for group in (rest[:middle], rest[middle:]) if group)

    def _release(self, batch: Batch, error: TaskError) -> None:
        self._conclusions.release(batch, list(batch.documents), _said(error))
        self._drop(batch)

    def _leave(self, batch: Batch, reason: str) -> None:
        """Leave a batch as it stands to a later run."""
        self._drop(batch)
        self.desk.leave_waiting(batch.documents, "vendor_unavailable", reason)
        self.desk.asked.problems.append(f"{len(batch.documents)} documents wait: {reason}")
        self._queue.concluded(*batch.documents)

    def _drop(self, batch: Batch) -> None:
        with self._lock:
            self._batches = [one for one in self._batches if one is not batch]


def configuration(structure: OutputStructure) -> str:
    """Return what tells one way of asking from another, as part of each answer's identity."""
    return f"{VERSION}:{structure}"


def _said(error: TaskError) -> str:
    return f"{error.code}: {error.message}" if error.message else error.code
