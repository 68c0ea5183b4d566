"""The domain model: invoices with lines, taxes and parties, identities and flags; frozen and free of I/O."""

from invoices.model.flag import Flag
from invoices.model.identities import (
    compute_document_sha256,
    compute_extraction_id,
    compute_invoice_id,
    compute_message_key,
    compute_sighting_id,
    format_receipt_id,
    is_receipt_id,
)
from invoices.model.invoice import Direction, Invoice, InvoiceKind, Line, Party, Tax, Verdict
from invoices.model.not_invoice_reasons import NOT_INVOICE_REASONS

__all__ = [
    "NOT_INVOICE_REASONS",
    "Direction",
    "Flag",
    "Invoice",
    "InvoiceKind",
    "Line",
    "Party",
    "Tax",
    "Verdict",
    "compute_document_sha256",
    "compute_extraction_id",
    "compute_invoice_id",
    "compute_message_key",
    "compute_sighting_id",
    "format_receipt_id",
    "is_receipt_id",
]
