"""Validate candidates: accepted, review, quarantined or duplicate, with the broken rules as findings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from expectations import candidate_lines, candidate_taxes, candidates, gate, official_rules
from expectations.rule import Rule
from invoices.errors import ContractError

if TYPE_CHECKING:
    import pandas as pd

RULE_MODULES = (candidates, candidate_lines, candidate_taxes, official_rules)
RULES: Mapping[str, Rule] = {rule.rule_id: rule for rule_module in RULE_MODULES for rule in rule_module.RULES}
CRITICAL_RULE_IDS = frozenset(rule.rule_id for rule in RULES.values() if rule.severity == "critical")
WARNING_RULE_IDS = frozenset(rule.rule_id for rule in RULES.values() if rule.severity == "warning")

VERDICTS_SCHEMA = pa.schema([("invoice_id", pa.string()), ("verdict", pa.string())])
FINDINGS_SCHEMA = pa.schema([
    ("invoice_id", pa.string()),
    ("document_sha256", pa.string()),
    ("rule_id", pa.string()),
    ("severity", pa.string()),
    ("message", pa.string()),
])  # fmt: skip
_SEVERITIES_WORST_FIRST = ("critical", "warning", "info")


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """One row per candidate, in order, in ``verdicts`` (``VERDICTS_SCHEMA``); one per broken rule in ``findings``."""

    verdicts: pa.Table
    findings: pa.Table


def validate_candidates(batch: gate.ValidationInput) -> ValidationResult:
    """Return the verdicts and findings of a batch.

    A broken critical rule quarantines a candidate. Otherwise, the content of an earlier invoice makes it a duplicate,
    a broken warning sends it to review, and without either it is accepted.

    Raises:
        ContractError: the checks do not cover every candidate and rule, or a rule could not be checked; there are no
            verdicts then.
    """
    gate.validate_batch_input(batch, list(RULES.values()))
    broken_invoices_by_rule = _list_broken_invoices_by_rule(batch) if batch.candidates.num_rows else {}
    findings = list(_build_findings(batch, broken_invoices_by_rule))
    severities_by_invoice: defaultdict[str, set[str]] = defaultdict(set)
    for finding in findings:
        rule = RULES.get(finding["rule_id"])
        severities_by_invoice[finding["invoice_id"]].add((rule and rule.verdict) or finding["severity"])
    invoice_ids = batch.candidates.column("invoice_id").to_pylist()
    verdicts = pa.table(
        [invoice_ids, [_decide_verdict(severities_by_invoice[invoice]) for invoice in invoice_ids]],
        schema=VERDICTS_SCHEMA,
    )
    gate.validate_batch_output(batch.candidates, verdicts)
    return ValidationResult(verdicts, pa.Table.from_pylist(findings, schema=FINDINGS_SCHEMA))


def _list_broken_invoices_by_rule(batch: gate.ValidationInput) -> dict[str, list[str]]:
    from expectations.suites import create_ephemeral_context, run_suite

    context, outcomes = create_ephemeral_context(), _build_outcome_table(batch.checks)
    broken_in_checks: defaultdict[str, set[str]] = defaultdict(set)
    for row in _list_broken_checks(batch.checks):
        broken_in_checks[row["rule_id"]].add(row["invoice_id"])
    applicable_rule_ids = {
        rule_id for rule_id in RULES if (outcomes[rule_id] != "not_applicable").any()
    }  # an expectation costs 25 ms, and most rules concern no candidate of a small batch
    broken_in_suites: dict[str, list[str]] = {rule_id: [] for rule_id in RULES}
    for rule_module in RULE_MODULES:
        if rules := [rule for rule in rule_module.RULES if rule.rule_id in applicable_rule_ids]:
            columns = ["invoice_id", *(rule.rule_id for rule in rules)]
            broken_in_suites |= run_suite(context, rule_module.TABLE_NAME, rules, outcomes[columns])
    for rule_id in RULES:
        gate.require_same_result(rule_id, broken_in_checks[rule_id], broken_in_suites[rule_id])
    for severity, rule_id in official_rules.RULE_ID_BY_SEVERITY.items():
        gate.require_failures_of_broken_rules(batch.official_failures, rule_id, severity, broken_in_suites[rule_id])
    return broken_in_suites


def _build_outcome_table(checks: pa.Table) -> pd.DataFrame:
    """Return the outcomes (words) with one row per candidate and one column per rule."""
    frame: pd.DataFrame = checks.select(["invoice_id", "rule_id", "outcome"]).to_pandas()
    try:
        return frame.pivot(index="invoice_id", columns="rule_id", values="outcome").reset_index()
    except ValueError as error:
        raise ContractError(f"a candidate has two checks of one rule: {error}") from error


def _list_broken_checks(checks: pa.Table) -> list[dict[str, Any]]:
    return [row for row in checks.to_pylist() if row["outcome"] == "broken"]


def _build_findings(
    batch: gate.ValidationInput, broken_invoices_by_rule: Mapping[str, list[str]]
) -> Iterator[dict[str, str]]:
    """Yield a row per broken rule: candidates in their order, their severest rule first.

    A rule that stands for the official ones of a severity gives a row for each of those.
    """
    messages = {(row["invoice_id"], row["rule_id"]): row["message"] for row in _list_broken_checks(batch.checks)}
    rows_by_invoice: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for rule_id, invoices in broken_invoices_by_rule.items():
        if rule_id in official_rules.RULE_ID_BY_SEVERITY.values():
            continue
        rule = RULES[rule_id]
        for invoice in invoices:
            message = messages[invoice, rule_id] or rule.wording
            rows_by_invoice[invoice].append({"rule_id": rule_id, "severity": rule.severity, "message": message})
    for failure in batch.official_failures.to_pylist():
        rows_by_invoice[failure.pop("invoice_id")].append(failure)
    for candidate in batch.candidates.select(["invoice_id", "document_sha256"]).to_pylist():
        rows = rows_by_invoice[candidate["invoice_id"]]
        seen_rule_ids: set[str] = set()  # a user's rule set may have a rule with the id of one of ours
        for row in sorted(rows, key=lambda row: (_SEVERITIES_WORST_FIRST.index(row["severity"]), row["rule_id"])):
            if row["rule_id"] not in seen_rule_ids:
                yield candidate | row
            seen_rule_ids.add(row["rule_id"])


def _decide_verdict(severities: set[str]) -> str:
    if "critical" in severities:
        return "quarantined"
    if "duplicate" in severities:
        return "duplicate"
    return "review" if "warning" in severities else "accepted"
