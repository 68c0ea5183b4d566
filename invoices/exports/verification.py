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
from invoices.exports.control_totals import summarise_batch
from invoices.exports.csv_files import parse_csv

_CSV_FILE_NAMES = ("bills.csv", "bill_lines.csv", "tax_lines.csv")
_EXPECTED_FILE_NAMES = (*_CSV_FILE_NAMES, workbook.FILE_NAME)
_READ_ERRORS = (ValueError, KeyError, ArithmeticError, csv.Error, zipfile.BadZipFile, zlib.error)

ManifestDocument = Mapping[str, object]


def verify_batch_folder(directory: Path) -> list[str]:
    """Return what does not match, one sentence each; an empty list for a batch that is as it was written.

    Files are hashed, rows counted and control totals added up again from the CSV files. Raises OSError where the
    folder cannot be read at all.
    """
    try:
        manifest_document = json.loads((directory / manifest.FILE_NAME).read_bytes())
        listed_files = {str(name): dict(entry) for name, entry in manifest_document["files"].items()}
    except FileNotFoundError:
        return [f"{manifest.FILE_NAME} is missing from {str(directory)!r}"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"{manifest.FILE_NAME} cannot be read: {error!r}"]
    contents = {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.is_file()}
    del contents[manifest.FILE_NAME]
    findings = _check_batch_id_matches_folder(directory, manifest_document)
    findings += [f"{path.name!r} is no file" for path in sorted(directory.iterdir()) if not path.is_file()]
    for name in sorted({*listed_files, *_EXPECTED_FILE_NAMES}):
        findings += _check_listed_file(name, listed_files, contents)
    findings += [f"{name!r} is not in the manifest" for name in contents if name not in listed_files]
    return findings + _check_control_totals(manifest_document, contents)


def _check_batch_id_matches_folder(directory: Path, manifest_document: ManifestDocument) -> list[str]:
    if manifest_document.get("batch_id") == directory.name:
        return []
    return [f"{manifest.FILE_NAME} is of batch {manifest_document.get('batch_id')!r}, its folder is {directory.name!r}"]


def _check_listed_file(
    name: str, listed_files: Mapping[str, ManifestDocument], contents: Mapping[str, bytes]
) -> list[str]:
    if name not in contents:
        return [f"{name!r} is missing"]
    if name not in listed_files:
        return []
    content = contents[name]
    actual: dict[str, object] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    try:
        if name != workbook.FILE_NAME or actual["sha256"] == listed_files[name].get(
            "sha256"
        ):  # unzip only what we zipped
            actual["rows"] = _count_rows(name, content)
    except _READ_ERRORS as error:
        return [*_list_differences(name, listed_files[name], actual), f"{name!r} cannot be read: {error!r}"]
    return _list_differences(name, listed_files[name], actual)


def _count_rows(name: str, content: bytes) -> int:
    if name != workbook.FILE_NAME:
        return len(parse_csv(content))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        sheet_files = [name for name in archive.namelist() if name.startswith("xl/worksheets/sheet")]
        control_sheet_file = (
            f"xl/worksheets/sheet{len(sheet_files)}.xml"  # the last sheet; each of the others has one row of header
        )
        return sum(archive.read(name).count(b"<row ") - 1 for name in sheet_files if name != control_sheet_file)


def _check_control_totals(manifest_document: ManifestDocument, contents: Mapping[str, bytes]) -> list[str]:
    try:
        bills, lines, taxes = (parse_csv(contents[name]) for name in _CSV_FILE_NAMES)
        recomputed_summary = manifest.build_summary_document(summarise_batch(bills, lines, taxes))
        batch_ids = {row["batch_id"] for row in (*bills, *lines, *taxes)}
    except _READ_ERRORS as error:
        return [f"control totals cannot be added up again: {error!r}"]
    foreign_batch_ids = sorted(batch_ids - {str(manifest_document.get("batch_id"))})
    findings = [f"rows are of batch {batch_id!r}" for batch_id in foreign_batch_ids]
    return findings + _list_differences(manifest.FILE_NAME, manifest_document, recomputed_summary)


def _list_differences(name: str, stated: ManifestDocument, actual: ManifestDocument) -> list[str]:
    return [
        f"{name!r}: {key} is stated as {stated.get(key)!r}, found {value!r}"
        for key, value in actual.items()
        if stated.get(key) != value
    ]
