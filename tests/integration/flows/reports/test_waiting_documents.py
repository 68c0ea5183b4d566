"""Status names the documents that wait: reason, age and next command; a short list for people, all for programs."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from sqlalchemy import update

from flows.reports.run_summary import format_run_summary
from flows.reports.waiting_documents import list_waiting_documents
from invoices.app import App
from invoices.ledger.documents import Stage, set_document_state
from invoices.ledger.tables import documents
from invoices.run_report import RunReport
from tests.integration.populated_app import add_documents_of_each_kind, hash_name, record_document_sighting


def add_waiting_document(app: App, name: str, stage: Stage, reason: str = "It waits.") -> None:
    with app.ledger.begin_transaction() as tx:
        record_document_sighting(tx, name)
        set_document_state(tx, hash_name(name), stage=stage, state="waiting", reason_code="cap_reached", reason=reason)


def test_a_waiting_document_is_named_with_reason_age_and_next_command(app: App) -> None:
    add_documents_of_each_kind(app)
    text = format_run_summary(app, None)
    assert "Waiting, the oldest first\n" in text
    assert f"{hash_name('scan')[:12]}  scan.pdf  for less than a minute  invoices extract" in text
    assert "submitted: Submitted to smartbills.com; not answered yet." in text
    assert "For a person, the oldest first\n" in text
    assert f"{hash_name('wrong')[:12]}  wrong.pdf  for less than a minute  invoices explain" in text
    assert "Waiting, the oldest first" not in format_run_summary(app, RunReport())


def test_the_list_for_people_is_short_and_the_one_for_programs_complete(app: App) -> None:
    for number in range(13):
        add_waiting_document(app, f"scan {number:02}", "extract_remote")
    text = format_run_summary(app, None)
    assert "scan 09.pdf" in text
    assert "scan 10.pdf" not in text
    assert "… and 3 more (see them all with --json)" in text
    rows = json.loads(json.dumps(list_waiting_documents(app)))
    assert [row["file_name"] for row in rows] == [f"scan {number:02}.pdf" for number in range(13)]
    assert rows[0] | {"first_seen_at": None} == {
        "document_sha256": hash_name("scan 00"), "file_name": "scan 00.pdf", "state": "waiting",
        "reason_code": "cap_reached", "reason": "It waits.", "first_seen_at": None, "age_days": 0,
        "next_command": "invoices extract",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("stage", "command"),
    [("extract_local", "extract"), ("extract_remote", "extract"), ("validate", "validate")],
)
def test_the_next_command_is_that_of_the_stage(app: App, stage: Stage, command: str) -> None:
    add_waiting_document(app, "scan", stage)
    assert [row["next_command"] for row in list_waiting_documents(app)] == [f"invoices {command}"]


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (dt.timedelta(minutes=1, seconds=20), "for 1 minute "),
        (dt.timedelta(hours=5), "for 5 hours "),
        (dt.timedelta(days=1, hours=7), "for 1 day "),
        (dt.timedelta(days=-3), "for less than a minute "),
    ],
)
def test_the_age_is_in_its_largest_unit_and_never_negative(app: App, age: dt.timedelta, text: str) -> None:
    add_waiting_document(app, "scan", "extract_remote")
    with app.ledger.begin_transaction() as tx:
        tx.connection.execute(update(documents).values(first_seen_at=tx.timestamp - age))
    assert text in format_run_summary(app, None)
    assert list_waiting_documents(app)[0]["age_days"] == max(age.days, 0)


def test_hostile_names_and_reasons_stay_on_their_line(app: App) -> None:
    add_waiting_document(app, "a\x1b[2J\nb" + "x" * 500, "extract_remote", "why\r\n\u202e" + "y" * 5_000)
    text = format_run_summary(app, None)
    assert all(line.isprintable() for line in text.splitlines())
    assert "\\x1b[2J\\nb" in text
    assert max(map(len, text.splitlines())) < 300
