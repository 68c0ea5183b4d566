"""The declared rules: each has one id, a severity and a wording, and is decided in SQL."""

from __future__ import annotations

import re

from expectations.validation import CRITICAL_RULE_IDS, RULE_MODULES, RULES
from transforms.sql_runner import read_sql_models

RULE_PREFIXES = (
    "BR|PEPPOL|DUPLICATE|TAX|TAXABLE|CURRENCY|ISSUED|DUE|TOTALS|SUBTOTAL|LINES?|NEGATIVE|PAGES|EXTRACTOR|SAME|XML|HIDDEN"
    "|BROKEN|EMBEDDED|ONE|OFFICIAL|FPA|SDI"
)
RULE_ID_PATTERN = re.compile(rf"'((?:{RULE_PREFIXES})-[A-Z0-9-]+)'")


def test_no_rule_is_declared_twice() -> None:
    declared = [rule.rule_id for rule_module in RULE_MODULES for rule in rule_module.RULES]
    assert len(declared) == len(RULES) == len(set(declared))


def test_each_table_has_rules_and_each_rule_has_a_wording() -> None:
    assert all(rule_module.RULES for rule_module in RULE_MODULES)
    assert all(rule.wording and rule.severity in {"critical", "warning", "info"} for rule in RULES.values())


def test_each_rule_is_decided_in_sql_and_no_other_is() -> None:
    checks = {**read_sql_models("core"), **read_sql_models("core/duplicates")}
    decided = {
        rule for name, text in checks.items() if name.startswith("checks_") for rule in RULE_ID_PATTERN.findall(text)
    }
    assert decided | {"AMOUNT-EXACT", "DATE-EXACT", "QUANTITY-EXACT"} == set(RULES)


def test_the_rules_for_sums_and_required_fields_are_critical() -> None:
    sums = {f"BR-CO-{number}" for number in range(10, 18)}
    assert (
        sums
        | {
            "BR-02",
            "BR-03",
            "BR-05",
            "BR-14",
            "CURRENCY-KNOWN",
            "TOTALS-AGREE",
            "OFFICIAL-CRITICAL",
            "EMBEDDED-MALWARE",
        }
        == CRITICAL_RULE_IDS
    )
