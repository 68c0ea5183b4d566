"""Extract locally: read each document in limited processes, at no cost, and decide what it needs next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from flows.reports.claimed_documents import describe_claims_of_others
from flows.work_queue import count_waiting_documents, iter_claimed_batches
from invoices.app import App
from invoices.extraction.local_extraction import extract_documents_locally
from invoices.ledger.documents import PendingDocument
from invoices.run_report import RunReport

PROGRESS_LABEL, UNIT = "Extracting locally", "documents"

Batch = list[PendingDocument]


def count_pending(app: App) -> int | None:
    """Return how many documents have not been read."""
    return count_waiting_documents(app, "extract_local")


def iter_pending_batches(app: App, report: RunReport) -> Iterator[Batch]:
    """Yield the documents that have not been read, until the malware scanner is down.

    At the end, what other workers have claimed is added to the report.
    """
    with closing(iter_claimed_batches(app, "extract_local")) as batches:
        for batch in batches:
            yield batch
            scanner = app.malware_scanner
            if scanner and scanner.down_reason:
                report.problems.append(
                    f"{scanner.down_reason}: it is down, so documents wait unread; repair it, or change "
                    "INVOICES_READING__SCANNER_COMMAND, then: invoices run"
                )
                return
    report.remarks += describe_claims_of_others(app, "extract_local")


def process_batch(app: App, batch: Batch, report: RunReport) -> None:
    """Scan and read the documents, and record the next stage of each."""
    scanner = app.malware_scanner
    result = extract_documents_locally(
        app.ledger, app.store, app.document_reader_pool, batch, report.advance_progress, scanner, app.rule_checker_pool
    )
    report.local_outcomes += result.outcome_counts
    report.problems += [
        f"document {document_sha256[:12]} waits unread: {reason}"
        for document_sha256, reason in result.unscanned_reasons.items()
        if scanner and reason != scanner.down_reason
    ]
    report.remarks += [
        f"document {document_sha256[:12]} was not read: {reason}"
        for document_sha256, reason in result.retry_reasons.items()
    ]
