"""Asking about documents: each extraction API that is set up, in the order of preference, until somebody answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from invoices.clients.billflowai import BillflowAi
from invoices.clients.invoicedataextraction_com import InvoiceDataExtraction as InvoiceDataExtractionClient
from invoices.clients.smartbills_com import SmartBillsCom
from invoices.clients.transport import make_session
from invoices.documents.store import DocumentStore
from invoices.extraction import billflowai, invoicedataextraction_com, smartbills_com
from invoices.extraction.batches.batch import ClaimAll
from invoices.extraction.choice import choose, others, why_not
from invoices.extraction.desk import Asked, Desk
from invoices.extraction.patience.buckets import Buckets
from invoices.extraction.patience.budget import Window
from invoices.extraction.patience.pacing import VendorStopped
from invoices.ledger import Ledger
from invoices.ledger.claims import holds
from invoices.ledger.documents import Pending, State, pending_among, settle
from invoices.ledger.extraction_pieces import release_unsent
from invoices.ledger.extractions import Job, Terms, all_jobs
from invoices.ledger.spending import Caps
from invoices.settings import ENVIRONMENT_PREFIX, PAID_EXTRACTORS, PaidExtractor, Settings

NO_EXTRACTOR = "Only an extraction service can read it, and none is set up: set the key of one, e.g. {example}."
EXAMPLE = "INVOICES_INVOICEDATAEXTRACTION_COM__API_KEY"
OWES = (
    "{name} was asked about it and still owes the answer, but cannot be asked now: {missing}. "
    "Nobody else is asked, because that would be paid for twice."
)


class Asker(Protocol):
    """Asks one vendor."""

    desk: Desk

    def ask(self, documents: Sequence[Pending], done: Callable[[int], None]) -> None:
        """Ask about documents; raise VendorStopped when the vendor has to be left alone."""
        ...


class Asking:
    """The extraction APIs of a house, each with its desk, its budget and its terms."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        store: DocumentStore,
        buckets: Buckets,
        worker: str,
        claim_all: ClaimAll,
    ) -> None:
        """Take the settings with which vendors are called; nothing is asked yet."""
        self._settings, self._ledger, self._store = settings, ledger, store
        self._buckets, self._worker, self._claim_all = buckets, worker, claim_all
        self._documents: dict[str, Pending] = {}
        self._stopped: dict[str, VendorStopped] = {}
        self._askers: dict[str, Asker] = {}

    @property
    def order(self) -> list[str]:
        """Who can be asked, in the order of preference."""
        return list(self._settings.paid_extractors)

    @property
    def left_alone(self) -> dict[str, VendorStopped]:
        """Those of the order that are not called again in this run, and why."""
        return {name: stop for name, stop in self._stopped.items() if name in self.order}

    def take_asked(self) -> dict[str, Asked]:
        """Return what asking came to since this was last taken, by extractor."""
        return {name: asker.desk.take_asked() for name, asker in self._askers.items()}

    def ask(self, documents: Sequence[Pending], done: Callable[[int], None] = lambda _: None) -> None:
        """Ask about documents that are in hand until each is answered, set aside, or has to wait.

        A vendor that stops is left alone from then on. ``done`` is told how many are through, by one thread at a time.
        """
        self._documents = {document.document_sha256: document for document in documents}
        through = _Through(len(documents), done)
        for name in self._turns():
            chosen = [(document, jobs) for document, whose, jobs in self._chosen() if whose == name]
            mine = [document for document, _ in chosen]
            self._release_elsewhere(name, [job for _, jobs in chosen for job in jobs])
            if mine and name not in self._stopped:
                try:
                    self._asker(name).ask(mine, through.some)
                except VendorStopped as stop:
                    self._stopped[name] = stop
        self._settle_rest()
        through.rest()

    def _release_elsewhere(self, name: str, jobs: Iterable[Job]) -> None:
        """End what other vendors surely have not got about documents that are asked about here now."""
        unsent = {job.batch_id for job in jobs if job.is_open and not job.may_have_arrived and job.extracted_by != name}
        if unsent:
            with self._ledger.transaction() as tx:
                for batch in sorted(filter(None, unsent)):
                    release_unsent(tx, batch, f"{name} is asked instead.")

    def _turns(self) -> list[str]:
        """Return who has a turn: whoever is in the order, then whoever only owes answers, and can be asked for them."""
        owing = {whose for _, whose, _ in self._chosen() if whose is not None} - set(self.order)
        return [*self.order, *sorted(name for name in owing if self._missing(name) is None)]

    def _chosen(self) -> list[tuple[Pending, str | None, Sequence[Job]]]:
        """Return the documents that still wait, whom each is for, and what was asked about it before."""
        with self._ledger.reading() as connection:
            waiting = pending_among(connection, "ask", self._documents)
            jobs = all_jobs(connection, [document.document_sha256 for document in waiting])
        asked = [(document, jobs.get(document.document_sha256, [])) for document in waiting]
        return [
            (document, choose(document, found, self.order, self._unavailable(document)), found)
            for document, found in asked
        ]

    def _unavailable(self, document: Pending) -> set[str]:
        """Return who is passed over for a document because they cannot be asked about it in this run."""
        if self._settings.fall_back != "unavailable":
            return set()
        refused = {n for n, asker in self._askers.items() if document.document_sha256 in asker.desk.put_off}
        return refused | self._stopped.keys()

    def _missing(self, name: str) -> str | None:
        """Return what is missing to ask an extractor, or None."""
        if name not in PAID_EXTRACTORS:
            return "this version does not know it"
        part: PaidExtractor = getattr(self._settings, name)
        return f"set {ENVIRONMENT_PREFIX}{name.upper()}__API_KEY" if part.api_key is None else None

    def _settle_rest(self) -> None:
        """Write about those for whom there is nobody (left) to ask."""
        stands = [
            (document, where)
            for document, whose, jobs in self._chosen()
            if (where := self._without(document, jobs) if whose is None else self._without_answer(whose)) is not None
        ]
        if not stands:
            return
        with self._ledger.transaction() as tx:
            for document, where in stands:
                if holds(tx, self._worker, document.document_sha256):
                    settle(tx, document.document_sha256, **where)

    def _without_answer(self, name: str) -> dict[str, Any] | None:
        """Return where a document stands that is for one who cannot be asked now, or None for any other."""
        if name in self._stopped:
            return _waiting(self._stopped[name].reason_code, self._stopped[name].reason)
        missing = self._missing(name)
        return None if missing is None else _waiting("no_extractor", OWES.format(name=name, missing=missing))

    def _without(self, document: Pending, jobs: Sequence[Job]) -> dict[str, Any] | None:
        """Return where a document stands for which there is nobody to ask; None where that is written already."""
        if not self.order:
            return _waiting("no_extractor", NO_EXTRACTOR.format(example=EXAMPLE))
        if (later := choose(document, jobs, self.order)) is not None:
            return self._without_answer(later)
        failures = [job.message for job in jobs if job.status == "failed" and job.message]
        if failures:
            return _done("quarantined", "extraction_failed", failures[-1])
        limits = "; ".join(why_not(name, document) for name in self.order)
        return _done("review", "extractor_cannot_read", f"No extractor that is set up can read it: {limits}.")

    # One vendor each

    def _asker(self, name: str) -> Asker:
        makers = {
            invoicedataextraction_com.EXTRACTOR: self._invoicedataextraction_com,
            smartbills_com.EXTRACTOR: self._smartbills_com,
            billflowai.EXTRACTOR: self._billflowai,
        }
        if name not in self._askers:
            self._askers[name] = makers[name]()
        return self._askers[name]

    def _desk(self, name: str, vendor: str, configuration: str, *, counts_pages: bool = True) -> Desk:
        part: PaidExtractor = getattr(self._settings, name)

        def has_other(document: str) -> bool:
            known = self._documents.get(document)
            if known is None:
                return False
            with self._ledger.reading() as connection:
                jobs = all_jobs(connection, [document]).get(document, [])
            return bool(others(known, jobs, self.order, name))

        return Desk(
            self._ledger, self._store, self._worker, _terms(name, part), vendor, configuration, has_other,
            counts_pages=counts_pages,
        )  # fmt: skip

    def _smartbills_com(self) -> Asker:
        part = self._settings.smartbills_com
        return smartbills_com.SmartBillsExtraction(
            self._desk(smartbills_com.EXTRACTOR, smartbills_com.VENDOR, smartbills_com.CONFIGURATION),
            SmartBillsCom(part.base_url, _key(part), make_session()),
            self._buckets.budget(smartbills_com.EXTRACTOR, smartbills_com.PLANS[part.plan]),
            repeat_after_unknown=part.repeat_after_unknown,
            deadline_minutes=part.deadline_minutes,
            connections=part.connections,
        )

    def _invoicedataextraction_com(self) -> Asker:
        part = self._settings.invoicedataextraction_com
        name, asks = invoicedataextraction_com.EXTRACTOR, invoicedataextraction_com.configuration(part.output_structure)
        groups = invoicedataextraction_com.LIMITS
        return invoicedataextraction_com.InvoiceDataExtraction(
            self._desk(name, invoicedataextraction_com.VENDOR, asks),
            InvoiceDataExtractionClient(part.base_url, _key(part), make_session()),
            {g: self._buckets.budget(f"{name}_{g}", invoicedataextraction_com.windows(g)) for g in groups},
            self._claim_all,
            structure=part.output_structure,
            batch_documents=part.batch_documents,
            deadline_minutes=part.deadline_minutes,
            connections=part.connections,
        )

    def _billflowai(self) -> Asker:
        part = self._settings.billflowai
        return billflowai.BillflowAiExtraction(
            self._desk(billflowai.EXTRACTOR, billflowai.VENDOR, billflowai.CONFIGURATION, counts_pages=False),
            BillflowAi(part.base_url or "", _key(part), make_session()),
            self._buckets.budget(billflowai.EXTRACTOR, (Window(part.requests_per_minute, 60),)),
            mint=self._mint(),
            repeat_after_unknown=part.repeat_after_unknown,
            connections=part.connections,
        )

    def _mint(self) -> billflowai.Mint | None:
        part = self._settings.billflowai
        if part.document_base_url is None or part.document_url_secret is None:
            return None
        return billflowai.minting(part.document_base_url, part.document_url_secret.get_secret_value())


class _Through:
    """Counts each document once, although it may be asked about in several places, by several threads."""

    def __init__(self, total: int, done: Callable[[int], None]) -> None:
        self._left, self._done, self._lock = total, done, threading.Lock()

    def some(self, count: int) -> None:
        with self._lock:
            count = min(count, self._left)
            self._left -= count
            if count:
                self._done(count)

    def rest(self) -> None:
        self.some(self._left)


def _waiting(reason_code: str, reason: str) -> dict[str, Any]:
    return {"stage": "ask", "state": "waiting", "reason_code": reason_code, "reason": reason}


def _done(state: State, reason_code: str, reason: str) -> dict[str, Any]:
    return {"stage": "done", "state": state, "reason_code": reason_code, "reason": reason}


def _terms(name: str, part: PaidExtractor) -> Terms:
    caps = Caps(part.pages_per_run, part.pages_per_day, part.pages_per_month)
    return Terms(name, caps, part.page_price, part.page_price_currency)


def _key(part: PaidExtractor) -> str:
    return part.api_key.get_secret_value() if part.api_key is not None else ""
