"""The gate around Great Expectations, which calls no rows, no values and no rules a success: this one fails closed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

import pyarrow as pa

from expectations.rules import Rule
from invoices.errors import ContractError

OUTCOMES = frozenset({"holds", "broken", "not_applicable"})
_REQUIRED = {
    "candidates": ("invoice_id", "document_sha256", "extracted_by"),
    "checks": ("invoice_id", "rule_id", "outcome"),
    "empty": ("document_sha256", "reason_code"),
}


class Shaped(Protocol):
    """A batch to judge: its candidates, their checks, and the documents in which there is no invoice."""

    @property
    def candidates(self) -> pa.Table: ...
    @property
    def checks(self) -> pa.Table: ...
    @property
    def empty(self) -> pa.Table: ...
    @property
    def document_count(self) -> int: ...


def let_in(shaped: Shaped, rules: Sequence[Rule]) -> None:
    """Raise ContractError unless each document is accounted for, and each candidate was held to each rule once."""
    for name, columns in _REQUIRED.items():
        _demand_columns(name, getattr(shaped, name), columns)
    _demand_documents(shaped)
    _demand_rules(shaped.checks, rules)
    candidates = _ids(shaped.candidates)
    if len(set(candidates)) != len(candidates):
        raise ContractError(f"{len(candidates) - len(set(candidates))} candidates have the id of another")
    _demand_every_pair(shaped.checks, candidates, len(rules))


def let_out(candidates: pa.Table, verdicts: pa.Table) -> None:
    """Raise ContractError unless exactly the candidates that came in go out, each with one verdict."""
    if _ids(candidates) != _ids(verdicts) or verdicts.column("verdict").null_count:
        raise ContractError(f"{candidates.num_rows} candidates came to be judged, {verdicts.num_rows} verdicts go out")


def demand_agreement(rule_id: str, broken: Collection[str], found: Collection[str]) -> None:
    """Raise ContractError unless Great Expectations found exactly the rows that the checks call broken."""
    if set(broken) != set(found):
        raise ContractError(f"rule {rule_id!r}: {len(broken)} candidates break it, {len(found)} were found")


def _demand_columns(name: str, table: pa.Table, columns: Iterable[str]) -> None:
    for column in columns:
        if column not in table.column_names:
            raise ContractError(f"{name} has no column {column!r}, only {table.column_names!r}")
        if absent := table.column(column).null_count:
            raise ContractError(f"{name}.{column} is null in {absent} of {table.num_rows} rows")


def _demand_documents(shaped: Shaped) -> None:
    with_invoice = set(shaped.candidates.column("document_sha256").to_pylist())
    without = set(shaped.empty.column("document_sha256").to_pylist())
    if with_invoice & without or len(with_invoice | without) != shaped.document_count:
        raise ContractError(
            f"{shaped.document_count} documents were handed in, {len(with_invoice)} have candidates and "
            f"{len(without)} have none"
        )


def _demand_rules(checks: pa.Table, rules: Sequence[Rule]) -> None:
    declared = [rule.rule_id for rule in rules]
    if not declared or len(set(declared)) != len(declared):
        raise ContractError("no rules are declared, or one twice")
    decided = set(checks.column("rule_id").to_pylist())
    if checks.num_rows and decided != set(declared):
        raise ContractError(
            f"declared but not decided: {sorted(set(declared) - decided)!r}; "
            f"decided but not declared: {sorted(decided - set(declared))!r}"
        )
    if strange := set(checks.column("outcome").to_pylist()) - OUTCOMES:
        raise ContractError(f"a check has the outcome {sorted(strange)!r}")


def _demand_every_pair(checks: pa.Table, candidates: list[str], rule_count: int) -> None:
    pairs = set(zip(_ids(checks), checks.column("rule_id").to_pylist(), strict=True))
    if checks.num_rows != len(candidates) * rule_count or len(pairs) != checks.num_rows:
        raise ContractError(f"{len(candidates)} candidates and {rule_count} rules, but {checks.num_rows} checks")
    if candidates and {invoice for invoice, _ in pairs} != set(candidates):
        raise ContractError("the checks are not those of the candidates")


def _ids(table: pa.Table) -> list[str]:
    return list(table.column("invoice_id").to_pylist())
