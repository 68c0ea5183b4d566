"""No error ends a run: a failed stage, source or item is named, and everything that does not need it goes on."""

from __future__ import annotations

import datetime as dt
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from flows.folders import report_uncollected_files
from flows.runner import run_stages
from flows.source_visits import track_source_visit
from flows.stages import collect
from flows.unexpected_errors import LOG_FILE, MAX_LOG_BYTES, describe_error
from invoices.app import App
from invoices.errors import ConfigurationError, TransientError
from invoices.ledger.mails import Arrival, MailMessage
from invoices.ledger.sightings import Sighting
from invoices.run_report import RunReport
from invoices.settings import FolderSettings, Settings
from invoices.settings.settings import ReadingSettings
from sources.folder import FolderScanState


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    """An application without sources, whose settings have a key."""
    settings = Settings(home=tmp_path / "home", reading=ReadingSettings(workers=1))
    vendor_settings = settings.smartbills_com.model_copy(update={"api_key": SecretStr("key-4711")})
    settings = settings.model_copy(update={"smartbills_com": vendor_settings})

    def keep_settings(_exit_stack: ExitStack) -> Settings:
        return settings

    with App(settings, keep_settings) as opened_app:
        yield opened_app


def build_stage(name: str, processed: list[str], error: Exception | None = None) -> ModuleType:
    """Return a stage with two batches, which raises the error in the second."""
    stage = ModuleType(f"flows.stages.{name}")

    def process_batch(_app: App, batch: int, _report: RunReport) -> None:
        if error is not None and batch == 2:
            raise error
        processed.append(f"{name}-{batch}")

    stage.__dict__.update(
        PROGRESS_LABEL=name,
        UNIT="batches",
        count_pending=lambda _app: None,
        iter_pending_batches=lambda _app, _report: (batch for batch in (1, 2)),
        process_batch=process_batch,
    )
    return stage


def test_an_error_in_one_stage_is_a_problem_and_the_others_run(app: App) -> None:
    processed: list[str] = []
    error = ValueError("offset must be less than 24 h, see key-4711\x1b[2J")
    stages = (build_stage("collect", processed, error), build_stage("validate", processed))
    report = run_stages(app, stages, RunReport())
    assert processed == ["collect-1", "validate-1", "validate-2"]
    (problem,) = report.problems
    assert problem.startswith("stage 'collect' ended early: unexpected error ValueError")
    log_path = app.settings.home / LOG_FILE
    assert str(log_path) in problem
    log_text = log_path.read_text(encoding="utf-8")
    assert "stage 'collect'" in log_text
    assert "ValueError: offset must be less than 24 h, see (hidden)\\x1b[2J" in log_text
    assert "process_batch" in log_text
    assert [stat.S_IMODE(path.stat().st_mode) for path in (log_path.parent, log_path)] == [0o700, 0o600]


def test_an_expected_error_needs_no_traceback(app: App) -> None:
    stages = (build_stage("extract_local", [], TransientError("no reader process starts")),)
    report = run_stages(app, stages, RunReport())
    assert report.problems == ["stage 'extract_local' ended early: no reader process starts"]
    assert not (app.settings.home / LOG_FILE).exists()


def test_stages_that_need_a_failed_one_do_not_run(app: App) -> None:
    processed: list[str] = []
    load = build_stage("load", processed, KeyError("column"))
    others = [build_stage(name, processed) for name in ("publish", "export", "collect")]
    report = run_stages(app, (load, *others, load), RunReport())
    assert processed == ["load-1", "collect-1", "collect-2"]
    assert [problem.partition(":")[0] for problem in report.problems] == [
        "stage 'load' ended early",
        "stage 'publish' did not run, because 'load' failed",
        "stage 'export' did not run, because 'load' failed",
        "stage 'load' did not run, because 'load' failed",
    ]


def test_wrong_settings_still_end_the_run(app: App) -> None:
    processed: list[str] = []
    stages = (build_stage("collect", processed, ConfigurationError("no such folder")), build_stage("load", processed))
    with pytest.raises(ConfigurationError, match="no such folder"):
        run_stages(app, stages, RunReport())
    assert processed == ["collect-1"]


def test_a_clock_far_back_ends_the_run_before_anything_is_done(app: App) -> None:
    processed: list[str] = []
    app.ledger.now = lambda: dt.datetime(2001, 1, 1, tzinfo=dt.UTC)
    with pytest.raises(ConfigurationError, match="the clock of this machine says 2001-01-01 00:00 UTC"):
        run_stages(app, (build_stage("collect", processed),), RunReport())
    assert processed == []


