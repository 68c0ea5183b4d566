"""What the vendor extracts from a document: samples are known by hash, other documents only if a setting allows it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sandbox.sample_manifest import load_manifest_by_sha256

INVOICE_FIELD_NAMES = ("invoice_number", "date", "total_amount", "currency", "vendor")
UNKNOWN_DOCUMENT_ERROR = {
    "code": "UNREADABLE_DOCUMENT",
    "message": "This is a rehearsal: the sandbox knows only the sample documents; "
    "a real SmartBills account would read this file.",
}
EXTRACTION_FAILED_ERROR = {"code": "EXTRACTION_FAILED", "message": "The document could not be read."}


def find_file_extension(content: bytes) -> str | None:
    """Return pdf, jpg or png by the first bytes, or None for a file that the vendor refuses."""
    if content.startswith(b"%PDF-"):
        return "pdf"
    if content.startswith(b"\xff\xd8\xff"):
        return "jpg"
    return "png" if content.startswith(b"\x89PNG\r\n\x1a\n") else None


def find_extraction_error(sha256: str, *, accept_unknown_documents: bool) -> dict[str, str] | None:
    """Return the error that a job for this document ends with, or None if it completes."""
    row = load_manifest_by_sha256().get(sha256)
    if row is None:
        return None if accept_unknown_documents else UNKNOWN_DOCUMENT_ERROR
    return EXTRACTION_FAILED_ERROR if row["reads_as"] == "failure" else None


def count_pages(sha256: str) -> int:
    """Return the number of pages that the vendor charges for; 1 for an unknown document."""
    row = load_manifest_by_sha256().get(sha256)
    return int(row["pages"]) if row else 1


def build_extracted_data(
    sha256: str, *, include_lines: bool, omitted_fields: Sequence[str], use_vendor_info_shape: bool
) -> dict[str, Any]:
    """Return ``extracted_data`` of a document (sheet 01, 2.2); all nulls and no lines if it is not an invoice."""
    data = _build_all_fields(sha256)
    if not include_lines:
        data.pop("line_items", None)
    if use_vendor_info_shape:
        vendor = data.pop("vendor")
        data["vendor_info"] = {"company_name": vendor["name"]} if vendor else None
    return {name: value for name, value in data.items() if name not in omitted_fields}


def _build_all_fields(sha256: str) -> dict[str, Any]:
    row = load_manifest_by_sha256().get(sha256)
    if row is None:
        return _build_fields_from_hash(sha256)
    return _build_fields_from_manifest(row) if row["reads_as"] == "document" else dict.fromkeys(INVOICE_FIELD_NAMES)


def _build_fields_from_hash(sha256: str) -> dict[str, Any]:
    """Return an invoice with one line; its number comes from the hash, so that each file has its own."""
    seed = int(sha256[:12], 16)
    quantity, price = Decimal(1 + seed % 9), Decimal(500 + seed // 9 % 49_500) / 100
    amount = quantity * price
    return {
        "invoice_number": f"S-{sha256[:16].upper()}",
        "date": (dt.date(2026, 1, 1) + dt.timedelta(days=seed % 180)).isoformat(),
        "total_amount": amount,
        "currency": "EUR",
        "vendor": {"name": f"Supplier {seed % 97:02d} Ltd", "address": "Long Street 1, 10115 Berlin"},
        "line_items": [{"description": "Service", "quantity": quantity, "unit_price": price, "amount": amount}],
    }


def _build_fields_from_manifest(row: dict[str, Any]) -> dict[str, Any]:
    expected = row["expected"]
    data = {
        "invoice_number": expected["invoice_number"],
        "date": expected["issue_date"],
        "total_amount": Decimal(expected["totals"]["gross"]),
        "currency": expected["currency"],
        "vendor": {"name": expected["seller"]["name"], "address": expected["seller"]["address"]},
        "line_items": [_build_line_item(line) for line in expected["lines"]],
    }
    return {name: None if name in row["unreadable"] else value for name, value in data.items()}


def _build_line_item(line: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": line["name"],
        "quantity": Decimal(line["quantity"]),
        "unit_price": Decimal(line["price"]),
        "amount": Decimal(line["net"]),
    }
