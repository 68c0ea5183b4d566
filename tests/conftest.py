"""What tests of several rooms share: the settings of an empty house, its ledger, the house itself, the corpus."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from invoices.house import House
from invoices.ledger import Ledger
from invoices.settings import Inbox, Settings
from tests import surroundings
from tests.integration import dovecot_server, postgres_server
from tests.integration.dovecot_server import DovecotServer
from tests.integration.postgres_server import PostgresServer

CORPUS = "INVOICES_CORPUS"

hypothesis_settings.register_profile("house", deadline=None)  # a busy machine is no failure
hypothesis_settings.load_profile("house")


def pytest_configure() -> None:
    """Let the tests write to memory where there is room."""
    if surroundings.has_room_in_memory():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(surroundings.MEMORY))


@pytest.fixture(autouse=True, scope="module")
def _children_are_measured_where_it_tells(request: pytest.FixtureRequest) -> Iterator[None]:
    """Start the processes of a module that is marked ``unmeasured`` without coverage."""
    marked = request.node.get_closest_marker("unmeasured") is not None
    with surroundings.unmeasured() if marked else nullcontext():
        yield


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for name in list(os.environ):
        if name.startswith("INVOICES_") and name != CORPUS:
            monkeypatch.delenv(name)


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """The settings of a house that rehearses, with nothing in it yet; its inbox takes files at once."""
    return Settings(home=tmp_path / "home", inbox=Inbox(settle_seconds=0))


@pytest.fixture
def ledger(home: Settings) -> Iterator[Ledger]:
    """An empty ledger."""
    opened = Ledger(home.effective_ledger_url)
    yield opened
    opened.close()


@pytest.fixture
def house(home: Settings) -> Iterator[House]:
    """An open house in which no vendor can be reached: there is neither a key nor a sandbox."""
    with House(home, vendors=lambda _closing: home) as opened:
        yield opened


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real documents; a test that needs it is skipped where it is missing."""
    place = Path(os.environ.get(CORPUS) or Path(__file__).parents[2] / "shared" / "corpus")
    if not place.is_dir():
        pytest.skip(f"there is no corpus of real documents; name it in {CORPUS}")
    return place


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


@pytest.fixture(scope="session")
def dovecot_program() -> Path:
    """Dovecot's program; where it is not installed the test is skipped, but on the build server it fails."""
    place = dovecot_server.found_program()
    if place is None:
        missing = "Dovecot is not installed (Debian: apt-get install dovecot-imapd)"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return place


@pytest.fixture(scope="session")
def dovecot(dovecot_program: Path) -> Iterator[DovecotServer]:
    """A running IMAP server; for one with another configuration, ``dovecot_server.running(dovecot_program, extra)``."""
    with dovecot_server.running(dovecot_program) as server:
        yield server
