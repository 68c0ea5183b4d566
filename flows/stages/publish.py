"""Publish: accepted invoices as receipts, through the outbox."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from flows.unexpected_errors import describe_error
from invoices.app import App
from invoices.ledger.outbox import (
    ReceiptGroup,
    UnpublishedReceipt,
    count_unpublished_receipts,
    list_unpublished_receipts,
)
from invoices.model import Invoice
from invoices.receipts.publish_settings import build_publish_settings
from invoices.receipts.publisher import PublishResult, ReceiptPublisher
from invoices.receipts.receipt_recorder import PUBLISHER
from invoices.run_report import RunReport

PROGRESS_LABEL, UNIT = "Publishing", "receipts"
BATCH_SIZE = 1_000
GROUPS: tuple[ReceiptGroup, ...] = ("unclear", "unsent", "refused")


@dataclass(frozen=True, slots=True)
class Batch:
    """Receipts of one group, and the publisher of this run; None without a key."""

    publisher: ReceiptPublisher | None
    group: ReceiptGroup
    receipts: list[UnpublishedReceipt]


def count_pending(app: App) -> int | None:
    """Return how many receipts are not published."""
    with app.ledger.open_snapshot() as connection:
        return count_unpublished_receipts(connection)


def iter_pending_batches(app: App, report: RunReport) -> Iterator[Batch]:
    """Yield the receipts that are not published, until the vendor is suspended.

    First those that the vendor may have, then those that were never sent. Those that the vendor refused together with
    all others come last, and only if it has accepted a receipt of this run.
    """
    publisher = _build_publisher(app)
    if publisher is not None:
        publisher.release_refused_receipts()
    for group in GROUPS:
        if group == "refused" and publisher is not None and not publisher.has_created_receipt:
            break
        last_invoice_id = ""
        while PUBLISHER not in report.suspended_vendors:
            with app.ledger.open_snapshot() as connection:
                receipts = list_unpublished_receipts(connection, PUBLISHER, BATCH_SIZE, last_invoice_id, group)
            if not receipts:
                break
            yield Batch(publisher, group, receipts)
            last_invoice_id = receipts[-1].invoice_id
    if publisher is not None:
        result = PublishResult()
        publisher.finish(result)
        _add_to_report(app, report, result)


def process_batch(app: App, batch: Batch, report: RunReport) -> None:
    """Publish each receipt of the batch, or leave it waiting with a reason."""
    result = PublishResult()
    if batch.publisher is None:
        result.status_counts["waiting"] += len(batch.receipts)
    else:
        is_refusal_final = batch.group == "refused"
        for receipts, invoices in _iter_receipts_with_invoices(app, batch.receipts):
            if not batch.publisher.publish_receipts(receipts, invoices, result, is_refusal_final=is_refusal_final):
                report.suspended_vendors.add(PUBLISHER)
                break
    _add_to_report(app, report, result)
    report.advance_progress(len(batch.receipts))


def _iter_receipts_with_invoices(
    app: App, receipts: Sequence[UnpublishedReceipt]
) -> Iterator[tuple[list[UnpublishedReceipt], dict[str, Invoice]]]:
    """Yield the receipts with the invoices that the warehouse has of them, few lines at a time."""
    from transforms.loading.accepted_invoice_reader import iter_reference_chunks, open_accepted_invoices

    with open_accepted_invoices(app.settings.warehouse_directory) as reader:
        receipts_by_invoice = {receipt.invoice_id: receipt for receipt in receipts}
        references = reader.list_references(list(receipts_by_invoice))
        loaded_ids = {reference.invoice_id for reference in references}
        if missing_receipts := [receipt for receipt in receipts if receipt.invoice_id not in loaded_ids]:
            yield missing_receipts, {}
        for chunk in iter_reference_chunks(references):
            invoices = {invoice.invoice_id: invoice for invoice in reader.iter_invoices(chunk)}
            yield [receipts_by_invoice[reference.invoice_id] for reference in chunk], invoices


def _add_to_report(app: App, report: RunReport, result: PublishResult) -> None:
    report.receipt_statuses.update(result.status_counts)
    report.problems += result.problems
    report.problems += [
        f"{receipt} is not published: {describe_error(app.settings, receipt, error)}"
        for receipt, error in result.failures
    ]


def _build_publisher(app: App) -> ReceiptPublisher | None:
    if app.smartbills_io_client is None:
        return None
    return ReceiptPublisher(
        partial(app.begin_leased_transaction, "publish"),
        app.ledger.open_snapshot,
        partial(app.require_valid_lease, "publish"),
        app.smartbills_io_client,
        build_publish_settings(app.settings, app.vendor_settings),
        app.smartbills_io_rate_limiter,
    )
