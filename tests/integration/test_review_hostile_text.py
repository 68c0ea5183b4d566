"""What came in never reaches the terminal as anything but text on one line."""

from __future__ import annotations

import os

import pytest
from prepared_house import judge, see, sha

from flows.explaining import as_text, stories
from flows.telling import summary
from invoices.house import House
from invoices.ledger.outbox import move, outgoing
from invoices.receipts.publishing import PUBLISHER
from invoices.report import Report

HOSTILE = "EUR\n2026-01-01  now accepted: forged\x9b2J\u202e"


def hostile(house: House, number: str) -> None:
    """Put a document into the house whose currency and findings are not only text."""
    with house.ledger.transaction() as tx:
        see(tx, "bill")
        judge(tx, "bill", "quarantined", "CURRENCY-KNOWN", currency=HOSTILE, invoice_number=number)


def test_a_story_has_no_line_and_no_control_that_a_document_wrote(house: House) -> None:
    hostile(house, "R-1")
    text = as_text(stories(house, sha("bill"))[0])
    assert all(line.isprintable() for line in text.splitlines())
    assert not [line for line in text.splitlines() if line.startswith("2026-01-01  now accepted")]
    assert "EUR\\n2026-01-01" in text


def test_a_story_stays_readable_whatever_the_length_of_a_text(house: House) -> None:
    hostile(house, "x" * 100_000)
    assert max(map(len, as_text(stories(house, sha("bill"))[0]).splitlines())) < 2_000


def test_the_summary_tells_remarks_and_reasons_on_one_line_each(house: House) -> None:
    with house.ledger.transaction() as tx:
        see(tx, "bill")
        judge(tx, "bill", "accepted")
        (receipt,) = outgoing(tx.connection, PUBLISHER, 10)
        move(tx, receipt, "waiting", reason_code="no_customer", reason=HOSTILE)
    text = summary(house, Report(remarks=[HOSTILE]))
    assert all(line.isprintable() for line in text.splitlines())
    assert text.count("EUR\\n2026-01-01") == 2


def test_a_name_that_is_no_unicode_is_found_as_it_is_shown(house: House) -> None:
    with house.ledger.transaction() as tx:
        see(tx, "bill", "/in/R\\xff.pdf")
    (told,) = stories(house, os.fsdecode(b"R\xff.pdf"))
    assert told["document"]["document_sha256"] == sha("bill")


@pytest.mark.parametrize("named", ["invoice number", "file name"])
def test_a_whole_name_goes_before_the_beginning_of_another_documents_hash(house: House, named: str) -> None:
    with house.ledger.transaction() as tx:
        see(tx, "other")
        name = sha("other")[:6]
        see(tx, "bill", f"/in/{name}" if named == "file name" else None)
        judge(tx, "bill", "accepted")
    if named == "invoice number":
        with house.ledger.transaction() as tx:
            see(tx, "numbered")
            tx.connection.exec_driver_sql("update candidates set invoice_number = ?", (name,))
    assert [story["document"]["document_sha256"] for story in stories(house, name)] == [sha("bill")]
