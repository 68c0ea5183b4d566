"""The official result about one file, for ``invoices validate --file``: nothing is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from invoices.app import build_user_rule_sets
from invoices.documents.official_rules.results import RuleRun
from invoices.documents.official_rules.rule_checker_pool import RuleCheckerPool
from invoices.documents.official_rules.severities import get_severity
from invoices.errors import ConfigurationError
from invoices.settings import Settings


def check_file(settings: Settings, file: Path) -> dict[str, Any]:
    """Return the result: ``file``, ``valid`` (None if no rule set was run), and ``runs``, one per rule set.

    A run has ``rule_set``, ``version``, ``standard``, ``status``, ``reason`` and ``failed``: a list of ``invoice``
    (its position in the file), ``rule_id``, ``severity``, ``is_error``, ``text``, ``location`` and ``count``.
    Raises ConfigurationError if there is no such file.
    """
    if not file.is_file():
        raise ConfigurationError(f"there is no file {str(file)!r}")
    with RuleCheckerPool(rule_sets=build_user_rule_sets(settings)) as pool:
        runs = pool.check(file)
    statuses = {run.status for run in runs}
    is_complete = statuses <= {"valid", "invalid"}
    return {
        "file": str(file),
        "valid": statuses == {"valid"} if is_complete else None,
        "runs": [_format_run(run) for run in runs],
    }


def _format_run(run: RuleRun) -> dict[str, Any]:
    return {
        "rule_set": run.rule_set,
        "version": run.version,
        "standard": run.standard,
        "status": run.status,
        "reason": run.reason,
        "failed": [
            {
                "invoice": ordinal,
                "rule_id": rule.rule_id,
                "severity": get_severity(rule.rule_id, rule.text, is_error=rule.is_error),
                "is_error": rule.is_error,
                "text": rule.text,
                "location": rule.location,
                "count": rule.count,
            }
            for ordinal, failed_rules in enumerate(run.failed_rules, start=1)
            for rule in failed_rules
        ],
    }


def format_file_check(result: dict[str, Any]) -> str:
    """Return the result for a person: a line per rule set, and one per failed rule."""
    lines: list[str] = []
    for run in result["runs"]:
        name = f"{run['rule_set']} {run['version']} ({run['standard']})" if run["rule_set"] else "The official rules"
        status = run["status"]
        verdict = {"not_applicable": " do not apply to this file", "not_run": " could not be run"}.get(
            status, f": {status}"
        )
        lines.append(name + verdict + (f": {run['reason']}" if run["reason"] else ""))
        for rule in run["failed"]:
            places = f", and {rule['count'] - 1} more" if rule["count"] > 1 else ""
            lines.append(f"  {rule['severity']:<8}  {rule['rule_id']}  {rule['text']}")
            if rule["location"]:
                lines.append(f"            at {rule['location']}{places}")
    hint = "no verdict; the official rules are for invoices in UBL or CII that state a profile of EN 16931 (BT-24)"
    return "\n".join([*lines, {True: "valid", False: "not valid", None: hint}[result["valid"]]])
