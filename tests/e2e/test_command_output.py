"""What the reporting commands print about an empty, an ordinary and a hostile home: no None, no wrong plural, JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from invoices.app import App
from invoices.ledger.documents import set_document_state
from invoices.settings import Settings
from tests.e2e.command_line import CommandResult, build_environment, run_command
from tests.integration.populated_app import (
    add_documents_of_each_kind,
    hash_name,
    load_warehouse,
    record_document_sighting,
    record_document_validation,
)

HOSTILE_TEXT = "\x1b[2J\n2026-01-01  accepted\r\u202e\x9b" + "=1+1;<script>" * 50
WRONG_PLURAL = re.compile(r"\b1 (documents|invoices|batches|receipts|pages|mails|files|lines|taxes|loads|bytes)\b")
COMMANDS = (
    ("status",), ("plan",), ("reconcile",), ("doctor",), ("explain", HOSTILE_TEXT),
    ("retry", "--state", "review", "--dry-run"), ("retry", "--reason", "BR-CO-15", "--dry-run"),
    ("explain", hash_name("wrong")), ("explain", "R-twice"), ("explain", hash_name("hostile")),
)  # fmt: skip


def create_home(home: Path, kind: str) -> None:
    settings = Settings(home=home)
    with App(settings, prepare_vendor_settings=lambda _exit_stack: settings) as app:
        if kind == "empty":
            return
        add_documents_of_each_kind(app)
        if kind == "hostile":
            with app.ledger.begin_transaction() as tx:
                record_document_sighting(tx, "hostile", f"/in/{HOSTILE_TEXT}.pdf")
                record_document_validation(
                    tx, "hostile", "quarantined", "BR-02", currency=HOSTILE_TEXT, invoice_number=None,
                    supplier_name=HOSTILE_TEXT, issued_on=None, kind=None, net_amount=None, total_amount=None,
                )  # fmt: skip
                record_document_sighting(tx, "waiting", f"/in/{HOSTILE_TEXT}2.pdf")
                set_document_state(
                    tx, hash_name("waiting"), stage="extract_remote", state="waiting", reason_code="cap_reached",
                    reason=HOSTILE_TEXT,
                )  # fmt: skip
        load_warehouse(app)


def check_output(result: CommandResult) -> None:
    lines = [*result.stdout.splitlines(), *result.stderr.splitlines()]
    if result.exit_status != 2:
        json.loads(lines.pop(len(result.stdout.splitlines()) - 1))
    for line in lines:
        assert line.isprintable(), line
        assert "None" not in line, line
        assert not WRONG_PLURAL.search(line), line
        assert not line.startswith("2026-01-01  accepted"), line


@pytest.mark.parametrize("kind", ["empty", "ordinary", "hostile"])
def test_no_report_prints_none_a_wrong_plural_or_a_control_character(tmp_path: Path, kind: str) -> None:
    create_home(tmp_path / "home", kind)
    environment = build_environment(tmp_path / "home")
    for command in COMMANDS:
        result = run_command(tmp_path, *command, "--json", env=environment, cwd=tmp_path)
        assert result.exit_status in ((0, 1, 2) if command[0] in ("explain", "reconcile", "doctor") else (0,)), command
        check_output(result)


def test_no_line_of_the_help_is_cut(tmp_path: Path) -> None:
    for arguments in (("-h",), ("receipts", "-h")):
        assert "..." not in run_command(tmp_path, *arguments).stdout.partition("Commands:")[2]
