"""A gate around Great Expectations that fails closed: no rows, values or rules would count as a success there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

import pyarrow as pa

from expectations.rule import Rule
from invoices.errors import ContractError

CHECK_OUTCOMES = frozenset({"holds", "broken", "not_applicable"})
_REQUIRED_COLUMNS = {
    "candidates": ("invoice_id", "document_sha256", "extracted_by"),
    "checks": ("invoice_id", "rule_id", "outcome"),
    "empty_answers": ("document_sha256", "reason_code"),
    "official_failures": ("invoice_id", "rule_id", "severity", "message"),
}


class ValidationInput(Protocol):
    """A batch to validate: its candidates, their checks, and the documents without an invoice."""

    @property
    def candidates(self) -> pa.Table: ...
    @property
    def checks(self) -> pa.Table: ...
    @property
    def empty_answers(self) -> pa.Table: ...
    @property
    def official_failures(self) -> pa.Table: ...
    @property
    def document_count(self) -> int: ...


def validate_batch_input(batch: ValidationInput, rules: Sequence[Rule]) -> None:
    """Raise ContractError unless the batch has every document, and one check per candidate and rule."""
    for name, columns in _REQUIRED_COLUMNS.items():
        _require_columns(name, getattr(batch, name), columns)
    _require_every_document(batch)
    _require_declared_rules(batch.checks, rules)
    candidate_ids = _list_invoice_ids(batch.candidates)
    if len(set(candidate_ids)) != len(candidate_ids):
        raise ContractError(f"{len(candidate_ids)} candidates have only {len(set(candidate_ids))} different ids")
    _require_check_per_candidate_and_rule(batch.checks, candidate_ids, len(rules))


def validate_batch_output(candidates: pa.Table, verdicts: pa.Table) -> None:
    """Raise ContractError unless there is one verdict for each candidate, in the same order."""
    if _list_invoice_ids(candidates) != _list_invoice_ids(verdicts) or verdicts.column("verdict").null_count:
        raise ContractError(
            f"the verdicts do not match the candidates: {candidates.num_rows} candidates, {verdicts.num_rows} verdicts"
        )


def require_failures_of_broken_rules(
    failures: pa.Table, rule_id: str, severity: str, broken_invoices: Collection[str]
) -> None:
    """Raise ContractError unless exactly the candidates that break the rule of a severity have failures of it."""
    with_failures = {row["invoice_id"] for row in failures.to_pylist() if row["severity"] == severity}
    if with_failures != set(broken_invoices):
        raise ContractError(
            f"rule {rule_id!r}: broken by {len(broken_invoices)} candidates, "
            f"but {len(with_failures)} have failures of severity {severity!r}"
        )


def require_same_result(rule_id: str, broken_in_checks: Collection[str], broken_in_suite: Collection[str]) -> None:
    """Raise ContractError unless Great Expectations finds exactly the candidates whose checks are broken."""
    if set(broken_in_checks) != set(broken_in_suite):
        raise ContractError(
            f"rule {rule_id!r}: broken by {len(broken_in_checks)} candidates in the checks, "
            f"but by {len(broken_in_suite)} in Great Expectations"
        )


def _require_columns(table_name: str, table: pa.Table, columns: Iterable[str]) -> None:
    for column in columns:
        if column not in table.column_names:
            raise ContractError(f"{table_name} has no column {column!r}; its columns are {table.column_names!r}")
        if null_count := table.column(column).null_count:
            raise ContractError(f"{table_name}.{column} is null in {null_count} of {table.num_rows} rows")


def _require_every_document(batch: ValidationInput) -> None:
    with_candidates = set(batch.candidates.column("document_sha256").to_pylist())
    without_candidates = set(batch.empty_answers.column("document_sha256").to_pylist())
    if with_candidates & without_candidates or len(with_candidates | without_candidates) != batch.document_count:
        raise ContractError(
            f"of {batch.document_count} documents in the batch, {len(with_candidates)} have candidates, "
            f"{len(without_candidates)} have none, and {len(with_candidates & without_candidates)} are in both groups"
        )


def _require_declared_rules(checks: pa.Table, rules: Sequence[Rule]) -> None:
    declared_ids = [rule.rule_id for rule in rules]
    if not declared_ids or len(set(declared_ids)) != len(declared_ids):
        raise ContractError(f"{len(declared_ids)} rules are declared, {len(set(declared_ids))} of them different")
    decided_ids = set(checks.column("rule_id").to_pylist())
    if checks.num_rows and decided_ids != set(declared_ids):
        raise ContractError(
            f"rules declared but not decided: {sorted(set(declared_ids) - decided_ids)!r}; "
            f"decided but not declared: {sorted(decided_ids - set(declared_ids))!r}"
        )
    if unknown_outcomes := set(checks.column("outcome").to_pylist()) - CHECK_OUTCOMES:
        raise ContractError(f"unknown outcomes of checks: {sorted(unknown_outcomes)!r}")


def _require_check_per_candidate_and_rule(checks: pa.Table, candidate_ids: list[str], rule_count: int) -> None:
    pairs = set(zip(_list_invoice_ids(checks), checks.column("rule_id").to_pylist(), strict=True))
    if checks.num_rows != len(candidate_ids) * rule_count or len(pairs) != checks.num_rows:
        raise ContractError(
            f"{len(candidate_ids)} candidates and {rule_count} rules, "
            f"but {len(pairs)} different checks in {checks.num_rows} rows"
        )
    if candidate_ids and {invoice for invoice, _ in pairs} != set(candidate_ids):
        raise ContractError("the checks belong to other candidates")


def _list_invoice_ids(table: pa.Table) -> list[str]:
    return list(table.column("invoice_id").to_pylist())
