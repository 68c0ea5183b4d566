"""What the vendor extracts from a document: samples are known by hash, other documents only if a setting allows it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from decimal import Decimal
from typing import Any

from sandbox.sample_manifest import load_manifest_by_sha256

INVOICE_FIELD_NAMES = ("invoice_number", "date", "counterparty", "total", "subtotal", "discount", "tax", "currency")
AMOUNT_FIELD_NAMES = ("total", "subtotal", "discount", "tax")
VENDOR_SAMPLE_FIELDS: dict[str, Any] = {
    "total": 1200, "subtotal": 1300, "discount": 100, "tax": 180,
    "items": [{"description": "Service", "quantity": 1, "price": 1020, "line_total": None}],
}  # fmt: skip
"""Amounts and line of the vendor's published sample: two of its sums hold, the third does not (§2.3)."""
InvoiceFields = dict[str, Any]


class UnreadableDocumentError(Exception):
    """The document cannot be extracted; the message says why."""


def has_supported_file_type(content: bytes) -> bool:
    """Return whether the bytes start like a PDF, JPG or PNG file."""
    return content.startswith((b"%PDF-", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"))


def build_invoice_fields(
    sha256: str, invoice_kind: str, *, accept_unknown_documents: bool, use_vendor_sample: bool
) -> InvoiceFields:
    """Return the extracted fields of a document, numbers as Decimal; raises UnreadableDocumentError."""
    row = load_manifest_by_sha256().get(sha256)
    if row is None and not (accept_unknown_documents or use_vendor_sample):
        raise UnreadableDocumentError(
            "This is a rehearsal: the sandbox knows only the sample documents; a real BillflowAI account would read "
            "this file."
        )
    if row is not None and row["reads_as"] == "failure":
        raise UnreadableDocumentError("The document could not be read.")
    fields = (
        _build_fields_from_hash(sha256, invoice_kind) if row is None else _build_fields_from_manifest(row, invoice_kind)
    )
    return {**fields, **VENDOR_SAMPLE_FIELDS} if use_vendor_sample else fields


def _build_fields_from_manifest(row: dict[str, Any], invoice_kind: str) -> InvoiceFields:
    if row["reads_as"] != "document":
        return {**dict.fromkeys(INVOICE_FIELD_NAMES), "items": []}
    expected, totals = row["expected"], row["expected"]["totals"]
    fields = {
        "invoice_number": expected["invoice_number"],
        "date": expected["issue_date"],
        "counterparty": expected["buyer" if invoice_kind == "revenue" else "seller"]["name"],
        "total": Decimal(totals["gross"]),
        "subtotal": Decimal(totals["net"]) + Decimal(totals["allowances"]),
        "discount": Decimal(totals["allowances"]),
        "tax": Decimal(totals["tax"]),
        "currency": expected["currency"],
        "items": [_build_line_item(line) for line in expected["lines"]],
    }
    return {name: None if name in row["unreadable"] else value for name, value in fields.items()}


def _build_line_item(line: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": line["name"],
        "quantity": Decimal(line["quantity"]),
        "price": Decimal(line["price"]),
        "line_total": Decimal(line["net"]),
    }


def _build_fields_from_hash(sha256: str, invoice_kind: str) -> InvoiceFields:
    """Return an invoice with one line at 20 % tax; its number comes from the hash, so that each file has its own."""
    seed = int(sha256[:12], 16)
    quantity, price = Decimal(1 + seed % 9), Decimal(500 + seed // 9 % 49_500) / 100
    net = quantity * price
    tax = (net / 5).quantize(Decimal("0.01"))
    return {
        "invoice_number": f"S-{sha256[:16].upper()}",
        "date": (dt.date(2026, 1, 1) + dt.timedelta(days=seed % 180)).isoformat(),
        "counterparty": f"{'Customer' if invoice_kind == 'revenue' else 'Supplier'} {seed % 97:02d} Ltd",
        "total": net + tax,
        "subtotal": net,
        "discount": Decimal("0.00"),
        "tax": tax,
        "currency": "EUR",
        "items": [{"description": "Service", "quantity": quantity, "price": price, "line_total": net}],
    }


def shape_answer(
    fields: InvoiceFields,
    *,
    null_fields: Collection[str],
    dropped_fields: Collection[str],
    clear_line_totals: bool,
    numbers_as_strings: bool,
) -> InvoiceFields:
    """Return extracted fields in the shape that the settings ask for."""
    null_values: InvoiceFields = {name: [] if name == "items" else None for name in null_fields if name in fields}
    shaped_fields = {name: value for name, value in {**fields, **null_values}.items() if name not in dropped_fields}
    if clear_line_totals and isinstance(shaped_fields.get("items"), list):
        shaped_fields["items"] = [{**item, "line_total": None} for item in shaped_fields["items"]]
    return _convert_numbers_to_strings(shaped_fields) if numbers_as_strings else shaped_fields


def _convert_numbers_to_strings(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _convert_numbers_to_strings(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_convert_numbers_to_strings(item) for item in value]
    is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    return format(Decimal(value), "f") if is_number else value
