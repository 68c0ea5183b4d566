"""Explain shows what differs from the invoice that a finding about duplicates names, and the stated amounts."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from flows.reports.history import format_history, list_document_histories
from flows.reports.invoice_comparison import list_differences
from invoices.app import App
from invoices.ledger.validations import Candidate, Finding, record_validation
from tests.integration import populated_app
from tests.integration.populated_app import hash_name, record_document_sighting, record_document_validation
from transforms.loading.warehouse_tables import serialise_candidate

HOSTILE_TEXT = "EUR\n2026-01-01  now accepted: forged\x9b2J\u202e"


def add_pair(app: App, message: str, **values: Any) -> dict[str, Any]:
    """Record an accepted invoice and a later one with a finding about duplicates; return the later one's history."""
    with app.ledger.begin_transaction() as tx:
        for name in ("first", "second"):
            record_document_sighting(tx, name)
        record_document_validation(tx, "first", "accepted", invoice_number="R-1")
        record_document_validation(tx, "second", "review", invoice_number="R-1", **values)
        first, second = (populated_app.build_candidate(name, "review") for name in ("first", "second"))
        rule = "DUPLICATE-NUMBER" if values else "DUPLICATE-CONTENT"
        finding = Finding(second.invoice_id, second.document_sha256, rule, "warning", message.format(first.invoice_id))
        later = populated_app.build_candidate("second", "review", invoice_number="R-1", **values)
        record_validation(tx, [later], [finding], "rules", ())
    (history,) = list_document_histories(app, hash_name("second"))
    return history


def test_an_invoice_with_the_number_of_another_shows_each_field_that_differs(app: App) -> None:
    history = add_pair(
        app, "the earlier invoice {} has the same number, but different content",
        total_amount=Decimal("671.9400"), due_on=None, supplier_iban="DE02",
    )  # fmt: skip
    text = format_history(history)
    assert f"compared with invoice {populated_app.build_candidate('first', 'x').invoice_id} (document " in text
    assert "total amount: 671.94 EUR here, 119.12 EUR there" in text
    assert "due on: not stated here, '2026-03-28' there" in text
    assert "supplier iban: 'DE02' here, not stated there" in text
    assert "states net 100.10 EUR, tax 19.02 EUR, total 671.94 EUR, payable 119.12 EUR" in text
    comparison = json.loads(json.dumps(history, default=str))["candidates"][0]["compared_with"]
    assert {"field": "total_amount", "here": "671.9400", "there": "119.1200"} in comparison["differences"]


def test_the_same_content_in_other_bytes_differs_in_nothing(app: App) -> None:
    text = format_history(add_pair(app, "states the same as the earlier invoice {}"))
    assert "every value is the same" in text


def test_lines_and_taxes_are_compared_by_their_position() -> None:
    here = {"candidate": {}, "lines": [{"line_number": 1, "quantity": "2.000000"}], "taxes": []}
    there = {
        "candidate": {},
        "lines": [{"line_number": 7, "quantity": "3.000000"}, {"description": "Stapler", "net_amount": "12.500000"}],
        "taxes": [{"tax_category": "S", "tax_rate": "19.000000"}],
    }
    assert list_differences(here, there) == [
        {"field": "line 1 quantity", "here": "2.000000", "there": "3.000000"},
        {"field": "line 2", "here": None, "there": "description 'Stapler', net amount 12.5"},
        {"field": "tax 1", "here": None, "there": "tax category 'S', tax rate 19"},
    ]


def test_a_finding_that_names_no_known_invoice_shows_no_comparison(app: App) -> None:
    history = add_pair(app, "the earlier invoice 0123456789abcdef0123456789abcdef, not {:.3}", due_on=None)
    assert history["candidates"][0]["compared_with"] is None
    assert "compared with" not in format_history(history)


def test_hostile_values_stay_on_their_line_and_many_differences_are_cut(app: App) -> None:
    values = {f"field_{number}": HOSTILE_TEXT for number in range(40)}
    text = format_history(add_pair(app, "the earlier invoice {}", currency=HOSTILE_TEXT, **values))
    assert all(line.isprintable() for line in text.splitlines())
    assert "more (see them all with --json)" in text
    assert len(text.splitlines()) < 50


def test_a_candidate_that_states_nothing_prints_no_none(app: App) -> None:
    sha256 = hash_name("empty")
    body: dict[str, Any] = dict.fromkeys(
        ("kind", "invoice_number", "issued_on", "supplier_name", "currency", "net_amount", "total_amount", "tax_amount")
    )
    with app.ledger.begin_transaction() as tx:
        record_document_sighting(tx, "empty")
        payload = serialise_candidate(body, ["{}"], ["{}"])
        candidate = Candidate("c1", sha256, 1, "quarantined", None, payload)
        record_validation(tx, [candidate], [Finding("c1", sha256, "BR-02", "critical", "")], "rules", ())
    text = format_history(list_document_histories(app, sha256)[0])
    assert "None" not in text
    assert "invoice without a number from an unknown supplier, without an issue date, without a total, 1 line" in text
