"""The files in a ZIP archive: its directory is checked first, inflating is bounded, nothing is written to disk."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Sequence

from invoices.documents.containers.opened_container import ContainerContents, ContainerPart, Flag, OpenedContainer
from invoices.documents.containers.unpack_budget import UnpackBudget, build_limit_error
from invoices.documents.content_sniffing import detect_media_type
from invoices.documents.outcomes import sanitise_for_display
from invoices.errors import DocumentError

MAX_ENTRIES = 100
MAX_COMPRESSION_RATIO = 100

_DIRECTORY_ENTRY_SIGNATURE = b"PK\x01\x02"
_MAX_DIRECTORY_SIGNATURES = 20_000  # archives that are stored in this one have their own
_MIN_BYTES_FOR_RATIO = 65_536  # a short text of one repeated sentence compresses as well as a bomb
_READ_BLOCK_BYTES = 1 << 20
_MAX_FILE_NAME_CHARS = 255
_SUPPORTED_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # LZMA may ask for 4 GB before its first byte
_ENCRYPTED_FLAG_BITS = 0x1 | 0x40 | 0x2000  # APPNOTE.TXT 4.4.4: entry, strong, directory
_LOCAL_HEADER = struct.Struct("<4s22xHH")
# Files of OOXML, of OpenDocument and EPUB, and of Java.
_DOCUMENT_PACKAGE_ENTRIES = {"[Content_Types].xml", "mimetype", "META-INF/MANIFEST.MF"}
_MACOS_METADATA_SIGNATURES = (b"\0\x05\x16\x07", b"\0\0\0\1Bud1")  # AppleDouble files and .DS_Store
_DAMAGED_ARCHIVE_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    struct.error,
    ValueError,
    OverflowError,
    OSError,
    NotImplementedError,
)


def open_zip_archive(content: bytes, section: str = "", budget: UnpackBudget | None = None) -> ContainerContents:
    """Return the files of a ZIP archive, without folders; a symbolic link is a text file with its target.

    Raises ``DocumentError``: ``archive_limits`` (more than 100 entries, compressed more than 100 to 1, larger than the
    budget, entries that share bytes), ``encrypted``, ``damaged_archive``, or ``unsupported_type`` (an unsupported
    compression; an office document, which is a ZIP but no archive). Names are only text, whatever path they state.
    """
    budget = budget or UnpackBudget()
    try:
        return _read_archive_within_limits(content, section, budget)
    except _DAMAGED_ARCHIVE_ERRORS as error:
        raise DocumentError(f"the archive is damaged: {error}", reason_code="damaged_archive") from error


def _read_archive_within_limits(content: bytes, section: str, budget: UnpackBudget) -> ContainerContents:
    signature_count = content.count(_DIRECTORY_ENTRY_SIGNATURE)
    if signature_count > _MAX_DIRECTORY_SIGNATURES:
        raise build_limit_error(f"the archive has more than {MAX_ENTRIES} entries")
    budget.consume_elements(signature_count)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        _check_directory_limits(entries, budget)
        _check_entry_overlap(content, entries, archive.start_dir)
        files = [entry for entry in entries if entry.file_size or not entry.filename.endswith("/")]
        budget.consume_parts(len(files))
        contents = [_read_entry(archive, entry) for entry in files]
    parts = [
        _build_part(f"{section}/{number}" if section else str(number), entry, entry_content)
        for number, (entry, entry_content) in enumerate(zip(files, contents, strict=True), 1)
    ]
    return OpenedContainer(parts=parts), contents


def _check_directory_limits(entries: Sequence[zipfile.ZipInfo], budget: UnpackBudget) -> None:
    """Raise DocumentError for what the directory states, before anything is inflated."""
    if len(entries) > MAX_ENTRIES:
        raise build_limit_error(f"the archive has {len(entries):,} entries, more than {MAX_ENTRIES}")
    if any(entry.flag_bits & _ENCRYPTED_FLAG_BITS for entry in entries):
        raise DocumentError("a password is needed to open the archive", reason_code="encrypted")
    if any(entry.filename in _DOCUMENT_PACKAGE_ENTRIES for entry in entries):
        raise DocumentError("a ZIP file of an office or other program, not an archive", reason_code="unsupported_type")
    for entry in entries:
        if entry.compress_type not in _SUPPORTED_METHODS:
            reason = (
                f"compression method {entry.compress_type} of {sanitise_for_display(entry.filename)!r} is not supported"
            )
            raise DocumentError(reason, reason_code="unsupported_type")
        if entry.file_size > _MIN_BYTES_FOR_RATIO and entry.file_size > MAX_COMPRESSION_RATIO * entry.compress_size:
            raise build_limit_error(
                f"{sanitise_for_display(entry.filename)!r} is compressed more than {MAX_COMPRESSION_RATIO} to 1"
            )
    budget.consume_bytes(sum(entry.file_size for entry in entries))


def _check_entry_overlap(content: bytes, entries: Sequence[zipfile.ZipInfo], directory_start: int) -> None:
    """Raise DocumentError if entries overlap each other or the directory (CVE-2024-0450; Python 3.11.7 has it)."""
    spans = sorted(_get_entry_span(content, entry) for entry in entries)
    next_starts = [start for start, _ in spans[1:]] + [directory_start]
    if any(end > next_start for (_, end), next_start in zip(spans, next_starts, strict=False)):
        raise build_limit_error("entries of the archive overlap each other")


def _get_entry_span(content: bytes, entry: zipfile.ZipInfo) -> tuple[int, int]:
    signature, name_length, extra_length = _LOCAL_HEADER.unpack_from(content, entry.header_offset)
    if signature != b"PK\x03\x04" or entry.header_offset < 0:
        raise zipfile.BadZipFile("an entry does not start where the directory states")
    end = entry.header_offset + _LOCAL_HEADER.size + name_length + extra_length + entry.compress_size
    return entry.header_offset, end


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Return the content of an entry, never more than one byte past the size it states."""
    content = io.BytesIO()  # returns its bytes without a second copy
    with archive.open(entry) as file:
        while block := file.read(min(_READ_BLOCK_BYTES, entry.file_size + 1 - content.tell())):
            content.write(block)
    if content.tell() != entry.file_size:
        raise zipfile.BadZipFile(f"{sanitise_for_display(entry.filename)!r} does not have the size it states")
    return content.getvalue()


def _build_part(section: str, entry: zipfile.ZipInfo, content: bytes) -> ContainerPart:
    return ContainerPart(
        section,
        detect_media_type(content),
        file_name=entry.filename[:_MAX_FILE_NAME_CHARS] or None,
        skip_reason_code="system_file" if content.startswith(_MACOS_METADATA_SIGNATURES) else None,
        flags=[Flag("INTAKE-CONTAINER", warning) for warning in _list_entry_warnings(entry)],
    )


def _list_entry_warnings(entry: zipfile.ZipInfo) -> list[str]:
    name, warnings = entry.filename.replace("\\", "/"), []
    if name.startswith("/") or name[1:2] == ":" or ".." in name.split("/"):
        warnings.append(f"the archive names a path outside of its own folder: {sanitise_for_display(entry.filename)!r}")
    if entry.external_attr >> 28 == 0xA:  # S_IFLNK in the upper half, as Unix stores it
        warnings.append(f"{sanitise_for_display(entry.filename)!r} is a symbolic link; it was not followed")
    return warnings
