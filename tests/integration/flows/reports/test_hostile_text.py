"""Text from documents and vendors reaches the terminal only as printable text on one line."""

from __future__ import annotations

import os

import pytest

from flows.reports.history import format_history, list_document_histories
from flows.reports.run_summary import format_run_summary
from invoices.app import App
from invoices.ledger.outbox import list_unpublished_receipts, update_receipt
from invoices.receipts.receipt_recorder import PUBLISHER
from invoices.run_report import RunReport
from tests.integration.populated_app import hash_name, record_document_sighting, record_document_validation

HOSTILE_TEXT = "EUR\n2026-01-01  now accepted: forged\x9b2J\u202e"


def add_hostile_document(app: App, number: str) -> None:
    """Record a document whose currency and findings contain control characters."""
    with app.ledger.begin_transaction() as tx:
        record_document_sighting(tx, "bill")
        record_document_validation(
            tx, "bill", "quarantined", "CURRENCY-KNOWN", currency=HOSTILE_TEXT, invoice_number=number
        )


def test_a_history_has_no_line_break_or_control_character_from_a_document(app: App) -> None:
    add_hostile_document(app, "R-1")
    text = format_history(list_document_histories(app, hash_name("bill"))[0])
    assert all(line.isprintable() for line in text.splitlines())
    assert not [line for line in text.splitlines() if line.startswith("2026-01-01  now accepted")]
    assert "EUR\\n2026-01-01" in text


def test_a_history_stays_readable_with_very_long_texts(app: App) -> None:
    add_hostile_document(app, "x" * 100_000)
    assert max(map(len, format_history(list_document_histories(app, hash_name("bill"))[0]).splitlines())) < 2_000


def test_the_summary_shows_each_remark_and_reason_on_one_line(app: App) -> None:
    with app.ledger.begin_transaction() as tx:
        record_document_sighting(tx, "bill")
        record_document_validation(tx, "bill", "accepted")
        (receipt,) = list_unpublished_receipts(tx.connection, PUBLISHER, 10)
        update_receipt(tx, receipt, "waiting", reason_code="no_customer", reason=HOSTILE_TEXT)
    text = format_run_summary(app, RunReport(remarks=[HOSTILE_TEXT]))
    assert all(line.isprintable() for line in text.splitlines())
    assert text.count("EUR\\n2026-01-01") == 2


def test_a_file_name_that_is_not_unicode_is_found(app: App) -> None:
    with app.ledger.begin_transaction() as tx:
        record_document_sighting(tx, "bill", "/in/R\\xff.pdf")
    (history,) = list_document_histories(app, os.fsdecode(b"R\xff.pdf"))
    assert history["document"]["document_sha256"] == hash_name("bill")


@pytest.mark.parametrize("name_kind", ["invoice number", "file name"])
def test_a_whole_name_has_precedence_over_the_beginning_of_another_hash(app: App, name_kind: str) -> None:
    with app.ledger.begin_transaction() as tx:
        record_document_sighting(tx, "other")
        name = hash_name("other")[:6]
        record_document_sighting(tx, "bill", f"/in/{name}" if name_kind == "file name" else None)
        record_document_validation(tx, "bill", "accepted")
    if name_kind == "invoice number":
        with app.ledger.begin_transaction() as tx:
            record_document_sighting(tx, "numbered")
            tx.connection.exec_driver_sql("update candidates set invoice_number = ?", (name,))
    assert [history["document"]["document_sha256"] for history in list_document_histories(app, name)] == [
        hash_name("bill")
    ]
