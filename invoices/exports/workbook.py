"""The workbook: real dates and numbers, text that stays text, no formulas and no links."""

from __future__ import annotations

import datetime as dt
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import cast

from xlsxwriter import Workbook
from xlsxwriter.exceptions import FileCreateError
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from invoices.exports.batch_header import BatchHeader
from invoices.exports.cells import count_significant_digits, format_decimal
from invoices.exports.streamed_worksheet import StreamedWorksheet, copy_zip_with_fixed_times
from invoices.exports.tables import Cell, Column
from invoices.model.currencies import get_minor_digits

FILE_NAME = "bills.xlsx"
TRUNCATION_MARK = " […cut here; the CSV file has all of it]"

_WORKBOOK_OPTIONS = {
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
}
# Microsoft, "Excel specifications and limits"
_MAX_CELL_UTF16_UNITS = 32_767  # characters in a cell, counted in UTF-16 code units
_MAX_SHEET_ROWS = 1_048_576
_MAX_NUMBER_DIGITS = 15
_MIN_EXCEL_DATE = dt.date(1900, 3, 1)  # Excel has no dates before 1900, and treats 1900 as a leap year


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet to be written: its name, its columns and its rows."""

    name: str
    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Cell]]


class WorkbookWriter:
    """Writes a workbook row by row, with few rows in memory; the same input gives the same bytes.

    The title and the name of each sheet begin with REHEARSAL if the batch is of one. A table longer than
    ``max_sheet_rows``, header included, continues in further sheets: Lines, Lines 2, Lines 3. ``altered_cell_counts``
    has the number of cells that are ``cut``, or a ``number`` as text, while the CSV files have them complete.
    """

    def __init__(self, path: Path, batch: BatchHeader, *, max_sheet_rows: int = _MAX_SHEET_ROWS) -> None:
        """Begin the workbook at ``path``; its parts are in a folder beside it until it is closed."""
        self._path = path
        self._parts_directory = path.with_name(f"{path.name}.parts")
        self._parts_directory.mkdir()
        self._mark = "REHEARSAL " if batch.is_rehearsal else ""
        self._workbook = Workbook(
            str(self._parts_directory / path.name), {**_WORKBOOK_OPTIONS, "tmpdir": str(self._parts_directory)}
        )
        self._workbook.set_properties({"title": f"{self._mark}Export {batch.batch_id}", "created": batch.created_at})
        self._max_table_rows = max_sheet_rows - 1
        self._formats: dict[str, Format] = {}
        self.altered_cell_counts: Counter[str] = Counter()

    def begin_table(self, name: str, columns: Sequence[Column]) -> None:
        """Begin the first sheet of a table; the rows follow."""
        self._table_name, self._columns, self._sheet_count = name, columns, 0
        self._currency_index = [column.name for column in columns].index("currency")
        self._begin_sheet()

    def write_row(self, row: Sequence[Cell]) -> None:
        """Write the next row of the table."""
        if self._row_number == self._max_table_rows:
            self._begin_sheet()
        self._row_number += 1
        currency_decimals = get_minor_digits(str(row[self._currency_index]))
        for column_index, cell in enumerate(row):
            decimals = currency_decimals if self._columns[column_index].cell_type == "amount" else None
            self._write_cell(self._worksheet, (self._row_number, column_index), cell, decimals)
        self._worksheet.write_out_complete_rows(self._row_number)

    def write_sheet(self, sheet: Sheet) -> None:
        """Write a whole sheet."""
        self.begin_table(sheet.name, sheet.columns)
        for row in sheet.rows:
            self.write_row(row)

    def close(self) -> None:
        """Complete the file, and remove its parts."""
        try:
            self._workbook.close()
        except FileCreateError as error:  # the disk is full, for example
            raise error.args[0] from error
        copy_zip_with_fixed_times(self._parts_directory / self._path.name, self._path)
        shutil.rmtree(self._parts_directory)

    def _begin_sheet(self) -> None:
        """Begin a sheet: a frozen header in bold."""
        self._sheet_count += 1
        self._row_number = 0
        name = self._mark + self._table_name + (f" {self._sheet_count}" if self._sheet_count > 1 else "")
        self._worksheet = cast(StreamedWorksheet, self._workbook.add_worksheet(name, StreamedWorksheet))
        self._worksheet.freeze_panes(1, 0)
        for column_index, column in enumerate(self._columns):
            self._worksheet.write_string(0, column_index, column.name, self._get_cell_format("@", bold=True))
            width = 40 if column.name == "description" else max(12, len(column.name) + 2)
            self._worksheet.set_column(column_index, column_index, width)

    def _write_cell(self, worksheet: Worksheet, position: tuple[int, int], cell: Cell, decimals: int | None) -> None:
        match cell:
            case None | "":
                return
            case str():
                worksheet.write_string(*position, self._truncate_text(cell), self._get_cell_format("@"))
            case Decimal() | int():
                self._write_number_cell(worksheet, position, Decimal(cell), decimals)
            case dt.date() if cell < _MIN_EXCEL_DATE:
                worksheet.write_string(*position, cell.isoformat(), self._get_cell_format("@"))
            case dt.date():
                worksheet.write_datetime(*position, cell, self._get_cell_format("yyyy-mm-dd"))

    def _write_number_cell(
        self, worksheet: Worksheet, position: tuple[int, int], number: Decimal, min_decimals: int | None
    ) -> None:
        text = format_decimal(number, min_decimals or 0)
        if count_significant_digits(number) > _MAX_NUMBER_DIGITS:
            self.altered_cell_counts["number"] += 1
            worksheet.write_string(*position, text, self._get_cell_format("@"))
            return
        decimals = len(text.partition(".")[2])
        money_format = "#,##0" + ("." + "0" * decimals if decimals else "")
        worksheet.write_number(
            *position, Decimal(text), self._get_cell_format("General" if min_decimals is None else money_format)
        )

    def _truncate_text(self, text: str) -> str:
        encoded_text = text.encode("utf-16-le")
        if len(encoded_text) <= 2 * _MAX_CELL_UTF16_UNITS:
            return text
        self.altered_cell_counts["cut"] += 1
        kept_bytes = 2 * (_MAX_CELL_UTF16_UNITS - len(TRUNCATION_MARK))
        return encoded_text[:kept_bytes].decode("utf-16-le", "ignore") + TRUNCATION_MARK

    def _get_cell_format(self, number_format: str, *, bold: bool = False) -> Format:
        key = f"{number_format} {bold}"
        if key not in self._formats:
            self._formats[key] = self._workbook.add_format({"num_format": number_format, "bold": bold})
        return self._formats[key]
