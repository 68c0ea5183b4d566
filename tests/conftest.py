"""What tests of several rooms share: the settings of an empty house, its ledger, the house itself, the corpus."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from invoices.app import App
from invoices.ledger import Ledger
from invoices.settings import InboxSettings, Settings
from tests import run_environment
from tests.run_environment import CORPUS_DIRECTORY
from tests.servers import dovecot_server, postgres_server
from tests.servers.dovecot_server import DovecotServer
from tests.servers.postgres_server import PostgresServer
from tests.sweep_size import IS_SOAK

CORPUS_VARIABLE = "INVOICES_CORPUS"

hypothesis_settings.register_profile("house", deadline=None)  # a busy machine is no failure
hypothesis_settings.load_profile("house")


def pytest_configure() -> None:
    """Let the tests write to memory where there is room."""
    if run_environment.has_space_in_memory():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(run_environment.MEMORY_DIRECTORY))


@pytest.fixture(autouse=True, scope="module")
def _suspend_coverage_where_unmeasured(request: pytest.FixtureRequest) -> Iterator[None]:
    """Start the processes of a module that is marked ``unmeasured`` without coverage."""
    is_unmeasured = request.node.get_closest_marker("unmeasured") is not None
    with run_environment.suspend_coverage() if is_unmeasured else nullcontext():
        yield


@pytest.fixture(autouse=True)
def _remove_invoices_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for name in list(os.environ):
        if name.startswith("INVOICES_") and name != CORPUS_VARIABLE:
            monkeypatch.delenv(name)


@pytest.fixture
def app_settings(tmp_path: Path) -> Settings:
    """The settings of a house that rehearses, with nothing in it yet; its inbox takes files at once."""
    return Settings(home=tmp_path / "home", inbox=InboxSettings(settle_seconds=0))


@pytest.fixture
def ledger(app_settings: Settings) -> Iterator[Ledger]:
    """An empty ledger."""
    new_ledger = Ledger(app_settings.effective_ledger_url)
    yield new_ledger
    new_ledger.close()


@pytest.fixture
def app(app_settings: Settings) -> Iterator[App]:
    """An open house in which no vendor can be reached: there is neither a key nor a sandbox."""
    with App(app_settings, prepare_vendor_settings=lambda _closing: app_settings) as new_app:
        yield new_app


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real documents; a test that needs it is skipped where it is missing."""
    directory = CORPUS_DIRECTORY
    if not directory.is_dir():
        pytest.skip(f"there is no corpus of real documents; name it in {CORPUS_VARIABLE}")
    return directory


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL server; where it is not installed the test is skipped, but on the build server it fails."""
    program_directory = postgres_server.find_program_directory()
    if program_directory is None:
        missing = "PostgreSQL's server programs are not installed (Debian: apt-get install postgresql)"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    with postgres_server.run_server(program_directory) as server:
        yield server


@pytest.fixture(scope="session")
def dovecot_program() -> Path:
    """Dovecot's program; where it is not installed the test is skipped, but on the build server it fails."""
    program = dovecot_server.find_program()
    if program is None:
        missing = "Dovecot is not installed (Debian: apt-get install dovecot-imapd)"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return program


@pytest.fixture(scope="session")
def dovecot(dovecot_program: Path) -> Iterator[DovecotServer]:
    """A running IMAP server; for one with another configuration, ``dovecot_server.running(dovecot_program, extra)``."""
    with dovecot_server.run_server(dovecot_program) as server:
        yield server


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a line for each exhaustive sweep: its cases, its seconds, and the figures that it recorded."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if report.when == "call" and "sweep" in report.keywords
    ]
    if not reports:
        return
    terminalreporter.section("sweeps: " + ("whole" if IS_SOAK else "a spread of their cases"))
    for name in sorted({report.nodeid.partition("[")[0] for report in reports}):
        cases = [report for report in reports if report.nodeid.partition("[")[0] == name]
        failed, seconds = sum(case.failed for case in cases), sum(case.duration for case in cases)
        terminalreporter.write_line(f"{name}: {len(cases)} cases, {failed} failed, {seconds:.0f} s")
        for case in cases:
            for key, value in case.user_properties:
                terminalreporter.write_line(f"    {key}: {value}")
