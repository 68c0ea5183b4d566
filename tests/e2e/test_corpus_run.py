"""The whole recipe on a folder of real documents: everything ends somewhere, with a reason, and only once."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sandbox.journal import read as read_journal
from tests.e2e.commands import Ran, run

pytestmark = [pytest.mark.corpus, pytest.mark.slow, pytest.mark.unmeasured]

EINVOICES = ("einvoice_pdf", "einvoice_ubl", "einvoice_cii", "einvoice_zugferd1")
MONEY = {"subtotal": "net_amount", "tax_total": "tax_amount", "total": "total_amount", "payable": "payable_amount"}
WORDS = {"invoice_number": "invoice_number", "currency": "currency", "doc_type": "kind", "issue_date": "issued_on"}
WANTED_SHARE = Decimal("0.99")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of the run."""
    return tmp_path_factory.mktemp("house")


@pytest.fixture(scope="module")
def ran(home: Path, corpus: Path) -> Ran:
    """The run."""
    return run(home, "run", "--inbox", str(corpus), "--json")


@pytest.fixture(scope="module")
def truth(corpus: Path) -> list[dict[str, Any]]:
    """What the documents contain."""
    return [json.loads(line) for line in (corpus / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


def rows(home: Path, sql: str) -> list[dict[str, Any]]:
    with duckdb.connect(str(home / "warehouse" / "invoices.duckdb"), read_only=True) as connection:
        found = connection.execute(sql)
        names = [column[0] for column in found.description or []]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def test_every_file_is_a_document_or_a_mail_and_every_document_has_a_state_and_a_reason(
    home: Path, ran: Ran, corpus: Path
) -> None:
    assert ran.status == 0, ran.err
    paths = {str(path.resolve()) for path in corpus.rglob("*") if path.is_file()}
    places = rows(home, "select location from raw.sightings union select folder from raw.messages")
    assert paths <= {row["location"] for row in places}
    files = {hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths}
    documents = rows(home, "select * from core.documents")
    hashes = {row["document_sha256"] for row in documents}
    within = rows(home, "select document_sha256 from raw.sightings where section is not null")
    assert hashes - files == {row["document_sha256"] for row in within} - files
    assert sum(ran.told["documents"]["by_state"].values()) == len(hashes) == len(documents)
    assert all(row["reason_code"] and row["reason"] for row in documents)


def test_everything_that_is_no_invoice_is_recognised(home: Path, ran: Ran, truth: list[dict[str, Any]]) -> None:
    ends = {row["document_sha256"]: row for row in rows(home, "select * from core.documents")}
    others = [row["sha256"] for row in truth if row["kind"] == "not_invoice"]
    blank = {sha256 for sha256 in others if ends[sha256]["reason_code"] == "blank_page"}  # it may be a scan that failed
    assert {ends[sha256]["state"] for sha256 in others if sha256 not in blank} == {"not_invoice"}
    assert [ends[sha256]["state"] for sha256 in blank] == ["review"]


def test_einvoices_are_found_and_their_fields_and_lines_are_right(
    home: Path, ran: Ran, truth: list[dict[str, Any]]
) -> None:
    found = {row["document_sha256"]: row for row in rows(home, "select * from core.candidates where ordinal = 1")}
    lines: dict[str, list[Decimal]] = {}
    for row in rows(home, "select * from core.candidate_lines order by invoice_id, line_number"):
        lines.setdefault(row["invoice_id"], []).append(row["net_amount"])
    wanted = [row for row in truth if row["kind"] in EINVOICES]
    assert {row["sha256"] for row in wanted} <= set(found)
    outcomes = [right for row in wanted for right in _fields(row["expected"], found[row["sha256"]])]
    assert Decimal(sum(outcomes)) / len(outcomes) >= WANTED_SHARE
    with_lines = [row for row in wanted if row["expected"].get("lines")]
    right = [
        len(row["expected"]["lines"]) == len(lines.get(found[row["sha256"]]["invoice_id"], [])) for row in with_lines
    ]
    assert Decimal(sum(right)) / len(right) >= WANTED_SHARE


def test_no_document_was_charged_twice_and_a_second_run_does_nothing(home: Path, ran: Ran, corpus: Path) -> None:
    charges = read_journal(home / "sandbox")["charges"]
    charged = [(charge["vendor"], charge["document_sha256"]) for charge in charges]
    assert len(charged) == len(set(charged)) > 0
    asked = ran.told["paid"]["by_extractor"]
    assert asked["smartbills_com"]["calls"] == sum(vendor == "smartbills_com" for vendor, _ in charged)
    assert asked["invoicedataextraction_com"]["pages"] == 0  # it charges no page that it cannot read
    second = run(home, "run", "--inbox", str(corpus), "--json")
    assert (second.told["documents"]["new"], second.told["rows_loaded"], second.told["paid"]["calls"]) == (0, 0, 0)


def _fields(expected: dict[str, Any], row: dict[str, Any]) -> list[bool]:
    money = [Decimal(expected[name]) == row[column] for name, column in MONEY.items() if expected.get(name)]
    words = [str(expected[name]) == str(row[column]) for name, column in WORDS.items() if expected.get(name)]
    return money + words
