"""Reading back what a finished batch contains, for a ledger that does not have it."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from invoices.errors import ContractError
from invoices.exports import manifest
from invoices.exports.csv_files import iter_csv_records

BILLS_FILE_NAME = "bills.csv"


@dataclass(frozen=True, slots=True)
class IssuedBatch:
    """A batch as its folder states it; ``manifest_sha256`` is in hexadecimal."""

    batch_id: str
    created_at: dt.datetime
    manifest_sha256: str
    invoice_ids: tuple[str, ...]


def list_batch_folders(exports_directory: Path) -> list[Path]:
    """Return the folders of batches, in order of their names; folders with other names are left out."""
    if not exports_directory.is_dir():
        return []
    return sorted(path for path in exports_directory.glob("batch-*") if path.is_dir())


def read_issued_batch(directory: Path) -> IssuedBatch:
    """Return what the folder of a batch contains.

    Raises:
        ContractError: it cannot be read, so nobody can tell which invoices were exported with it.
    """
    try:
        manifest_bytes = (directory / manifest.FILE_NAME).read_bytes()
        document = json.loads(manifest_bytes)
        created_at = dt.datetime.fromisoformat(document["created_at"])
        invoice_ids = tuple(row["invoice_id"] for row in iter_csv_records(directory / BILLS_FILE_NAME))
        stated_count = document["files"][BILLS_FILE_NAME]["rows"]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise ContractError(_format_problem(directory, repr(error))) from error
    if document.get("batch_id") != directory.name or created_at.utcoffset() != dt.timedelta(0):
        raise ContractError(_format_problem(directory, "its manifest belongs to another batch"))
    if len(set(invoice_ids)) != stated_count or not all(invoice_ids):
        problem = f"its manifest states {stated_count} invoices, and {BILLS_FILE_NAME} has {len(set(invoice_ids))}"
        raise ContractError(_format_problem(directory, problem))
    return IssuedBatch(directory.name, created_at, hashlib.sha256(manifest_bytes).hexdigest(), invoice_ids)


def _format_problem(directory: Path, problem: str) -> str:
    return (
        f"nothing was exported: the ledger does not have the batch {str(directory)!r}, and which invoices are in it "
        f"cannot be read: {problem}; put its original files back, or move it out of the exports directory if it was "
        "never used"
    )
