"""Verdicts into the ledger: candidates, findings, and where each document of a judged batch stands."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, cast

from expectations.judging import Judged
from invoices.ledger import Transaction
from invoices.ledger.documents import State, settle
from invoices.ledger.judgements import Candidate, Finding, record_judgement
from invoices.receipts.publishing import PUBLISHER
from transforms.loading.rows import as_body
from transforms.shaping import Shaped

WORST_FIRST = ("quarantined", "review", "accepted", "duplicate")  # what a document with several invoices stands for
SEVEREST_FIRST = ("critical", "warning", "info")
ACCEPTED = "Every rule that decides held."

Row = Mapping[str, Any]


def record(tx: Transaction, shaped: Shaped, judged: Judged) -> Counter[str]:
    """Write a judged batch; return how many candidates got which verdict."""
    verdicts = {row["invoice_id"]: row["verdict"] for row in judged.verdicts.to_pylist()}
    findings = [Finding(**row) for row in judged.findings.to_pylist()]
    candidates = shaped.candidates.to_pylist()
    record_judgement(tx, _as_candidates(shaped, candidates, verdicts), findings, "rules", (PUBLISHER,))
    _settle_judged(tx, candidates, verdicts, findings)
    _settle_empty(tx, shaped.empty.to_pylist())
    return Counter(verdicts.values())


def _as_candidates(shaped: Shaped, candidates: Sequence[Row], verdicts: Mapping[str, str]) -> list[Candidate]:
    lines, taxes = _by_invoice(shaped.lines.to_pylist()), _by_invoice(shaped.taxes.to_pylist())
    keys = {row["invoice_id"]: row for row in shaped.keys.to_pylist()}
    return [
        Candidate(
            invoice_id=row["invoice_id"],
            document_sha256=row["document_sha256"],
            ordinal=row["ordinal"],
            verdict=verdicts[row["invoice_id"]],
            number_key=keys.get(row["invoice_id"], {}).get("number_key"),
            content_key=keys.get(row["invoice_id"], {}).get("content_key"),
            invoice_number=row["invoice_number"],
            body=as_body(row, lines[row["invoice_id"]], taxes[row["invoice_id"]]),
        )
        for row in candidates
    ]


def _settle_judged(
    tx: Transaction, candidates: Sequence[Row], verdicts: Mapping[str, str], findings: Sequence[Finding]
) -> None:
    of_document: dict[str, list[str]] = defaultdict(list)
    for row in candidates:
        of_document[row["document_sha256"]].append(row["invoice_id"])
    of_invoice: dict[str | None, list[Finding]] = defaultdict(list)
    for finding in findings:
        of_invoice[finding.invoice_id].append(finding)
    for document, invoices in of_document.items():
        decisive = min(invoices, key=lambda invoice: WORST_FIRST.index(verdicts[invoice]))
        state = cast(State, verdicts[decisive])
        reason_code, reason = _reason(state, of_invoice[decisive])
        settle(tx, document, stage="done", state=state, reason_code=reason_code, reason=reason)


def _reason(state: State, findings: Sequence[Finding]) -> tuple[str, str]:
    """Return why: the severest finding, or for a duplicate the one that says of what."""
    if state == "accepted" or not findings:
        return state, ACCEPTED
    told = sorted(findings, key=lambda f: SEVEREST_FIRST.index(f.severity))
    if state == "duplicate":
        told = sorted(findings, key=lambda f: not f.rule_id.startswith("DUPLICATE"))
    return told[0].rule_id, told[0].message


def _settle_empty(tx: Transaction, empty: Sequence[Row]) -> None:
    for row in empty:
        state: State = "not_invoice" if row["reason_code"] == "nothing_found" else "quarantined"
        settle(
            tx, row["document_sha256"], stage="done", state=state, reason_code=row["reason_code"], reason=row["reason"]
        )


def _by_invoice(rows: Sequence[Row]) -> Mapping[str, list[Row]]:
    grouped: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row["invoice_id"]].append(row)
    return grouped
