"""Record the validation of a batch in the ledger: candidates, verdicts, findings and document states."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, cast

from expectations.validation import ValidationResult
from invoices.ledger import Transaction
from invoices.ledger.documents import DocumentState, set_document_state
from invoices.ledger.validations import Candidate, Finding, record_validation
from invoices.receipts.receipt_recorder import PUBLISHER
from transforms.candidate_batch import CandidateBatch
from transforms.loading.warehouse_tables import serialise_candidate

VERDICTS_WORST_FIRST = ("quarantined", "review", "accepted", "duplicate")  # of several invoices in a document
SEVERITIES_WORST_FIRST = ("critical", "warning", "info")
ACCEPTED_REASON = "No critical or warning rule is broken."

Row = Mapping[str, Any]


def record_verdicts(tx: Transaction, candidate_batch: CandidateBatch, validation: ValidationResult) -> Counter[str]:
    """Record a validated batch; return the number of candidates by verdict."""
    verdicts = {row["invoice_id"]: row["verdict"] for row in validation.verdicts.to_pylist()}
    findings = [Finding(**row) for row in validation.findings.to_pylist()]
    candidates = candidate_batch.candidates.to_pylist()
    record_validation(tx, _build_candidates(candidate_batch, candidates, verdicts), findings, "rules", (PUBLISHER,))
    _set_states_of_validated_documents(tx, candidates, verdicts, findings)
    for row in candidate_batch.empty_answers.to_pylist():
        state: DocumentState = "not_invoice" if row["reason_code"] == "nothing_found" else "quarantined"
        set_document_state(
            tx, row["document_sha256"], stage="done", state=state, reason_code=row["reason_code"], reason=row["reason"]
        )
    return Counter(verdicts.values())


def _build_candidates(
    candidate_batch: CandidateBatch, candidate_rows: Sequence[Row], verdicts: Mapping[str, str]
) -> list[Candidate]:
    lines_by_invoice = _group_by_invoice(candidate_batch.lines.to_pylist())
    taxes_by_invoice = _group_by_invoice(candidate_batch.taxes.to_pylist())
    keys_by_invoice = {row["invoice_id"]: row for row in candidate_batch.candidate_keys.to_pylist()}
    return [
        Candidate(
            invoice_id=row["invoice_id"],
            document_sha256=row["document_sha256"],
            ordinal=row["ordinal"],
            verdict=verdicts[row["invoice_id"]],
            number_key=keys_by_invoice.get(row["invoice_id"], {}).get("number_key"),
            content_key=keys_by_invoice.get(row["invoice_id"], {}).get("content_key"),
            invoice_number=row["invoice_number"],
            body=serialise_candidate(row, lines_by_invoice[row["invoice_id"]], taxes_by_invoice[row["invoice_id"]]),
        )
        for row in candidate_rows
    ]


def _set_states_of_validated_documents(
    tx: Transaction, candidate_rows: Sequence[Row], verdicts: Mapping[str, str], findings: Sequence[Finding]
) -> None:
    invoices_by_document: dict[str, list[str]] = defaultdict(list)
    for row in candidate_rows:
        invoices_by_document[row["document_sha256"]].append(row["invoice_id"])
    findings_by_invoice: dict[str | None, list[Finding]] = defaultdict(list)
    for finding in findings:
        findings_by_invoice[finding.invoice_id].append(finding)
    for document, invoices in invoices_by_document.items():
        decisive_invoice = min(invoices, key=lambda invoice: VERDICTS_WORST_FIRST.index(verdicts[invoice]))
        state = cast(DocumentState, verdicts[decisive_invoice])
        reason_code, reason = _choose_reason(state, findings_by_invoice[decisive_invoice])
        set_document_state(tx, document, stage="done", state=state, reason_code=reason_code, reason=reason)


def _choose_reason(state: DocumentState, findings: Sequence[Finding]) -> tuple[str, str]:
    """Return reason code and reason: of the severest finding, or for a duplicate of the one that names the other."""
    if state == "accepted" or not findings:
        return state, ACCEPTED_REASON
    sorted_findings = sorted(findings, key=lambda finding: SEVERITIES_WORST_FIRST.index(finding.severity))
    if state == "duplicate":
        sorted_findings = sorted(findings, key=lambda finding: not finding.rule_id.startswith("DUPLICATE"))
    return sorted_findings[0].rule_id, sorted_findings[0].message


def _group_by_invoice(rows: Sequence[Row]) -> Mapping[str, list[Row]]:
    rows_by_invoice: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        rows_by_invoice[row["invoice_id"]].append(row)
    return rows_by_invoice
