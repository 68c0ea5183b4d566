"""The whole recipe on a folder of real documents: everything ends somewhere, with a reason, and only once."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sandbox.journal import read_journal as read_journal
from tests.e2e.command_line import CommandResult, run_command

pytestmark = [pytest.mark.corpus, pytest.mark.slow]

EINVOICES = ("einvoice_pdf", "einvoice_ubl", "einvoice_cii", "einvoice_zugferd1")
AMOUNT_COLUMNS = {
    "subtotal": "net_amount",
    "tax_total": "tax_amount",
    "total": "total_amount",
    "payable": "payable_amount",
}
TEXT_COLUMNS = {
    "invoice_number": "invoice_number",
    "currency": "currency",
    "doc_type": "kind",
    "issue_date": "issued_on",
}
REQUIRED_SHARE = Decimal("0.99")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of the run."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def run_result(home: Path, corpus: Path) -> CommandResult:
    """The run."""
    return run_command(home, "run", "--inbox", str(corpus), "--json")


@pytest.fixture(scope="module")
def expected_documents(corpus: Path) -> list[dict[str, Any]]:
    """What the documents contain."""
    return [json.loads(line) for line in (corpus / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


def query_warehouse(home: Path, sql: str) -> list[dict[str, Any]]:
    with duckdb.connect(str(home / "warehouse" / "invoices.duckdb"), read_only=True) as connection:
        result = connection.execute(sql)
        names = [column[0] for column in result.description or []]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def test_every_file_is_a_document_or_a_mail_and_every_document_has_a_state_and_a_reason(
    home: Path, run_result: CommandResult, corpus: Path
) -> None:
    assert run_result.exit_status == 0, run_result.stderr
    paths = {str(path.resolve()) for path in corpus.rglob("*") if path.is_file()}
    places = query_warehouse(home, "select location from raw.sightings union select folder from raw.messages")
    assert paths <= {row["location"] for row in places}
    files = {hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths}
    documents = query_warehouse(home, "select * from core.documents")
    hashes = {row["document_sha256"] for row in documents}
    within = query_warehouse(home, "select document_sha256 from raw.sightings where section is not null")
    assert hashes - files == {row["document_sha256"] for row in within} - files
    assert sum(run_result.json_output["documents"]["by_state"].values()) == len(hashes) == len(documents)
    assert all(row["reason_code"] and row["reason"] for row in documents)


def test_everything_that_is_no_invoice_is_recognised(
    home: Path, run_result: CommandResult, expected_documents: list[dict[str, Any]]
) -> None:
    ends = {row["document_sha256"]: row for row in query_warehouse(home, "select * from core.documents")}
    others = [row["sha256"] for row in expected_documents if row["kind"] == "not_invoice"]
    blank = {sha256 for sha256 in others if ends[sha256]["reason_code"] == "blank_page"}  # it may be a scan that failed
    assert {ends[sha256]["state"] for sha256 in others if sha256 not in blank} == {"not_invoice"}
    assert [ends[sha256]["state"] for sha256 in blank] == ["review"]


def test_einvoices_are_found_and_their_fields_and_lines_are_right(
    home: Path, run_result: CommandResult, expected_documents: list[dict[str, Any]]
) -> None:
    actual = {
        row["document_sha256"]: row for row in query_warehouse(home, "select * from core.candidates where ordinal = 1")
    }
    lines: dict[str, list[Decimal]] = {}
    for row in query_warehouse(home, "select * from core.candidate_lines order by invoice_id, line_number"):
        lines.setdefault(row["invoice_id"], []).append(row["net_amount"])
    expected = [row for row in expected_documents if row["kind"] in EINVOICES]
    assert {row["sha256"] for row in expected} <= set(actual)
    outcomes = [right for row in expected for right in _compare_fields(row["expected"], actual[row["sha256"]])]
    assert Decimal(sum(outcomes)) / len(outcomes) >= REQUIRED_SHARE
    with_lines = [row for row in expected if row["expected"].get("lines")]
    right = [
        len(row["expected"]["lines"]) == len(lines.get(actual[row["sha256"]]["invoice_id"], [])) for row in with_lines
    ]
    assert Decimal(sum(right)) / len(right) >= REQUIRED_SHARE


def test_no_document_was_charged_twice_and_a_second_run_does_nothing(
    home: Path, run_result: CommandResult, corpus: Path
) -> None:
    charges = read_journal(home / "sandbox")["charges"]
    charged = [(charge["vendor"], charge["document_sha256"]) for charge in charges]
    assert len(charged) == len(set(charged)) > 0
    paid_by_extractor = run_result.json_output["paid"]["by_extractor"]
    assert paid_by_extractor["smartbills_com"]["calls"] == sum(vendor == "smartbills_com" for vendor, _ in charged)
    assert paid_by_extractor["invoicedataextraction_com"]["pages"] == 0  # it charges no page that it cannot read
    second = run_command(home, "run", "--inbox", str(corpus), "--json")
    assert (
        second.json_output["documents"]["new"],
        second.json_output["rows_loaded"],
        second.json_output["paid"]["calls"],
    ) == (0, 0, 0)


def _compare_fields(expected: dict[str, Any], row: dict[str, Any]) -> list[bool]:
    amount_matches = [
        Decimal(expected[name]) == row[column] for name, column in AMOUNT_COLUMNS.items() if expected.get(name)
    ]
    text_matches = [
        str(expected[name]) == str(row[column]) for name, column in TEXT_COLUMNS.items() if expected.get(name)
    ]
    return amount_matches + text_matches
