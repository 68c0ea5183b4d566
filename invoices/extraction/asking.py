"""Asking about documents: each extraction API that is set up, in the order of preference, until somebody answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from invoices.clients.billflowai import BillflowAi
from invoices.clients.invoicedataextraction_com import InvoiceDataExtraction as InvoiceDataExtractionClient
from invoices.clients.smartbills_com import SmartBillsCom
from invoices.clients.transport import make_session
from invoices.documents.store import DocumentStore
from invoices.extraction import billflowai, invoicedataextraction_com, smartbills_com
from invoices.extraction.batches import ClaimAll
from invoices.extraction.buckets import Buckets
from invoices.extraction.budget import Window
from invoices.extraction.choice import choose, others
from invoices.extraction.desk import Asked, Desk
from invoices.extraction.pacing import VendorStopped
from invoices.ledger import Ledger
from invoices.ledger.documents import Pending, pending_among, settle
from invoices.ledger.extractions import Job, Terms, all_jobs
from invoices.ledger.spending import Caps
from invoices.settings import PaidExtractor, Settings

NO_EXTRACTOR = "Only an extraction service can read it, and none is set up: set the key of one, e.g. {example}."
EXAMPLE = "INVOICES_INVOICEDATAEXTRACTION_COM__API_KEY"


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
        self.left_alone: dict[str, VendorStopped] = {}
        self._askers: dict[str, Asker] = {}

    @property
    def order(self) -> list[str]:
        """Who can be asked, in the order of preference."""
        return list(self._settings.paid_extractors)

    def take_asked(self) -> dict[str, Asked]:
        """Return what asking came to since this was last taken, by extractor."""
        return {name: asker.desk.take_asked() for name, asker in self._askers.items()}

    def ask(self, documents: Sequence[Pending], done: Callable[[int], None] = lambda _: None) -> None:
        """Ask about documents that are in hand until each is answered, set aside, or has to wait.

        A vendor that stops is left alone from then on. ``done`` is told how many are through.
        """
        self._documents = {document.document_sha256: document for document in documents}
        through = _Through(len(documents), done)
        for name in self.order:
            mine = self._whose(name)
            if mine and name not in self.left_alone:
                try:
                    self._asker(name).ask(mine, through.some)
                except VendorStopped as stop:
                    self.left_alone[name] = stop
        self._settle_rest()
        through.rest()

    def _whose(self, name: str) -> list[Pending]:
        """Return the documents that are to be asked about there now."""
        return [document for document, whose in self._chosen() if whose == name]

    def _chosen(self) -> list[tuple[Pending, str | None]]:
        with self._ledger.reading() as connection:
            waiting = pending_among(connection, "ask", self._documents)
            jobs = all_jobs(connection, [document.document_sha256 for document in waiting])
        unavailable = self.left_alone if self._settings.fall_back == "unavailable" else ()
        return [
            (document, choose(document, jobs.get(document.document_sha256, ()), self.order, unavailable))
            for document in waiting
        ]

    def _settle_rest(self) -> None:
        """Write about those for whom there is nobody (left) to ask."""
        nobody = [document for document, whose in self._chosen() if whose is None]
        if not nobody:
            return
        with self._ledger.reading() as connection:
            jobs = all_jobs(connection, [document.document_sha256 for document in nobody])
        with self._ledger.transaction() as tx:
            for document in nobody:
                settle(tx, document.document_sha256, **self._without(jobs.get(document.document_sha256, [])))

    def _without(self, jobs: Sequence[Job]) -> dict[str, Any]:
        """Return where a document stands for which there is nobody to ask."""
        if not self.order:
            reason = NO_EXTRACTOR.format(example=EXAMPLE)
            return {"stage": "ask", "state": "waiting", "reason_code": "no_extractor", "reason": reason}
        if self.left_alone:
            stop = list(self.left_alone.values())[-1]
            return {"stage": "ask", "state": "waiting", "reason_code": stop.reason_code, "reason": stop.reason}
        failures = [job.message for job in jobs if job.status == "failed" and job.message]
        names = ", ".join(self.order)
        code, reason = ("extraction_failed", failures[-1]) if failures else (
            "extractor_cannot_read", f"No extractor that is set up ({names}) takes documents of this type and size."
        )  # fmt: skip
        return {"stage": "done", "state": "quarantined", "reason_code": code, "reason": reason}

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
        part = self._settings.paid_extractors[name]

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
            repeat_after_unknown=part.repeat_after_unknown,
            connections=part.connections,
        )


class _Through:
    """Counts each document once, although it may be asked about in several places."""

    def __init__(self, total: int, done: Callable[[int], None]) -> None:
        self._left, self._done = total, done

    def some(self, count: int) -> None:
        count = min(count, self._left)
        self._left -= count
        self._done(count)

    def rest(self) -> None:
        self.some(self._left)


def _terms(name: str, part: PaidExtractor) -> Terms:
    caps = Caps(part.pages_per_run, part.pages_per_day, part.pages_per_month)
    return Terms(name, caps, part.page_price, part.page_price_currency)


def _key(part: PaidExtractor) -> str:
    return part.api_key.get_secret_value() if part.api_key is not None else ""
