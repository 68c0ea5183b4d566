"""Asking BillflowAI: one call that answers at once; what may have been done and charged is asked once more at most.

The API has no idempotency key and no list whose shape is known (contract sheet 03 §2, §7). A lost answer is asked for
once more, flagged as a possible double charge; the vendor's own cache may then make it free. Documents are uploaded,
or fetched by the vendor at addresses of ours; what it cannot fetch is uploaded.
"""

from __future__ import annotations

import datetime as dt
import heapq
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NoReturn, Protocol

from invoices.clients.billflowai import ExtractionFailed, Reading
from invoices.clients.minted_urls import MintedUrl, mint_url
from invoices.errors import AccountError, ContractError, DocumentError, TransientError, UnknownOutcome
from invoices.extraction.desk import READABLE, Desk
from invoices.extraction.patience.budget import Budget
from invoices.extraction.patience.crew import Action, Crew
from invoices.extraction.patience.pacing import CALLS, Pacing, VendorStopped
from invoices.extraction.queue import Queue
from invoices.ledger.documents import Pending
from invoices.ledger.extractions import Job

EXTRACTOR = "billflowai"
VENDOR = "BillflowAI"
CONFIGURATION = "1"  # raised when something else is asked for
LARGEST_BYTES = 20 * 1024 * 1024  # sheet 03 §6
REST_SECONDS = 30.0  # before a document is asked about once more (sheet 03 §4)
ADDRESS_LIVES = dt.timedelta(minutes=10)  # longer than the vendor takes for a document, and not much
NOT_FETCHED = {"fetch_failed", "url_refused"}  # reasons for which a document is uploaded after all

Mint = Callable[[str, str], MintedUrl]  # of a document's hash and suffix: where the vendor may fetch it


def minting(base_url: str, secret: str) -> Mint:
    """Return what makes addresses that are good for some minutes.

    Raises:
        ConfigurationError: nobody could fetch anything there, or the secret is too short.
    """

    def mint(sha256: str, suffix: str) -> MintedUrl:
        return mint_url(base_url, secret, sha256, suffix, dt.datetime.now(dt.UTC) + ADDRESS_LIVES)

    mint("0" * 64, "pdf")
    return mint


class Client(Protocol):
    """What is spoken with the vendor."""

    def extract_file(self, content: bytes, file_name: str, media_type: str) -> Reading:
        """Return what the vendor read in a document."""
        ...

    def extract_url(self, url: MintedUrl) -> Reading:
        """Return what the vendor read in a document that it fetched."""
        ...


@dataclass(frozen=True, slots=True)
class _Try:
    """One question about a document: how, and after what."""

    document: Pending
    by_url: bool
    is_repeat: bool = False  # of one that may have been charged
    is_last: bool = False  # a failure to read is final


