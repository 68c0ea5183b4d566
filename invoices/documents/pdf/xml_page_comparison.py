"""Comparison of the e-invoice inside a PDF with the page that people see: the amounts and the IBAN."""

from __future__ import annotations

import re

from stdnum import iban as stdnum_iban

from invoices.documents.einvoice.payload_values import Record
from invoices.documents.pdf.page_inspection import PageInspection

_AMOUNT_PATTERN = re.compile(r"\d[.,]\d{2}(?!\d)")
_PLAIN_DECIMAL_PATTERN = re.compile(r"[+-]?\d{1,15}(?:\.\d{1,2}0*)?")
_MIN_PAGE_AMOUNTS = 2  # with fewer, the text of the page is unreadable or too short to contradict
_IBAN_PATTERN = re.compile(r"\b[A-Z]{2}\d{2}(?:[ \u00a0]?[A-Z0-9]){11,30}\b")
_MIN_IBAN_CHARS = 15  # ISO 13616: Norway


def find_xml_page_mismatch(invoice: Record, pages: PageInspection) -> str | None:
    """Return how the page contradicts the e-invoice, None if it does not or if that is uncertain.

    The total with tax or the amount due must be on the page, in any notation; and if the page states IBANs, the one of
    the e-invoice must be among them. A PDF with scans, or with more pages than were inspected, contradicts nothing.
    """
    if not pages.is_complete or pages.has_scan or len(_AMOUNT_PATTERN.findall(pages.text)) < _MIN_PAGE_AMOUNTS:
        return None
    totals = invoice.get("totals", {})
    stated_amounts = [totals.get(name, "") for name in ("tax_inclusive", "payable")]
    amounts = [amount for amount in stated_amounts if _PLAIN_DECIMAL_PATTERN.fullmatch(amount)]
    if amounts and not any(build_amount_pattern(amount).search(pages.text) for amount in amounts):
        return f"the total of the XML, {amounts[0]!r}, is not on the page"
    iban = _strip_whitespace_and_uppercase(str(invoice.get("iban") or ""))
    page_ibans = _extract_ibans(pages.text)
    if is_valid_iban(iban) and page_ibans and iban not in _strip_whitespace_and_uppercase(pages.text):
        return f"the IBAN of the XML, {iban!r}, is not on the page, which states {sorted(page_ibans)[0]!r}"
    return None


def build_amount_pattern(amount: str) -> re.Pattern[str]:
    """Return a pattern of all ways to write an amount: 1250.00 is also 1.250,00 and 1 250 and 1'250.--."""
    integer_part, _, cents = amount.lstrip("+-").partition(".")
    integer_part = integer_part.lstrip("0") or "0"
    tenths, hundredths = (*cents, "0", "0")[:2]
    first_group_length = len(integer_part) % 3 or 3
    groups = [
        integer_part[:first_group_length],
        *(integer_part[start : start + 3] for start in range(first_group_length, len(integer_part), 3)),
    ]
    if tenths == hundredths == "0":
        cents_pattern = r"(?:[.,]\s?(?:0\s?0?|[-–—]+))?"
    else:
        cents_pattern = rf"[.,]\s?{tenths}" + (r"(?:\s?0)?" if hundredths == "0" else rf"\s?{hundredths}")
    return re.compile(r"(?<!\d)" + r"[.,'’\s]?".join(groups) + cents_pattern + r"(?!\d)")


def is_valid_iban(text: str) -> bool:
    """Return whether the country's structure and the check digits are right (ISO 13616); ``text`` has no separators."""
    return text.isascii() and text.isalnum() and stdnum_iban.is_valid(text, check_country=False)


def _extract_ibans(text: str) -> set[str]:
    """Return the IBANs of a page; the text after an IBAN may look like a part of it, so each length is tried."""
    ibans: set[str] = set()
    for match in _IBAN_PATTERN.finditer(text.upper()):
        candidate = _strip_whitespace_and_uppercase(match.group())
        ibans.update(
            candidate[:length]
            for length in range(_MIN_IBAN_CHARS, len(candidate) + 1)
            if is_valid_iban(candidate[:length])
        )
    return ibans


def _strip_whitespace_and_uppercase(text: str) -> str:
    return re.sub(r"\s", "", text).upper()
