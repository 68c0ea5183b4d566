"""The outcomes of reading a document, and the table of all reason codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from invoices.documents.containers.opened_container import OpenedContainer
from invoices.errors import DocumentError
from invoices.model import NOT_INVOICE_REASONS

Outcome = Literal["einvoice", "not_invoice", "needs_extraction", "review", "unreadable"]  # unreadable: quarantined

# reason_code: (its outcome, its meaning for a person)
REASON_CODES: dict[str, tuple[Outcome, str]] = {
    **{code: ("not_invoice", meaning) for code, meaning in NOT_INVOICE_REASONS.items()},
    "empty_file": ("review", "the file has no content"),
    "truncated": ("review", "the end of the file is missing"),
    "encrypted": ("review", "a password is needed to open it"),
    "damaged_image": ("review", "the picture is damaged"),
    "damaged_mail": ("review", "the mail is damaged"),
    "attachment_missing": ("review", "the mail says that an invoice is attached, and nothing is"),
    "encrypted_mail": ("review", "the mail is encrypted"),
    "damaged_signed": ("review", "the signed file is damaged"),
    "damaged_tnef": ("review", "the winmail.dat is damaged"),
    "mail_body": ("review", "an invoice in the text of a mail, which no extractor reads"),
    "no_pages": ("review", "the PDF has no page"),
    "blank_page": ("review", "nothing is on the pages"),
    "too_many_pages": ("review", "more pages than an invoice may have"),
    "too_large": ("review", "more bytes or pixels than an invoice may have"),
    "hostile_xml": ("review", "XML with a document type, entities or excessive nesting"),
    "malformed_xml": ("review", "not well-formed XML"),
    "encoding_mismatch": ("review", "XML in another encoding than it declares"),
    "unsupported_type": ("review", "a type of file that is not supported"),
    "unsupported_einvoice": ("review", "a structured invoice in a format that is not supported yet"),
    "conflicting_einvoices": ("review", "two structured invoices in one file contradict each other"),
    "hidden_text": ("review", "the page holds figures or instructions that cannot be seen"),
    "broken_signature": ("review", "the PDF was changed after it was signed"),
    "damaged_einvoice": ("needs_extraction", "the structured invoice inside is damaged; the page can still be read"),
    "not_a_file": ("unreadable", "there is no ordinary file under this name"),
    "altered": ("unreadable", "its bytes were changed after it was stored"),
    "damaged_pdf": ("unreadable", "the PDF is damaged beyond repair"),
    "hostile_pdf": ("unreadable", "a PDF made to attack its reader"),
    "executable": ("unreadable", "a program, a script, a shortcut or a disk image, not a document"),
    "active_content": ("unreadable", "a type of file that can hold programs: macros, objects, scripts"),
    "malware": ("unreadable", "the malware scanner found malware"),
    "malware_test": ("unreadable", "the test file of malware scanners"),
    "mail_limits": ("unreadable", "a mail with more parts, headers or depth than a mail may have"),
    "archive_limits": ("unreadable", "an archive with more entries, depth or content than an archive may have"),
    "damaged_archive": ("unreadable", "the archive is damaged"),
    "mail_unsupported": ("review", "a mail that is not opened"),
    "reader_timeout": ("unreadable", "reading took too long and was stopped"),
    "reader_memory": ("unreadable", "reading took too much memory and was stopped"),
    "reader_crashed": ("unreadable", "the reader crashed on this file"),
    "order": ("not_invoice", "an order"),
    "order_response": ("not_invoice", "the response to an order"),
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
    "no_invoice_text": ("not_invoice", "text without any word or amount of an invoice"),
    "other_xml": ("not_invoice", "XML that is not an invoice"),
}

# Perhaps the machine was the cause and not the document: one more attempt in a later run.
RETRIED_REASON_CODES = frozenset({"reader_timeout", "reader_crashed"})

_MAX_REASON_CHARS = 300


@dataclass(frozen=True, slots=True)
class DocumentReading:
    """What one document is; ``reason`` is for a person, ``payload`` is described in ``documents.einvoice``.

    ``flags`` are pairs: a rule id of ``documents.flag_rules``, and the observation. ``embedded_files`` are the files
    inside an e-invoice; their bytes are ``embedded_contents`` in the process that reads it, and in the store outside.
    """

    outcome: Outcome
    media_type: str
    page_count: int | None = None
    reason_code: str | None = None
    reason: str | None = None
    payload: dict[str, Any] | None = None
    flags: Sequence[Sequence[str]] = ()
    embedded_files: OpenedContainer | None = None
    embedded_contents: Sequence[bytes] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the reading as JSON-ready values, without the files inside it."""
        values = asdict(replace(self, embedded_files=None, embedded_contents=()))
        del values["embedded_files"], values["embedded_contents"]
        return values


def build_reading(
    reason_code: str, media_type: str, reason: str | None = None, page_count: int | None = None
) -> DocumentReading:
    """Return the reading of a reason code; ``reason`` replaces the table's meaning and may quote the document."""
    outcome, meaning = REASON_CODES[reason_code]
    return DocumentReading(
        outcome, media_type, page_count, reason_code, sanitise_for_display(reason or meaning, _MAX_REASON_CHARS)
    )


def build_reading_from_error(error: DocumentError, media_type: str, page_count: int | None = None) -> DocumentReading:
    """Return the reading of a document whose parser raised ``error``."""
    return build_reading(error.reason_code, media_type, str(error), page_count)


def add_flags(reading: DocumentReading, *flags: tuple[str, str]) -> DocumentReading:
    """Return the reading with more flags, their texts shortened and escaped for one line."""
    bounded_flags = [(rule_id, sanitise_for_display(text, _MAX_REASON_CHARS)) for rule_id, text in flags]
    return replace(reading, flags=(*reading.flags, *bounded_flags)) if bounded_flags else reading


def sanitise_for_display(text: str, limit: int = 80) -> str:
    """Return untrusted text for one line of a log: shortened, control characters and direction marks escaped."""
    bounded_text = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in bounded_text
    )
