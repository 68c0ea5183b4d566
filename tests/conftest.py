"""Fixtures for all tests: the settings of an empty home, its ledger, its application, the corpus, and servers."""

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
from tests.run_environment import CHECKOUT, CORPUS_DIRECTORY
from tests.servers import dovecot_server, postgres_server
from tests.servers.dovecot_server import DovecotServer
from tests.servers.postgres_server import PostgresServer
from tests.sweep_size import IS_SOAK

CORPUS_VARIABLE = "INVOICES_CORPUS"
MEASURED_CHILD_PROCESSES = ("integration/sandbox/", "integration/documents/", "e2e/test_cli.py")

hypothesis_settings.register_profile("app", deadline=None)  # a slow machine is no failure
hypothesis_settings.load_profile("app")


def pytest_configure() -> None:
    """Put temporary directories into memory if there is space."""
    if run_environment.has_space_in_memory():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(run_environment.MEMORY_DIRECTORY))


@pytest.fixture(autouse=True, scope="module")
def _suspend_coverage_of_child_processes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Start child processes without coverage, except in the tests that are about these processes."""
    is_measured = request.path.relative_to(CHECKOUT / "tests").as_posix().startswith(MEASURED_CHILD_PROCESSES)
    with nullcontext() if is_measured else run_environment.suspend_coverage():
        yield


@pytest.fixture(autouse=True)
def _restore_umask() -> Iterator[None]:
    """Restore the umask that a command sets which a test runs in this process; servers of later tests need it."""
    umask = os.umask(0o022)
    os.umask(umask)
    yield
    os.umask(umask)


@pytest.fixture(autouse=True)
def _remove_invoices_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the settings of the user who runs the tests."""
    for name in list(os.environ):
        if name.startswith("INVOICES_") and name != CORPUS_VARIABLE:
            monkeypatch.delenv(name)


@pytest.fixture
def app_settings(tmp_path: Path) -> Settings:
    """The settings of an empty home for rehearsals; its inbox collects files at once."""
    return Settings(home=tmp_path / "home", inbox=InboxSettings(settle_seconds=0))


@pytest.fixture
def ledger(app_settings: Settings) -> Iterator[Ledger]:
    """An empty ledger."""
    new_ledger = Ledger(app_settings.effective_ledger_url)
    yield new_ledger
    new_ledger.close()


@pytest.fixture
def app(app_settings: Settings) -> Iterator[App]:
    """An open application that can reach no vendor: it has neither a key nor a sandbox."""
    with App(app_settings, prepare_vendor_settings=lambda _exit_stack: app_settings) as new_app:
        yield new_app


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real documents; a test that needs it is skipped if it is missing."""
    if not CORPUS_DIRECTORY.is_dir():
        pytest.skip(f"there is no corpus of real documents; set {CORPUS_VARIABLE} to its directory")
    return CORPUS_DIRECTORY


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL server; if it is not installed, the test is skipped, or fails on the build server."""
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
    """Dovecot's program; if it is not installed, the test is skipped, or fails on the build server."""
    program = dovecot_server.find_program()
    if program is None:
        missing = "Dovecot is not installed (Debian: apt-get install dovecot-imapd)"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return program


@pytest.fixture(scope="session")
def dovecot(dovecot_program: Path) -> Iterator[DovecotServer]:
    """A running IMAP server; for another configuration, use ``dovecot_server.run_server(dovecot_program, ...)``."""
    with dovecot_server.run_server(dovecot_program) as server:
        yield server


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what runs in ``make soak`` only."""
    if IS_SOAK:
        return
    left_out = [item for item in items if item.get_closest_marker("soak")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("soak")]


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
