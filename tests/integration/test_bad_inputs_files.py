"""The catalogue of bad input, pictures and other files: every row ends as it has to, in time and within memory."""

from __future__ import annotations

import io
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_inputs import Watched, opened
from PIL import Image

from invoices.documents.harm import MALWARE_TEST
from invoices.documents.scanning import Scanner
from invoices.errors import TransientError

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>fetch('http://127.0.0.1:9/')</script></svg>"
LINK = b"L\0\0\0\x01\x14\x02\0" + bytes(60)
DISK = bytes(32_769) + b"CD001" + bytes(3_000)
SCANNER = """
import pathlib, sys
content = pathlib.Path(sys.argv[1]).read_bytes()
print(sys.argv[1] + ": Bad.Thing FOUND" if b"evil" in content else "OK")
sys.exit(2 if b"broken" in content else b"evil" in content)
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    made = opened(tmp_path_factory.mktemp("bad"))
    with made.readers:
        yield made
    print("\n" + made.table())  # noqa: T201 - pytest -s shows the worst row


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *more: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


def frames(form: str, count: int) -> bytes:
    out = io.BytesIO()
    first, *others = [Image.new("L", (4, 4), number % 250) for number in range(count)]
    first.save(out, form, save_all=True, append_images=others)
    return out.getvalue()


def office(folder: str, *more: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("[Content_Types].xml", "_rels/.rels", f"{folder}/document.xml", *more):
            archive.writestr(name, "x" * 100)
    return out.getvalue()


def photograph() -> bytes:
    """A JPEG that knows where it was taken."""
    picture, out, exif = Image.new("RGB", (900, 1200), "white"), io.BytesIO(), Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    exif[0x010E] = "a secret place"
    picture.save(out, "JPEG", exif=exif)
    return out.getvalue()


def colour_bomb() -> bytes:
    """A PNG whose colour profile unfolds to 300 MB."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(300)) + packer.flush()
    return png(900, 1200, chunk(b"iCCP", b"x\0\0" + packed), chunk(b"zTXt", b"x\0\0" + packed))


@pytest.mark.parametrize(
    ("row", "content", "outcome", "reason_code"),
    [
        ("B-36", png(60_000, 60_000), "review", "too_large"),
        ("B-36", png(13_000, 13_000), "review", "too_large"),
        ("B-37", frames("TIFF", 2_000), "review", "unsupported_type"),
        ("B-37", frames("GIF", 20), "review", "unsupported_type"),
        ("B-37", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "review", "unsupported_type"),
        ("B-37", frames("WEBP", 2), "review", "unsupported_type"),
        ("B-38", SVG, "unreadable", "active_content"),
        ("B-38", b"<?xml version='1.0'?><!DOCTYPE svg PUBLIC 'x' 'y'><svg/>", "unreadable", "active_content"),
        ("B-38", b"%!PS-Adobe-3.0 EPSF-3.0\n(ls) run", "unreadable", "active_content"),
        ("B-38", b"\xc5\xd0\xd3\xc6" + bytes(40), "unreadable", "active_content"),
        ("B-39", photograph(), "needs_extraction", None),
        ("B-42", office("word", "word/vbaProject.bin"), "unreadable", "active_content"),
        ("B-42", office("xl", "xl/vbaProject.bin"), "unreadable", "active_content"),
        ("B-42", office("word", "word/embeddings/oleObject1.bin"), "unreadable", "active_content"),
        ("B-42", OLE, "unreadable", "active_content"),
        ("B-42", b"{\\rtf1 {\\object\\objemb {\\*\\objdata 0105}}}", "unreadable", "active_content"),
        ("B-42", office("word"), "review", "unsupported_type"),
        ("B-42", b"{\\rtf1 Invoice 7}", "review", "unsupported_type"),
        ("B-43", b"MZ\x90\x00" + bytes(100), "unreadable", "executable"),
        ("B-43", b"\x7fELF\x02\x01" + bytes(100), "unreadable", "executable"),
        ("B-43", b"#!/bin/sh\nrm -rf /", "unreadable", "executable"),
        ("B-43", b"@echo off\r\ndel *", "unreadable", "executable"),
        ("B-43", LINK, "unreadable", "executable"),
        ("B-43", DISK, "unreadable", "executable"),
        ("B-44", MALWARE_TEST, "unreadable", "malware_test"),
        ("B-44", b"some text before " + MALWARE_TEST, "unreadable", "malware_test"),
        ("B-45", b"number;total\nR-1;=1+1\nR-2;=cmd|'/C calc'!A0\n", "review", "unsupported_type"),
        ("B-45", office("xl"), "review", "unsupported_type"),
    ],
)
def test_a_row_ends_as_it_has_to(
    watched: Watched, row: str, content: bytes, outcome: str, reason_code: str | None
) -> None:
    reading = watched.read(row, content)
    assert (reading.outcome, reading.reason_code) == (outcome, reason_code)
    assert reading.payload is None


def test_b36_the_cap_of_pixels_is_named(watched: Watched) -> None:
    assert "50,000,000" in str(watched.read("B-36", png(13_000, 13_000)).reason)


def test_b39_a_file_past_the_cap_is_not_opened(watched: Watched) -> None:
    path = watched.folder / "large.png"
    with path.open("wb") as file:
        file.write(png(900, 1200)[:33])
        file.truncate(300 << 20)  # a text of 300 MB, in a file with a hole
    reading = watched.read("B-39", path)
    assert (reading.outcome, reading.reason_code) == ("review", "too_large")
    assert str(50 << 20) in str(reading.reason)


def test_b39_metadata_is_not_unfolded_and_not_told(watched: Watched) -> None:
    assert watched.read("B-39", colour_bomb()).outcome in {"needs_extraction", "review"}
    assert "secret" not in str(watched.read("B-39", photograph()).record())


def test_b30_a_picture_that_is_also_an_archive_is_told(watched: Watched) -> None:
    reading = watched.read("B-30", photograph() + office("word"))
    assert (reading.outcome, [rule_id for rule_id, _ in reading.flags]) == ("needs_extraction", ["FILE-POLYGLOT"])


def test_b44_what_the_scanner_finds_nobody_opens(tmp_path: Path) -> None:
    program = tmp_path / "scanner.py"
    program.write_text(SCANNER)
    scanner = Scanner((sys.executable, str(program)))
    good, bad, gone = tmp_path / "good", tmp_path / "bad", tmp_path / "gone"
    good.write_bytes(b"an invoice")
    bad.write_bytes(b"%PDF-1.7 evil")
    found = scanner.infected([good, bad, gone])
    assert {path: (one.outcome, one.reason_code, one.media_type) for path, one in found.items()} == {
        bad: ("unreadable", "malware", "application/pdf")
    }
    assert found[bad].reason == "the scanner says 'Bad.Thing FOUND'"


def test_b44_a_scanner_that_does_not_work_stops_the_reading(tmp_path: Path) -> None:
    program, path = tmp_path / "scanner.py", tmp_path / "document"
    program.write_text(SCANNER)
    path.write_bytes(b"broken")
    with pytest.raises(TransientError, match="ended with 2"):
        Scanner((sys.executable, str(program))).infected([path])
    with pytest.raises(TransientError, match="does not work"):
        Scanner((str(tmp_path / "nothing"),)).infected([path])
