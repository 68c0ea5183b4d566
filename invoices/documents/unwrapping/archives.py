"""What is in a ZIP archive: its directory is checked first, inflating is bounded, nothing is written to a disk."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Sequence

from invoices.documents.outcomes import shown
from invoices.documents.sniffing import media_type
from invoices.documents.unwrapping.budget import Budget, beyond
from invoices.documents.unwrapping.parts import Flag, Found, Part, Unwrapped
from invoices.errors import DocumentError

MAX_ENTRIES = 100
MAX_RATIO = 100

_DIRECTORY_ENTRY = b"PK\x01\x02"
_MAX_SIGNATURES = 20_000  # archives that are stored in this one bring their own
_SMALL = 65_536  # bytes; the ratio of less says nothing: text of one sentence repeated compresses as well
_READ_SIZE = 1 << 20
_LONGEST_NAME = 255
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # LZMA may ask for 4 GB before its first byte
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # APPNOTE.TXT 4.4.4: entry, strong, directory
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_NO_ARCHIVES = {"[Content_Types].xml", "mimetype", "META-INF/MANIFEST.MF"}  # OOXML, OpenDocument and EPUB, Java
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    struct.error,
    ValueError,
    OverflowError,
    OSError,
    NotImplementedError,
)


def open_archive(content: bytes, section: str = "", budget: Budget | None = None) -> Found:
    """Return the files of a ZIP archive; folders are none, a symbolic link is the text it holds.

    Raises ``DocumentError``: ``archive_limits`` (more than 100 entries, compressed more than 100 to 1, larger than the
    budget, entries that share bytes), ``encrypted``, ``damaged_archive``, or ``unsupported_type`` (a compression that
    is not read here; an office document, which is a ZIP and no archive). Names are texts, whatever path they spell.
    """
    budget = budget or Budget()
    try:
        return _opened(content, section, budget)
    except _DAMAGE as error:
        raise DocumentError(f"the archive is broken: {error}", reason_code="damaged_archive") from error


def _opened(content: bytes, section: str, budget: Budget) -> Found:
    signatures = content.count(_DIRECTORY_ENTRY)
    if signatures > _MAX_SIGNATURES:
        raise beyond(f"more than {MAX_ENTRIES} entries")
    budget.take_elements(signatures)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        _check_directory(entries, budget)
        _check_overlap(content, entries, archive.start_dir)
        files = [entry for entry in entries if entry.file_size or not entry.filename.endswith("/")]
        budget.take_parts(len(files))
        contents = [_read(archive, entry) for entry in files]
    parts = [
        _part(f"{section}/{n}" if section else str(n), *found)
        for n, found in enumerate(zip(files, contents, strict=True), 1)
    ]
    return Unwrapped(parts=parts), contents


def _check_directory(entries: Sequence[zipfile.ZipInfo], budget: Budget) -> None:
    """Raise for what the directory alone gives away; nothing is inflated before."""
    if len(entries) > MAX_ENTRIES:
        raise beyond(f"{len(entries):,} entries, and not more than {MAX_ENTRIES} are taken")
    if any(entry.flag_bits & _ENCRYPTED for entry in entries):
        raise DocumentError("a password is needed to open the archive", reason_code="encrypted")
    if any(entry.filename in _NO_ARCHIVES for entry in entries):
        raise DocumentError("a ZIP file of an office or another program, no archive", reason_code="unsupported_type")
    for entry in entries:
        if entry.compress_type not in _METHODS:
            reason = f"compression method {entry.compress_type} of {shown(entry.filename)!r} is not read here"
            raise DocumentError(reason, reason_code="unsupported_type")
        if entry.file_size > _SMALL and entry.file_size > MAX_RATIO * entry.compress_size:
            raise beyond(f"{shown(entry.filename)!r} is compressed more than {MAX_RATIO} to 1")
    budget.take_bytes(sum(entry.file_size for entry in entries))


def _check_overlap(content: bytes, entries: Sequence[zipfile.ZipInfo], directory: int) -> None:
    """Raise where two entries share bytes, or one runs into the directory (CVE-2024-0450; Python 3.11.7 has it)."""
    spans = sorted(_span(content, entry) for entry in entries)
    ends = [start for start, _ in spans[1:]] + [directory]
    if any(end > limit for (_, end), limit in zip(spans, ends, strict=False)):
        raise beyond("entries of the archive overlap each other")


def _span(content: bytes, entry: zipfile.ZipInfo) -> tuple[int, int]:
    signature, name_length, extra_length = _LOCAL_HEADER.unpack_from(content, entry.header_offset)
    if signature != b"PK\x03\x04" or entry.header_offset < 0:
        raise zipfile.BadZipFile("an entry does not start where the directory says")
    end = entry.header_offset + _LOCAL_HEADER.size + name_length + extra_length + entry.compress_size
    return entry.header_offset, end


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Return the content of an entry, never more than one byte past the size it states."""
    content = io.BytesIO()  # gives its bytes away without a second copy of them
    with archive.open(entry) as file:
        while piece := file.read(min(_READ_SIZE, entry.file_size + 1 - content.tell())):
            content.write(piece)
    if content.tell() != entry.file_size:
        raise zipfile.BadZipFile(f"{shown(entry.filename)!r} does not have the size it states")
    return content.getvalue()


_NOTES = (b"\0\x05\x16\x07", b"\0\0\0\1Bud1")  # AppleDouble files and .DS_Store


def _part(section: str, entry: zipfile.ZipInfo, content: bytes) -> Part:
    return Part(
        section,
        media_type(content),
        file_name=entry.filename[:_LONGEST_NAME] or None,
        left_out="system_file" if content.startswith(_NOTES) else None,
        flags=[Flag("INTAKE-CONTAINER", warning) for warning in _warnings(entry)],
    )


def _warnings(entry: zipfile.ZipInfo) -> list[str]:
    name, found = entry.filename.replace("\\", "/"), []
    if name.startswith("/") or name[1:2] == ":" or ".." in name.split("/"):
        found.append(f"the archive names a place outside of its own folder: {shown(entry.filename)!r}")
    if entry.external_attr >> 28 == 0xA:  # S_IFLNK in the upper half, as Unix stores it
        found.append(f"{shown(entry.filename)!r} is a symbolic link; it was not followed")
    return found
