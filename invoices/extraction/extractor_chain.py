"""Asking about documents: each extraction API that is set up, in the order of preference, until somebody answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from invoices.clients.billflowai import BillflowAiClient
from invoices.clients.http_client import make_session
from invoices.clients.invoicedataextraction_com import InvoiceDataExtractionClient as InvoiceDataExtractionClient
from invoices.clients.smartbills_com import SmartBillsComClient
from invoices.documents.store import DocumentStore
from invoices.extraction import billflowai, invoicedataextraction_com, smartbills_com
from invoices.extraction.batches.batch import ClaimAllOrNone
from invoices.extraction.extraction_recorder import ExtractionRecorder, ExtractorReport
from invoices.extraction.extractor_choice import (
    choose_extractor,
    explain_unsupported_document,
    list_fallback_extractors,
)
from invoices.extraction.resilience.rate_limit import RateWindow
from invoices.extraction.resilience.rate_limit_store import RateLimitStore
from invoices.extraction.resilience.retry import VendorSuspended
from invoices.ledger import Ledger
from invoices.ledger.claims import holds_claim
from invoices.ledger.documents import DocumentState, PendingDocument, filter_pending_documents, set_document_state
from invoices.ledger.extraction_batch_documents import release_unsent_extractions
from invoices.ledger.extractions import ExtractionJob, ExtractionTerms, list_jobs_by_document
from invoices.ledger.spending import PageCaps
from invoices.settings import ENVIRONMENT_PREFIX, PAID_EXTRACTORS, PaidExtractorSettings, Settings

NO_EXTRACTOR_MESSAGE = "Only an extraction service can read it, and none is set up: set the key of one, e.g. {example}."
EXAMPLE_KEY_SETTING = "INVOICES_INVOICEDATAEXTRACTION_COM__API_KEY"
ANSWER_PENDING_MESSAGE = (
    "{name} was asked about it and still owes the answer, but cannot be asked now: {missing}. "
    "Nobody else is asked, because that would be paid for twice."
)


class Extractor(Protocol):
    """Asks one vendor."""

    recorder: ExtractionRecorder

    def extract_documents(self, documents: Sequence[PendingDocument], on_progress: Callable[[int], None]) -> None:
        """Ask about documents; raise VendorStopped when the vendor has to be left alone."""
        ...


class ExtractorChain:
    """The extraction APIs of a house, each with its desk, its budget and its terms."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        store: DocumentStore,
        rate_limit_store: RateLimitStore,
        worker: str,
        claim_all_or_none: ClaimAllOrNone,
    ) -> None:
        """Take the settings with which vendors are called; nothing is asked yet."""
        self._settings, self._ledger, self._store = settings, ledger, store
        self._rate_limit_store, self._worker, self._claim_all_or_none = rate_limit_store, worker, claim_all_or_none
        self._documents_by_sha256: dict[str, PendingDocument] = {}
        self._suspensions: dict[str, VendorSuspended] = {}
        self._extractors: dict[str, Extractor] = {}

    @property
    def preference_order(self) -> list[str]:
        """Who can be asked, in the order of preference."""
        return list(self._settings.paid_extractors)

    @property
    def suspended_vendors(self) -> dict[str, VendorSuspended]:
        """Those of the order that are not called again in this run, and why."""
        return {name: suspension for name, suspension in self._suspensions.items() if name in self.preference_order}

    def take_reports(self) -> dict[str, ExtractorReport]:
        """Return what asking came to since this was last taken, by extractor."""
        return {name: extractor.recorder.take_report() for name, extractor in self._extractors.items()}

    def extract_documents(
        self, documents: Sequence[PendingDocument], on_progress: Callable[[int], None] = lambda _: None
    ) -> None:
        """Ask about documents that are in hand until each is answered, set aside, or has to wait.

        A vendor that stops is left alone from then on. ``done`` is told how many are through, by one thread at a time.
        """
        self._documents_by_sha256 = {document.document_sha256: document for document in documents}
        progress = _ProgressCounter(len(documents), on_progress)
        for name in self._list_extractors_to_run():
            assigned = [
                (document, jobs) for document, extractor, jobs in self._assign_extractors() if extractor == name
            ]
            own_documents = [document for document, _ in assigned]
            self._release_unsent_batches_of_others(name, [job for _, jobs in assigned for job in jobs])
            if own_documents and name not in self._suspensions:
                try:
                    self._get_extractor(name).extract_documents(own_documents, progress.report_progress)
                except VendorSuspended as suspension:
                    self._suspensions[name] = suspension
        self._record_documents_without_extractor()
        progress.report_remaining()

    def _release_unsent_batches_of_others(self, name: str, jobs: Iterable[ExtractionJob]) -> None:
        """End what other vendors surely have not got about documents that are asked about here now."""
        batch_ids = {
            job.batch_id for job in jobs if job.is_open and not job.may_have_arrived and job.extracted_by != name
        }
        if batch_ids:
            with self._ledger.begin_transaction() as tx:
                for batch_id in sorted(filter(None, batch_ids)):
                    release_unsent_extractions(tx, batch_id, f"{name} is asked instead.")

    def _list_extractors_to_run(self) -> list[str]:
        """Return who has a turn: whoever is in the order, then whoever only owes answers, and can be asked for them."""
        pending_extractors = {
            extractor for _, extractor, _ in self._assign_extractors() if extractor is not None
        } - set(self.preference_order)
        return [
            *self.preference_order,
            *sorted(name for name in pending_extractors if self._find_missing_setup(name) is None),
        ]

    def _assign_extractors(self) -> list[tuple[PendingDocument, str | None, Sequence[ExtractionJob]]]:
        """Return the documents that still wait, whom each is for, and what was asked about it before."""
        with self._ledger.open_snapshot() as connection:
            waiting_documents = filter_pending_documents(connection, "extract_remote", self._documents_by_sha256)
            jobs = list_jobs_by_document(connection, [document.document_sha256 for document in waiting_documents])
        documents_with_jobs = [(document, jobs.get(document.document_sha256, [])) for document in waiting_documents]
        return [
            (
                document,
                choose_extractor(
                    document, document_jobs, self.preference_order, self._list_unavailable_extractors(document)
                ),
                document_jobs,
            )
            for document, document_jobs in documents_with_jobs
        ]

    def _list_unavailable_extractors(self, document: PendingDocument) -> set[str]:
        """Return who is passed over for a document because they cannot be asked about it in this run."""
        if self._settings.fall_back != "unavailable":
            return set()
        deferred_by = {
            name
            for name, extractor in self._extractors.items()
            if document.document_sha256 in extractor.recorder.deferred
        }
        return deferred_by | self._suspensions.keys()

    def _find_missing_setup(self, name: str) -> str | None:
        """Return what is missing to ask an extractor, or None."""
        if name not in PAID_EXTRACTORS:
            return "this version does not know it"
        extractor_settings: PaidExtractorSettings = getattr(self._settings, name)
        return f"set {ENVIRONMENT_PREFIX}{name.upper()}__API_KEY" if extractor_settings.api_key is None else None

    def _record_documents_without_extractor(self) -> None:
        """Write about those for whom there is nobody (left) to ask."""
        new_states = [
            (document, new_state)
            for document, extractor, jobs in self._assign_extractors()
            if (
                new_state := self._find_state_without_extractor(document, jobs)
                if extractor is None
                else self._find_waiting_state_if_unavailable(extractor)
            )
            is not None
        ]
        if not new_states:
            return
        with self._ledger.begin_transaction() as tx:
            for document, new_state in new_states:
                if holds_claim(tx, self._worker, document.document_sha256):
                    set_document_state(tx, document.document_sha256, **new_state)

    def _find_waiting_state_if_unavailable(self, name: str) -> dict[str, Any] | None:
        """Return where a document stands that is for one who cannot be asked now, or None for any other."""
        if name in self._suspensions:
            return _build_waiting_state(self._suspensions[name].reason_code, self._suspensions[name].reason)
        missing_setup = self._find_missing_setup(name)
        return (
            None
            if missing_setup is None
            else _build_waiting_state("no_extractor", ANSWER_PENDING_MESSAGE.format(name=name, missing=missing_setup))
        )

    def _find_state_without_extractor(
        self, document: PendingDocument, jobs: Sequence[ExtractionJob]
    ) -> dict[str, Any] | None:
        """Return where a document stands for which there is nobody to ask; None where that is written already."""
        if not self.preference_order:
            return _build_waiting_state("no_extractor", NO_EXTRACTOR_MESSAGE.format(example=EXAMPLE_KEY_SETTING))
        if (next_extractor := choose_extractor(document, jobs, self.preference_order)) is not None:
            return self._find_waiting_state_if_unavailable(next_extractor)
        failure_messages = [job.message for job in jobs if job.status == "failed" and job.message]
        if failure_messages:
            return _build_final_state("quarantined", "extraction_failed", failure_messages[-1])
        explanations = "; ".join(explain_unsupported_document(name, document) for name in self.preference_order)
        return _build_final_state(
            "review", "extractor_cannot_read", f"No extractor that is set up can read it: {explanations}."
        )

    # One vendor each

    def _get_extractor(self, name: str) -> Extractor:
        factories = {
            invoicedataextraction_com.EXTRACTOR: self._build_invoicedataextraction_com_extractor,
            smartbills_com.EXTRACTOR: self._build_smartbills_com_extractor,
            billflowai.EXTRACTOR: self._build_billflowai_extractor,
        }
        if name not in self._extractors:
            self._extractors[name] = factories[name]()
        return self._extractors[name]

    def _build_recorder(
        self, name: str, vendor: str, configuration: str, *, charges_per_page: bool = True
    ) -> ExtractionRecorder:
        extractor_settings: PaidExtractorSettings = getattr(self._settings, name)

        def has_fallback(document_sha256: str) -> bool:
            pending_document = self._documents_by_sha256.get(document_sha256)
            if pending_document is None:
                return False
            with self._ledger.open_snapshot() as connection:
                jobs = list_jobs_by_document(connection, [document_sha256]).get(document_sha256, [])
            return bool(list_fallback_extractors(pending_document, jobs, self.preference_order, name))

        return ExtractionRecorder(
            self._ledger, self._store, self._worker, _build_terms(name, extractor_settings), vendor, configuration, has_fallback,
            charges_per_page=charges_per_page,
        )  # fmt: skip

    def _build_smartbills_com_extractor(self) -> Extractor:
        extractor_settings = self._settings.smartbills_com
        return smartbills_com.SmartBillsExtractor(
            self._build_recorder(smartbills_com.EXTRACTOR, smartbills_com.VENDOR, smartbills_com.CONFIGURATION),
            SmartBillsComClient(extractor_settings.base_url, _get_api_key(extractor_settings), make_session()),
            self._rate_limit_store.create_rate_limiter(
                smartbills_com.EXTRACTOR, smartbills_com.RATE_WINDOWS_BY_PLAN[extractor_settings.plan]
            ),
            repeat_after_unknown=extractor_settings.repeat_after_unknown,
            deadline_minutes=extractor_settings.deadline_minutes,
            connections=extractor_settings.connections,
        )

    def _build_invoicedataextraction_com_extractor(self) -> Extractor:
        extractor_settings = self._settings.invoicedataextraction_com
        name, configuration = (
            invoicedataextraction_com.EXTRACTOR,
            invoicedataextraction_com.build_configuration(extractor_settings.output_structure),
        )
        route_groups = invoicedataextraction_com.CALLS_PER_MINUTE
        return invoicedataextraction_com.InvoiceDataExtractor(
            self._build_recorder(name, invoicedataextraction_com.VENDOR, configuration),
            InvoiceDataExtractionClient(extractor_settings.base_url, _get_api_key(extractor_settings), make_session()),
            {
                group: self._rate_limit_store.create_rate_limiter(
                    f"{name}_{group}", invoicedataextraction_com.get_rate_windows(group)
                )
                for group in route_groups
            },
            self._claim_all_or_none,
            structure=extractor_settings.output_structure,
            batch_documents=extractor_settings.batch_documents,
            deadline_minutes=extractor_settings.deadline_minutes,
            connections=extractor_settings.connections,
        )

    def _build_billflowai_extractor(self) -> Extractor:
        extractor_settings = self._settings.billflowai
        return billflowai.BillflowAiExtractor(
            self._build_recorder(
                billflowai.EXTRACTOR, billflowai.VENDOR, billflowai.CONFIGURATION, charges_per_page=False
            ),
            BillflowAiClient(extractor_settings.base_url or "", _get_api_key(extractor_settings), make_session()),
            self._rate_limit_store.create_rate_limiter(
                billflowai.EXTRACTOR, (RateWindow(extractor_settings.requests_per_minute, 60),)
            ),
            sign_document_url=self._find_url_signer(),
            repeat_after_unknown=extractor_settings.repeat_after_unknown,
            connections=extractor_settings.connections,
        )

    def _find_url_signer(self) -> billflowai.UrlSigner | None:
        extractor_settings = self._settings.billflowai
        if extractor_settings.document_base_url is None or extractor_settings.document_url_secret is None:
            return None
        return billflowai.build_url_signer(
            extractor_settings.document_base_url, extractor_settings.document_url_secret.get_secret_value()
        )


