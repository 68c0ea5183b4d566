"""What several tests with real databases share: a PostgreSQL server, and the URL of an empty ledger of either kind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import postgres_server
import pytest
from postgres_server import PostgresServer


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL server; where it is not installed the test is skipped, but on the build server it fails."""
    place = postgres_server.programs()
    if place is None:
        missing = "PostgreSQL's server programs are not installed (Debian: apt-get install postgresql)"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    with postgres_server.running(place) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a ledger may be made; nothing is there yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/deeper/ledger.sqlite"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database()
