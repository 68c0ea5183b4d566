"""What several tests share: the URL of an empty ledger of either kind, and an office that asks in batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sandbox.serving import Sandbox, start
from tests.integration.batch_office import MINUTE, Office
from tests.integration.postgres_server import PostgresServer
from tests.surroundings import unmeasured


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a ledger may be made; nothing is there yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/deeper/ledger.sqlite"
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.new_database()
        yield url
        server.drop(url)


@pytest.fixture(scope="session")
def batch_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox; each test has an account of its own."""
    with ExitStack() as stack:
        with unmeasured():
            running = stack.enter_context(start(tmp_path_factory.mktemp("sandbox"), minute_seconds=MINUTE))
        yield running


@pytest.fixture
def office(tmp_path: Path, batch_sandbox: Sandbox) -> Iterator[Office]:
    """An office without any document, with invoicedataextraction.com to ask."""
    opened = Office(tmp_path, batch_sandbox)
    yield opened
    opened.ledger.close()
