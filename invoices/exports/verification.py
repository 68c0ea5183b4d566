"""Verifying a finished batch: what in the folder does not match its manifest."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from invoices.exports import manifest, workbook
from invoices.exports.csv_files import csv_records
from invoices.exports.totals import summarise

_CSV_FILES = ("bills.csv", "bill_lines.csv", "tax_lines.csv")
_EXPECTED = (*_CSV_FILES, workbook.FILE_NAME)
_UNREADABLE = (ValueError, KeyError, ArithmeticError, csv.Error, zipfile.BadZipFile, zlib.error)

Document = Mapping[str, object]


def verify(directory: Path) -> list[str]:
    """Return what does not match, one sentence each; an empty list for a batch that is as it was written.

    Files are hashed, rows counted and control totals added up again from the CSV files. Raises OSError where the
    folder cannot be read at all.
    """
    try:
        document = json.loads((directory / manifest.FILE_NAME).read_bytes())
        listed = {str(name): dict(entry) for name, entry in document["files"].items()}
    except FileNotFoundError:
        return [f"{manifest.FILE_NAME} is missing from {str(directory)!r}"]
    except (ValueError, KeyError, TypeError, AttributeError) as failure:
        return [f"{manifest.FILE_NAME} cannot be read: {failure!r}"]
    contents = {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.is_file()}
    del contents[manifest.FILE_NAME]
    findings = _name_findings(directory, document)
    findings += [f"{path.name!r} is no file" for path in sorted(directory.iterdir()) if not path.is_file()]
    for name in sorted({*listed, *_EXPECTED}):
        findings += _file_findings(name, listed, contents)
    findings += [f"{name!r} is not in the manifest" for name in contents if name not in listed]
    return findings + _content_findings(document, contents)


def _name_findings(directory: Path, document: Document) -> list[str]:
    if document.get("batch_id") == directory.name:
        return []
    return [f"{manifest.FILE_NAME} is of batch {document.get('batch_id')!r}, its folder is {directory.name!r}"]


def _file_findings(name: str, listed: Mapping[str, Document], contents: Mapping[str, bytes]) -> list[str]:
    if name not in contents:
        return [f"{name!r} is missing"]
    if name not in listed:
        return []
    content = contents[name]
    found: dict[str, object] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    try:
        if name != workbook.FILE_NAME or found["sha256"] == listed[name].get("sha256"):  # unzip only what we zipped
            found["rows"] = _row_count(name, content)
    except _UNREADABLE as failure:
        return [*_differences(name, listed[name], found), f"{name!r} cannot be read: {failure!r}"]
    return _differences(name, listed[name], found)


def _row_count(name: str, content: bytes) -> int:
    if name != workbook.FILE_NAME:
        return len(csv_records(content))
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        sheets = [name for name in book.namelist() if name.startswith("xl/worksheets/sheet")]
        control = f"xl/worksheets/sheet{len(sheets)}.xml"  # the last sheet; each of the others has one row of header
        return sum(book.read(name).count(b"<row ") - 1 for name in sheets if name != control)


def _content_findings(document: Document, contents: Mapping[str, bytes]) -> list[str]:
    try:
        bills, lines, taxes = (csv_records(contents[name]) for name in _CSV_FILES)
        again = manifest.summary_document(summarise(bills, lines, taxes))
        owners = {row["batch_id"] for row in (*bills, *lines, *taxes)}
    except _UNREADABLE as failure:
        return [f"control totals cannot be added up again: {failure!r}"]
    strangers = sorted(owners - {str(document.get("batch_id"))})
    findings = [f"rows are of batch {stranger!r}" for stranger in strangers]
    return findings + _differences(manifest.FILE_NAME, document, again)


def _differences(name: str, stated: Document, found: Document) -> list[str]:
    return [
        f"{name!r}: {key} is stated as {stated.get(key)!r}, found {value!r}"
        for key, value in found.items()
        if stated.get(key) != value
    ]