class _ProgressCounter:
    """Counts each document once, although it may be asked about in several places, by several threads."""

    def __init__(self, total: int, on_progress: Callable[[int], None]) -> None:
        self._remaining, self._on_progress, self._lock = total, on_progress, threading.Lock()

    def report_progress(self, count: int) -> None:
        with self._lock:
            count = min(count, self._remaining)
            self._remaining -= count
            if count:
                self._on_progress(count)

    def report_remaining(self) -> None:
        self.report_progress(self._remaining)


def _build_waiting_state(reason_code: str, reason: str) -> dict[str, Any]:
    return {"stage": "extract_remote", "state": "waiting", "reason_code": reason_code, "reason": reason}


def _build_final_state(state: DocumentState, reason_code: str, reason: str) -> dict[str, Any]:
    return {"stage": "done", "state": state, "reason_code": reason_code, "reason": reason}


def _build_terms(name: str, extractor_settings: PaidExtractorSettings) -> ExtractionTerms:
    caps = PageCaps(
        extractor_settings.pages_per_run, extractor_settings.pages_per_day, extractor_settings.pages_per_month
    )
    return ExtractionTerms(name, caps, extractor_settings.page_price, extractor_settings.page_price_currency)


def _get_api_key(extractor_settings: PaidExtractorSettings) -> str:
    return extractor_settings.api_key.get_secret_value() if extractor_settings.api_key is not None else ""
