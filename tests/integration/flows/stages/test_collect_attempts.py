"""A container whose process was stopped is opened once more in a later run; only then it is quarantined."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import func, select

from flows.runner import run_stages
from flows.stages import collect
from invoices.app import App
from invoices.documents.containers.opened_container import OpenedContainer
from invoices.ledger.tables import documents, stage_attempts
from invoices.run_report import RunReport

MAIL = b"From: a@b.example\nSubject: Invoice\nDate: Mon, 1 Jan 2024 10:00:00 +0000\n\nInvoice 1, total 12,50 EUR\n"


@dataclass(slots=True)
class UnreliableOpener:
    """Stops the process for the first ``failures_left`` containers, then opens them with the real pool."""

    pool: Any
    failures_left: int
    opened: list[bytes] = field(default_factory=list)

    def detect_file_type(self, head: bytes) -> str:
        return str(self.pool.detect_file_type(head))

    def open_container(self, content: bytes, *arguments: Any) -> OpenedContainer:
        self.opened.append(content)
        if self.failures_left:
            self.failures_left -= 1
            return OpenedContainer(reason_code="reader_timeout", reason="reading took too long and was stopped")
        opened_container: OpenedContainer = self.pool.open_container(content, *arguments)
        return opened_container

    def close(self) -> None:
        self.pool.close()


def collect_once(app: App) -> tuple[list[str], list[str]]:
    """Return the problems of a run, and the states of all documents after it."""
    report = RunReport()
    run_stages(app, (collect,), report)
    with app.ledger.open_snapshot() as connection:
        states = connection.scalars(select(documents.c.state)).all()
    return report.problems, list(states)


@pytest.mark.parametrize(("failures", "expected_state"), [(1, "waiting"), (2, "quarantined")])
def test_a_mail_file_that_could_not_be_opened_waits_for_the_next_run(
    app: App, failures: int, expected_state: str
) -> None:
    inbox = app.settings.inbox_directory
    inbox.mkdir(parents=True)
    (inbox / "a.eml").write_bytes(MAIL)
    os.utime(inbox / "a.eml", (1_600_000_000, 1_600_000_000))
    opener = UnreliableOpener(app.container_opener_pool, failures)
    vars(app)["container_opener_pool"] = opener
    problems, states = collect_once(app)
    assert states == []
    assert len(problems) == 1
    assert "a.eml" in problems[0]
    assert "a later run tries again" in problems[0]
    assert collect_once(app) == ([], [expected_state])
    assert opener.opened == [MAIL, MAIL]
    with app.ledger.open_snapshot() as connection:
        assert connection.scalar(select(func.count()).select_from(stage_attempts)) == 0
    assert collect_once(app) == ([], [expected_state])
    assert len(opener.opened) == 2
