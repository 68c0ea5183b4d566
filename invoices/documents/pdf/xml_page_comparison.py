"""Whether the e-invoice inside a PDF and the page that people see are about the same money."""

from __future__ import annotations

import re

from invoices.documents.einvoice.payload_values import Record
from invoices.documents.pdf.page_inspection import PageInspection

_AMOUNT_PATTERN = re.compile(r"\d[.,]\d{2}(?!\d)")
_MIN_PAGE_AMOUNTS = 2  # with fewer, the page's text cannot be read, or says too little to contradict
_IBAN_PATTERN = re.compile(r"\b[A-Z]{2}\d{2}(?:[ \u00a0]?[A-Z0-9]){11,30}\b")
_MIN_IBAN_CHARS, _MAX_IBAN_CHARS = 15, 34  # ISO 13616: Norway, and what the standard allows


def find_xml_page_mismatch(invoice: Record, pages: PageInspection) -> str | None:
    """Return how the page contradicts the e-invoice, None where it does not or where that cannot be told.

    The total with tax or the amount due must be on the page, however it is written; and where the page states IBANs,
    the one of the e-invoice must be among them. Pages beyond those looked at, and scans, contradict nothing.
    """
    if not pages.is_complete or pages.has_scan or len(_AMOUNT_PATTERN.findall(pages.text)) < _MIN_PAGE_AMOUNTS:
        return None
    totals = invoice.get("totals", {})
    amounts = [totals[name] for name in ("tax_inclusive", "payable") if _is_plain_decimal(totals.get(name))]
    if amounts and not any(build_amount_pattern(amount).search(pages.text) for amount in amounts):
        return f"the XML's total {amounts[0]!r} is nowhere on the page"
    iban = _strip_whitespace_and_uppercase(str(invoice.get("iban") or ""))
    page_ibans = _extract_ibans(pages.text)
    if is_valid_iban(iban) and page_ibans and iban not in _strip_whitespace_and_uppercase(pages.text):
        return f"the XML's IBAN {iban!r} is nowhere on the page, which states {sorted(page_ibans)[0]!r}"
    return None


def build_amount_pattern(amount: str) -> re.Pattern[str]:
    """Return a pattern of all ways to write an amount: 1250.00 is also 1.250,00 and 1 250 and 1'250.--."""
    integer_part, _, cents = amount.lstrip("+-").partition(".")
    integer_part, cents = integer_part.lstrip("0") or "0", (cents + "00")[:2]
    first_group_length = len(integer_part) % 3 or 3
    groups = [
        integer_part[:first_group_length],
        *(integer_part[start : start + 3] for start in range(first_group_length, len(integer_part), 3)),
    ]
    cents_pattern = (
        r"(?:[.,]\s?(?:0\s?0?|[-–—]+))?"
        if cents == "00"
        else rf"[.,]\s?{cents[0]}{_build_last_digit_pattern(cents[1])}"
    )
    return re.compile(r"(?<!\d)" + r"[.,'’\s]?".join(groups) + cents_pattern + r"(?!\d)")


def is_valid_iban(text: str) -> bool:
    """Return whether the check digits hold (ISO 13616, modulo 97)."""
    if not (_MIN_IBAN_CHARS <= len(text) <= _MAX_IBAN_CHARS and text.isascii() and text.isalnum()):
        return False
    return int("".join(str(int(character, 36)) for character in text[4:] + text[:4])) % 97 == 1


def _build_last_digit_pattern(digit: str) -> str:
    return r"(?:\s?0)?" if digit == "0" else rf"\s?{digit}"


def _is_plain_decimal(amount: object) -> bool:
    return isinstance(amount, str) and re.fullmatch(r"[+-]?\d{1,15}(?:\.\d{1,2}0*)?", amount) is not None


def _extract_ibans(text: str) -> set[str]:
    """Return the IBANs of a page; what follows one on its line may look like a part of it, so each length is tried."""
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
