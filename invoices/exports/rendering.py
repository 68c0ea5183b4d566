"""Rendering: from a batch and its invoices to the bytes of every file, as a pure function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from invoices.errors import DocumentError
from invoices.exports import manifest, workbook
from invoices.exports.batch_header import BatchHeader
from invoices.exports.control_totals import summarise_batch
from invoices.exports.csv_files import render_csv
from invoices.exports.tables import Table, build_bill_table, build_line_table, build_tax_table
from invoices.model import Invoice


def render_batch_files(
    batch: BatchHeader, invoices: Sequence[Invoice], *, byte_order_mark: bool = True
) -> dict[str, bytes]:
    """Return file name → content: three CSV files, the workbook and the manifest.

    The same batch and invoices, in any order, give the same bytes. ``byte_order_mark`` puts EF BB BF before each CSV
    file; without it, Excel reads UTF-8 in the machine's code page and garbles umlauts.

    Raises DocumentError for an invoice that is there twice, or that has a number which cannot be booked (NaN, infinity,
    more than 38 digits on a side of the point).
    """
    _check_no_duplicate_invoices(batch, invoices)
    sorted_invoices = sorted(
        invoices,
        key=lambda invoice: (
            invoice.issued_on.isoformat(), invoice.supplier.name or "", invoice.invoice_number, invoice.invoice_id,
        ),
    )  # fmt: skip
    bills = build_bill_table(batch, sorted_invoices)
    lines = build_line_table(batch, sorted_invoices)
    taxes = build_tax_table(batch, sorted_invoices)
    tables = (bills, lines, taxes)
    summary = summarise_batch(list(bills.iter_records()), list(lines.iter_records()), list(taxes.iter_records()))
    rendered_workbook = workbook.render_workbook(batch, tables, manifest.build_control_sheet(batch, summary))
    notices = {
        **_count_notices(sorted_invoices, tables),
        "texts_cut": rendered_workbook.truncated_text_count,
        "numbers_as_text": rendered_workbook.number_as_text_count,
    }
    files = {table.file_name: render_csv(table, byte_order_mark=byte_order_mark) for table in tables}
    files[workbook.FILE_NAME] = rendered_workbook.content
    row_counts = {table.file_name: len(table.rows) for table in tables}
    row_counts[workbook.FILE_NAME] = sum(row_counts.values())
    return {**files, manifest.FILE_NAME: manifest.render_manifest(batch, summary, notices, row_counts, files)}


def _check_no_duplicate_invoices(batch: BatchHeader, invoices: Sequence[Invoice]) -> None:
    for invoice_id, count in Counter(invoice.invoice_id for invoice in invoices).items():
        if count > 1:
            raise DocumentError(
                f"batch {batch.batch_id!r} has the invoice {invoice_id!r} {count} times", reason_code="twice_in_batch"
            )


def _count_notices(invoices: Sequence[Invoice], tables: Sequence[Table]) -> dict[str, int]:
    negative_credit_notes = sum(invoice.booking_sign < 0 and invoice.total_amount < 0 for invoice in invoices)
    return {
        "texts_cleaned": sum(table.cleaned_cell_count for table in tables),
        "credit_notes_stated_negative": negative_credit_notes,
    }
