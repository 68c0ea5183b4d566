"""CSV files according to RFC 4180: rendering them, and parsing them again."""

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
    """Return ``table`` in UTF-8 with a header row, CRLF after each row, and quotes where RFC 4180 requires them."""
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
    """Return the rows of a file by column name, without the apostrophes of ``sanitise_formulas``.

    Raises ValueError if the bytes are not UTF-8, csv.Error if they are not a table.
    """
    csv.field_size_limit(max(csv.field_size_limit(), len(content)))  # a description may be longer than the default
    reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
    header = next(reader, [])
    records = []
    for row_number, row in enumerate(reader, start=2):
        if len(row) != len(header):
            raise csv.Error(f"row {row_number} has {len(row)} cells, but there are {len(header)} columns")
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
