"""What the official rules say about the e-invoices of a batch, for the models that decide the rules."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import Any

import pyarrow as pa

from expectations.validation import RULES
from invoices.app import App
from invoices.documents.official_rules.rule_sets import list_tested_rule_ids
from invoices.documents.official_rules.severities import get_severity
from invoices.extraction.local_extraction import EXTRACTOR
from invoices.extraction.official_checks import ensure_official_results
from invoices.ledger.extractions import StoredAnswer
from invoices.ledger.official_results import OfficialResult
from transforms.candidate_batch import (
    OFFICIAL_FAILURES_SCHEMA,
    OFFICIAL_RULE_IDS_SCHEMA,
    OFFICIAL_RUNS_SCHEMA,
    OfficialOutcomes,
)

_EXTENSION_PREFIXES = ("BR-FXEXT-", "BR-FREXT-")  # rules that an extension has in place of BR-…


def read_official_outcomes(app: App, answers: Sequence[StoredAnswer]) -> list[OfficialResult]:
    """Return the results about the e-invoices among the answers, computed now where the ledger lacks them."""
    paths_by_hash = {
        answer.document_sha256: app.store.get_path(answer.document_sha256)
        for answer in answers
        if answer.extracted_by == EXTRACTOR
    }
    return ensure_official_results(app.ledger, app.rule_checker_pool, paths_by_hash) if paths_by_hash else []


def build_official_outcomes(results: Sequence[OfficialResult], document_hashes: Collection[str]) -> OfficialOutcomes:
    """Return the results about these documents as the tables that the models read."""
    selected = [result for result in results if result.document_sha256 in document_hashes]
    runs = [
        {"document_sha256": row.document_sha256, "rule_set": row.rule_set, "status": row.status, "reason": row.reason}
        for row in selected
    ]
    rule_ids = [
        {"rule_set": rule_set, "rule_id": rule_id}
        for rule_set in sorted({row.rule_set for row in selected})
        for rule_id in sorted(list_decided_rule_ids(rule_set))
    ]
    return OfficialOutcomes(
        runs=pa.Table.from_pylist(runs, schema=OFFICIAL_RUNS_SCHEMA),
        failures=pa.Table.from_pylist(list(_iter_failures(selected)), schema=OFFICIAL_FAILURES_SCHEMA),
        rule_ids=pa.Table.from_pylist(rule_ids, schema=OFFICIAL_RULE_IDS_SCHEMA),
    )


@cache
def list_decided_rule_ids(rule_set: str) -> frozenset[str]:
    """Return the ids of our rules that a rule set decides: it has the same rule, or an extension's in its place."""
    tested = list_tested_rule_ids(rule_set)
    names = tested | {f"BR-{rule_id.removeprefix(prefix)}" for rule_id in tested for prefix in _EXTENSION_PREFIXES}
    names |= {"BR-DEC"} if any(rule_id.startswith("BR-DEC-") for rule_id in tested) else set()
    return frozenset(names & set(RULES))


def _iter_failures(results: Sequence[OfficialResult]) -> Iterator[dict[str, Any]]:
    """Yield a row per invoice and failed rule; of several rule sets, the first one that has it counts."""
    seen: set[tuple[str, int, str]] = set()
    for result in results:
        for ordinal, failed_rules in enumerate(json.loads(result.failed_rules), start=1):
            for rule in failed_rules:
                key = (result.document_sha256, ordinal, rule["rule_id"])
                if key not in seen:
                    seen.add(key)
                    yield {
                        "document_sha256": result.document_sha256,
                        "ordinal": ordinal,
                        "rule_id": rule["rule_id"],
                        "severity": get_severity(rule["rule_id"], rule["text"], is_error=rule["is_error"]),
                        "message": _format_message(rule, result),
                    }


def _format_message(rule: dict[str, Any], result: OfficialResult) -> str:
    more = f" and {rule['count'] - 1} more places" if rule["count"] > 1 else ""
    place = f" (at {rule['location']}{more})" if rule["location"] else ""
    text = rule["text"].removeprefix(f"[{rule['rule_id']}]").lstrip(" -")
    return f"{text}{place}; {result.rule_set} {result.rule_set_version}"
