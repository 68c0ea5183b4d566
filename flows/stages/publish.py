"""Publish: accepted invoices as receipts, through the outbox."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from invoices.app import App
from invoices.ledger.outbox import UnpublishedReceipt, count_unpublished_receipts, list_unpublished_receipts
from invoices.receipts.mapping import Customer
from invoices.receipts.publisher import PUBLISHER, PublishResult, ReceiptPublisher
from invoices.run_report import RunReport

PROGRESS_LABEL, UNIT = "Publishing", "receipts"
BATCH_SIZE = 1_000

Batch = list[UnpublishedReceipt]


def count_pending(app: App) -> int | None:
    """Return how many receipts are not published."""
    with app.ledger.open_snapshot() as connection:
        return count_unpublished_receipts(connection)


def iter_pending_batches(app: App, report: RunReport) -> Iterator[Batch]:
    """Yield the receipts that are not published, until the vendor is suspended."""
    last_invoice_id = ""
    while PUBLISHER not in report.suspended_vendors:
        with app.ledger.open_snapshot() as connection:
            batch = list_unpublished_receipts(connection, PUBLISHER, BATCH_SIZE, last_invoice_id)
        if not batch:
            return
        yield batch
        last_invoice_id = batch[-1].invoice_id


def process_batch(app: App, batch: Batch, report: RunReport) -> None:
    """Publish each receipt of the batch, or leave it waiting with a reason."""
    from transforms.loading.accepted_invoice_reader import read_accepted_invoices

    publish_result = PublishResult()
    if app.smartbills_io_client is None:
        publish_result.status_counts["waiting"] += len(batch)
    else:
        invoices = read_accepted_invoices(app.settings.warehouse_directory, [receipt.invoice_id for receipt in batch])
        receipt_settings = app.vendor_settings.smartbills_io
        customers_by_buyer = {
            buyer: Customer(customer.customer_id, customer.email, customer.phone)
            for buyer, customer in receipt_settings.customers.items()
        }
        default_email = receipt_settings.customer_email
        publisher = ReceiptPublisher(
            partial(app.begin_leased_transaction, "publish"),
            partial(app.require_valid_lease, "publish"),
            app.smartbills_io_client,
            customers_by_buyer,
            Customer(None, default_email, None) if default_email else None,
            app.smartbills_io_rate_limiter,
        )
        if not publisher.publish_receipts(batch, {invoice.invoice_id: invoice for invoice in invoices}, publish_result):
            report.suspended_vendors.add(PUBLISHER)
    report.receipt_statuses += publish_result.status_counts
    report.problems += publish_result.problems
    report.advance_progress(len(batch))
