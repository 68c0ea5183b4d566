"""The gate lets no batch pass that was not checked completely."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pyarrow as pa
import pytest

from expectations import gate
from expectations.rule import Rule
from invoices.errors import ContractError

RULES = [Rule("A", "critical", "a"), Rule("B", "info", "b")]
CANDIDATES = pa.table({"invoice_id": ["i1", "i2"], "document_sha256": ["d1", "d2"], "extracted_by": ["einvoice"] * 2})
CHECKS = pa.table(
    {"invoice_id": ["i1", "i1", "i2", "i2"], "rule_id": ["A", "B"] * 2, "outcome": ["holds", "broken"] * 2}
)
EMPTY_ANSWERS = pa.table({"document_sha256": ["d3"], "reason_code": ["nothing_found"]})

OFFICIAL_FAILURES = pa.table({
    "invoice_id": ["i1"], "rule_id": ["BR-CO-10"], "severity": ["critical"], "message": ["sums"],
})  # fmt: skip


@dataclass(frozen=True)
class Batch:
    """Two documents with a candidate each, and one without."""

    candidates: pa.Table = field(default_factory=lambda: CANDIDATES)
    checks: pa.Table = field(default_factory=lambda: CHECKS)
    empty_answers: pa.Table = field(default_factory=lambda: EMPTY_ANSWERS)
    official_failures: pa.Table = field(default_factory=lambda: OFFICIAL_FAILURES)
    document_count: int = 3


def _replace_column(table: pa.Table, column: str, values: list[str | None]) -> pa.Table:
    return table.set_column(table.column_names.index(column), column, pa.array(values, pa.string()))


def test_a_complete_batch_passes() -> None:
    gate.validate_batch_input(Batch(), RULES)


def test_a_document_that_left_no_trace_stops_the_batch() -> None:
    with pytest.raises(ContractError, match="of 4 documents in the batch, 2 have candidates, 1 have none"):
        gate.validate_batch_input(replace(Batch(), document_count=4), RULES)


def test_zero_rows_where_rows_were_handed_in_stop_the_batch() -> None:
    batch = Batch()
    empty_batch = replace(batch, candidates=batch.candidates.slice(0, 0), checks=batch.checks.slice(0, 0))
    with pytest.raises(ContractError, match="of 3 documents in the batch, 0 have candidates"):
        gate.validate_batch_input(empty_batch, RULES)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ContractError, match="checks has no column 'outcome'"):
        gate.validate_batch_input(replace(Batch(), checks=Batch().checks.drop_columns(["outcome"])), RULES)


def test_a_null_in_a_required_key_is_counted() -> None:
    candidates = _replace_column(Batch().candidates, "invoice_id", [None, None])
    with pytest.raises(ContractError, match=r"candidates\.invoice_id is null in 2 of 2 rows"):
        gate.validate_batch_input(replace(Batch(), candidates=candidates), RULES)


def test_a_batch_without_rules_is_stopped() -> None:
    with pytest.raises(ContractError, match="0 rules are declared"):
        gate.validate_batch_input(Batch(), [])


def test_a_rule_that_is_declared_but_not_decided_is_named() -> None:
    with pytest.raises(ContractError, match=r"declared but not decided: \['C'\]"):
        gate.validate_batch_input(Batch(), [*RULES, Rule("C", "info", "c")])


def test_a_rule_that_is_decided_but_not_declared_is_named() -> None:
    with pytest.raises(ContractError, match=r"decided but not declared: \['B'\]"):
        gate.validate_batch_input(Batch(), RULES[:1])


def test_an_unknown_outcome_is_named() -> None:
    checks = _replace_column(Batch().checks, "outcome", ["holds", "fine", "holds", "holds"])
    with pytest.raises(ContractError, match="fine"):
        gate.validate_batch_input(replace(Batch(), checks=checks), RULES)


@pytest.mark.parametrize("rows", [[0, 1, 2], [0, 1, 2, 2], [0, 1, 2, 3, 3]])
def test_a_candidate_without_exactly_one_check_per_rule_stops_the_batch(rows: list[int]) -> None:
    with pytest.raises(ContractError, match="2 candidates and 2 rules, but"):
        gate.validate_batch_input(replace(Batch(), checks=Batch().checks.take(rows)), RULES)


def test_checks_of_other_candidates_stop_the_batch() -> None:
    checks = _replace_column(Batch().checks, "invoice_id", ["i1", "i1", "i9", "i9"])
    with pytest.raises(ContractError, match="the checks belong to other candidates"):
        gate.validate_batch_input(replace(Batch(), checks=checks), RULES)


def test_a_candidate_without_a_verdict_stops_the_batch() -> None:
    verdicts = pa.table({"invoice_id": ["i1"], "verdict": ["accepted"]})
    with pytest.raises(ContractError, match="2 candidates, 1 verdicts"):
        gate.validate_batch_output(Batch().candidates, verdicts)


def test_a_broken_rule_that_great_expectations_misses_stops_the_batch() -> None:
    with pytest.raises(
        ContractError, match="rule 'A': broken by 1 candidates in the checks, but by 0 in Great Expectations"
    ):
        gate.require_same_result("A", ["i1"], [])
