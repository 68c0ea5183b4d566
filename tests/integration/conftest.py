"""Fixtures of several integration tests: empty ledgers on both databases, and the process that opens containers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from invoices.documents.containers.container_opener_pool import ContainerOpenerPool
from tests.servers.postgres_server import PostgresServer


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a ledger that does not exist yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/deeper/ledger.sqlite"
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.create_database()
        yield url
        server.drop_database(url)


@pytest.fixture(scope="module")
def opener_pool() -> Iterator[ContainerOpenerPool]:
    """A pool with one process that opens mails and archives."""
    with ContainerOpenerPool(1) as pool:
        yield pool
