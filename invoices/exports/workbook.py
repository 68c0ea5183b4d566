"""The workbook: real dates and numbers, text that stays text, no formulas and no links."""

from __future__ import annotations

import datetime as dt
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from xlsxwriter import Workbook
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from invoices.exports.batch_header import BatchHeader
from invoices.exports.cells import count_significant_digits, format_decimal
from invoices.exports.tables import Cell, Column, Table
from invoices.model.currencies import get_minor_digits

FILE_NAME = "bills.xlsx"
TRUNCATION_MARK = " […cut here; the CSV file has all of it]"

_WORKBOOK_OPTIONS = {
    "in_memory": True,  # also gives every part of the ZIP the same fixed time
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
class RenderedWorkbook:
    """The workbook's bytes, and how many cells are cut or converted to text while the CSV files have them complete."""

    content: bytes
    truncated_text_count: int
    number_as_text_count: int


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet to be written: its name, its columns and its rows."""

    name: str
    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Cell]]


def render_workbook(
    batch: BatchHeader, tables: Sequence[Table], control_sheet: Sheet, *, max_sheet_rows: int = _MAX_SHEET_ROWS
) -> RenderedWorkbook:
    """Return the workbook with a sheet per table and the control sheet last; the same input gives the same bytes.

    The title and the name of each sheet begin with REHEARSAL if the batch is of one.

    A table longer than ``max_sheet_rows``, header included, continues in further sheets: Lines, Lines 2, Lines 3.
    """
    mark = "REHEARSAL " if batch.is_rehearsal else ""
    buffer = io.BytesIO()
    workbook = Workbook(buffer, _WORKBOOK_OPTIONS)
    workbook.set_properties({"title": f"{mark}Export {batch.batch_id}", "created": batch.created_at})
    writer = _WorkbookWriter(workbook)
    max_table_rows = max_sheet_rows - 1
    for table in tables:
        for sheet_number, first_row in enumerate(range(0, max(len(table.rows), 1), max_table_rows), start=1):
            name = mark + table.sheet_name if sheet_number == 1 else f"{mark}{table.sheet_name} {sheet_number}"
            writer.add_sheet(Sheet(name, table.columns, table.rows[first_row : first_row + max_table_rows]))
    writer.add_sheet(replace(control_sheet, name=mark + control_sheet.name))
    workbook.close()
    return RenderedWorkbook(buffer.getvalue(), writer.altered_cell_counts["cut"], writer.altered_cell_counts["number"])


class _WorkbookWriter:
    """Writes sheets into one workbook, reusing equal formats, and counts the cells that differ from the data."""

    def __init__(self, workbook: Workbook) -> None:
        self._workbook = workbook
        self._formats: dict[str, Format] = {}
        self.altered_cell_counts: Counter[str] = Counter()

    def add_sheet(self, sheet: Sheet) -> None:
        """Write one sheet: a frozen header in bold, then the rows."""
        worksheet = self._workbook.add_worksheet(sheet.name)
        worksheet.freeze_panes(1, 0)
        currency_index = [column.name for column in sheet.columns].index("currency")
        for column_index, column in enumerate(sheet.columns):
            worksheet.write_string(0, column_index, column.name, self._get_cell_format("@", bold=True))
            width = 40 if column.name == "description" else max(12, len(column.name) + 2)
            worksheet.set_column(column_index, column_index, width)
        for row_number, row in enumerate(sheet.rows, start=1):
            currency_decimals = get_minor_digits(str(row[currency_index]))
            for column_index, cell in enumerate(row):
                decimals = currency_decimals if sheet.columns[column_index].cell_type == "amount" else None
                self._write_cell(worksheet, (row_number, column_index), cell, decimals)

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
