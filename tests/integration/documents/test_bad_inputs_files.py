"""Pictures and other files of docs/bad-inputs.md: each row has its outcome, within its time and memory."""

from __future__ import annotations

import io
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from invoices.documents.malware import EICAR_TEST_STRING
from invoices.documents.malware_scanner import MalwareScanner
from tests.integration.documents.reader_monitor import MonitoredReaders

OLE_FILE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>fetch('http://127.0.0.1:9/')</script></svg>"
WINDOWS_SHORTCUT = b"L\0\0\0\x01\x14\x02\0" + bytes(60)
ISO_IMAGE = bytes(32_769) + b"CD001" + bytes(3_000)
SCANNER_SCRIPT = """
import pathlib, sys
content = pathlib.Path(sys.argv[1]).read_bytes()
print(sys.argv[1] + ": Bad.Thing FOUND" if b"evil" in content else "OK")
sys.exit(2 if b"broken" in content else b"evil" in content)
"""


def build_png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def build_png(width: int, height: int, *extra_chunks: bytes) -> bytes:
    header = build_png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(extra_chunks)
        + build_png_chunk(b"IDAT", zlib.compress(bytes(100)))
        + build_png_chunk(b"IEND", b"")
    )


def build_multi_frame_image(form: str, count: int) -> bytes:
    buffer = io.BytesIO()
    first_frame, *other_frames = [Image.new("L", (4, 4), number % 250) for number in range(count)]
    first_frame.save(buffer, form, save_all=True, append_images=other_frames)
    return buffer.getvalue()


def build_office_file(folder: str, *extra_names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("[Content_Types].xml", "_rels/.rels", f"{folder}/document.xml", *extra_names):
            archive.writestr(name, "x" * 100)
    return buffer.getvalue()


def build_photograph() -> bytes:
    """Return a JPEG with the place where it was taken."""
    picture, buffer, exif = Image.new("RGB", (900, 1200), "white"), io.BytesIO(), Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    exif[0x010E] = "a secret place"
    picture.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def build_colour_profile_bomb() -> bytes:
    """Return a PNG whose colour profile decompresses to 300 MB."""
    compressor = zlib.compressobj(9)
    compressed = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(300)) + compressor.flush()
    return build_png(
        900, 1200, build_png_chunk(b"iCCP", b"x\0\0" + compressed), build_png_chunk(b"zTXt", b"x\0\0" + compressed)
    )


@pytest.mark.parametrize(
    ("row", "content", "outcome", "reason_code"),
    [
        ("B-36", build_png(60_000, 60_000), "review", "too_large"),
        ("B-36", build_png(13_000, 13_000), "review", "too_large"),
        ("B-37", partial(build_multi_frame_image, "TIFF", 2_000), "review", "unsupported_type"),
        ("B-37", partial(build_multi_frame_image, "GIF", 20), "review", "unsupported_type"),
        ("B-37", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "review", "unsupported_type"),
        ("B-37", partial(build_multi_frame_image, "WEBP", 2), "review", "unsupported_type"),
        ("B-38", SVG, "unreadable", "active_content"),
        ("B-38", b"<?xml version='1.0'?><!DOCTYPE svg PUBLIC 'x' 'y'><svg/>", "unreadable", "active_content"),
        ("B-38", b"%!PS-Adobe-3.0 EPSF-3.0\n(ls) run", "unreadable", "active_content"),
        ("B-38", b"\xc5\xd0\xd3\xc6" + bytes(40), "unreadable", "active_content"),
        ("B-39", build_photograph, "needs_extraction", None),
        ("B-42", build_office_file("word", "word/vbaProject.bin"), "unreadable", "active_content"),
        ("B-42", build_office_file("xl", "xl/vbaProject.bin"), "unreadable", "active_content"),
        ("B-42", build_office_file("word", "word/embeddings/oleObject1.bin"), "unreadable", "active_content"),
        ("B-42", OLE_FILE, "unreadable", "active_content"),
        ("B-42", b"{\\rtf1 {\\object\\objemb {\\*\\objdata 0105}}}", "unreadable", "active_content"),
        ("B-42", build_office_file("word"), "review", "unsupported_type"),
        ("B-42", b"{\\rtf1 Invoice 7}", "review", "unsupported_type"),
        ("B-43", b"MZ\x90\x00" + bytes(100), "unreadable", "executable"),
        ("B-43", b"\x7fELF\x02\x01" + bytes(100), "unreadable", "executable"),
        ("B-43", b"#!/bin/sh\nrm -rf /", "unreadable", "executable"),
        ("B-43", b"@echo off\r\ndel *", "unreadable", "executable"),
        ("B-43", WINDOWS_SHORTCUT, "unreadable", "executable"),
        ("B-43", ISO_IMAGE, "unreadable", "executable"),
        ("B-44", EICAR_TEST_STRING, "unreadable", "malware_test"),
        ("B-44", b"some text before " + EICAR_TEST_STRING, "unreadable", "malware_test"),
        ("B-45", b"number;total\nR-1;=1+1\nR-2;=cmd|'/C calc'!A0\n", "review", "unsupported_type"),
        ("B-45", build_office_file("xl"), "review", "unsupported_type"),
    ],
)
def test_each_row_has_its_outcome(
    monitored_readers: MonitoredReaders,
    row: str,
    content: bytes | Callable[[], bytes],
    outcome: str,
    reason_code: str | None,
) -> None:
    reading = monitored_readers.read_document(row, content() if callable(content) else content)
    assert (reading.outcome, reading.reason_code) == (outcome, reason_code)
    assert reading.payload is None


