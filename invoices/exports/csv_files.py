"""CSV files after RFC 4180: written, and read back."""

from __future__ import annotations

import csv
import datetime as dt
import io
from decimal import Decimal

from invoices.exports.cells import format_decimal, restore_sanitised_formulas, sanitise_formulas
from invoices.exports.tables import Cell, Column, Table
from invoices.model.currencies import get_minor_digits

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def render_csv(table: Table, *, byte_order_mark: bool) -> bytes:
    """Return ``table`` in UTF-8 with a header row, CRLF behind each row, and quotes where RFC 4180 asks for them."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n")
    column_names = [column.name for column in table.columns]
    writer.writerow(column_names)
    currency_index = column_names.index("currency")
    for row in table.rows:
        decimals = get_minor_digits(str(row[currency_index]))
        writer.writerow([_format_cell(column, cell, decimals) for column, cell in zip(table.columns, row, strict=True)])
    return (BYTE_ORDER_MARK if byte_order_mark else b"") + buffer.getvalue().encode()


def parse_csv(content: bytes) -> list[dict[str, str]]:
    """Return the rows of a file by column name, each cell as it was before it was neutralised.

    Raises ValueError where the bytes are not UTF-8 and csv.Error where they are no table.
    """
    csv.field_size_limit(max(csv.field_size_limit(), len(content)))  # only ever raised: a description may be a page
    reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
    header = next(reader, [])
    records = []
    for row_number, row in enumerate(reader, start=2):
        if len(row) != len(header):
            raise csv.Error(f"row {row_number} has {len(row)} cells under {len(header)} columns")
        records.append(dict(zip(header, map(restore_sanitised_formulas, row), strict=True)))
    return records


def _format_cell(column: Column, cell: Cell, decimals: int) -> str:
    match cell:
        case None:
            return ""
        case str():
            return sanitise_formulas(cell)
        case Decimal():
            return format_decimal(cell, decimals if column.cell_type == "amount" else 0)
        case dt.date():
            return cell.isoformat()
        case int():
            return str(cell)
