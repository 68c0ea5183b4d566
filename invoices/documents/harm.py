"""What is dangerous by its bytes alone: macros, objects, the test file of malware scanners, files of two types."""

from __future__ import annotations

import contextlib
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

from invoices.documents.sniffing import HTML_START, OFFICE, OLE, RTF

# The test string of the anti-malware industry (EICAR), in pieces: whole, it would make scanners remove this file.
MALWARE_TEST = b"".join((rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$", b"EICAR-STANDARD-", b"ANTIVIRUS-TEST-FILE!$H+H*"))

_MACROS = re.compile(rb"vbaProject\.bin|vbaData\.xml|/activeX/|/oleObject\d|macrosheets/", re.IGNORECASE)
_RTF_OBJECT = re.compile(rb"\\(?:object|objdata|objocx|objemb|objautlink)\b")
_ZIP_END = b"PK\x05\x06"  # end of central directory: 22 bytes, the last two the length of the comment after it
_ZIP_REACH = 22 + 65_535
_PDF_HEADER = b"%PDF-"
_HEADER_REACH = 1024
_PICTURES = ("image/png", "image/jpeg")


def is_malware_test(content: bytes | mmap.mmap) -> bool:
    """Return whether the test string of malware scanners is in these bytes."""
    return content.find(MALWARE_TEST) >= 0


def harm(path: Path, kind: str) -> str | None:
    """Return the reason code of a file that is dangerous whatever else it holds, else None; an empty file is not."""
    with _mapped(path) as content:
        if content is None:
            return None
        if is_malware_test(content):
            return "malware_test"
        if kind in OFFICE and _MACROS.search(content):
            return "active_content"
        return "active_content" if kind == OLE or (kind == RTF and _RTF_OBJECT.search(content)) else None


def second_type(path: Path, kind: str) -> str | None:
    """Return what else a PDF or a picture would be taken for, by where others look for their marks; mostly None."""
    if kind != "application/pdf" and kind not in _PICTURES:
        return None
    with _mapped(path) as content:
        if content is None:
            return None
        head = content[: _HEADER_REACH + len(_PDF_HEADER)]
        if _ends_as_zip(content):
            return "a ZIP archive"
        if kind in _PICTURES:
            return "a PDF" if _PDF_HEADER in head else None
        before = head.partition(_PDF_HEADER)[0] if _PDF_HEADER in head else b""
        after = content[content.rfind(b"%%EOF") :] if content.rfind(b"%%EOF") >= 0 else b""
        return _by_what_surrounds(before, after)


def _by_what_surrounds(before: bytes, after: bytes) -> str | None:
    if HTML_START.search(before) or HTML_START.search(after):
        return "an HTML page"
    if before.removeprefix(b"\xef\xbb\xbf").strip(b"\0\t\n\f\r "):
        return f"something else: {len(before)} bytes stand before the PDF"
    return None


def _ends_as_zip(content: mmap.mmap) -> bool:
    """Return whether the end of a ZIP archive is the end of the file."""
    found = content.rfind(_ZIP_END, max(0, len(content) - _ZIP_REACH))
    if found < 0 or len(content) - found < 22:
        return False
    return found + 22 + int.from_bytes(content[found + 20 : found + 22], "little") == len(content)


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap | None]:
    """Give the file's bytes without reading them into memory; None for an empty file, which cannot be mapped."""
    with path.open("rb") as file:
        if not file.seek(0, 2):
            yield None
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield content
