"""Extract remotely: submit the documents that are no e-invoices to the extraction APIs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from flows.reports.claimed_documents import describe_claims_of_others
from flows.unexpected_errors import describe_error
from flows.work_queue import count_waiting_documents, iter_claimed_batches
from invoices.app import App
from invoices.ledger.documents import PendingDocument
from invoices.run_report import RunReport

PROGRESS_LABEL, UNIT = "Extracting remotely", "documents"

Batch = list[PendingDocument]


def count_pending(app: App) -> int | None:
    """Return how many documents wait for an extraction API."""
    return count_waiting_documents(app, "extract_remote")


def iter_pending_batches(app: App, report: RunReport) -> Iterator[Batch]:
    """Yield the documents that need an extraction API, until every extractor is suspended.

    After each batch, what its extraction cost and achieved is added to the report.
    """
    for batch in iter_claimed_batches(app, "extract_remote"):
        try:
            yield batch
        finally:
            _add_extraction_totals(app, report)
        chain = app.extractor_chain  # created here, because a rehearsal starts its sandbox with it
        if chain.preference_order and len(chain.suspended_vendors) == len(chain.preference_order):
            return
    report.remarks += describe_claims_of_others(app, "extract_remote")


def process_batch(app: App, batch: Batch, report: RunReport) -> None:
    """Submit each document and poll for it until it is answered, quarantined, or has to wait for a later run."""
    app.extractor_chain.extract_documents(batch, report.advance_progress)


def _add_extraction_totals(app: App, report: RunReport) -> None:
    """Add to the report what each extractor did since the last call, and which vendors are suspended."""
    for extractor, totals in app.extractor_chain.take_reports().items():
        report.paid_calls += totals.submissions
        report.paid_pages += totals.pages_charged
        report.remarks += [remark for remark in totals.remarks if remark not in report.remarks]
        report.problems += totals.problems
        report.problems += [
            f"{document} waits: {describe_error(app.settings, document, error)}" for document, error in totals.failures
        ]
        counts = report.remote_outcomes.setdefault(extractor, Counter())
        counts.update(calls=totals.submissions, pages=totals.pages_charged, answered=totals.answered)
        counts.update(quarantined=totals.quarantined, passed_to_next=totals.passed_to_next)
    report.suspended_vendors.update(app.extractor_chain.suspended_vendors)
