"""A small home with a document of each kind in the state that it has after a run; nothing is extracted for it."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from decimal import Decimal
from typing import Any

from flows.stages import load
from invoices.app import App
from invoices.ledger import Transaction
from invoices.ledger.documents import DocumentState, set_document_state
from invoices.ledger.extractions import ExtractionTerms, record_free_answer, record_intent, update_extraction
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.ledger.validations import Candidate, Finding, record_validation
from invoices.model import compute_extraction_id, compute_invoice_id, compute_sighting_id
from invoices.receipts.receipt_recorder import PUBLISHER
from invoices.run_report import RunReport
from transforms.loading.warehouse_tables import serialise_candidate, serialise_row

Row = dict[str, Any]


def hash_name(name: str) -> str:
    """Return the hash of the document of this name."""
    return hashlib.sha256(name.encode()).hexdigest()


def record_document_sighting(tx: Transaction, name: str, path: str | None = None) -> str:
    """Record a sighting of a document; return its hash."""
    sha256, location = hash_name(name), path or f"/in/{name}.pdf"
    record_sighting(
        tx,
        Sighting(
            compute_sighting_id("inbox", location, sha256), sha256, "application/pdf", len(name), "inbox", "folder",
            location, location.rpartition("/")[2], fingerprint="f",
        ),
    )  # fmt: skip
    return sha256


def build_candidate(name: str, verdict: str, **values: Any) -> Candidate:
    """Return a validated candidate with one line and one tax."""
    sha256 = hash_name(name)
    candidate_id = compute_invoice_id(sha256, 1)
    body: Row = {
        "invoice_id": candidate_id, "document_sha256": sha256, "ordinal": 1, "verdict": verdict,
        "extracted_by": "einvoice", "kind": "invoice", "direction": "expense", "invoice_number": f"R-{name}",
        "issued_on": dt.date(2026, 2, 28), "due_on": dt.date(2026, 3, 28), "supplier_name": "M\u00fcller & S\u00f6hne",
        "supplier_tax_id": "DE123456789", "supplier_country": "DE", "customer_name": "Us", "currency": "EUR",
        "net_amount": Decimal("100.1000"), "tax_amount": Decimal("19.0200"), "total_amount": Decimal("119.1200"),
        "payable_amount": Decimal("119.12"), "received_at": dt.datetime(2026, 3, 1, tzinfo=dt.UTC),
    } | values  # fmt: skip
    line = {
        "invoice_id": candidate_id, "line_number": 1, "description": "=1+1", "quantity": Decimal("3"),
        "unit_price_amount": Decimal("33.366667"), "net_amount": Decimal("100.10"), "tax_rate": Decimal("19"),
    }  # fmt: skip
    tax = {
        "invoice_id": candidate_id, "tax_number": 1, "tax_category": "S", "tax_rate": Decimal("19"),
        "taxable_amount": Decimal("100.10"), "tax_amount": Decimal("19.02"),
    }  # fmt: skip
    return Candidate(
        candidate_id, sha256, 1, verdict, body["invoice_number"],
        serialise_candidate(body, [serialise_row(line)], [serialise_row(tax)]), keys=(f"n-{name}", f"c-{name}"),
    )  # fmt: skip


def record_document_validation(tx: Transaction, name: str, verdict: DocumentState, *rules: str, **values: Any) -> None:
    """Record the answer for a document, the verdict on its candidate, and the state of the document."""
    sha256 = hash_name(name)
    record_free_answer(
        tx, compute_extraction_id(sha256, "einvoice", "1"), sha256, "einvoice", json.dumps({"for": name})
    )
    candidate = build_candidate(name, verdict, **values)
    findings = [Finding(candidate.invoice_id, sha256, rule, "critical", f"{rule} does not hold.") for rule in rules]
    record_validation(tx, [candidate], findings, "rules", (PUBLISHER,))
    set_document_state(
        tx, sha256, stage="done", state=verdict, reason_code=rules[0] if rules else verdict,
        reason=f"{rules[0]} does not hold." if rules else "Every rule that decides held.",
    )  # fmt: skip


def add_documents_of_each_kind(app: App) -> None:
    """Add one document of each kind to the ledger."""
    with app.ledger.begin_transaction() as tx:
        for name in ("bill", "credit", "wrong", "twice", "order", "scan"):
            record_document_sighting(tx, name)
        record_document_sighting(tx, "bill", "/in/again/bill.pdf")
        record_document_validation(tx, "bill", "accepted")
        record_document_validation(
            tx, "credit", "accepted", kind="credit_note", total_amount=Decimal("19.12"), currency="EUR"
        )
        record_document_validation(tx, "wrong", "quarantined", "BR-CO-15", "BR-16", total_amount=Decimal("1.00"))
        record_document_validation(tx, "twice", "duplicate", "DUPLICATE-CONTENT")
        set_document_state(
            tx, hash_name("order"), stage="done", state="not_invoice", reason_code="order", reason="It is an order."
        )
        set_document_state(
            tx, hash_name("scan"), stage="extract_remote", state="waiting", reason_code="submitted",
            reason="Submitted to smartbills.com; not answered yet.",
        )  # fmt: skip
        record_intent(tx, ExtractionTerms("smartbills_com"), "x-scan", hash_name("scan"), pages=1, run_id="a run")
        update_extraction(
            tx, "x-scan", "submitted", remote_id="job-7", submitted_at=tx.timestamp, pages_charged=1,
            possible_double_charge=True,
        )  # fmt: skip


def load_warehouse(app: App) -> RunReport:
    """Load the changes into the warehouse, as a run does."""
    report = RunReport()
    for batch in load.iter_pending_batches(app, report):
        load.process_batch(app, batch, report)
    return report
