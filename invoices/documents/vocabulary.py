"""Words that tell an invoice from another document, in the languages our mail speaks."""

from __future__ import annotations

import re
import unicodedata

# A page with any of these is worth asking a model about. Folded: lower case, no accents.
_INVOICE = re.compile(
    r"invoice|rechnung|faktur|factur|fattur|fatura|gutschrift|credit ?note|credit ?memo|\bavoir\b"
    r"|nota (?:de|di) credito|\bnote de credit|kreditnota|creditnota|korekta|szamla|\bracun\b|\breceipt\b|quittung"
    r"|kassenbon|\bbeleg|\brecu\b|recibo|ricevuta|scontrino|\bbon\b|paragon|kvitto|kvittering|kuitti|lasku|factuur"
)

# Words that invoices share with other business papers.
_BUSINESS = re.compile(
    r"\bbill\b|\btotal|\bsumme\b|gesamt|\btotaal|totale|razem|\bsuma\b|balance due|amount due|zu zahlen|a payer|a pagar"
    r"|da pagare|te betalen|do zaplaty|\bvat\b|\bust\b|mwst|\btva\b|\biva\b|\bbtw\b|\bmoms\b|\bgst\b|\btax\b|\bsteuer"
    r"|\bnip\b|\bdph\b|\biban\b|\bpayment|zahlung|paiement|\bpago\b|pagamento|betaling|platnosc|\bcharges\b"
)

_AMOUNT = re.compile(r"\d[.,]\d{2}(?!\d)|[€$£¥]\s?\d|\d\s?(?:€|eur|usd|gbp|chf|pln|kr|zl|kc|ft)\b", re.IGNORECASE)

# Titles that stay what they are even where the word invoice or an amount follows.
_CERTAIN_TITLES = (
    ("validation_report", re.compile(r"validierungsbericht|validation ?report|rapport de validation|prufbericht")),
    ("expense_report", re.compile(r"expense ?report|expense ?claim|spesenabrechnung|reisekostenabrechnung"
                                  r"|note de frais|nota spese|informe de gastos")),
)  # fmt: skip

# Titles that count only where nothing speaks of an invoice.
_TITLES = (
    ("order", re.compile(r"purchase ?order|sales ?order|\bbestellung|auftragsbestatigung|bon de commande"
                         r"|orden de compra|ordine (?:di|d')? ?acquisto|inkooporder|zamowienie|\border confirmation")),
    ("delivery", re.compile(r"delivery ?note|packing ?(?:slip|list)|lieferschein|bon de livraison|albaran"
                            r"|documento di trasporto|\bddt\b|pakbon|waybill|despatch ?advice")),
    ("quotation", re.compile(r"quotation|\bquote\b|\bangebot|\bdevis\b|presupuesto|preventivo|offerte\b|\boferta\b")),
    ("statement", re.compile(r"(?:account|bank) ?statement|statement of account|kontoauszug|releve de compte"
                             r"|extracto de cuenta|estratto conto|rekeningoverzicht")),
    ("payroll", re.compile(r"pay ?slip|lohnabrechnung|gehaltsabrechnung|bulletin de paie|\bnomina\b|busta paga")),
)  # fmt: skip

_TITLE_CHARACTERS = 400
_HEADING_LINES = 40
_ENOUGH_LETTERS = 40


def reads_like_an_invoice(text: str) -> bool:
    """Return whether a text has a word for an invoice and an amount."""
    folded = fold(text)
    return bool(_INVOICE.search(folded) and _AMOUNT.search(folded))


def other_kind(text: str) -> str | None:
    """Return the reason code of a text that certainly is no invoice, None where there is any doubt.

    Doubt is: a word or an amount that an invoice could hold, too few letters, or a script these lists do not cover.
    """
    folded = fold(text)
    head = folded.strip()[:_TITLE_CHARACTERS]
    certain = next((code for code, title in _CERTAIN_TITLES if title.search(head)), None)
    if certain:
        return certain
    if _INVOICE.search(folded) or not _is_covered(folded):
        return None
    business = set(_BUSINESS.findall(folded))
    titled = next((code for code, title in _TITLES if title.search(head)), None)
    if titled and not business:
        return titled
    return None if _AMOUNT.search(folded) or len(business) > 1 else "no_invoice_text"


def heading(text: str) -> str | None:
    """Return the reason code of a text with a line that is another document's title, and nowhere a word for invoice.

    Only for pages without pictures: there the word could be drawn, not written.
    """
    if _INVOICE.search(fold(text)):
        return None
    lines = [fold(line).strip() for line in text.splitlines()[:_HEADING_LINES]]
    return next((code for line in lines for code, title in _TITLES if title.fullmatch(line)), None)


def other_title(lines: list[str]) -> str | None:
    """Return the reason code of a page whose head was read with errors: only a line that is all title counts."""
    folded = [fold(line).strip() for line in lines]
    head = " ".join(folded)
    certain = next((code for code, title in _CERTAIN_TITLES if title.search(head)), None)
    if certain or _INVOICE.search(head) or _BUSINESS.search(head):
        return certain
    return next((code for line in folded for code, title in _TITLES if _is_title(line, title)), None)


def _is_title(line: str, title: re.Pattern[str]) -> bool:
    match = title.match(line)
    return match is not None and not any(c.isalpha() for c in line[match.end() :])


def fold(text: str) -> str:
    """Return the text in lower case, without accents, each run of white space one blank."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return re.sub(r"\s+", " ", "".join(c for c in decomposed if not unicodedata.combining(c)))


def _is_covered(folded: str) -> bool:
    letters = [c for c in folded if c.isalpha()]
    latin = sum(c <= "\u024f" for c in letters)
    return len(letters) >= _ENOUGH_LETTERS and latin >= 0.9 * len(letters)
