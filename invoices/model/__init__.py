"""Invoice, lines, taxes, parties and identities: pure and frozen."""

from invoices.model.identities import document_sha256, extraction_id, invoice_id, receipt_id, sighting_id
from invoices.model.invoice import Direction, Invoice, Kind, Line, Party, Tax, Verdict

__all__ = [
    "Direction", "Invoice", "Kind", "Line", "Party", "Tax", "Verdict",
    "document_sha256", "extraction_id", "invoice_id", "receipt_id", "sighting_id",
]
