"""The three tables of a batch: one row per invoice, per line and per tax, booked with the invoice's sign."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from invoices.errors import DocumentError
from invoices.exports.batch_header import BatchHeader
from invoices.exports.cells import remove_control_characters
from invoices.model import Invoice, Tax

Cell = str | dt.date | int | Decimal | None
Row = tuple[Cell, ...]

_MAX_DIGITS_PER_SIDE = 38  # on each side of the decimal point: the widest decimal of DuckDB


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, and the type of its cells; an ``amount`` is in the row's ``currency``."""

    name: str
    cell_type: Literal["text", "date", "count", "number", "amount"] = "text"


@dataclass(frozen=True, slots=True)
class Table:
    """A table: the names of its CSV file and its sheet, its columns, and the rows that one invoice has in it."""

    file_name: str
    sheet_name: str
    columns: tuple[Column, ...]
    build_invoice_rows: Callable[[BatchHeader, Invoice], Iterable[Row]]

    def iter_rows(self, batch: BatchHeader, invoices: Iterable[Invoice]) -> Iterator[tuple[Row, int]]:
        """Yield the rows of the invoices, in their order, each with the number of cells that were cleaned.

        Raises DocumentError for a number that cannot be booked.
        """
        for invoice in invoices:
            for row in self.build_invoice_rows(batch, invoice):
                cleaned_row = tuple(_clean_cell(invoice, cell) for cell in row)
                yield cleaned_row, sum(before != after for before, after in zip(row, cleaned_row, strict=True))


_KEY_COLUMNS = (Column("batch_id"), Column("invoice_id"), Column("document_sha256"), Column("kind"))

BILL_COLUMNS = (
    *_KEY_COLUMNS,
    Column("direction"),
    Column("invoice_number"),
    Column("issued_on", "date"),
    Column("due_on", "date"),
    Column("order_number"),
    Column("supplier_name"),
    Column("supplier_tax_id"),
    Column("supplier_country"),
    Column("supplier_iban"),
    Column("customer_name"),
    Column("customer_tax_id"),
    Column("customer_country"),
    Column("currency"),
    Column("net_amount", "amount"),
    Column("discount_amount", "amount"),
    Column("charge_amount", "amount"),
    Column("tax_amount", "amount"),
    Column("total_amount", "amount"),
    Column("prepaid_amount", "amount"),
    Column("payable_amount", "amount"),
)
_INVOICE_REFERENCE_COLUMNS = (
    *_KEY_COLUMNS,
    Column("supplier_name"),
    Column("invoice_number"),
    Column("issued_on", "date"),
    Column("currency"),
)
LINE_COLUMNS = (
    *_INVOICE_REFERENCE_COLUMNS,
    Column("line_number", "count"),
    Column("description"),
    Column("quantity", "number"),
    Column("unit"),
    Column("unit_price_amount", "amount"),
    Column("net_amount", "amount"),
    Column("tax_rate", "number"),
    Column("tax_amount", "amount"),
)
TAX_COLUMNS = (
    *_INVOICE_REFERENCE_COLUMNS,
    Column("tax_category"),
    Column("tax_rate", "number"),
    Column("taxable_amount", "amount"),
    Column("tax_amount", "amount"),
)


def _build_key_cells(batch: BatchHeader, invoice: Invoice) -> Row:
    return batch.batch_id, invoice.invoice_id, invoice.document_sha256, invoice.kind


def _build_bill_rows(batch: BatchHeader, invoice: Invoice) -> Iterable[Row]:
    supplier, customer = invoice.supplier, invoice.customer
    yield (
        *_build_key_cells(batch, invoice),
        invoice.direction, invoice.invoice_number, invoice.issued_on, invoice.due_on, invoice.order_number,
        supplier.name, supplier.tax_id, supplier.country, supplier.iban,
        customer.name, customer.tax_id, customer.country, invoice.currency,
        *_apply_invoice_sign(
            invoice, invoice.net_amount, invoice.discount_amount, invoice.charge_amount, invoice.tax_amount,
            invoice.total_amount, invoice.prepaid_amount, invoice.payable_amount,
        ),
    )  # fmt: skip


def _build_invoice_reference_cells(batch: BatchHeader, invoice: Invoice) -> Row:
    return (
        *_build_key_cells(batch, invoice),
        invoice.supplier.name,
        invoice.invoice_number,
        invoice.issued_on,
        invoice.currency,
    )


def _build_line_rows(batch: BatchHeader, invoice: Invoice) -> Iterable[Row]:
    """Yield one row per line, by line number."""
    reference_cells = _build_invoice_reference_cells(batch, invoice)
    for line in sorted(invoice.lines, key=lambda line: (line.line_number, str(line))):
        unit_price, net_amount, tax_amount = _apply_invoice_sign(
            invoice, line.unit_price_amount, line.net_amount, line.tax_amount
        )
        yield (
            *reference_cells,
            line.line_number, line.description, line.quantity, line.unit,
            unit_price, net_amount, line.tax_rate, tax_amount,
        )  # fmt: skip


def _build_tax_rows(batch: BatchHeader, invoice: Invoice) -> Iterable[Row]:
    """Yield one row per tax, by category and rate; a missing rate comes first."""

    def get_sort_key(tax: Tax) -> tuple[str, Decimal, str]:
        return tax.tax_category or "", Decimal(-1) if tax.tax_rate is None else tax.tax_rate, str(tax)

    for tax in sorted(invoice.taxes, key=get_sort_key):
        yield (
            *_build_invoice_reference_cells(batch, invoice),
            tax.tax_category,
            tax.tax_rate,
            *_apply_invoice_sign(invoice, tax.taxable_amount, tax.tax_amount),
        )


def _apply_invoice_sign(invoice: Invoice, *amounts: Decimal | None) -> tuple[Decimal | None, ...]:
    if invoice.booking_sign > 0:
        return amounts
    return tuple(amount if amount is None else amount.copy_negate() for amount in amounts)


def _clean_cell(invoice: Invoice, cell: Cell) -> Cell:
    if isinstance(cell, str):
        return remove_control_characters(cell)
    if isinstance(cell, Decimal) and not (
        cell.is_finite()
        and cell.adjusted() < _MAX_DIGITS_PER_SIDE
        and int(cell.as_tuple().exponent) >= -_MAX_DIGITS_PER_SIDE
    ):
        raise DocumentError(
            f"invoice {invoice.invoice_id!r} of document {invoice.document_sha256!r} has the number {str(cell)!r}, "
            f"which cannot be booked: it is not finite, or has more than "
            f"{_MAX_DIGITS_PER_SIDE} digits on a side of the decimal point",
            reason_code="number_out_of_range",
        )
    return cell


BILL_TABLE = Table("bills.csv", "Bills", BILL_COLUMNS, _build_bill_rows)  # one row per invoice
LINE_TABLE = Table("bill_lines.csv", "Lines", LINE_COLUMNS, _build_line_rows)
TAX_TABLE = Table("tax_lines.csv", "Taxes", TAX_COLUMNS, _build_tax_rows)
TABLES = (BILL_TABLE, LINE_TABLE, TAX_TABLE)  # in the order of the sheets
