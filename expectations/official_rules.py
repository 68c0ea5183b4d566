"""The official rules about e-invoices, by severity: each failed one is a finding of its own, with the official id."""

from __future__ import annotations

from expectations.rule import Rule

TABLE_NAME = "official_rules"

RULES = (
    Rule("OFFICIAL-CRITICAL", "critical", "the official rules about arithmetic and identity hold"),
    Rule("OFFICIAL-WARNING", "warning", "the official rules about tax categories, code lists and amounts hold"),
    Rule("OFFICIAL-INFO", "info", "all other official rules hold"),
    Rule("OFFICIAL-RULES-NOT-RUN", "info", "the official rules were run on an e-invoice that is held to them"),
)
RULE_ID_BY_SEVERITY = {
    "critical": "OFFICIAL-CRITICAL", "warning": "OFFICIAL-WARNING", "info": "OFFICIAL-INFO",
}  # fmt: skip
