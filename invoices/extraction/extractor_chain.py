"""Remote extraction: each configured extraction API in order of preference, until one of them answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from invoices.documents.store import DocumentStore
from invoices.errors import ConfigurationError, TransientError
from invoices.extraction import billflowai, client_factory, invoicedataextraction_com, smartbills_com
from invoices.extraction.answer_adoption import FetchedAnswer
from invoices.extraction.batches.batch import ClaimAllOrNone
from invoices.extraction.extraction_recorder import ExtractionRecorder, ExtractorReport
from invoices.extraction.extractor_choice import (
    choose_extractor,
    explain_unsupported_document,
    get_configurations,
    list_eligible_extractors,
    map_latest_jobs_by_extractor,
)
from invoices.extraction.resilience.rate_limit import RateWindow
from invoices.extraction.resilience.rate_limit_store import RateLimitStore
from invoices.extraction.resilience.retry import VendorSuspended
from invoices.extraction.vendor_change_guard import VendorChangeGuard
from invoices.ledger import Ledger
from invoices.ledger.claims import holds_claim
from invoices.ledger.documents import DocumentState, PendingDocument, filter_pending_documents, set_document_state
from invoices.ledger.extraction_batch_documents import release_unsent_extractions
from invoices.ledger.extractions import ExtractionJob, ExtractionTerms, list_jobs_by_document
from invoices.ledger.spending import PageCaps
from invoices.settings import ENVIRONMENT_PREFIX, PAID_EXTRACTORS, PaidExtractorSettings, Settings

EXAMPLE_KEY_SETTING = "INVOICES_INVOICEDATAEXTRACTION_COM__API_KEY"
NO_EXTRACTOR_MESSAGE = (
    "Only an extraction service can read it, and none is configured. "
    f"Set the API key of one, e.g. {EXAMPLE_KEY_SETTING}."
)
ANSWER_PENDING_MESSAGE = (
    "Submitted to {name}; the answer is missing, and {name} cannot be called now: {missing}. "
    "It is not submitted to another extractor, because that could be charged twice."
)


class Extractor(Protocol):
    """Extracts documents with one vendor."""

    recorder: ExtractionRecorder

    def extract_documents(self, documents: Sequence[PendingDocument], on_progress: Callable[[int], None]) -> None:
        """Extract the documents; raise VendorSuspended when the vendor must not be called again in this run."""
        ...

    def fetch_lost_answer(self, document: PendingDocument, job: ExtractionJob, remote_id: str | None) -> FetchedAnswer:
        """Return the answer of a submission that was given up; raise AnswerNotAdoptable if there is none."""
        ...


class ExtractorChain:
    """The extraction APIs of an application, each with its recorder, rate limiter and terms."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        store: DocumentStore,
        rate_limit_store: RateLimitStore,
        worker: str,
        claim_all_or_none: ClaimAllOrNone,
    ) -> None:
        """Keep the settings and stores; vendors are set up when they are first needed."""
        self._settings, self._ledger, self._store = settings, ledger, store
        self._rate_limit_store, self._worker, self._claim_all_or_none = rate_limit_store, worker, claim_all_or_none
        self._documents_by_sha256: dict[str, PendingDocument] = {}
        self._suspensions: dict[str, VendorSuspended] = {}
        self._extractors: dict[str, Extractor] = {}
        self._configurations = get_configurations(settings)
        self._change_guard = VendorChangeGuard(ledger)

    @property
    def preference_order(self) -> list[str]:
        """The configured extractors, in order of preference."""
        return list(self._settings.paid_extractors)

    @property
    def suspended_vendors(self) -> dict[str, VendorSuspended]:
        """The configured extractors that are not called again in this run, each with the reason."""
        return {name: suspension for name, suspension in self._suspensions.items() if name in self.preference_order}

    def take_reports(self) -> dict[str, ExtractorReport]:
        """Return the reports since the last call, by extractor."""
        return {name: extractor.recorder.take_report() for name, extractor in self._extractors.items()}

    def extract_documents(
        self, documents: Sequence[PendingDocument], on_progress: Callable[[int], None] = lambda _: None
    ) -> None:
        """Extract claimed documents until each is answered, quarantined, or has to wait.

        A suspended vendor is not called again. ``on_progress`` receives the number of documents each time some are
        concluded; it is called by one thread at a time.
        """
        self._documents_by_sha256 = {document.document_sha256: document for document in documents}
        progress = _ProgressCounter(len(documents), on_progress)
        for name in self._list_extractors_to_run():
            assigned = [
                (document, jobs) for document, extractor, jobs in self._assign_extractors() if extractor == name
            ]
            self._release_unsent_batches_of_others(name, [job for _, jobs in assigned for job in jobs])
            if assigned and name not in self._suspensions:
                extractor = self._get_extractor(name)
                extractor.recorder.remember_generations(job for _, jobs in assigned for job in jobs)
                try:
                    self._change_guard.extract_documents(extractor, assigned, progress.report_progress)
                except VendorSuspended as suspension:
                    self._suspensions[name] = suspension
        self._record_documents_without_extractor()
        progress.report_remaining()

    def fetch_lost_answer(self, document: PendingDocument, job: ExtractionJob, remote_id: str | None) -> FetchedAnswer:
        """Return the answer of a submission that was given up, from the vendor; costs nothing.

        Raises:
            ConfigurationError: the vendor cannot be called.
            AnswerNotAdoptable: there is no answer about this document.
            TransientError: the vendor does not answer now.
        """
        missing_setup = self._find_missing_setup(job.extracted_by)
        if missing_setup is not None:
            raise ConfigurationError(f"{job.extracted_by} cannot be called: {missing_setup}")
        try:
            return self._get_extractor(job.extracted_by).fetch_lost_answer(document, job, remote_id)
        except VendorSuspended as suspension:
            raise TransientError(suspension.reason) from suspension

    def _release_unsent_batches_of_others(self, name: str, jobs: Iterable[ExtractionJob]) -> None:
        """Release unsent batches of other vendors that contain documents which ``name`` extracts now."""
        batch_ids = {
            job.batch_id for job in jobs if job.is_open and not job.may_have_arrived and job.extracted_by != name
        }
        if batch_ids:
            with self._ledger.begin_transaction() as tx:
                for batch_id in sorted(filter(None, batch_ids)):
                    release_unsent_extractions(tx, batch_id, f"{name} extracts it instead.")

    def _list_extractors_to_run(self) -> list[str]:
        """Return the configured extractors, then others with pending answers that can still be called."""
        pending_extractors = {
            extractor for _, extractor, _ in self._assign_extractors() if extractor is not None
        } - set(self.preference_order)
        return [
            *self.preference_order,
            *sorted(name for name in pending_extractors if self._find_missing_setup(name) is None),
        ]

    def _assign_extractors(self) -> list[tuple[PendingDocument, str | None, Sequence[ExtractionJob]]]:
        """Return the documents that still wait, each with its extractor and its earlier jobs."""
        with self._ledger.open_snapshot() as connection:
            waiting_documents = filter_pending_documents(connection, "extract_remote", self._documents_by_sha256)
            jobs = list_jobs_by_document(connection, [document.document_sha256 for document in waiting_documents])
        assignments: list[tuple[PendingDocument, str | None, Sequence[ExtractionJob]]] = []
        for document in waiting_documents:
            document_jobs = jobs.get(document.document_sha256, [])
            unavailable = self._list_unavailable_extractors(document)
            extractor = choose_extractor(
                document, document_jobs, self.preference_order, unavailable, self._configurations
            )
            assignments.append((document, extractor, document_jobs))
        return assignments

    def _list_unavailable_extractors(self, document: PendingDocument) -> set[str]:
        """Return the extractors that are skipped for a document because they cannot process it in this run."""
        if self._settings.fall_back != "unavailable":
            return set()
        deferred_by = {
            name
            for name, extractor in self._extractors.items()
            if document.document_sha256 in extractor.recorder.deferred
        }
        return deferred_by | self._suspensions.keys()

    def _find_missing_setup(self, name: str) -> str | None:
        """Return what is missing to call an extractor, or None."""
        if name not in PAID_EXTRACTORS:
            return "this version of invoices does not support it"
        extractor_settings: PaidExtractorSettings = getattr(self._settings, name)
        return f"set {ENVIRONMENT_PREFIX}{name.upper()}__API_KEY" if extractor_settings.api_key is None else None

    def _record_documents_without_extractor(self) -> None:
        """Record the state of documents that no extractor can process now."""
        new_states: list[tuple[PendingDocument, dict[str, Any]]] = []
        for document, extractor, jobs in self._assign_extractors():
            if extractor is None:
                new_state = self._find_state_without_extractor(document, jobs)
            else:
                new_state = self._find_waiting_state_if_unavailable(extractor)
            if new_state is not None:
                new_states.append((document, new_state))
        if not new_states:
            return
        with self._ledger.begin_transaction() as tx:
            for document, new_state in new_states:
                if holds_claim(tx, self._worker, document.document_sha256):
                    set_document_state(tx, document.document_sha256, **new_state)

    def _find_waiting_state_if_unavailable(self, name: str) -> dict[str, Any] | None:
        """Return the state of a document whose extractor cannot be called now, or None when it can."""
        if name in self._suspensions:
            return _build_waiting_state(self._suspensions[name].reason_code, self._suspensions[name].reason)
        missing_setup = self._find_missing_setup(name)
        if missing_setup is None:
            return None
        return _build_waiting_state("no_extractor", ANSWER_PENDING_MESSAGE.format(name=name, missing=missing_setup))

    def _find_state_without_extractor(
        self, document: PendingDocument, jobs: Sequence[ExtractionJob]
    ) -> dict[str, Any] | None:
        """Return the state of a document that has no extractor; None when its state is recorded already."""
        next_extractor = choose_extractor(document, jobs, self.preference_order, (), self._configurations)
        if next_extractor is not None:
            return self._find_waiting_state_if_unavailable(next_extractor)
        if answers := [job for job in jobs if job.status == "answered" and not job.is_superseded]:
            reason = f"Answered by {answers[-1].extracted_by} before; not validated yet."
            return {"stage": "validate", "state": "waiting", "reason_code": "answered", "reason": reason}
        if not self.preference_order:
            return _build_waiting_state("no_extractor", NO_EXTRACTOR_MESSAGE)
        failure_messages = [job.message for job in jobs if job.status == "failed" and job.message]
        if failure_messages:
            return _build_final_state("quarantined", "extraction_failed", failure_messages[-1])
        explanations = "; ".join(explain_unsupported_document(name, document) for name in self.preference_order)
        return _build_final_state(
            "review", "extractor_cannot_read", f"No configured extractor can read it: {explanations}."
        )

    # Setup of each vendor

    def _get_extractor(self, name: str) -> Extractor:
        builders = {
            invoicedataextraction_com.EXTRACTOR: self._build_invoicedataextraction_com_extractor,
            smartbills_com.EXTRACTOR: self._build_smartbills_com_extractor,
            billflowai.EXTRACTOR: self._build_billflowai_extractor,
        }
        if name not in self._extractors:
            self._extractors[name] = builders[name]()
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
            eligible = list_eligible_extractors(
                pending_document, map_latest_jobs_by_extractor(jobs), self.preference_order
            )
            return any(extractor != name for extractor in eligible)

        caps = PageCaps(
            extractor_settings.pages_per_run, extractor_settings.pages_per_day, extractor_settings.pages_per_month
        )
        terms = ExtractionTerms(name, caps, extractor_settings.page_price, extractor_settings.page_price_currency)
        return ExtractionRecorder(
            self._ledger, self._store, self._worker, terms, vendor, configuration, has_fallback,
            charges_per_page=charges_per_page,
        )  # fmt: skip

    def _build_smartbills_com_extractor(self) -> Extractor:
        extractor_settings = self._settings.smartbills_com
        return smartbills_com.SmartBillsExtractor(
            self._build_recorder(smartbills_com.EXTRACTOR, smartbills_com.VENDOR, smartbills_com.CONFIGURATION),
            client_factory.build_smartbills_com_client(self._settings),
            self._rate_limit_store.create_rate_limiter(
                smartbills_com.EXTRACTOR, smartbills_com.RATE_WINDOWS_BY_PLAN[extractor_settings.plan]
            ),
            repeat_after_unknown=extractor_settings.repeat_after_unknown,
            deadline_minutes=extractor_settings.deadline_minutes,
            connections=extractor_settings.connections,
        )

    def _build_invoicedataextraction_com_extractor(self) -> Extractor:
        extractor_settings = self._settings.invoicedataextraction_com
        name = invoicedataextraction_com.EXTRACTOR
        configuration = invoicedataextraction_com.build_configuration(extractor_settings.output_structure)
        return invoicedataextraction_com.InvoiceDataExtractor(
            self._build_recorder(name, invoicedataextraction_com.VENDOR, configuration),
            client_factory.build_invoicedataextraction_com_client(self._settings),
            {
                group: self._rate_limit_store.create_rate_limiter(
                    f"{name}_{group}", invoicedataextraction_com.get_rate_windows(group)
                )
                for group in invoicedataextraction_com.CALLS_PER_MINUTE
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
            client_factory.build_billflowai_client(self._settings),
            self._rate_limit_store.create_rate_limiter(
                billflowai.EXTRACTOR, (RateWindow(extractor_settings.requests_per_minute, 60),)
            ),
            sign_document_url=client_factory.find_billflowai_url_signer(self._settings),
            repeat_after_unknown=extractor_settings.repeat_after_unknown,
            connections=extractor_settings.connections,
        )


class _ProgressCounter:
    """Counts each document once, although several vendors and threads may report it."""

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
