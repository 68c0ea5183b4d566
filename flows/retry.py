"""Retry documents: read, extract and validate again what an upgrade or a better setting may mend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from flows.reports.history import find_documents_and_mails
from flows.stages import extract_local, extract_remote, validate
from invoices.app import App
from invoices.documents.containers.container_media_types import is_container_type
from invoices.errors import ConfigurationError
from invoices.extraction import billflowai
from invoices.extraction.extractor_choice import choose_extractor, get_configurations
from invoices.ledger.documents import DocumentState, PendingDocument, list_document_hashes_by_prefix
from invoices.ledger.extractions import list_jobs_by_document
from invoices.ledger.retries import find_retry_obstacles, list_documents_to_retry, mark_for_retry
from invoices.run_report import RunReport
from invoices.settings import PAID_EXTRACTORS, PaidExtractorSettings

RETRY_STAGES = (extract_local, extract_remote, validate)
READ_BATCH_SIZE = 500  # documents

Row = Mapping[str, Any]
ProgressCallback = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class RetryPlan:
    """What a retry would do: ``pages_by_document`` has, by hash, the extractor and the pages that it may charge."""

    documents: Sequence[Row]
    obstacles: Mapping[str, str]  # by the hash of a document that is left alone, why
    pages_by_document: Mapping[str, tuple[str, int]]

    @property
    def retried_hashes(self) -> list[str]:
        """The hashes of the documents that are retried."""
        hashes = [row["document_sha256"] for row in self.documents]
        return [sha256 for sha256 in hashes if sha256 not in self.obstacles]

    @property
    def pages(self) -> int:
        """The most pages that the vendors may charge."""
        return sum(pages for _, pages in self.pages_by_document.values())


def select_documents(
    app: App, identities: Sequence[str], state: str | None = None, reason_code: str | None = None
) -> list[Row]:
    """Return the rows of the documents that one of ``identities`` names and that have this state and reason code.

    Without ``identities``, all with this state and reason code.

    Raises:
        ConfigurationError: nothing is selected by, an identity names nothing, or a beginning of a hash several.
    """
    if not identities and state is None and reason_code is None:
        raise ConfigurationError("say which documents: give an ID, --state or --reason")
    if state is not None and state not in get_args(DocumentState):
        raise ConfigurationError(f"there is no state {state!r}; choose from {', '.join(get_args(DocumentState))}")
    with app.ledger.open_snapshot() as connection:
        hashes: dict[str, None] = {}
        for identity in identities:
            documents, _ = find_documents_and_mails(connection, identity)
            if len(documents) > 1 and documents == list_document_hashes_by_prefix(connection, identity):
                raise ConfigurationError(
                    f"{identity!r} begins the hash of {len(documents)} documents: give more digits"
                )
            hashes |= dict.fromkeys(documents)
        if identities and not hashes:
            return []
        return list(list_documents_to_retry(connection, hashes, state, reason_code))


def plan_retry(app: App, rows: Sequence[Row], advance_progress: ProgressCallback = lambda _: None) -> RetryPlan:
    """Return what a retry of these documents would do; they are read, and nothing is recorded or paid."""
    with app.ledger.open_snapshot() as connection:
        obstacles = find_retry_obstacles(connection, rows)
    obstacles |= {
        row["document_sha256"]: "set_aside"
        for row in rows
        if is_container_type(row["media_type"]) and row["document_sha256"] not in obstacles
    }
    infected_hashes = _scan_documents(app, [row for row in rows if row["document_sha256"] not in obstacles], obstacles)
    retried = [row for row in rows if row["document_sha256"] not in obstacles]
    readable = [row for row in retried if row["document_sha256"] not in infected_hashes]
    pages_by_document: dict[str, tuple[str, int]] = {}
    for start in range(0, len(readable), READ_BATCH_SIZE):
        batch = readable[start : start + READ_BATCH_SIZE]
        for document, extractor in _choose_extractors(app, list(_read_documents(app, batch))):
            if extractor is not None:
                pages = 1 if extractor == billflowai.EXTRACTOR else document.page_count or 1
                pages_by_document[document.document_sha256] = extractor, pages
        advance_progress(len(batch))
    return RetryPlan(rows, obstacles, pages_by_document)


def _scan_documents(app: App, rows: Sequence[Row], obstacles: dict[str, str]) -> set[str]:
    """Return the hashes of infected documents, which nothing may open; those at which the scanner fails are obstacles.

    Without a configured scanner, none is scanned.
    """
    if app.malware_scanner is None:
        return set()
    hashes_by_path = {app.store.get_path(row["document_sha256"]): row["document_sha256"] for row in rows}
    scan = app.malware_scanner.scan_files(hashes_by_path)
    obstacles |= {hashes_by_path[path]: "not_scanned" for path in scan.waiting_reasons}
    return {hashes_by_path[path] for path in scan.infected_readings}


def _read_documents(app: App, rows: Sequence[Row]) -> Iterator[PendingDocument]:
    """Yield those of the documents that would need an extraction API."""
    hashes = [row["document_sha256"] for row in rows]
    readings = app.document_reader_pool.read_in_order(map(app.store.get_path, hashes), hashes)
    for row, reading in zip(rows, readings, strict=True):
        if reading.outcome == "needs_extraction":
            yield PendingDocument(
                row["document_sha256"], row["sequence"], reading.media_type, row["first_seen_at"],
                reading.page_count or row["page_count"], row["byte_count"],
            )  # fmt: skip


def _choose_extractors(app: App, documents: Sequence[PendingDocument]) -> Iterator[tuple[PendingDocument, str | None]]:
    """Yield each document with the extractor that a retry would submit it to, or None if no submission is needed."""
    settings = app.settings
    if settings.is_rehearsal:  # the sandbox stands in for all of them
        extractors = [name for name in settings.extractors if name in PAID_EXTRACTORS]
    else:
        extractors = list(settings.paid_extractors)
    configurations = get_configurations(settings)
    with app.ledger.open_snapshot() as connection:
        jobs_by_document = list_jobs_by_document(connection, [document.document_sha256 for document in documents])
    for document in documents:
        jobs = [
            replace(job, is_superseded=job.is_superseded or job.status == "failed")
            for job in jobs_by_document.get(document.document_sha256, ())
        ]
        yield document, choose_extractor(document, jobs, extractors, (), configurations)


def list_costs(app: App, plan: RetryPlan) -> list[dict[str, Any]]:
    """Return ``extractor``, ``documents`` and ``pages`` of each extractor that would be paid.

    ``amount``, a decimal string, and ``currency`` are None if the price of a page is not set.
    """
    costs = []
    for name in PAID_EXTRACTORS:
        page_counts = [pages for extractor, pages in plan.pages_by_document.values() if extractor == name]
        if page_counts:
            vendor: PaidExtractorSettings = getattr(app.settings, name)
            amount = None if vendor.page_price is None else format(vendor.page_price * sum(page_counts), "f")
            currency = None if amount is None else vendor.page_price_currency
            cost = {"extractor": name, "documents": len(page_counts), "pages": sum(page_counts)}
            costs.append({**cost, "amount": amount, "currency": currency})
    return costs


def execute_retry(app: App, plan: RetryPlan, report: RunReport) -> list[str]:
    """Read, extract and validate the documents again; return the hashes of those for which that was begun.

    They are recorded as waiting first: whatever ends this process, the next run continues.

    Raises:
        AlreadyRunning: a run is active; it or the next one continues.
    """
    from flows.runner import run_stages

    app.check_rehearsal_mode()
    with app.ledger.begin_transaction() as tx:
        marked = mark_for_retry(tx, plan.retried_hashes)
    app.selected_documents = marked
    run_stages(app, RETRY_STAGES, report)
    return marked