class BillflowAiExtraction:
    """Asks BillflowAI about documents until each is answered, set aside, or has to wait for a later run."""

    def __init__(
        self,
        desk: Desk,
        client: Client,
        budget: Budget,
        *,
        mint: Mint | None = None,
        repeat_after_unknown: bool = True,
        connections: int = 1,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """Take what is needed; with ``mint`` the vendor fetches documents. Nothing is asked yet."""
        self.desk, self._client, self._budget, self._mint = desk, client, budget, mint
        self.pacing = Pacing(VENDOR, {CALLS: budget}, sleep)
        self._repeat_after_unknown = repeat_after_unknown
        self._crew, self._lock = Crew(connections), threading.RLock()
        self._queue = Queue(desk)
        self._again: list[tuple[float, int, Action]] = []  # a heap: when, order of planning, what
        self._planned = itertools.count()

    def ask(self, documents: Sequence[Pending], done: Callable[[int], None] = lambda _: None) -> None:
        """Ask about the documents; ``done`` is told how many were just concluded.

        Raises:
            VendorStopped: the vendor has to be left alone for the rest of this run; what waits has been written.
        """
        self._queue.fill(documents, done)
        self._again = []
        try:
            self._crew.work(self)
        except VendorStopped as stop:
            self._queue.leave_waiting(stop)
            raise

    # The plan

    def next(self) -> Action | float | None:
        """Return what is due to be asked once more, else the next document, else how long until something is due."""
        with self._lock:
            wait = self._again[0][0] - time.monotonic() if self._again else None
            if wait is not None and wait <= 0:
                return heapq.heappop(self._again)[2]
            document = self._queue.take()
            return partial(self._queue.one, document, self._start) if document is not None else wait

    def abandon(self) -> None:
        """Let nobody sleep or call any more."""
        self.pacing.halt()

    def _start(self, document: Pending) -> None:
        job, first = self.desk.job(document.document_sha256), _Try(document, by_url=self._mint is not None)
        if job is not None and job.status in ("intended", "unknown"):
            self._once_more(first, job, "the run that asked for it ended before it came", rest=False)
        else:
            self._ask(first)

    # Asking

    def _ask(self, this: _Try) -> None:
        document = this.document
        content = self._content(this)
        if content is None:
            self._queue.concluded(document.document_sha256)
            return
        try:
            reading = self.pacing.call(partial(self._send, this, content))
        except UnknownOutcome as error:
            self.desk.unknown(self._extraction(this), str(error))
            self._once_more(this, self.desk.job(document.document_sha256), str(error), rest=True)
        except DocumentError as error:
            self._cannot(this, error)
        except ContractError as error:
            self.desk.refused(self._extraction(this), str(error))
            self._changed(error)
        else:
            self.pacing.heard(reading.limits)
            self._conclude(this, reading)

    def _content(self, this: _Try) -> bytes | None:
        """Return the bytes to upload, none where the vendor fetches them; None after letting the document go."""
        if this.by_url:
            return b""
        may_have_cost = self.desk.pages(this.document) * this.is_repeat
        return self.desk.content(this.document, LARGEST_BYTES, may_have_cost=may_have_cost)

    def _send(self, this: _Try, content: bytes) -> Reading:
        """Commit the intent and ask at once; what is refused is written before anybody waits for the next try."""
        sha256, media_type = this.document.document_sha256, this.document.media_type
        intent = self.desk.intend(this.document, is_repeat=this.is_repeat)
        suffix = READABLE[media_type]
        intent.check()
        try:
            if this.by_url and self._mint is not None:
                return self._client.extract_url(self._mint(sha256, suffix))
            return self._client.extract_file(content, f"{sha256}.{suffix}", media_type)
        except (TransientError, AccountError) as error:
            self.desk.refused(intent.extraction_id, str(error))
            raise

    def _conclude(self, this: _Try, reading: Reading) -> None:
        """Write the answer. The cache is free (sheet 03 §5), but what a repeat finds there was charged before."""
        sha256 = this.document.document_sha256
        pages = 0 if reading.source == "cache" and not this.is_repeat else self.desk.pages(this.document)
        self.desk.answered_at_once(self._extraction(this), sha256, reading.answer, reading.invoice_id, pages)
        self._queue.concluded(sha256)

    # What went wrong

    def _once_more(self, this: _Try, job: Job | None, why: str, *, rest: bool) -> None:
        """Ask again what may have been charged, once; then leave it to a person."""
        if self._repeat_after_unknown and job is not None and not job.possible_double_charge:
            self._plan(replace(this, is_repeat=True), rest=rest)
            return
        reason = f"{VENDOR} may have read and charged it, but its answer is missing, and it is not asked again: {why}"
        self.desk.give_to_person(this.document.document_sha256, "outcome_unknown", reason)
        self._queue.concluded(this.document.document_sha256)

    def _cannot(self, this: _Try, error: DocumentError) -> None:
        """Upload what could not be fetched, try once more what could not be read (sheet 03 §4), or let it go."""
        if this.by_url and error.reason_code in NOT_FETCHED:
            self.desk.refused(self._extraction(this), str(error))
            self._plan(replace(this, by_url=False), rest=False)
        elif isinstance(error, ExtractionFailed) and not this.is_last:
            self.desk.refused(self._extraction(this), str(error))
            self._plan(replace(this, is_last=True), rest=True)
        else:
            reason = f"{VENDOR} could not read it: {error}"
            self.desk.failed(this.document.document_sha256, error.reason_code, reason, pages_charged=0)
            self._queue.concluded(this.document.document_sha256)

    def _plan(self, this: _Try, *, rest: bool) -> None:
        due = time.monotonic() + (REST_SECONDS * self._budget.scale if rest else 0.0)
        action: Action = partial(self._queue.one, this.document, lambda _: self._ask(this))
        with self._lock:
            heapq.heappush(self._again, (due, next(self._planned), action))

    def _extraction(self, this: _Try) -> str:
        return self.desk.extraction_id(this.document.document_sha256)

    def _changed(self, error: ContractError) -> NoReturn:
        self.pacing.stop("contract_changed", f"{VENDOR} answers differently: {error}", is_problem=True)
