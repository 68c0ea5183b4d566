"""Whether the e-invoice inside a PDF and the page that people see are about the same money."""

from __future__ import annotations

import re

from invoices.documents.einvoice.values import Record
from invoices.documents.pdf.pages import Pages

_AMOUNT = re.compile(r"\d[.,]\d{2}(?!\d)")
_ENOUGH_AMOUNTS = 2  # with fewer, the page's text cannot be read, or says too little to contradict
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:[ \u00a0]?[A-Z0-9]){11,30}\b")
_SHORTEST_IBAN, _LONGEST_IBAN = 15, 34  # ISO 13616: Norway, and what the standard allows


def disagreement(invoice: Record, pages: Pages) -> str | None:
    """Return how the page contradicts the e-invoice, None where it does not or where that cannot be told.

    The total with tax or the amount due must be on the page, however it is written; and where the page states IBANs,
    the one of the e-invoice must be among them. Pages beyond those looked at, and scans, contradict nothing.
    """
    if not pages.complete or pages.scanned or len(_AMOUNT.findall(pages.text)) < _ENOUGH_AMOUNTS:
        return None
    totals = invoice.get("totals", {})
    amounts = [totals[name] for name in ("tax_inclusive", "payable") if _is_plain(totals.get(name))]
    if amounts and not any(written(amount).search(pages.text) for amount in amounts):
        return f"the XML's total {amounts[0]!r} is nowhere on the page"
    iban = _squeezed(str(invoice.get("iban") or ""))
    shown = _ibans(pages.text)
    if is_iban(iban) and shown and iban not in _squeezed(pages.text):
        return f"the XML's IBAN {iban!r} is nowhere on the page, which states {sorted(shown)[0]!r}"
    return None


def written(amount: str) -> re.Pattern[str]:
    """Return a pattern of all ways to write an amount: 1250.00 is also 1.250,00 and 1 250 and 1'250.--."""
    whole, _, cents = amount.lstrip("+-").partition(".")
    whole, cents = whole.lstrip("0") or "0", (cents + "00")[:2]
    first = len(whole) % 3 or 3
    groups = [whole[:first], *(whole[at : at + 3] for at in range(first, len(whole), 3))]
    tail = r"(?:[.,]\s?(?:0\s?0?|[-–—]+))?" if cents == "00" else rf"[.,]\s?{cents[0]}{_last(cents[1])}"
    return re.compile(r"(?<!\d)" + r"[.,'’\s]?".join(groups) + tail + r"(?!\d)")


def is_iban(text: str) -> bool:
    """Return whether the check digits hold (ISO 13616, modulo 97)."""
    if not (_SHORTEST_IBAN <= len(text) <= _LONGEST_IBAN and text.isascii() and text.isalnum()):
        return False
    return int("".join(str(int(character, 36)) for character in text[4:] + text[:4])) % 97 == 1


def _last(digit: str) -> str:
    return r"(?:\s?0)?" if digit == "0" else rf"\s?{digit}"


def _is_plain(amount: object) -> bool:
    return isinstance(amount, str) and re.fullmatch(r"[+-]?\d{1,15}(?:\.\d{1,2}0*)?", amount) is not None


def _ibans(text: str) -> set[str]:
    """Return the IBANs of a page; what follows one on its line may look like a part of it, so each length is tried."""
    found: set[str] = set()
    for match in _IBAN.finditer(text.upper()):
        run = _squeezed(match.group())
        found.update(run[:length] for length in range(_SHORTEST_IBAN, len(run) + 1) if is_iban(run[:length]))
    return found


def _squeezed(text: str) -> str:
    return re.sub(r"\s", "", text).upper()
