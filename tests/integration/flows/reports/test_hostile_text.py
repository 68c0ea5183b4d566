"""What came in never reaches the terminal as anything but text on one line."""

from __future__ import annotations

import os

import pytest

from flows.reports.history import format_history, list_document_histories
from flows.reports.run_summary import format_run_summary
from invoices.app import App
from invoices.ledger.outbox import list_unpublished_receipts, update_receipt
from invoices.receipts.publisher import PUBLISHER
from invoices.run_report import RunReport
from tests.integration.populated_app import hash_name, record_document_sighting, record_document_validation

HOSTILE_TEXT = "EUR\n2026-01-01  now accepted: forged\x9b2J\u202e"


def add_hostile_document(app: App, number: str) -> None:
    """Put a document into the house whose currency and findings are not only text."""
    with app.ledger.begin_transaction() as tx:
        record_document_sighting(tx, "bill")
        record_document_validation(
            tx, "bill", "quarantined", "CURRENCY-KNOWN", currency=HOSTILE_TEXT, invoice_number=number
        )


def test_a_story_has_no_line_and_no_control_that_a_document_wrote(app: App) -> None:
    add_hostile_document(app, "R-1")
    text = format_history(list_document_histories(app, hash_name("bill"))[0])
    assert all(line.isprintable() for line in text.splitlines())
    assert not [line for line in text.splitlines() if line.startswith("2026-01-01  now accepted")]
    assert "EUR\\n2026-01-01" in text


def test_a_story_stays_readable_whatever_the_length_of_a_text(app: App) -> None:
    add_hostile_document(app, "x" * 100_000)
    assert max(map(len, format_history(list_document_histories(app, hash_name("bill"))[0]).splitlines())) < 2_000


def test_the_summary_tells_remarks_and_reasons_on_one_line_each(app: App) -> None:
    with app.ledger.begin_transaction() as tx:
        record_document_sighting(tx, "bill")
        record_document_validation(tx, "bill", "accepted")
        (receipt,) = list_unpublished_receipts(tx.connection, PUBLISHER, 10)
        update_receipt(tx, receipt, "waiting", reason_code="no_customer", reason=HOSTILE_TEXT)
    text = format_run_summary(app, RunReport(remarks=[HOSTILE_TEXT]))
    assert all(line.isprintable() for line in text.splitlines())
    assert text.count("EUR\\n2026-01-01") == 2


def test_a_name_that_is_no_unicode_is_found_as_it_is_shown(app: App) -> None:
    with app.ledger.begin_transaction() as tx:
        record_document_sighting(tx, "bill", "/in/R\\xff.pdf")
    (story,) = list_document_histories(app, os.fsdecode(b"R\xff.pdf"))
    assert story["document"]["document_sha256"] == hash_name("bill")


@pytest.mark.parametrize("named", ["invoice number", "file name"])
def test_a_whole_name_goes_before_the_beginning_of_another_documents_hash(app: App, named: str) -> None:
    with app.ledger.begin_transaction() as tx:
        record_document_sighting(tx, "other")
        name = hash_name("other")[:6]
        record_document_sighting(tx, "bill", f"/in/{name}" if named == "file name" else None)
        record_document_validation(tx, "bill", "accepted")
    if named == "invoice number":
        with app.ledger.begin_transaction() as tx:
            record_document_sighting(tx, "numbered")
            tx.connection.exec_driver_sql("update candidates set invoice_number = ?", (name,))
    assert [story["document"]["document_sha256"] for story in list_document_histories(app, name)] == [hash_name("bill")]
