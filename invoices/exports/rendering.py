"""Rendering: a batch and its invoices in, the bytes of every file out; nothing is read, written or asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from invoices.errors import DocumentError
from invoices.exports import manifest, workbook
from invoices.exports.batch import Batch
from invoices.exports.csv_files import csv_bytes
from invoices.exports.tables import Table, bill_table, line_table, tax_table
from invoices.exports.totals import summarise
from invoices.model import Invoice


def render(batch: Batch, invoices: Sequence[Invoice], *, byte_order_mark: bool = True) -> dict[str, bytes]:
    """Return file name → content: three CSV files, the workbook and the manifest.

    The same batch and invoices, in whatever order, give the same bytes. ``byte_order_mark`` puts EF BB BF before each
    CSV file, without which Excel takes UTF-8 for the machine's code page and spoils umlauts.

    Raises DocumentError for an invoice that is there twice, or that holds a number no book can (NaN, infinity, more
    than 38 digits on a side of the point).
    """
    _refuse_repeats(batch, invoices)
    ordered = sorted(invoices, key=_row_order)
    bills, lines, taxes = bill_table(batch, ordered), line_table(batch, ordered), tax_table(batch, ordered)
    tables = (bills, lines, taxes)
    summary = summarise(list(bills.records()), list(lines.records()), list(taxes.records()))
    book = workbook.render_workbook(batch, tables, manifest.control_sheet(batch, summary))
    notices = {**_notices(ordered, tables), "texts_cut": book.texts_cut, "numbers_as_text": book.numbers_as_text}
    files = {table.file_name: csv_bytes(table, byte_order_mark=byte_order_mark) for table in tables}
    files[workbook.FILE_NAME] = book.content
    rows = {table.file_name: len(table.rows) for table in tables}
    rows[workbook.FILE_NAME] = sum(rows.values())
    return {**files, manifest.FILE_NAME: manifest.manifest_bytes(batch, summary, notices, rows, files)}


def _row_order(invoice: Invoice) -> tuple[str, str, str, str]:
    return invoice.issued_on.isoformat(), invoice.supplier.name or "", invoice.invoice_number, invoice.invoice_id


def _refuse_repeats(batch: Batch, invoices: Sequence[Invoice]) -> None:
    for invoice, count in Counter(invoice.invoice_id for invoice in invoices).items():
        if count > 1:
            raise DocumentError(
                f"invoice {invoice!r} is {count} times in batch {batch.batch_id!r}", reason_code="twice_in_batch"
            )


def _notices(invoices: Sequence[Invoice], tables: Sequence[Table]) -> dict[str, int]:
    stated_negative = sum(invoice.sign < 0 and invoice.total_amount < 0 for invoice in invoices)
    return {
        "texts_cleaned": sum(table.cleaned_count for table in tables),
        "credit_notes_stated_negative": stated_negative,
    }
