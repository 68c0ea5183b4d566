"""Classification of texts by the words of invoices and of other documents, in the languages of our mail."""

from __future__ import annotations

import re
import unicodedata

# A page with any of these words is worth a model. All patterns here match folded text: lower case, no accents.
_INVOICE_WORDS = re.compile(
    r"invoice|rechnung|faktur|factur|fattur|fatura|gutschrift|credit ?note|credit ?memo|\bavoir\b"
    r"|nota (?:de|di) credito|\bnote de credit|kreditnota|creditnota|korekta|szamla|\bracun\b|\breceipt\b|quittung"
    r"|kassenbon|\bbeleg|\brecu\b|recibo|ricevuta|scontrino|\bbon\b|paragon|kvitto|kvittering|kuitti|lasku|factuur"
)

# Words that invoices share with other business documents.
_BUSINESS_WORDS = re.compile(
    r"\bbill\b|\btotal|\bsumme\b|gesamt|\btotaal|totale|razem|\bsuma\b|balance due|amount due|zu zahlen|a payer|a pagar"
    r"|da pagare|te betalen|do zaplaty|\bvat\b|\bust\b|mwst|\btva\b|\biva\b|\bbtw\b|\bmoms\b|\bgst\b|\btax\b|\bsteuer"
    r"|\bnip\b|\bdph\b|\biban\b|\bpayment|zahlung|paiement|\bpago\b|pagamento|betaling|platnosc|\bcharges\b"
)

_AMOUNT_PATTERN = re.compile(
    r"\d[.,]\d{2}(?!\d)|[€$£¥]\s?\d|\d\s?(?:€|eur|usd|gbp|chf|pln|kr|zl|kc|ft)\b", re.IGNORECASE
)

# Titles that decide even if the word invoice or an amount follows.
_CERTAIN_TITLES = (
    ("validation_report", re.compile(r"validierungsbericht|validation ?report|rapport de validation|prufbericht")),
    ("expense_report", re.compile(r"expense ?report|expense ?claim|spesenabrechnung|reisekostenabrechnung"
                                  r"|note de frais|nota spese|informe de gastos")),
)  # fmt: skip

# Titles that count only if no word suggests an invoice.
_NON_INVOICE_TITLES = (
    ("order", re.compile(r"purchase ?order|sales ?order|\bbestellung|auftragsbestatigung|bon de commande"
                         r"|orden de compra|ordine (?:di|d')? ?acquisto|inkooporder|zamowienie|\border confirmation")),
    ("delivery", re.compile(r"delivery ?note|packing ?(?:slip|list)|lieferschein|bon de livraison|albaran"
                            r"|documento di trasporto|\bddt\b|pakbon|waybill|despatch ?advice")),
    ("quotation", re.compile(r"quotation|\bquote\b|\bangebot|\bdevis\b|presupuesto|preventivo|offerte\b|\boferta\b")),
    ("statement", re.compile(r"(?:account|bank) ?statement|statement of account|kontoauszug|releve de compte"
                             r"|extracto de cuenta|estratto conto|rekeningoverzicht")),
    ("payroll", re.compile(r"pay ?slip|lohnabrechnung|gehaltsabrechnung|bulletin de paie|\bnomina\b|busta paga")),
)  # fmt: skip

_MAX_TITLE_CHARS = 400
_MAX_HEADING_LINES = 40
_MIN_LETTERS = 40


def has_invoice_word(text: str) -> bool:
    """Return whether a text has a word for an invoice."""
    return _INVOICE_WORDS.search(fold_case_and_accents(text)) is not None


def has_invoice_word_and_amount(text: str) -> bool:
    """Return whether a text has a word for an invoice and an amount."""
    folded_text = fold_case_and_accents(text)
    return bool(_INVOICE_WORDS.search(folded_text) and _AMOUNT_PATTERN.search(folded_text))


def classify_non_invoice_text(text: str) -> str | None:
    """Return the reason code of a text that is certainly no invoice, None if in doubt.

    In doubt means: a word or an amount of an invoice, too few letters, or a script that these lists do not cover.
    """
    folded_text = fold_case_and_accents(text)
    head = folded_text.strip()[:_MAX_TITLE_CHARS]
    certain_code = next((code for code, title_pattern in _CERTAIN_TITLES if title_pattern.search(head)), None)
    if certain_code:
        return certain_code
    letters = [character for character in folded_text if character.isalpha()]
    latin_count = sum(character <= "\u024f" for character in letters)
    has_enough_latin_letters = len(letters) >= _MIN_LETTERS and latin_count >= 0.9 * len(letters)
    if _INVOICE_WORDS.search(folded_text) or not has_enough_latin_letters:
        return None
    business_words = set(_BUSINESS_WORDS.findall(folded_text))
    title_code = next((code for code, title_pattern in _NON_INVOICE_TITLES if title_pattern.search(head)), None)
    if title_code and not business_words:
        return title_code
    return None if _AMOUNT_PATTERN.search(folded_text) or len(business_words) > 1 else "no_invoice_text"


def classify_by_heading_line(text: str) -> str | None:
    """Return the reason code of a text in which a line is another document's title and no word means invoice.

    Only for pages without pictures, because a picture may show the word.
    """
    if _INVOICE_WORDS.search(fold_case_and_accents(text)):
        return None
    lines = [fold_case_and_accents(line).strip() for line in text.splitlines()[:_MAX_HEADING_LINES]]
    return next(
        (code for line in lines for code, title_pattern in _NON_INVOICE_TITLES if title_pattern.fullmatch(line)), None
    )


def classify_ocr_title_lines(lines: list[str]) -> str | None:
    """Return the reason code of a page by OCR of its head, which has errors: a title must be a line of its own."""
    folded_lines = [fold_case_and_accents(line).strip() for line in lines]
    head = " ".join(folded_lines)
    certain_code = next((code for code, title_pattern in _CERTAIN_TITLES if title_pattern.search(head)), None)
    if certain_code or _INVOICE_WORDS.search(head) or _BUSINESS_WORDS.search(head):
        return certain_code
    for line in folded_lines:
        for code, title_pattern in _NON_INVOICE_TITLES:
            match = title_pattern.match(line)
            if match and not any(character.isalpha() for character in line[match.end() :]):
                return code
    return None


def fold_case_and_accents(text: str) -> str:
    """Return the text in lower case, without accents, with single blanks for white space."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return re.sub(r"\s+", " ", "".join(character for character in decomposed if not unicodedata.combining(character)))
