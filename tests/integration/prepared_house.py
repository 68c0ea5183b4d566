"""A small house in which every kind of document stands where it stands after a run; nothing is read or asked for it."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from decimal import Decimal
from typing import Any

from flows.stages import load
from invoices.house import House
from invoices.ledger import Transaction
from invoices.ledger.documents import State, settle
from invoices.ledger.extractions import Terms, advance, intend, record_answer
from invoices.ledger.judgements import Candidate, Finding, record_judgement
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.model import extraction_id, invoice_id, sighting_id
from invoices.receipts.publishing import PUBLISHER
from invoices.report import Report
from transforms.loading.rows import as_body

Row = dict[str, Any]


def sha(name: str) -> str:
    """Return the hash of the document that is named so here."""
    return hashlib.sha256(name.encode()).hexdigest()


def see(tx: Transaction, name: str, place: str | None = None) -> str:
    """Record that a document was seen; return its hash."""
    document, location = sha(name), place or f"/in/{name}.pdf"
    record_sighting(
        tx,
        Sighting(
            sighting_id("inbox", location, document), document, "application/pdf", len(name), "inbox", "folder",
            location, location.rpartition("/")[2], fingerprint="f",
        ),
    )  # fmt: skip
    return document


def candidate(name: str, verdict: str, **values: Any) -> Candidate:
    """Return a judged candidate with one line and one tax."""
    document = sha(name)
    identity = invoice_id(document, 1)
    body: Row = {
        "invoice_id": identity, "document_sha256": document, "ordinal": 1, "verdict": verdict,
        "extracted_by": "einvoice", "kind": "invoice", "direction": "expense", "invoice_number": f"R-{name}",
        "issued_on": dt.date(2026, 2, 28), "due_on": dt.date(2026, 3, 28), "supplier_name": "M\u00fcller & S\u00f6hne",
        "supplier_tax_id": "DE123456789", "supplier_country": "DE", "customer_name": "Us", "currency": "EUR",
        "net_amount": Decimal("100.1000"), "tax_amount": Decimal("19.0200"), "total_amount": Decimal("119.1200"),
        "payable_amount": Decimal("119.12"), "received_at": dt.datetime(2026, 3, 1, tzinfo=dt.UTC),
    } | values  # fmt: skip
    line = {
        "invoice_id": identity, "line_number": 1, "description": "=1+1", "quantity": Decimal("3"),
        "unit_price_amount": Decimal("33.366667"), "net_amount": Decimal("100.10"), "tax_rate": Decimal("19"),
    }  # fmt: skip
    tax = {
        "invoice_id": identity, "tax_number": 1, "tax_category": "S", "tax_rate": Decimal("19"),
        "taxable_amount": Decimal("100.10"), "tax_amount": Decimal("19.02"),
    }  # fmt: skip
    return Candidate(
        identity, document, 1, verdict, f"n-{name}", f"c-{name}", body["invoice_number"], as_body(body, [line], [tax])
    )


def judge(tx: Transaction, name: str, verdict: State, *rules: str, **values: Any) -> None:
    """Record the answer about a document, the verdict on its candidate and where the document stands."""
    document = sha(name)
    record_answer(tx, extraction_id(document, "einvoice", "1"), document, "einvoice", json.dumps({"for": name}))
    judged = candidate(name, verdict, **values)
    broken = [Finding(judged.invoice_id, document, rule, "critical", f"{rule} does not hold.") for rule in rules]
    record_judgement(tx, [judged], broken, "rules", (PUBLISHER,))
    settle(
        tx, document, stage="done", state=verdict, reason_code=rules[0] if rules else verdict,
        reason=f"{rules[0]} does not hold." if rules else "Every rule that decides held.",
    )  # fmt: skip


def fill(house: House) -> None:
    """Put one document of each kind into the ledger."""
    with house.ledger.transaction() as tx:
        for name in ("bill", "credit", "wrong", "twice", "order", "scan"):
            see(tx, name)
        see(tx, "bill", "/in/again/bill.pdf")
        judge(tx, "bill", "accepted")
        judge(tx, "credit", "accepted", kind="credit_note", total_amount=Decimal("19.12"), currency="EUR")
        judge(tx, "wrong", "quarantined", "BR-CO-15", "BR-16", total_amount=Decimal("1.00"))
        judge(tx, "twice", "duplicate", "DUPLICATE-CONTENT")
        settle(tx, sha("order"), stage="done", state="not_invoice", reason_code="order", reason="It is an order.")
        settle(
            tx, sha("scan"), stage="ask", state="waiting", reason_code="submitted",
            reason="Submitted to smartbills.com; not answered yet.",
        )  # fmt: skip
        intend(tx, Terms("smartbills_com"), "x-scan", sha("scan"), pages=1, run="a run")
        advance(
            tx, "x-scan", "submitted", remote_id="job-7", submitted_at=tx.at, pages_charged=1,
            possible_double_charge=True,
        )  # fmt: skip


def bring_to_the_warehouse(house: House) -> Report:
    """Load what changed, as a run would."""
    report = Report()
    for batch in load.pending(house, report):
        load.work(house, batch, report)
    return report
