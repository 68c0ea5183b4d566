"""The three tables of a batch: one row per invoice, per line and per tax, booked with the invoice's sign."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from invoices.errors import DocumentError
from invoices.exports.batch import Batch
from invoices.exports.cells import clean
from invoices.model import Invoice, Line, Tax

Cell = str | dt.date | int | Decimal | None
Row = tuple[Cell, ...]

_DIGITS_EACH_SIDE = 38  # of the decimal point: the widest decimal that DuckDB has


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, and what its cells are; an ``amount`` is in the row's ``currency``."""

    name: str
    holds: Literal["text", "date", "count", "number", "amount"] = "text"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns, with the names under which they leave the house."""

    file_name: str
    sheet: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    cleaned_count: int

    def records(self) -> Iterable[dict[str, Cell]]:
        """Return each row by column name."""
        names = [column.name for column in self.columns]
        return (dict(zip(names, row, strict=True)) for row in self.rows)


_ORIGIN = (Column("batch_id"), Column("invoice_id"), Column("document_sha256"), Column("kind"))

BILL_COLUMNS = (
    *_ORIGIN,
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
_BILL_OF_A_PART = (
    *_ORIGIN,
    Column("supplier_name"),
    Column("invoice_number"),
    Column("issued_on", "date"),
    Column("currency"),
)
LINE_COLUMNS = (
    *_BILL_OF_A_PART,
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
    *_BILL_OF_A_PART,
    Column("tax_category"),
    Column("tax_rate", "number"),
    Column("taxable_amount", "amount"),
    Column("tax_amount", "amount"),
)


def bill_table(batch: Batch, invoices: Sequence[Invoice]) -> Table:
    """Return one row per invoice, in the order given."""
    rows = ((invoice, _bill(batch, invoice)) for invoice in invoices)
    return _table("bills.csv", "Bills", BILL_COLUMNS, rows)


def line_table(batch: Batch, invoices: Sequence[Invoice]) -> Table:
    """Return one row per invoice line, by line number within its invoice."""
    rows = ((of, _line(batch, of, line)) for of in invoices for line in sorted(of.lines, key=_line_order))
    return _table("bill_lines.csv", "Lines", LINE_COLUMNS, rows)


def tax_table(batch: Batch, invoices: Sequence[Invoice]) -> Table:
    """Return one row per tax category and rate of an invoice, in that order within it."""
    rows = ((of, _tax(batch, of, tax)) for of in invoices for tax in sorted(of.taxes, key=_tax_order))
    return _table("tax_lines.csv", "Taxes", TAX_COLUMNS, rows)


def _origin(batch: Batch, invoice: Invoice) -> Row:
    return batch.batch_id, invoice.invoice_id, invoice.document_sha256, invoice.kind


def _bill(batch: Batch, invoice: Invoice) -> Row:
    supplier, customer = invoice.supplier, invoice.customer
    return (
        *_origin(batch, invoice),
        invoice.direction, invoice.invoice_number, invoice.issued_on, invoice.due_on, invoice.order_number,
        supplier.name, supplier.tax_id, supplier.country, supplier.iban,
        customer.name, customer.tax_id, customer.country, invoice.currency,
        *_booked(
            invoice, invoice.net_amount, invoice.discount_amount, invoice.charge_amount, invoice.tax_amount,
            invoice.total_amount, invoice.prepaid_amount, invoice.payable_amount,
        ),
    )  # fmt: skip


def _part(batch: Batch, invoice: Invoice) -> Row:
    name = invoice.supplier.name
    return (*_origin(batch, invoice), name, invoice.invoice_number, invoice.issued_on, invoice.currency)


def _line(batch: Batch, invoice: Invoice, line: Line) -> Row:
    price, net, tax = _booked(invoice, line.unit_price_amount, line.net_amount, line.tax_amount)
    described = (line.line_number, line.description, line.quantity, line.unit)
    return (*_part(batch, invoice), *described, price, net, line.tax_rate, tax)


def _tax(batch: Batch, invoice: Invoice, tax: Tax) -> Row:
    amounts = _booked(invoice, tax.taxable_amount, tax.tax_amount)
    return (*_part(batch, invoice), tax.tax_category, tax.tax_rate, *amounts)


def _booked(invoice: Invoice, *amounts: Decimal | None) -> tuple[Decimal | None, ...]:
    if invoice.sign > 0:
        return amounts
    return tuple(amount if amount is None else amount.copy_negate() for amount in amounts)


def _table(file_name: str, sheet: str, columns: tuple[Column, ...], rows: Iterable[tuple[Invoice, Row]]) -> Table:
    settled: list[Row] = []
    cleaned = 0
    for invoice, row in rows:
        settled.append(tuple(_settled(invoice, cell) for cell in row))
        cleaned += sum(before != after for before, after in zip(row, settled[-1], strict=True))
    return Table(file_name, sheet, columns, tuple(settled), cleaned)


def _settled(invoice: Invoice, cell: Cell) -> Cell:
    if isinstance(cell, str):
        return clean(cell)
    if isinstance(cell, Decimal) and not _can_be_written(cell):
        raise DocumentError(
            f"invoice {invoice.invoice_id!r} of document {invoice.document_sha256!r} holds {cell!r}: no book can",
            reason_code="number_out_of_range",
        )
    return cell


def _can_be_written(number: Decimal) -> bool:
    if not number.is_finite():
        return False
    return number.adjusted() < _DIGITS_EACH_SIDE and int(number.as_tuple().exponent) >= -_DIGITS_EACH_SIDE


def _line_order(line: Line) -> tuple[int, str]:
    return line.line_number, str(line)


def _tax_order(tax: Tax) -> tuple[str, Decimal, str]:
    return tax.tax_category or "", Decimal(-1) if tax.tax_rate is None else tax.tax_rate, str(tax)
