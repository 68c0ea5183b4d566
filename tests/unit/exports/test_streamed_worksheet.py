"""The bytes of a batch are those that earlier releases wrote: a streamed sheet is the same as an ordinary one."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from xlsxwriter import Workbook
from xlsxwriter.worksheet import Worksheet

from invoices.exports import BatchHeader, streamed_worksheet
from invoices.exports.workbook import WorkbookWriter
from tests.export_fixtures import build_varied_invoices, render_batch_files

BATCH = BatchHeader("batch-000001", dt.datetime(2026, 3, 4, 5, 6, 7, tzinfo=dt.UTC))
# SHA-256 of what the release of November 2026 wrote, which had every file in memory. A workbook is the content of its
# parts, because the compression depends on the machine.
HASHES_BY_FILE = {
    "bills.csv": "6260c4cb5afc84a94d7fb5dce00497c96f8e3b1edf6afa9a79dde3e4c782fa05",
    "bill_lines.csv": "84c50d920caefcea418c7073a55f5f43d591f84243fc1156f894d5f3a3bb5d20",
    "tax_lines.csv": "52c5ca172688c2629e67841f95b47dd8f5f2b747c4f156cce5f652026abc464a",
    "bills.xlsx": "642c398a2b3294026ae78f3e4e781a9478c151a5b1c52a6345682358997d66ce",
}


def hash_workbook_parts(content: bytes) -> str:
    """Return a hash of the names, order, headers and contents of the parts of a ZIP file."""
    digest = hashlib.sha256()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for part in archive.infolist():
            header = (
                part.filename, part.date_time, part.compress_type, part.external_attr, part.flag_bits,
                part.create_system,
            )  # fmt: skip
            digest.update(repr(header).encode() + archive.read(part))
    return digest.hexdigest()


def test_a_batch_has_the_bytes_that_an_earlier_release_wrote() -> None:
    files = render_batch_files(BATCH, build_varied_invoices(200))
    hashes = {
        name: hash_workbook_parts(content) if name == "bills.xlsx" else hashlib.sha256(content).hexdigest()
        for name, content in files.items()
        if name != "manifest.json"
    }
    assert hashes == HASHES_BY_FILE


def test_compressing_a_workbook_in_pieces_gives_the_bytes_of_compressing_it_at_once(tmp_path: Path) -> None:
    """The earlier releases compressed each part at once."""
    content = render_batch_files(BATCH, build_varied_invoices(60))["bills.xlsx"]
    (tmp_path / "source").write_bytes(content)
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for part in source.infolist():
            header = zipfile.ZipInfo(part.filename, (1980, 1, 1, 0, 0, 0))
            header.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(header, source.read(part))
    assert buffer.getvalue() == content
    for piece_bytes in (61, 65_537):
        streamed_worksheet.copy_zip_with_fixed_times(tmp_path / "source", tmp_path / str(piece_bytes), piece_bytes)
        assert (tmp_path / str(piece_bytes)).read_bytes() == content


@pytest.mark.parametrize("row_count", [0, 1, 14, 15, 16, 17, 33])
def test_a_streamed_sheet_is_an_ordinary_one_for_any_number_of_rows(tmp_path: Path, row_count: int) -> None:
    def write_workbook(name: str, worksheet_class: type[Any]) -> bytes:
        path = tmp_path / name
        workbook = Workbook(str(path), {"tmpdir": str(tmp_path)})
        workbook.set_properties({"created": BATCH.created_at})
        for sheet_name in ("first", "second"):
            worksheet = workbook.add_worksheet(sheet_name, worksheet_class)
            for column in range(4):
                worksheet.write_string(0, column, f"column {column}")
            for row in range(1, row_count + 1):
                for column in range(4):
                    if (row + column) % 3:
                        worksheet.write_number(row, column, row * column)
                    elif row % 7:
                        worksheet.write_string(row, column, f"text {sheet_name} {row % 5}")
                if worksheet_class is streamed_worksheet.StreamedWorksheet:
                    worksheet.write_out_complete_rows(row)
                    assert len(worksheet.table) < 16  # rows in memory
        workbook.close()
        with zipfile.ZipFile(path) as archive:
            return b"".join(archive.read(part) for part in archive.namelist())

    assert write_workbook("a", streamed_worksheet.StreamedWorksheet) == write_workbook("b", Worksheet)


def test_a_full_disk_is_reported_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = WorkbookWriter(tmp_path / "bills.xlsx", BATCH)

    def fail(_packager: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("xlsxwriter.packager.Packager._create_package", fail)
    with pytest.raises(OSError, match="No space left"):
        writer.close()
