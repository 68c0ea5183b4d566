"""Invoice, lines, taxes, parties and identities: pure and frozen."""

from invoices.model.flag import Flag
from invoices.model.identities import (
    document_sha256,
    extraction_id,
    invoice_id,
    message_key,
    receipt_id,
    sighting_id,
)
from invoices.model.invoice import Direction, Invoice, Kind, Line, Party, Tax, Verdict
from invoices.model.left_out import LEFT_OUT

__all__ = [
    "LEFT_OUT",
    "Direction",
    "Flag",
    "Invoice",
    "Kind",
    "Line",
    "Party",
    "Tax",
    "Verdict",
    "document_sha256",
    "extraction_id",
    "invoice_id",
    "message_key",
    "receipt_id",
    "sighting_id",
]
