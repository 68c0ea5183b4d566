"""The fixture of the tests of docs/bad-inputs.md."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.documents.reader_monitor import MonitoredReaders, open_monitored_readers


@pytest.fixture(scope="module")
def monitored_readers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MonitoredReaders]:
    """A reader pool that fails a test that takes too long or too much memory."""
    readers = open_monitored_readers(tmp_path_factory.mktemp("bad"))
    with readers.reader_pool:
        yield readers
    print("\n" + readers.render_table())  # noqa: T201 - pytest -s shows the worst row
