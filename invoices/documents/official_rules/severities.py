"""What a failed official rule means for the verdict: our table, because the rule sets call nearly all an error."""

from __future__ import annotations

import fnmatch
from typing import Literal, NamedTuple

Severity = Literal["critical", "warning", "info"]


class SeverityRow(NamedTuple):
    """The severity of the rules whose id matches a pattern, and whose text contains a part; what they are about."""

    pattern: str
    severity: Severity
    subject: str
    text_part: str = ""


_TAX_FAMILIES = ("S", "Z", "E", "AE", "IC", "G", "O", "AF", "AG", "B")

# In this order, the first match decides. *EXT stands for the extensions of Factur-X (FXEXT) and of France (FREXT).
SEVERITIES: tuple[SeverityRow, ...] = (
    SeverityRow("BR-02", "critical", "the number is missing"),
    SeverityRow("BR-03", "critical", "the issue date is missing"),
    SeverityRow("BR-05", "critical", "the currency is missing"),
    SeverityRow("BR-06", "critical", "the seller is missing"),
    SeverityRow("BR-14", "critical", "the total with tax is missing"),
    SeverityRow("BR-CO-1[0-7]", "critical", "arithmetic of the totals"),
    SeverityRow("BR-*EXT-CO-1[0-7]", "critical", "arithmetic of the totals, with an extension's tolerances"),
    SeverityRow("BR-*-08ini", "info", "one of two ways to add up a category: BR-…-08 says whether either holds"),
    SeverityRow("BR-*-08rev", "info", "one of two ways to add up a category: BR-…-08 says whether either holds"),
    *(SeverityRow(f"BR-{family}-*", "warning", f"VAT category {family}") for family in _TAX_FAMILIES),
    *(SeverityRow(f"BR-*EXT-{family}-*", "warning", f"VAT category {family}, extensions") for family in _TAX_FAMILIES),
    SeverityRow("BR-CL-*", "warning", "code lists"),
    SeverityRow("BR-*EXT-CL-*", "warning", "code lists of extensions"),
    SeverityRow("FX-SCH-*", "warning", "code lists of Factur-X", " is not allowed"),
    SeverityRow("BR-07", "warning", "the buyer is missing"),
    SeverityRow("BR-13", "warning", "the total without tax is missing"),
    SeverityRow("BR-15", "warning", "the amount due is missing"),
    SeverityRow("BR-16", "warning", "there is no line"),
    SeverityRow("BR-24", "warning", "a line has no amount"),
    SeverityRow("BR-31", "warning", "an allowance has no amount"),
    SeverityRow("BR-36", "warning", "a charge has no amount"),
    SeverityRow("BR-4[13]", "warning", "an allowance or charge of a line has no amount"),
    SeverityRow("BR-4[56]", "warning", "a VAT category has no taxable amount, or no tax"),
    SeverityRow("BR-CO-18", "warning", "there is no VAT category"),
)
OTHER_SEVERITY: Severity = "info"  # presence of details, decimals, unused elements, national rules


def get_severity(rule_id: str, text: str = "", *, is_error: bool = True) -> Severity:
    """Return the severity of a failed rule; one that its own rule set does not call an error is only counted."""
    if not is_error:
        return "info"
    for row in SEVERITIES:
        if fnmatch.fnmatchcase(rule_id, row.pattern) and row.text_part in text:
            return row.severity
    return OTHER_SEVERITY
