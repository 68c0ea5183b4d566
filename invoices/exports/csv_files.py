"""CSV files according to RFC 4180: rendering them, and parsing them again."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

from invoices.exports.cells import format_decimal, restore_sanitised_formulas, sanitise_formulas
from invoices.exports.tables import Cell, Column, Row
from invoices.model.currencies import get_minor_digits


class CsvWriter:
    """Writes a table as UTF-8 with a header row, CRLF after each row, and quotes where RFC 4180 requires them."""

    def __init__(self, path: Path, columns: Sequence[Column], *, byte_order_mark: bool) -> None:
        """Create the file, which must not exist, with its header."""
        self._columns = columns
        self._file = path.open("x", encoding="utf-8-sig" if byte_order_mark else "utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\r\n")
        column_names = [column.name for column in columns]
        self._writer.writerow(column_names)
        self._currency_index = column_names.index("currency")

    def write_row(self, row: Row) -> None:
        """Write one row."""
        decimals = get_minor_digits(str(row[self._currency_index]))
        self._writer.writerow(
            [_format_cell(column, cell, decimals) for column, cell in zip(self._columns, row, strict=True)]
        )

    def __enter__(self) -> CsvWriter:
        """Return the writer itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the file."""
        self._file.close()


def iter_csv_records(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a file by column name, without the apostrophes of ``sanitise_formulas``.

    Raises ValueError if the bytes are not UTF-8, csv.Error if they are not a table.
    """
    csv.field_size_limit(
        max(csv.field_size_limit(), path.stat().st_size)
    )  # a description may be longer than the default
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        header = next(reader, [])
        for row_number, row in enumerate(reader, start=2):
            if len(row) != len(header):
                raise csv.Error(f"row {row_number} has {len(row)} cells, but there are {len(header)} columns")
            yield dict(zip(header, map(restore_sanitised_formulas, row), strict=True))


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
