"""Validation stage: a document that cannot be validated is quarantined, and the rest of its batch is validated."""

from __future__ import annotations

import hashlib
import json

from sqlalchemy import text

from flows.stages import validate
from invoices.app import App
from invoices.ledger.documents import count_documents_by_state, find_document_row, set_document_state
from invoices.ledger.extractions import record_free_answer
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.run_report import RunReport

INVALID_PAYLOAD = "not JSON at all"
VALID_PAYLOAD = json.dumps(
    {"syntax": "ubl", "profile": "peppol", "source": "xml", "invoices": [{"invoice_number": "1"}]}
)


def add_answered_document(app: App, payload: str, name: str) -> str:
    """Record a document with an answer that waits for validation; return its hash."""
    document = hashlib.sha256(name.encode()).hexdigest()
    with app.ledger.begin_transaction() as tx:
        record_sighting(tx, Sighting(name, document, "application/xml", 1, "inbox", "folder", f"/{name}"))
        record_free_answer(tx, name, document, "einvoice", payload)
        set_document_state(tx, document, stage="validate", state="waiting", reason_code="read", reason="")
    return document


def run_validate_stage(app: App) -> RunReport:
    report = RunReport()
    with app.hold_stage_lease("validate"):
        for batch in validate.iter_pending_batches(app, report):
            validate.process_batch(app, batch, report)
    return report


def test_a_clock_that_was_behind_when_a_document_came_does_not_make_its_date_wrong(app: App) -> None:
    add_answered_document(app, VALID_PAYLOAD.replace('"1"', '"1", "issue_date": "2026-03-02"'), "valid")
    with app.ledger.begin_transaction() as tx:
        tx.connection.execute(text("update documents set first_seen_at = '2001-01-01 00:00:00.000000'"))
    run_validate_stage(app)
    with app.ledger.open_snapshot() as connection:
        rule_ids = set(connection.scalars(text("select rule_id from findings")))
    assert "ISSUED-IN-TIME" not in rule_ids
    assert rule_ids


def test_an_unreadable_answer_is_quarantined_and_the_others_are_validated(app: App) -> None:
    valid = [
        add_answered_document(app, VALID_PAYLOAD.replace('"1"', f'"{number}"'), f"valid-{number}")
        for number in range(5)
    ]
    invalid = add_answered_document(app, INVALID_PAYLOAD, "invalid")
    last = add_answered_document(app, VALID_PAYLOAD.replace('"1"', '"9"'), "valid-9")
    report = run_validate_stage(app)
    assert report.verdicts.total() == len(valid) + 1
    with app.ledger.open_snapshot() as connection:
        row = find_document_row(connection, invalid)
        states = count_documents_by_state(connection)
        assert (find_document_row(connection, last) or {})["stage"] == "done"
    assert row is not None
    assert (row["state"], row["stage"]) == ("quarantined", "done")
    assert not [state for state, _ in states if state == "waiting"]
