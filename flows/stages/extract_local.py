"""Extract locally: read each document in limited processes, at no cost, and decide what it needs next."""

from __future__ import annotations

from collections.abc import Iterator

from flows.work_queue import count_waiting_documents, iter_claimed_batches
from invoices.app import App
from invoices.documents.malware_scanner import MalwareScanner
from invoices.extraction.local_extraction import extract_documents_locally
from invoices.ledger.documents import PendingDocument
from invoices.run_report import RunReport

PROGRESS_LABEL, UNIT = "Extracting locally", "documents"

Batch = list[PendingDocument]


def count_pending(app: App) -> int | None:
    """Return how many documents have not been read."""
    return count_waiting_documents(app, "extract_local")


def iter_pending_batches(app: App, _report: RunReport) -> Iterator[Batch]:
    """Yield the documents that have not been read."""
    return iter_claimed_batches(app, "extract_local")


def process_batch(app: App, batch: Batch, report: RunReport) -> None:
    """Scan and read the documents, and record the next stage of each."""
    command = app.settings.reading.scanner_command
    scanner = MalwareScanner(command) if command else None
    report.local_outcomes += extract_documents_locally(
        app.ledger, app.store, app.document_reader_pool, batch, report.advance_progress, scanner
    )
