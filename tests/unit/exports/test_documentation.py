"""docs/exports.md documents every column and every key of the manifest."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from invoices.exports import BatchHeader
from invoices.exports.tables import BILL_COLUMNS, LINE_COLUMNS, TAX_COLUMNS
from tests.export_fixtures import render_batch_files
from tests.run_environment import CHECKOUT

PAGE = CHECKOUT.joinpath("docs", "exports.md").read_text()
MANIFEST = json.loads(render_batch_files(BatchHeader("b", dt.datetime(2026, 1, 1, tzinfo=dt.UTC)), [])["manifest.json"])


@pytest.mark.parametrize("name", sorted({column.name for column in (*BILL_COLUMNS, *LINE_COLUMNS, *TAX_COLUMNS)}))
def test_every_column_is_documented(name: str) -> None:
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("key", sorted({*MANIFEST, *MANIFEST["counts"], *MANIFEST["notices"], *MANIFEST["files"]}))
def test_every_key_of_the_manifest_is_documented(key: str) -> None:
    assert f"`{key}`" in PAGE
