"""Publish: accepted invoices as receipts, through the outbox."""

from __future__ import annotations

from collections.abc import Iterator

from invoices.house import House
from invoices.ledger.outbox import Outgoing, outgoing, outgoing_count
from invoices.receipts.mapping import Customer
from invoices.receipts.publishing import PUBLISHER, Published, ReceiptPublisher
from invoices.report import Report

UNIT = "receipts"
BATCH_SIZE = 1_000

Batch = list[Outgoing]


def total(house: House) -> int | None:
    """Return how many receipts are not published."""
    with house.ledger.reading() as connection:
        return outgoing_count(connection)


def pending(house: House, report: Report) -> Iterator[Batch]:
    """Yield the receipts that are not published, until the vendor has to be left alone."""
    last = ""
    while PUBLISHER not in report.left_alone and (batch := _next(house, last)):
        yield batch
        last = batch[-1].invoice_id


def work(house: House, batch: Batch, report: Report) -> None:
    """Publish each receipt of the batch, or leave it waiting with a reason."""
    from transforms.loading.accepted import accepted_invoices

    published = Published()
    if house.smartbills_io is None:
        published.receipts["waiting"] += len(batch)
    else:
        found = accepted_invoices(house.settings.warehouse_directory, [receipt.invoice_id for receipt in batch])
        publisher = ReceiptPublisher(
            house.ledger,
            house.smartbills_io,
            _customers(house),
            _default_customer(house),
            house.smartbills_io_budget,
        )
        if not publisher.publish(batch, {invoice.invoice_id: invoice for invoice in found}, published):
            report.left_alone.add(PUBLISHER)
    report.receipts += published.receipts
    report.problems += published.problems
    report.tick(len(batch))


def _customers(house: House) -> dict[str, Customer]:
    mapped = house.vendor_settings.smartbills_io.customers
    return {buyer: Customer(known.customer_id, known.email, known.phone) for buyer, known in mapped.items()}


def _default_customer(house: House) -> Customer | None:
    email = house.vendor_settings.smartbills_io.customer_email
    return Customer(None, email, None) if email else None


def _next(house: House, last: str) -> Batch:
    with house.ledger.reading() as connection:
        return outgoing(connection, PUBLISHER, BATCH_SIZE, last)
