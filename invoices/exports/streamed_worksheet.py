"""Worksheets of XlsxWriter whose rows go to a file at once, in the same XML as if they were all in memory.

XlsxWriter has a mode for constant memory, but that writes each text into its cell instead of the table of texts: other
bytes than those of the batches that were issued before, which must be written again unchanged.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import IO
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from xlsxwriter.worksheet import Worksheet

_ROWS_PER_SPAN = 16  # XlsxWriter states which columns are used for sixteen rows at a time
_COPIED_BYTES = 1024 * 1024
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # of every part of the workbook; the first that a ZIP file can hold


class StreamedWorksheet(Worksheet):  # type: ignore[misc]  # most of the library has no types
    """A worksheet that is written row by row, with a header in every column; it relies on XlsxWriter's internals.

    ``tests/unit/exports/test_streamed_worksheet.py`` compares its bytes with those of an ordinary worksheet.
    """

    _row_file: IO[str] | None = None

    def write_out_complete_rows(self, last_row: int) -> None:
        """Write out the rows in memory if ``last_row``, which is complete, is the last one of a span."""
        if (last_row + 1) % _ROWS_PER_SPAN == 0:
            self._write_out_rows()

    def _write_out_rows(self) -> IO[str]:
        if self._row_file is None:
            self._row_file = tempfile.TemporaryFile(  # noqa: SIM115  it is open until the sheet is assembled
                "w+", encoding="utf-8", newline="", dir=self.tmpdir
            )
        if not self.table:
            return self._row_file
        whole_sheet = {name: getattr(self, name) for name in ("fh", "dim_rowmin", "dim_rowmax")}
        self.fh, self.dim_rowmin, self.dim_rowmax = self._row_file, min(self.table), max(self.table)
        self._write_rows()
        self.__dict__.update(whole_sheet)
        self.table.clear()
        return self._row_file

    def _write_sheet_data(self) -> None:
        """Write the element with all rows; XlsxWriter calls this when it assembles the sheet."""
        with self._write_out_rows() as row_file:
            row_file.seek(0)
            self._xml_start_tag("sheetData")
            shutil.copyfileobj(row_file, self.fh, _COPIED_BYTES)
            self._xml_end_tag("sheetData")


def copy_zip_with_fixed_times(source: Path, target: Path, piece_bytes: int = _COPIED_BYTES) -> None:
    """Copy a ZIP file to ``target``, with the same fixed time and mode for each of its parts."""
    with ZipFile(source) as source_zip, ZipFile(target, "x", ZIP_DEFLATED) as target_zip:
        for part in source_zip.infolist():
            target_part = ZipInfo(part.filename, _FIXED_TIME)
            target_part.compress_type = ZIP_DEFLATED
            target_part.file_size = part.file_size
            with source_zip.open(part) as content, target_zip.open(target_part, "w") as copy:
                shutil.copyfileobj(content, copy, piece_bytes)
