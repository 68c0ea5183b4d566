"""Record the validation of a batch in the ledger: candidates, verdicts, findings and document states."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa

from expectations.validation import ValidationResult
from invoices.ledger import Transaction
from invoices.ledger.documents import DocumentState, set_document_state
from invoices.ledger.validations import DECIDED_BY_RULES, Candidate, Finding, record_validation
from invoices.receipts.receipt_recorder import PUBLISHER
from transforms.candidate_batch import CandidateBatch
from transforms.loading.warehouse_tables import serialise_candidate, serialise_row

VERDICTS_WORST_FIRST = ("quarantined", "review", "accepted", "duplicate")  # of several invoices in a document
SEVERITIES_WORST_FIRST = ("critical", "warning", "info")
ACCEPTED_REASON = "No critical or warning rule is broken."
ROWS_PER_CHUNK = 1_000  # of an Arrow table as Python values at a time

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DocumentOutcome:
    """The state of a document, and why."""

    document_sha256: str
    state: DocumentState
    reason_code: str
    reason: str


@dataclass(frozen=True, slots=True)
class ValidatedSlice:
    """A validated slice of a batch, in little memory: what its candidates, findings and documents are recorded as."""

    candidates: list[Candidate]
    findings: pa.Table
    outcomes: list[DocumentOutcome]


def build_validated_slice(candidate_batch: CandidateBatch, validation: ValidationResult) -> ValidatedSlice:
    """Return what is to be recorded about a slice, or about a whole batch."""
    verdicts = {row["invoice_id"]: row["verdict"] for row in validation.verdicts.to_pylist()}
    candidates = _build_candidates(candidate_batch, verdicts)
    outcomes = _decide_document_outcomes(candidates, validation.findings)
    for row in candidate_batch.empty_answers.to_pylist():
        state: DocumentState = "not_invoice" if row["reason_code"] == "nothing_found" else "quarantined"
        outcomes.append(DocumentOutcome(row["document_sha256"], state, row["reason_code"], row["reason"]))
    columns = {  # many candidates break the same rules with the same messages
        name: validation.findings[name] if name == "invoice_id" else validation.findings[name].dictionary_encode()
        for name in validation.findings.column_names
    }
    return ValidatedSlice(candidates, pa.table(columns), outcomes)


def record_validated_slices(tx: Transaction, slices: Sequence[ValidatedSlice]) -> Counter[str]:
    """Record the slices of a validated batch; return the number of candidates by verdict.

    A document that is in several slices gets the worst of its states.
    """
    worst_outcomes: dict[str, DocumentOutcome] = {}
    for part in slices:
        findings = [Finding(**row) for row in part.findings.to_pylist()]
        record_validation(tx, part.candidates, findings, DECIDED_BY_RULES, (PUBLISHER,))
        for outcome in part.outcomes:
            earlier = worst_outcomes.setdefault(outcome.document_sha256, outcome)
            if _rank_state(outcome.state) < _rank_state(earlier.state):
                worst_outcomes[outcome.document_sha256] = outcome
    for outcome in worst_outcomes.values():
        set_document_state(
            tx, outcome.document_sha256, stage="done", state=outcome.state, reason_code=outcome.reason_code,
            reason=outcome.reason,
        )  # fmt: skip
    return Counter(candidate.verdict for part in slices for candidate in part.candidates)


def _rank_state(state: DocumentState) -> int:
    return VERDICTS_WORST_FIRST.index(state) if state in VERDICTS_WORST_FIRST else len(VERDICTS_WORST_FIRST)


def _build_candidates(candidate_batch: CandidateBatch, verdicts: Mapping[str, str]) -> list[Candidate]:
    lines_by_invoice = _serialise_rows_by_invoice(candidate_batch.lines)
    taxes_by_invoice = _serialise_rows_by_invoice(candidate_batch.taxes)
    keys_by_invoice: dict[str, list[str]] = defaultdict(list)
    for row in candidate_batch.candidate_keys.to_pylist():
        keys_by_invoice[row["invoice_id"]].append(row["key"])
    originals = {row["invoice_id"]: row["duplicate_of"] for row in candidate_batch.duplicates.to_pylist()}
    return [
        Candidate(
            invoice_id=row["invoice_id"],
            document_sha256=row["document_sha256"],
            ordinal=row["ordinal"],
            verdict=verdicts[row["invoice_id"]],
            invoice_number=row["invoice_number"],
            body=serialise_candidate(
                row, lines_by_invoice.get(row["invoice_id"], ()), taxes_by_invoice.get(row["invoice_id"], ())
            ),
            duplicate_of=originals.get(row["invoice_id"]),
            keys=tuple(keys_by_invoice[row["invoice_id"]]),
        )
        for row in candidate_batch.candidates.to_pylist()
    ]


def _serialise_rows_by_invoice(table: pa.Table) -> Mapping[str, list[str]]:
    """Return the JSON text of each row by invoice, with few rows as Python values at a time."""
    texts_by_invoice: dict[str, list[str]] = defaultdict(list)
    for chunk in table.to_batches(max_chunksize=ROWS_PER_CHUNK):
        for row in chunk.to_pylist():
            texts_by_invoice[row["invoice_id"]].append(serialise_row(row))
    return texts_by_invoice


def _decide_document_outcomes(candidates: Iterable[Candidate], findings: pa.Table) -> list[DocumentOutcome]:
    """Return the outcome of each document: the verdict of its worst candidate, and the reason of that one."""
    candidates_by_document: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        candidates_by_document[candidate.document_sha256].append(candidate)
    decisive_candidates = [
        min(group, key=lambda candidate: VERDICTS_WORST_FIRST.index(candidate.verdict))
        for group in candidates_by_document.values()
    ]
    findings_by_invoice: dict[str, list[Row]] = {candidate.invoice_id: [] for candidate in decisive_candidates}
    for chunk in findings.to_batches(max_chunksize=ROWS_PER_CHUNK):
        for row in chunk.to_pylist():
            if row["invoice_id"] in findings_by_invoice:
                findings_by_invoice[row["invoice_id"]].append(row)
    return [
        DocumentOutcome(
            candidate.document_sha256,
            cast(DocumentState, candidate.verdict),
            *_choose_reason(candidate.verdict, findings_by_invoice[candidate.invoice_id]),
        )
        for candidate in decisive_candidates
    ]


def _choose_reason(verdict: str, findings: Sequence[Row]) -> tuple[str, str]:
    """Return reason code and reason: of the severest finding, or for a duplicate of the one that names the other."""
    if verdict == "accepted" or not findings:
        return verdict, ACCEPTED_REASON
    sorted_findings = sorted(findings, key=lambda finding: SEVERITIES_WORST_FIRST.index(finding["severity"]))
    if verdict == "duplicate":
        sorted_findings = sorted(findings, key=lambda finding: not finding["rule_id"].startswith("DUPLICATE"))
    return sorted_findings[0]["rule_id"], sorted_findings[0]["message"]
