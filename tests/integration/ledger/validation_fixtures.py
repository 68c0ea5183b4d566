"""Candidates and findings to record, and the documents that they are about."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from invoices.ledger import Ledger, Transaction
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.ledger.validations import Candidate, Finding, record_validation

DOCUMENT = "d" * 64
PUBLISHERS = ("smartbills_io",)


def build_candidate(invoice: str, verdict: str = "accepted", **values: Any) -> Candidate:
    body = json.dumps({"candidate": {"invoice_id": invoice}, "lines": [], "taxes": []})
    defaults: dict[str, Any] = {
        "document_sha256": DOCUMENT, "ordinal": 1, "invoice_number": f"No {invoice}", "body": body,
        "keys": (f"n-{invoice}", f"c-{invoice}"),
    } | values  # fmt: skip
    return Candidate(invoice_id=invoice, verdict=verdict, **defaults)


def build_finding(invoice: str | None, rule: str = "BR-CO-15") -> Finding:
    return Finding(invoice, DOCUMENT, rule, "critical", f"{rule} does not hold.")


def validate_candidates(ledger: Ledger, candidates: Iterable[Candidate], findings: Iterable[Finding] = ()) -> None:
    with ledger.begin_transaction() as tx:
        record_validation(tx, list(candidates), list(findings), "rules", PUBLISHERS)


def record_sightings(tx: Transaction, *documents: str) -> None:
    for sha256 in documents:
        record_sighting(tx, Sighting(sha256[:32], sha256, "application/pdf", 1, "inbox", "folder", f"/{sha256}"))
