"""Validation stage: a document that cannot be validated is quarantined, and the rest of its batch is validated."""

from __future__ import annotations

import hashlib
import json

from sqlalchemy import select, text

from flows.stages import validate
from invoices.app import App
from invoices.ledger.documents import count_documents_by_state, find_document_row, set_document_state
from invoices.ledger.extractions import record_free_answer
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.ledger.tables import candidate_keys
from invoices.ledger.validations import Candidate, list_candidate_rows, record_validation
from invoices.run_report import RunReport
from tests.integration.extraction_payloads import build_einvoice_payload

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


def read_verdicts(app: App, *documents: str) -> list[str]:
    with app.ledger.open_snapshot() as connection:
        return [(find_document_row(connection, document) or {})["state"] for document in documents]


def test_a_copy_waits_for_its_original_in_review_and_is_accepted_once_that_one_is_rejected(app: App) -> None:
    doubtful = build_einvoice_payload().replace('{"syntax"', '{"source": "pdf_attachment", "doubts": DOUBTS, "syntax"')
    doubtful = doubtful.replace("DOUBTS", '{"hidden_text": "figures that cannot be seen"}')
    forged = add_answered_document(app, doubtful, "forged")
    run_validate_stage(app)
    genuine = add_answered_document(app, build_einvoice_payload(), "genuine")
    third = add_answered_document(app, build_einvoice_payload(), "third")
    run_validate_stage(app)
    assert read_verdicts(app, forged, genuine, third) == ["review", "review", "review"]
    with app.ledger.begin_transaction() as tx:
        (row,) = list_candidate_rows(tx.connection, forged)
        rejected = Candidate(row["invoice_id"], forged, 1, "quarantined", row["invoice_number"], row["body"])
        record_validation(tx, [rejected], [], "anna", ())
    report = run_validate_stage(app)
    assert report.verdicts == {"accepted": 1, "duplicate": 1}
    assert read_verdicts(app, genuine, third) == ["accepted", "duplicate"]
    assert run_validate_stage(app).verdicts == {}


def test_a_copy_of_an_original_in_review_is_a_duplicate_once_that_one_is_accepted(app: App) -> None:
    doubtful = build_einvoice_payload().replace('{"syntax"', '{"source": "pdf_attachment", "syntax"')
    doubtful = doubtful.replace('"syntax"', '"doubts": {"hidden_text": "figures"}, "syntax"', 1)
    original, copy = (add_answered_document(app, doubtful, name) for name in ("original", "copy"))
    run_validate_stage(app)
    assert read_verdicts(app, original, copy) == ["review", "review"]
    with app.ledger.begin_transaction() as tx:
        (row,) = list_candidate_rows(tx.connection, original)
        own_keys = select(candidate_keys.c.key).where(candidate_keys.c.invoice_id == row["invoice_id"])
        keys = tuple(tx.connection.scalars(own_keys))
        accepted = Candidate(row["invoice_id"], original, 1, "accepted", row["invoice_number"], row["body"], keys=keys)
        record_validation(tx, [accepted], [], "anna", ())
    run_validate_stage(app)
    assert read_verdicts(app, copy) == ["duplicate"]
