"""What a finished batch contains is read back from its folder, or an error says what cannot be read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from invoices.errors import ContractError
from invoices.exports import sort_for_export, write_batch_folder
from invoices.exports.issued_batch import list_batch_folders, read_issued_batch
from tests.integration.exports.test_atomic_write import BATCH, build_invoices


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The folder of a finished batch."""
    return write_batch_folder(tmp_path / "exports", BATCH, sort_for_export(build_invoices()))


def test_a_finished_batch_is_read_back(directory: Path) -> None:
    batch = read_issued_batch(directory)
    assert (batch.batch_id, batch.created_at) == (BATCH.batch_id, BATCH.created_at)
    assert batch.manifest_sha256 == hashlib.sha256((directory / "manifest.json").read_bytes()).hexdigest()
    assert sorted(batch.invoice_ids) == sorted(invoice.invoice_id for invoice in build_invoices())


def test_only_folders_of_batches_are_listed(directory: Path) -> None:
    for name in ("notes", ".batch-000002.partial"):
        (directory.parent / name).mkdir()
    (directory.parent / "batch-000003").write_text("a file")
    assert list_batch_folders(directory.parent) == [directory]
    assert list_batch_folders(directory.parent / "nowhere") == []


@pytest.mark.parametrize(
    "damage", ["no manifest", "no JSON", "a list", "of another batch", "other time", "no bills", "a row less", "no id"]
)
def test_a_batch_that_cannot_be_read_is_an_error_that_names_it(directory: Path, damage: str) -> None:
    manifest, bills = directory / "manifest.json", directory / "bills.csv"
    document = json.loads(manifest.read_text(encoding="utf-8"))
    if damage == "no manifest":
        manifest.unlink()
    elif damage in ("no JSON", "a list"):
        manifest.write_text({"no JSON": "{", "a list": "[]"}[damage])
    elif damage == "of another batch":
        manifest.write_text(json.dumps(document | {"batch_id": "batch-000002"}))
    elif damage == "other time":
        manifest.write_text(json.dumps(document | {"created_at": "2026-03-04T05:06:07"}))
    elif damage == "no bills":
        bills.unlink()
    elif damage == "a row less":
        bills.write_bytes(bills.read_bytes().rsplit(b"\r\n", 2)[0] + b"\r\n")
    else:
        bills.write_bytes(bills.read_bytes().replace(b",i3,", b",,"))
    with pytest.raises(ContractError, match="batch-000001"):
        read_issued_batch(directory)