def test_the_log_of_errors_is_limited(app: App) -> None:
    log_path = app.settings.home / LOG_FILE
    log_path.parent.mkdir()
    log_path.write_bytes(b"x" * (MAX_LOG_BYTES + 1))
    describe_error(app.settings, "stage 'load'", ValueError())
    assert log_path.stat().st_size < 1_000
    assert log_path.with_name("errors.log.1").stat().st_size > MAX_LOG_BYTES


def test_a_value_that_the_ledger_refuses_keeps_no_other_item_out(app: App) -> None:
    arrivals = []
    subject: Any
    for number, subject in enumerate(("Invoice 1", 2, "Invoice 3")):
        sha256 = app.store.put(b"%d" % number)
        mail = MailMessage(f"key-{number}", "office", "INBOX", "collected", 7, number + 1, subject=subject)
        sighting = Sighting(
            f"sighting-{number}", sha256, "application/pdf", 1, "office", "mailbox", f"/INBOX;UID={number}",
            subject=subject, message_key=f"key-{number}",
        )  # fmt: skip
        arrivals.append(Arrival([sighting], mail))
    report = RunReport()
    collect.process_batch(app, arrivals, report)
    assert report.new_documents == 3
    (problem,) = report.problems
    assert problem.startswith("'INBOX' UID 2 is collected without its names and subject")
    with app.ledger.open_snapshot() as connection:
        rows = connection.execute(text("select uid, subject from messages order by uid")).all()
    assert [tuple(row) for row in rows] == [(1, "Invoice 1"), (2, None), (3, "Invoice 3")]


def test_an_error_in_one_source_is_a_problem_and_the_others_are_visited(tmp_path: Path) -> None:
    folders = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "invoice.pdf").write_bytes(name.encode())
        folders.append(FolderSettings(name=name, url=str(tmp_path / name), settle_seconds=0))
    settings = Settings(home=tmp_path / "home", folders=tuple(folders), reading=ReadingSettings(workers=1))
    report = RunReport()
    with App(settings, lambda _exit_stack: settings) as app:
        with track_source_visit(app, settings.sources[0], report):
            raise ValueError("offset must be strictly between")
        run_stages(app, (collect,), report)
    assert report.new_documents == 2
    assert report.problems[0].startswith("source 'first': unexpected error ValueError")


def test_a_file_that_cannot_be_read_is_a_problem_and_a_link_a_remark(app: App) -> None:
    scan_state, report = FolderScanState(), RunReport()
    scan_state.unreadable_files = ["'/in/a.pdf' cannot be read: Permission denied", "'/in/b.pdf' is not a regular file"]
    scan_state.failures.append(("the file '/in/c.pdf'", ValueError("odd")))
    report_uncollected_files(app, FolderSettings(name="scans", url="/in"), scan_state, report)
    assert report.problems[0].startswith("source 'scans': not collected: '/in/a.pdf' cannot be read: Permission denied")
    assert "the file '/in/c.pdf' is not collected: unexpected error ValueError" in report.problems[1]
    assert report.remarks == ["Not collected: '/in/b.pdf' is not a regular file."]


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_an_unreadable_file_in_the_inbox_makes_the_run_end_with_a_problem(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "invoice.pdf").write_bytes(b"%PDF")
    (tmp_path / "in" / "invoice.pdf").chmod(0)
    folder = FolderSettings(name="scans", url=str(tmp_path / "in"), settle_seconds=0)
    settings = Settings(home=tmp_path / "home", folders=(folder,), reading=ReadingSettings(workers=1))
    with App(settings, lambda _exit_stack: settings) as app:
        report = run_stages(app, (collect,), RunReport())
    assert ["cannot be read" in problem for problem in report.problems] == [True]


def test_a_mail_that_lacks_the_invoice_it_announces_goes_to_review(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    mail = b"From: a@shop.example\r\nTo: b@us.example\r\nSubject: July\r\n\r\nOur invoice for July is attached.\r\n"
    (tmp_path / "in" / "mail.eml").write_bytes(mail)
    folder = FolderSettings(name="scans", url=str(tmp_path / "in"), settle_seconds=0)
    settings = Settings(home=tmp_path / "home", folders=(folder,), reading=ReadingSettings(workers=1))
    with App(settings, lambda _exit_stack: settings) as app:
        report = run_stages(app, (collect,), RunReport())
        with app.ledger.open_snapshot() as connection:
            rows = connection.execute(text("select state, reason_code from documents")).all()
    assert (report.new_documents, [tuple(row) for row in rows]) == (1, [("review", "attachment_missing")])
