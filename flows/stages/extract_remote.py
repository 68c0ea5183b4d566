"""Ask: the extraction APIs, about the documents that do not speak for themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from flows.work_queue import count_waiting_documents, iter_claimed_batches
from invoices.app import App
from invoices.ledger.documents import PendingDocument
from invoices.run_report import RunReport

UNIT = "documents"

Batch = list[PendingDocument]


def count_pending(app: App) -> int | None:
    """Return how many documents wait for an extraction API."""
    return count_waiting_documents(app, "extract_remote")


def iter_batches(app: App, report: RunReport) -> Iterator[Batch]:
    """Yield the documents that an extraction API has to read, and tell at the end what asking came to."""
    for batch in iter_claimed_batches(app, "extract_remote"):
        try:
            yield batch
        finally:
            _add_extraction_totals_to_report(app, report)
        if app.extractor_chain.preference_order and len(app.extractor_chain.suspended_vendors) == len(
            app.extractor_chain.preference_order
        ):
            return


def process_batch(app: App, batch: Batch, report: RunReport) -> None:
    """Ask about each document until it is answered, set aside, or has to wait for a later run."""
    app.extractor_chain.extract_documents(batch, report.advance_progress)


def _add_extraction_totals_to_report(app: App, report: RunReport) -> None:
    """Put what asking came to since the last time into the report."""
    for extractor, totals in app.extractor_chain.take_reports().items():
        report.paid_calls += totals.submissions
        report.paid_pages += totals.pages_charged
        report.remarks += [remark for remark in totals.remarks if remark not in report.remarks]
        report.problems += totals.problems
        counts = report.remote_outcomes.setdefault(extractor, Counter())
        counts.update(calls=totals.submissions, pages=totals.pages_charged, answered=totals.answered)
        counts.update(set_aside=totals.quarantined, passed_on=totals.passed_to_next)
    report.suspended_vendors.update(app.extractor_chain.suspended_vendors)
