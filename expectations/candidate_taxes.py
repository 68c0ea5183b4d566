"""The rules for the tax categories of a candidate; a rule is broken if one category breaks it."""

from __future__ import annotations

from expectations.rule import Rule

TABLE_NAME = "candidate_taxes"

RULES = (
    Rule("BR-45", "warning", "each tax category has a taxable amount (BT-116)"),
    Rule("BR-46", "warning", "each tax category has a tax amount (BT-117)"),
    Rule("BR-47", "info", "each tax category has its code (BT-118)"),
    Rule("BR-48", "info", "each tax category has a rate, unless it is not subject to tax (BT-119)"),
    Rule("BR-CO-17", "critical", "tax = taxable amount × rate, less than one unit apart; no rate, no tax (BT-117)"),
    Rule("BR-CO-18", "info", "at least one tax category is stated (BG-23)"),
    Rule("BR-S-08", "warning", "taxable amount of a rate = its lines − allowances + charges, less than one unit apart"),
    Rule("TAXABLE-SUM", "warning", "the taxable amounts add up to the net amount, less than one unit each apart"),
    Rule("BR-E-10", "info", "a tax category without tax gives a reason (BT-120, BT-121)"),
)
