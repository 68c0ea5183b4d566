"""What reading a document can end in, and every reason code there is, in one table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from invoices.errors import DocumentError

Outcome = Literal["einvoice", "not_invoice", "needs_extraction", "unreadable"]

# reason_code: (the outcome it comes with, what a person should understand)
REASONS: dict[str, tuple[Outcome, str]] = {
    "empty_file": ("unreadable", "the file has no content"),
    "not_a_file": ("unreadable", "there is no ordinary file under this name"),
    "truncated": ("unreadable", "the end of the file is missing"),
    "encrypted": ("unreadable", "a password is needed to open it"),
    "damaged_pdf": ("unreadable", "the PDF is broken beyond repair"),
    "damaged_image": ("unreadable", "the picture is broken"),
    "no_pages": ("unreadable", "the PDF has no page"),
    "too_many_pages": ("unreadable", "more pages than an invoice may have"),
    "too_large": ("unreadable", "more bytes or pixels than an invoice may have"),
    "hostile_xml": ("unreadable", "XML with a document type, entities or absurd nesting"),
    "malformed_xml": ("unreadable", "not well-formed XML"),
    "executable": ("unreadable", "a program, not a document"),
    "unsupported_type": ("unreadable", "a type of file that is not read here"),
    "mail_unsupported": ("unreadable", "a mail: its attachments are read where mail is unwrapped"),
    "unsupported_einvoice": ("unreadable", "a structured invoice in a format that is not read yet"),
    "conflicting_einvoices": ("unreadable", "two structured invoices in one file contradict each other"),
    "damaged_einvoice": ("needs_extraction", "the structured invoice inside is broken; the page can still be read"),
    "reader_timeout": ("unreadable", "reading took too long and was stopped"),
    "reader_memory": ("unreadable", "reading took too much memory and was stopped"),
    "reader_crashed": ("unreadable", "the reader died of this file"),
    "order": ("not_invoice", "an order"),
    "order_response": ("not_invoice", "the answer to an order"),
    "delivery": ("not_invoice", "a despatch advice, delivery note or waybill"),
    "payment": ("not_invoice", "a payment, receipt of payment or remittance advice"),
    "payroll": ("not_invoice", "a payslip"),
    "withholding": ("not_invoice", "a certificate of tax withheld"),
    "application_response": ("not_invoice", "a status or acknowledgement message"),
    "catalogue": ("not_invoice", "a catalogue or price list"),
    "quotation": ("not_invoice", "a quotation or a request for one"),
    "statement": ("not_invoice", "a statement of account"),
    "reminder": ("not_invoice", "a reminder to pay an earlier invoice"),
    "expense_report": ("not_invoice", "an expense report"),
    "validation_report": ("not_invoice", "the report of an e-invoice validator"),
    "logo": ("not_invoice", "a picture too small to hold an invoice"),
    "blank_page": ("not_invoice", "nothing is on the page"),
    "no_invoice_text": ("not_invoice", "text without any word or amount of an invoice"),
    "other_xml": ("not_invoice", "XML that is no invoice"),
}

_LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class Reading:
    """What one document turned out to be; ``reason`` is for a person, ``payload`` as in ``documents.einvoice``."""

    outcome: Outcome
    media_type: str
    page_count: int | None = None
    reason_code: str | None = None
    reason: str | None = None
    payload: dict[str, Any] | None = None

    def record(self) -> dict[str, Any]:
        """Return the reading as JSON-ready values."""
        return asdict(self)


def because(reason_code: str, media_type: str, reason: str | None = None, page_count: int | None = None) -> Reading:
    """Return the reading of a reason code; ``reason`` replaces the table's sentence and may quote the document."""
    outcome, meaning = REASONS[reason_code]
    return Reading(outcome, media_type, page_count, reason_code, shown(reason or meaning, _LONGEST_REASON))


def set_aside(error: DocumentError, media_type: str, page_count: int | None = None) -> Reading:
    """Return the reading for a document that raised."""
    return because(error.reason_code, media_type, str(error), page_count)


def shown(text: str, limit: int = 80) -> str:
    """Return somebody else's text fit for one line of a log: controls and direction marks escaped, bounded."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in cut)
