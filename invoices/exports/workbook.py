"""The workbook: real dates and numbers, text that stays text, no formula and no link."""

from __future__ import annotations

import datetime as dt
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from xlsxwriter import Workbook
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from invoices.exports.batch import Batch
from invoices.exports.cells import plain, significant_digits
from invoices.exports.tables import Cell, Column, Table
from invoices.model.currencies import minor_digits

FILE_NAME = "bills.xlsx"
CUT_MARK = " […cut here; the CSV file has all of it]"

_OPTIONS = {
    "in_memory": True,  # also gives every part of the zip the same fixed time
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
}
# Microsoft, "Excel specifications and limits"
_CELL_UNITS = 32_767  # characters in a cell, counted in UTF-16 code units
_SHEET_ROWS = 1_048_576
_NUMBER_DIGITS = 15
_FIRST_DATE = dt.date(1900, 3, 1)  # Excel has no date before 1900, and takes 1900 for a leap year


@dataclass(frozen=True, slots=True)
class RenderedWorkbook:
    """The workbook's bytes, and how many of its cells are cut or turned to text where the CSV files are whole."""

    content: bytes
    texts_cut: int
    numbers_as_text: int


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet as it is written: a header, and rows under the same columns."""

    name: str
    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Cell]]


def render_workbook(
    batch: Batch, tables: Sequence[Table], control: Sheet, *, sheet_rows: int = _SHEET_ROWS
) -> RenderedWorkbook:
    """Return the workbook with a sheet per table and the control sheet last; the same input gives the same bytes.

    A table longer than ``sheet_rows``, header included, goes on in another sheet: Lines, Lines 2, Lines 3.
    """
    target = io.BytesIO()
    book = Workbook(target, _OPTIONS)
    book.set_properties({"title": f"Export {batch.batch_id}", "created": batch.created_at})
    writer = _Writer(book)
    for table in tables:
        for sheet in _sheets(table, sheet_rows - 1):
            writer.add(sheet)
    writer.add(control)
    book.close()
    return RenderedWorkbook(target.getvalue(), writer.departures["cut"], writer.departures["number"])


def _sheets(table: Table, capacity: int) -> Iterator[Sheet]:
    for number, start in enumerate(range(0, max(len(table.rows), 1), capacity), start=1):
        name = table.sheet if number == 1 else f"{table.sheet} {number}"
        yield Sheet(name, table.columns, table.rows[start : start + capacity])


class _Writer:
    """Writes sheets into one book, one format object per look, and counts where a cell departs from the data."""

    def __init__(self, book: Workbook) -> None:
        self._book = book
        self._formats: dict[str, Format] = {}
        self.departures: Counter[str] = Counter()

    def add(self, sheet: Sheet) -> None:
        """Write one sheet: a frozen header in bold, then the rows."""
        page = self._book.add_worksheet(sheet.name)
        page.freeze_panes(1, 0)
        currency = next(index for index, column in enumerate(sheet.columns) if column.name == "currency")
        for index, column in enumerate(sheet.columns):
            page.write_string(0, index, column.name, self._look("@", bold=True))
            page.set_column(index, index, 40 if column.name == "description" else max(12, len(column.name) + 2))
        for number, row in enumerate(sheet.rows, start=1):
            digits = minor_digits(str(row[currency]))
            for index, cell in enumerate(row):
                self._write(page, (number, index), cell, digits if sheet.columns[index].holds == "amount" else None)

    def _write(self, page: Worksheet, at: tuple[int, int], cell: Cell, digits: int | None) -> None:
        match cell:
            case None | "":
                return
            case str():
                page.write_string(*at, self._fitted(cell), self._look("@"))
            case Decimal() | int():
                self._write_number(page, at, Decimal(cell), digits)
            case dt.date() if cell < _FIRST_DATE:
                page.write_string(*at, cell.isoformat(), self._look("@"))
            case dt.date():
                page.write_datetime(*at, cell, self._look("yyyy-mm-dd"))

    def _write_number(self, page: Worksheet, at: tuple[int, int], number: Decimal, digits: int | None) -> None:
        text = plain(number, digits or 0)
        if significant_digits(number) > _NUMBER_DIGITS:
            self.departures["number"] += 1
            page.write_string(*at, text, self._look("@"))
            return
        decimals = len(text.partition(".")[2])
        money = "#,##0" + ("." + "0" * decimals if decimals else "")
        page.write_number(*at, Decimal(text), self._look("General" if digits is None else money))

    def _fitted(self, text: str) -> str:
        units = text.encode("utf-16-le")
        if len(units) <= 2 * _CELL_UNITS:
            return text
        self.departures["cut"] += 1
        return units[: 2 * (_CELL_UNITS - len(CUT_MARK))].decode("utf-16-le", "ignore") + CUT_MARK

    def _look(self, number_format: str, *, bold: bool = False) -> Format:
        key = f"{number_format} {bold}"
        if key not in self._formats:
            self._formats[key] = self._book.add_format({"num_format": number_format, "bold": bold})
        return self._formats[key]
