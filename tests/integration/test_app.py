"""The application: rehearsals and real runs never mix, one run at a time, and home directories that cannot be used."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from flows.bootstrap import open_app as open_rehearsal_app
from flows.reports.doctor import run_health_checks
from invoices.app import App
from invoices.errors import ConfigurationError, TransientError
from invoices.run_lock import AlreadyRunning
from invoices.settings import Settings
from sandbox.process import start_sandbox

HOLD_LOCK_SCRIPT = """
import sys
from pathlib import Path
from invoices.app import App
from invoices.settings import Settings

with App(Settings(home=Path(sys.argv[1])), lambda exit_stack: None) as app, app.acquire_run_lock():
    print("locked", flush=True)
    sys.stdin.read()
"""


def open_app(settings: Settings) -> App:
    return App(settings, prepare_vendor_settings=lambda _exit_stack: settings)


def build_real_settings(app_settings: Settings) -> Settings:
    return Settings(home=app_settings.home, smartbills_com={"api_key": "sk-live"}, smartbills_io={"api_key": "sk-io"})


def start_lock_holder(settings: Settings) -> subprocess.Popen[str]:
    """Return a process that holds the run lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK_SCRIPT, str(settings.home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


def start_run(settings: Settings) -> None:
    """Take the run lock and record the mode, as a run does."""
    with open_app(settings) as app, app.acquire_run_lock():
        app.record_rehearsal_mode()


def test_opening_an_app_without_a_run_does_not_decide_its_mode(app_settings: Settings) -> None:
    open_app(app_settings).close()
    start_run(build_real_settings(app_settings))


def test_a_rehearsal_whose_sandbox_does_not_start_says_so(
    app_settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    with (
        start_sandbox(app_settings.home / "sandbox"),
        open_rehearsal_app(app_settings) as app,
        pytest.raises(TransientError, match="the rehearsal cannot call its vendors: the sandbox did not start"),
    ):
        _ = app.vendor_settings
    assert "another sandbox already uses the state folder" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("vendor", "values"),
    [
        ("smartbills_com", {"api_key": "kéy"}),
        ("smartbills_com", {"api_key": "sk-live", "base_url": "ftp://example.org"}),
        ("invoicedataextraction_com", {"api_key": "sk live\n2"}),
        ("billflowai", {"api_key": "sk-live", "base_url": "http://example.org"}),
        ("billflowai", {"document_base_url": "https://example.org", "document_url_secret": "short"}),
        ("smartbills_io", {"api_key": "sk-io", "path": "../receipts"}),
        ("smartbills_io", {"api_key": "sk-io", "tenant_id": "a\nb"}),
    ],
)
def test_settings_that_no_vendor_can_be_called_with_are_refused_before_anything_is_created_or_marked(
    app_settings: Settings, vendor: str, values: dict[str, str]
) -> None:
    settings = Settings(home=app_settings.home, **{vendor: values})
    with pytest.raises(ConfigurationError, match=f"nothing was touched:\n  {vendor}: "):
        open_app(settings)
    assert not app_settings.home.exists()
    (check,) = (check for check in run_health_checks(settings) if check["name"] == vendor)
    assert not check["ok"]
    start_run(app_settings)  # the home can still become one for rehearsals


def test_a_rehearsed_app_refuses_real_settings_and_keeps_its_rows(app_settings: Settings) -> None:
    start_run(app_settings)
    with pytest.raises(ConfigurationError, match=r"holds a rehearsal.*keys are set.*INVOICES_HOME"):
        start_run(build_real_settings(app_settings))
    open_app(build_real_settings(app_settings)).close()


def test_a_real_app_refuses_to_rehearse(app_settings: Settings) -> None:
    start_run(build_real_settings(app_settings))
    with pytest.raises(ConfigurationError, match=r"is for real runs, and no vendor key is set"):
        start_run(app_settings)


def test_settings_of_the_other_mode_are_refused_by_plan_and_reported_by_doctor(app_settings: Settings) -> None:
    start_run(build_real_settings(app_settings))
    with open_app(app_settings) as app, pytest.raises(ConfigurationError, match="set the keys"):
        app.check_rehearsal_mode()
    (kind,) = (check for check in run_health_checks(app_settings) if check["name"] == "kind")
    assert not kind["ok"]
    assert "no vendor key is set" in kind["detail"]


def test_settings_of_the_same_mode_or_of_a_new_app_are_accepted_by_plan_and_doctor(app_settings: Settings) -> None:
    with open_app(app_settings) as app:
        app.check_rehearsal_mode()
    start_run(app_settings)
    with open_app(app_settings) as app:
        app.check_rehearsal_mode()
    assert "kind" not in {check["name"] for check in run_health_checks(app_settings)}


def test_one_real_key_makes_an_app_real(app_settings: Settings) -> None:
    settings = Settings(home=app_settings.home, smartbills_io={"api_key": "sk-io"})
    with open_app(settings) as app, app.acquire_run_lock():
        app.record_rehearsal_mode()
        assert app.smartbills_io_client is not None
        assert app.extractor_chain.preference_order == []
    with pytest.raises(ConfigurationError):
        start_run(app_settings)


def test_clients_and_rate_limits_follow_the_settings_and_show_no_key(app_settings: Settings) -> None:
    settings = build_real_settings(app_settings).model_copy(update={"vendor_minute_seconds": 6.0})
    with open_app(settings) as app:
        assert "sk-" not in f"{app.smartbills_io_client!r} {app.extractor_chain!r} {app.rate_limit_store!r}"
        assert app.extractor_chain.preference_order == ["smartbills_com"]
        assert app.smartbills_io_rate_limiter.time_scale == 0.1
        assert app.smartbills_io_rate_limiter is app.smartbills_io_rate_limiter


def test_without_a_key_there_is_no_client(app: App) -> None:
    assert app.extractor_chain.preference_order == []
    assert app.smartbills_io_client is None
    assert app.smartbills_io_rate_limiter.time_scale == 1.0


def test_the_resources_of_vendor_settings_are_closed_with_the_app(app_settings: Settings) -> None:
    closed: list[str] = []

    def prepare_vendor_settings(exit_stack: ExitStack) -> Settings:
        exit_stack.callback(closed.append, "sandbox")
        return app_settings

    with App(app_settings, prepare_vendor_settings) as app:
        assert app.vendor_settings is app_settings
        assert app.document_reader_pool is app.document_reader_pool
        assert closed == []
    assert closed == ["sandbox"]


def test_a_second_process_learns_which_process_runs_and_since_when(app_settings: Settings, app: App) -> None:
    process = start_lock_holder(app_settings)
    try:
        with (
            pytest.raises(AlreadyRunning, match=rf"process {process.pid} since 20\d\d-\d\d-\d\d"),
            app.acquire_run_lock(),
        ):
            pytest.fail("two processes hold the run lock")
    finally:
        process.communicate("", timeout=30)
    with app.acquire_run_lock():
        pass


def test_the_lock_ends_with_a_killed_process(app_settings: Settings, app: App) -> None:
    process = start_lock_holder(app_settings)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    with app.acquire_run_lock():
        assert str(os.getpid()) in (app_settings.home / "run.lock").read_text()


def test_the_same_process_does_not_take_the_lock_twice(app: App) -> None:
    with app.acquire_run_lock(), pytest.raises(AlreadyRunning), app.acquire_run_lock():
        pytest.fail("the run lock was taken twice")
    with app.acquire_run_lock():
        pass


def test_an_error_releases_the_lock(app: App) -> None:
    with pytest.raises(ZeroDivisionError), app.acquire_run_lock():
        _ = 1 / 0
    with app.acquire_run_lock():
        pass


def test_a_home_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "home", Path("/proc/nothing/home")):
        with pytest.raises(ConfigurationError) as caught:
            open_app(Settings(home=path))
        assert repr(str(path)) in str(caught.value)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigurationError, match="cannot be written"):
        open_app(Settings(home=tmp_path / "home"))
    tmp_path.chmod(0o700)


def test_only_the_owner_has_access_to_what_is_created(app_settings: Settings, app: App) -> None:
    with app.acquire_run_lock():
        app.store.put(b"secret")
    for directory in (app_settings.home, app_settings.documents_directory):
        assert directory.stat().st_mode & 0o077 == 0