def test_b36_the_reason_states_the_limit_of_pixels(monitored_readers: MonitoredReaders) -> None:
    assert "50,000,000" in str(monitored_readers.read_document("B-36", build_png(13_000, 13_000)).reason)


def test_b39_a_file_over_the_size_limit_is_not_opened(monitored_readers: MonitoredReaders) -> None:
    path = monitored_readers.folder / "large.png"
    with path.open("wb") as file:
        file.write(build_png(900, 1200)[:33])
        file.truncate(300 << 20)  # a text of 300 MB, in a file with a hole
    reading = monitored_readers.read_document("B-39", path)
    assert (reading.outcome, reading.reason_code) == ("review", "too_large")
    assert str(50 << 20) in str(reading.reason)


def test_b39_metadata_is_neither_decompressed_nor_reported(monitored_readers: MonitoredReaders) -> None:
    assert monitored_readers.read_document("B-39", build_colour_profile_bomb()).outcome in {
        "needs_extraction",
        "review",
    }
    assert "secret" not in str(monitored_readers.read_document("B-39", build_photograph()).to_dict())


def test_b30_a_picture_that_is_also_an_archive_is_flagged(monitored_readers: MonitoredReaders) -> None:
    reading = monitored_readers.read_document("B-30", build_photograph() + build_office_file("word"))
    assert (reading.outcome, [rule_id for rule_id, _ in reading.flags]) == ("needs_extraction", ["FILE-POLYGLOT"])


def test_b44_files_with_malware_are_reported_by_the_scanner(tmp_path: Path) -> None:
    program = tmp_path / "scanner.py"
    program.write_text(SCANNER_SCRIPT)
    scanner = MalwareScanner((sys.executable, str(program)))
    good, bad, gone = tmp_path / "good", tmp_path / "bad", tmp_path / "gone"
    good.write_bytes(b"an invoice")
    bad.write_bytes(b"%PDF-1.7 evil")
    result = scanner.scan_files([good, bad, gone])
    assert {path: (reading.outcome, reading.reason_code) for path, reading in result.infected_readings.items()} == {
        bad: ("unreadable", "malware")
    }
    assert result.infected_readings[bad].reason == "the malware scanner reports 'Bad.Thing FOUND'"
    assert result.waiting_reasons == {}


def test_b44_a_file_at_which_the_scanner_fails_waits(tmp_path: Path) -> None:
    program, path = tmp_path / "scanner.py", tmp_path / "document"
    program.write_text(SCANNER_SCRIPT)
    path.write_bytes(b"broken")
    result = MalwareScanner((sys.executable, str(program))).scan_files([path])
    assert result.infected_readings == {}
    assert "exited with status 2" in result.waiting_reasons[path]
    assert "cannot be started" in MalwareScanner((str(tmp_path / "nothing"),)).scan_files([path]).waiting_reasons[path]
