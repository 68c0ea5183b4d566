"""An empty folder and an empty store, for the tests of the folder source."""

from __future__ import annotations

from pathlib import Path

import pytest

from invoices.documents.store import DocumentStore


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """An empty folder."""
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.fixture
def store(tmp_path: Path) -> DocumentStore:
    """An empty store."""
    return DocumentStore(tmp_path / "documents")
