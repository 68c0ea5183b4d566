"""Verifying a finished batch: the differences between its folder and its manifest."""

from __future__ import annotations

import csv
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from invoices.exports import manifest, workbook
from invoices.exports.control_totals import summarise_batch
from invoices.exports.csv_files import iter_csv_records

_CSV_FILE_NAMES = ("bills.csv", "bill_lines.csv", "tax_lines.csv")
_EXPECTED_FILE_NAMES = (*_CSV_FILE_NAMES, workbook.FILE_NAME)
_READ_ERRORS = (ValueError, KeyError, ArithmeticError, csv.Error, zipfile.BadZipFile, zlib.error)
_ROW_START = b"<row "
_PIECE_BYTES = 1024 * 1024

ManifestDocument = Mapping[str, object]


def verify_batch_folder(directory: Path) -> list[str]:
    """Return what does not match, one sentence each; an empty list if the batch is unchanged.

    Hashes the files, counts the rows and recomputes the control totals from the CSV files. Raises OSError if the folder
    cannot be read at all.
    """
    try:
        manifest_document = json.loads((directory / manifest.FILE_NAME).read_bytes())
        listed_files = {str(name): dict(entry) for name, entry in manifest_document["files"].items()}
    except FileNotFoundError:
        return [f"{manifest.FILE_NAME} is missing from {str(directory)!r}"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"{manifest.FILE_NAME} cannot be read: {error!r}"]
    paths = {path.name: path for path in sorted(directory.iterdir()) if path.is_file()}
    del paths[manifest.FILE_NAME]
    findings = [f"{path.name!r} is not a file" for path in sorted(directory.iterdir()) if not path.is_file()]
    batch_id = manifest_document.get("batch_id")
    if batch_id != directory.name:
        findings.append(f"{manifest.FILE_NAME} belongs to batch {batch_id!r}, but its folder is {directory.name!r}")
    for name in sorted({*listed_files, *_EXPECTED_FILE_NAMES}):
        findings += _check_listed_file(name, listed_files, paths)
    findings += [f"{name!r} is not in the manifest" for name in paths if name not in listed_files]
    return findings + _check_control_totals(manifest_document, paths)


def _check_listed_file(name: str, listed_files: Mapping[str, ManifestDocument], paths: Mapping[str, Path]) -> list[str]:
    if name not in paths:
        return [f"{name!r} is missing"]
    if name not in listed_files:
        return []
    file = manifest.describe_file(paths[name], 0)
    actual: dict[str, object] = {"bytes": file.byte_count, "sha256": file.sha256}
    is_unchanged = actual["sha256"] == listed_files[name].get("sha256")
    try:
        if name != workbook.FILE_NAME or is_unchanged:  # a ZIP is opened only if we have written it
            actual["rows"] = _count_rows(paths[name])
    except _READ_ERRORS as error:
        return [*_list_differences(name, listed_files[name], actual), f"{name!r} cannot be read: {error!r}"]
    return _list_differences(name, listed_files[name], actual)


def _count_rows(path: Path) -> int:
    if path.name != workbook.FILE_NAME:
        return sum(1 for _ in iter_csv_records(path))
    with zipfile.ZipFile(path) as archive:
        sheet_names = [entry for entry in archive.namelist() if entry.startswith("xl/worksheets/sheet")]
        sheet_names.remove(f"xl/worksheets/sheet{len(sheet_names)}.xml")  # the last one is the control sheet
        return sum(_count_sheet_rows(archive, sheet_name) - 1 for sheet_name in sheet_names)  # without the header


def _count_sheet_rows(archive: zipfile.ZipFile, sheet_name: str) -> int:
    row_count, end_of_last_piece = 0, b""
    with archive.open(sheet_name) as sheet:
        while piece := sheet.read(_PIECE_BYTES):
            row_count += (end_of_last_piece + piece).count(_ROW_START)
            end_of_last_piece = (end_of_last_piece + piece)[-len(_ROW_START) + 1 :]
    return row_count


def _check_control_totals(manifest_document: ManifestDocument, paths: Mapping[str, Path]) -> list[str]:
    batch_ids: set[str] = set()

    def iter_records(name: str) -> Iterator[dict[str, str]]:
        for record in iter_csv_records(paths[name]):
            batch_ids.add(record["batch_id"])
            yield record

    try:
        summary = summarise_batch(*(iter_records(name) for name in _CSV_FILE_NAMES))
        recomputed_summary = manifest.build_counts_and_totals(summary)
    except _READ_ERRORS as error:
        return [f"the control totals cannot be recomputed: {error!r}"]
    foreign_batch_ids = sorted(batch_ids - {str(manifest_document.get("batch_id"))})
    findings = [f"some rows belong to batch {batch_id!r}" for batch_id in foreign_batch_ids]
    return findings + _list_differences(manifest.FILE_NAME, manifest_document, recomputed_summary)


def _list_differences(name: str, stated: ManifestDocument, actual: ManifestDocument) -> list[str]:
    return [
        f"{name!r}: the manifest states {key} as {stated.get(key)!r}, but it is {value!r}"
        for key, value in actual.items()
        if stated.get(key) != value
    ]
