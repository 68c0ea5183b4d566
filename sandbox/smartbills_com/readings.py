"""What the vendor's model makes of a document: the sample world is known by hash, strangers only if a knob says so."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sandbox.samples import known_documents

FIELDS = ("invoice_number", "date", "total_amount", "currency", "vendor")
STRANGER = {
    "code": "UNREADABLE_DOCUMENT",
    "message": "This is a rehearsal: the sandbox knows only the sample documents; "
    "a real SmartBills account would read this file.",
}
BROKEN = {"code": "EXTRACTION_FAILED", "message": "The document could not be read."}


def media_extension(content: bytes) -> str | None:
    """Return pdf, jpg or png after the magic bytes, or None for what the vendor refuses."""
    if content.startswith(b"%PDF-"):
        return "pdf"
    if content.startswith(b"\xff\xd8\xff"):
        return "jpg"
    return "png" if content.startswith(b"\x89PNG\r\n\x1a\n") else None


def error_of(sha256: str, *, reads_strangers: bool) -> dict[str, str] | None:
    """Return the error that a job for these bytes ends with, or None where it completes."""
    row = known_documents().get(sha256)
    if row is None:
        return None if reads_strangers else STRANGER
    return BROKEN if row["reads_as"] == "failure" else None


def page_count(sha256: str) -> int:
    """Return how many pages the vendor charges for."""
    row = known_documents().get(sha256)
    return int(row["pages"]) if row else 1


def extracted_data(sha256: str, *, with_lines: bool, missing: Sequence[str], vendor_info: bool) -> dict[str, Any]:
    """Return ``extracted_data`` of a document (sheet 01, 2.2); where it is no invoice, all nulls and no lines."""
    data = _data_of(sha256)
    if not with_lines:
        data.pop("line_items", None)
    if vendor_info:
        vendor = data.pop("vendor")
        data["vendor_info"] = {"company_name": vendor["name"]} if vendor else None
    return {name: value for name, value in data.items() if name not in missing}


def _data_of(sha256: str) -> dict[str, Any]:
    row = known_documents().get(sha256)
    if row is None:
        return _of_stranger(sha256)
    return _of_invoice(row) if row["reads_as"] == "document" else dict.fromkeys(FIELDS)


def _of_stranger(sha256: str) -> dict[str, Any]:
    """Return an invoice of one line; its number is the hash, so that no two files share one."""
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


def _of_invoice(row: dict[str, Any]) -> dict[str, Any]:
    paper = row["expected"]
    data = {
        "invoice_number": paper["invoice_number"],
        "date": paper["issue_date"],
        "total_amount": Decimal(paper["totals"]["gross"]),
        "currency": paper["currency"],
        "vendor": {"name": paper["seller"]["name"], "address": paper["seller"]["address"]},
        "line_items": [_line(line) for line in paper["lines"]],
    }
    return {name: None if name in row["unreadable"] else value for name, value in data.items()}


def _line(line: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": line["name"],
        "quantity": Decimal(line["quantity"]),
        "unit_price": Decimal(line["price"]),
        "amount": Decimal(line["net"]),
    }
