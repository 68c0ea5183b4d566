"""Verdicts: each candidate accepted, before a person, quarantined or recognised as a duplicate, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from expectations import candidate_lines, candidate_taxes, candidates, gate
from expectations.rules import Rule
from invoices.errors import ContractError

if TYPE_CHECKING:
    import pandas as pd

TABLES = (candidates, candidate_lines, candidate_taxes)
RULES: Mapping[str, Rule] = {rule.rule_id: rule for table in TABLES for rule in table.RULES}
STOPPING_RULES = frozenset(rule.rule_id for rule in RULES.values() if rule.severity == "critical")

VERDICTS = pa.schema([("invoice_id", pa.string()), ("verdict", pa.string())])
FINDINGS = pa.schema([
    ("invoice_id", pa.string()),
    ("document_sha256", pa.string()),
    ("rule_id", pa.string()),
    ("severity", pa.string()),
    ("message", pa.string()),
])  # fmt: skip
_SEVERITIES = ("critical", "warning", "info")


@dataclass(frozen=True, slots=True)
class Judged:
    """``verdicts`` (``VERDICTS``): one per candidate, in order; ``findings`` (``FINDINGS``): one per broken rule."""

    verdicts: pa.Table
    findings: pa.Table


def judge(shaped: gate.Shaped) -> Judged:
    """Return the verdicts and findings of a batch.

    A broken critical rule quarantines; else the same content as before is a duplicate; else a broken warning goes to
    review; else the candidate is accepted. Raises ContractError when the checks do not cover every candidate and rule,
    or a rule could not be validated: nothing is judged then.
    """
    gate.let_in(shaped, list(RULES.values()))
    broken = _broken_rules(shaped) if shaped.candidates.num_rows else {}
    findings = list(_findings(shaped, broken))
    worst: defaultdict[str, set[str]] = defaultdict(set)
    for finding in findings:
        worst[finding["invoice_id"]].add(RULES[finding["rule_id"]].verdict or finding["severity"])
    ids = shaped.candidates.column("invoice_id").to_pylist()
    verdicts = pa.table([ids, [_verdict(worst[invoice]) for invoice in ids]], schema=VERDICTS)
    gate.let_out(shaped.candidates, verdicts)
    return Judged(verdicts, pa.Table.from_pylist(findings, schema=FINDINGS))


def _broken_rules(shaped: gate.Shaped) -> dict[str, list[str]]:
    from expectations.suites import broken_by_rule, quiet_context

    context, outcomes = quiet_context(), _outcomes(shaped.checks)
    said: defaultdict[str, set[str]] = defaultdict(set)
    for row in _broken_checks(shaped.checks):
        said[row["rule_id"]].add(row["invoice_id"])
    broken: dict[str, list[str]] = {}
    for table in TABLES:
        columns = ["invoice_id", *(rule.rule_id for rule in table.RULES)]
        broken |= broken_by_rule(context, table.TABLE, table.RULES, outcomes[columns])
    for rule_id in RULES:
        gate.demand_agreement(rule_id, said[rule_id], broken[rule_id])
    return broken


def _outcomes(checks: pa.Table) -> pd.DataFrame:
    """Return one row per candidate and one column per rule, of words."""
    frame: pd.DataFrame = checks.select(["invoice_id", "rule_id", "outcome"]).to_pandas()
    try:
        return frame.pivot(index="invoice_id", columns="rule_id", values="outcome").reset_index()
    except ValueError as error:
        raise ContractError(f"a candidate was held to one rule twice: {error}") from error


def _broken_checks(checks: pa.Table) -> list[dict[str, Any]]:
    return [row for row in checks.to_pylist() if row["outcome"] == "broken"]


def _findings(shaped: gate.Shaped, broken: Mapping[str, list[str]]) -> Iterator[dict[str, str]]:
    """Yield a row per broken rule: candidates in their order, the severest rule first."""
    messages = {(row["invoice_id"], row["rule_id"]): row["message"] for row in _broken_checks(shaped.checks)}
    of_candidate: defaultdict[str, list[Rule]] = defaultdict(list)
    for rule_id, invoices in broken.items():
        for invoice in invoices:
            of_candidate[invoice].append(RULES[rule_id])
    for candidate in shaped.candidates.select(["invoice_id", "document_sha256"]).to_pylist():
        rules = of_candidate[candidate["invoice_id"]]
        for rule in sorted(rules, key=lambda rule: (_SEVERITIES.index(rule.severity), rule.rule_id)):
            message = messages[candidate["invoice_id"], rule.rule_id]
            yield candidate | {"rule_id": rule.rule_id, "severity": rule.severity, "message": message or rule.wording}


def _verdict(worst: set[str]) -> str:
    if "critical" in worst:
        return "quarantined"
    if "duplicate" in worst:
        return "duplicate"
    return "review" if "warning" in worst else "accepted"
