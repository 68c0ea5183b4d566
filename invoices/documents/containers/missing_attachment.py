"""Recognises a mail whose own text says that an invoice is attached, in the languages of our mail."""

from __future__ import annotations

import re

from invoices.documents.text_classification import fold_case_and_accents, has_invoice_word

MAX_TEXT_CHARS = 5_000  # of a text; what is attached is said at its beginning
# All patterns match folded text: lower case, no accents.
_ATTACHMENT_WORDS = re.compile(
    r"\battached\b|\battachment|\benclosed\b|\banbei\b|angehangt|\b(?:im|als|siehe) anhang\b|\b(?:in der|als) anlage\b"
    r"|beigefugt|\banliegend|ci-?joint|piece jointe|\badjunt|\ballegat|bijgevoegd|\bbijlage|zalacz|załacz|\banex[oa]\b"
    r"|vedh(?:ae|æ)ft|\bbifogad|\bbifogat|\bvedlagt|\bliitteena|\bprilo[hz]|\bmellekel|\bcsatol"
)
# Where the text of an earlier mail begins, as mail programs write it above a quotation.
_QUOTATION_START = re.compile(
    r"-{3,20} ?(?:original message|forwarded message|ursprungliche nachricht|weitergeleitete nachricht)"
    r"|-{3,20} ?message d'origine|\b(?:wrote|writes|schrieb|a ecrit|escribio|ha scritto|schreef)\b.{0,100}?:"
    r"|\b(?:from|von|de|da|van) ?: .{1,200}?"
    r"\b(?:sent|gesendet|envoye|enviado|inviato|verzonden|date|datum) ?:"
)
_QUOTED_LINE = re.compile(r"^[ \t]{0,20}>.{0,2000}$", re.MULTILINE)


def announces_attached_invoice(subject: str | None, text: str) -> bool:
    """Return whether a text, without the mails that it quotes, says that something is attached and names an invoice."""
    own_text = fold_case_and_accents(_QUOTED_LINE.sub("", text[:MAX_TEXT_CHARS]))
    own_text = _QUOTATION_START.split(own_text, maxsplit=1)[0]
    if not _ATTACHMENT_WORDS.search(own_text):
        return False
    return has_invoice_word(own_text) or has_invoice_word(subject or "")
