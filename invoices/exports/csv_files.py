"""CSV files after RFC 4180: written, and read back."""

from __future__ import annotations

import csv
import datetime as dt
import io
from decimal import Decimal

from invoices.exports.cells import neutralise, plain, restore
from invoices.exports.tables import Cell, Column, Table
from invoices.model.currencies import minor_digits

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def csv_bytes(table: Table, *, byte_order_mark: bool) -> bytes:
    """Return ``table`` in UTF-8 with a header row, CRLF behind each row, and quotes where RFC 4180 asks for them."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    names = [column.name for column in table.columns]
    writer.writerow(names)
    currency = names.index("currency")
    for row in table.rows:
        digits = minor_digits(str(row[currency]))
        writer.writerow([_text(column, cell, digits) for column, cell in zip(table.columns, row, strict=True)])
    return (BYTE_ORDER_MARK if byte_order_mark else b"") + text.getvalue().encode()


def csv_records(content: bytes) -> list[dict[str, str]]:
    """Return the rows of a file by column name, each cell as it was before it was neutralised.

    Raises ValueError where the bytes are not UTF-8 and csv.Error where they are no table.
    """
    csv.field_size_limit(max(csv.field_size_limit(), len(content)))  # only ever raised: a description may be a page
    rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
    header = next(rows, [])
    records = []
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise csv.Error(f"row {number} has {len(row)} cells under {len(header)} columns")
        records.append(dict(zip(header, map(restore, row), strict=True)))
    return records


def _text(column: Column, cell: Cell, digits: int) -> str:
    match cell:
        case None:
            return ""
        case str():
            return neutralise(cell)
        case Decimal():
            return plain(cell, digits if column.holds == "amount" else 0)
        case dt.date():
            return cell.isoformat()
        case int():
            return str(cell)
