"""Rendering: from a batch and its invoices to its files, row by row, so that memory does not grow with the batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from invoices.errors import DocumentError
from invoices.exports import manifest, workbook
from invoices.exports.batch_header import BatchHeader
from invoices.exports.control_totals import BatchSummariser
from invoices.exports.csv_files import CsvWriter
from invoices.exports.manifest import WrittenFile, describe_file
from invoices.exports.tables import BILL_TABLE, LINE_TABLE, TAX_TABLE
from invoices.model import Invoice


class OrderedInvoices(Protocol):
    """The invoices of a batch in the order of ``build_export_key``; they are iterated once per table."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Invoice]: ...


def build_export_key(
    issued_on: object, supplier_name: str | None, invoice_number: str, invoice_id: str
) -> tuple[str, str, str, str]:
    """Return the key by which a batch is ordered."""
    return str(issued_on), supplier_name or "", invoice_number, invoice_id


def sort_for_export(invoices: Iterable[Invoice]) -> list[Invoice]:
    """Return the invoices in the order of a batch."""
    return sorted(invoices, key=_build_invoice_key)


def render_batch_folder(
    folder: Path, batch: BatchHeader, invoices: OrderedInvoices, *, byte_order_mark: bool = True
) -> dict[str, WrittenFile]:
    """Write three CSV files, the workbook and the manifest into an empty folder; return them by name.

    The same batch and invoices give the same bytes. ``byte_order_mark`` puts EF BB BF before each CSV file; without it,
    Excel reads UTF-8 in the machine's code page and garbles umlauts.

    Raises DocumentError for an invoice that is there twice, or that has a number which cannot be booked (NaN, infinity,
    more than 38 digits on a side of the point).
    """
    summariser, notices, row_counts = BatchSummariser(), Counter[str](), dict[str, int]()
    workbook_writer = workbook.WorkbookWriter(folder / workbook.FILE_NAME, batch)
    for table, add_to_summary in (
        (BILL_TABLE, summariser.add_bill), (LINE_TABLE, summariser.add_line), (TAX_TABLE, summariser.add_tax_line)
    ):  # fmt: skip
        row_counts[table.file_name] = 0
        column_names = [column.name for column in table.columns]
        workbook_writer.begin_table(table.sheet_name, table.columns)
        checked_invoices = _iter_checked(batch, invoices, notices if table is BILL_TABLE else Counter())
        with CsvWriter(folder / table.file_name, table.columns, byte_order_mark=byte_order_mark) as csv_writer:
            for row, cleaned_cell_count in table.iter_rows(batch, checked_invoices):
                csv_writer.write_row(row)
                workbook_writer.write_row(row)
                add_to_summary(dict(zip(column_names, row, strict=True)))
                notices["texts_cleaned"] += cleaned_cell_count
                row_counts[table.file_name] += 1
    summary = summariser.build_summary()
    workbook_writer.write_sheet(manifest.build_control_sheet(batch, summary))
    workbook_writer.close()
    row_counts[workbook.FILE_NAME] = sum(row_counts.values())
    files = {name: describe_file(folder / name, row_count) for name, row_count in row_counts.items()}
    all_notices = {
        "texts_cleaned": notices["texts_cleaned"],
        "credit_notes_stated_negative": notices["credit_notes_stated_negative"],
        "texts_cut": workbook_writer.altered_cell_counts["cut"],
        "numbers_as_text": workbook_writer.altered_cell_counts["number"],
    }
    manifest_path = folder / manifest.FILE_NAME
    manifest_path.write_bytes(manifest.render_manifest(batch, summary, all_notices, files))
    return {**files, manifest.FILE_NAME: describe_file(manifest_path, 0)}


def _iter_checked(batch: BatchHeader, invoices: OrderedInvoices, notices: Counter[str]) -> Iterator[Invoice]:
    """Yield the invoices; raise DocumentError if one is there twice, and count what the accountant has to know."""
    seen_ids: set[str] = set()
    previous_key = ("", "", "", "")
    for invoice in invoices:
        key = _build_invoice_key(invoice)
        if invoice.invoice_id in seen_ids:
            raise DocumentError(
                f"batch {batch.batch_id!r} has the invoice {invoice.invoice_id!r} more than once",
                reason_code="twice_in_batch",
            )
        if key < previous_key:
            raise ValueError(f"batch {batch.batch_id!r} is not in order: {key!r} after {previous_key!r}")
        seen_ids.add(invoice.invoice_id)
        previous_key = key
        notices["credit_notes_stated_negative"] += invoice.booking_sign < 0 and invoice.total_amount < 0
        yield invoice


def _build_invoice_key(invoice: Invoice) -> tuple[str, str, str, str]:
    return build_export_key(
        invoice.issued_on.isoformat(), invoice.supplier.name, invoice.invoice_number, invoice.invoice_id
    )
