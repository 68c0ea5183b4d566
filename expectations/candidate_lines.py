"""The rules for the lines of a candidate; a rule is broken if one line breaks it."""

from __future__ import annotations

from expectations.rule import Rule

TABLE_NAME = "candidate_lines"

RULES = (
    Rule("QUANTITY-EXACT", "info", "every quantity and price is a plain decimal that fits without rounding"),
    Rule("BR-16", "warning", "the invoice has a line (BG-25)"),
    Rule("BR-21", "info", "each line has an id (BT-126)"),
    Rule("BR-22", "info", "each line has a quantity (BT-129)"),
    Rule("BR-23", "info", "each line has a unit (BT-130)"),
    Rule("BR-24", "warning", "each line has a net amount (BT-131)"),
    Rule("BR-25", "info", "each line names what was delivered (BT-153)"),
    Rule("BR-26", "info", "each line has a price (BT-146)"),
    Rule("BR-27", "info", "no price is negative (BT-146)"),
    Rule("BR-CO-04", "info", "each line has a VAT category (BT-151)"),
    Rule("BR-DEC-23", "info", "the net amount of each line has at most two decimals (BT-131)"),
    Rule("PEPPOL-R120", "info", "net amount = quantity × price ÷ base quantity + charges − allowances, within 0.02"),
)
