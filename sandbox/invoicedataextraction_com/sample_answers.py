"""What the vendor extracts from a document: samples are known by hash, for others an invoice may be generated."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any

from sandbox.sample_manifest import load_manifest, load_manifest_by_sha256

ExpectedInvoice = dict[str, Any]
CellValue = Decimal | str | None
UNKNOWN_DOCUMENT_MESSAGE = (
    "This is a rehearsal: the sandbox knows only the sample documents; "
    "a real Invoice Data Extraction account would read this file."
)
UNREADABLE_PAGE_MESSAGE = "The page could not be read."

_HEADER_READERS: dict[str, Callable[[ExpectedInvoice], CellValue]] = {
    "Document type": lambda invoice: invoice["doc_type"],
    "Invoice number": lambda invoice: invoice["invoice_number"],
    "Invoice date": lambda invoice: invoice["issue_date"],
    "Due date": lambda invoice: invoice["due_date"],
    "Order number": lambda invoice: invoice["order_number"],
    "Supplier name": lambda invoice: invoice["seller"]["name"],
    "Supplier tax ID": lambda invoice: invoice["seller"]["vat_id"],
    "Supplier country": lambda invoice: invoice["seller"]["country"],
    "Supplier IBAN": lambda invoice: invoice["seller"]["iban"],
    "Customer name": lambda invoice: invoice["buyer"]["name"],
    "Customer tax ID": lambda invoice: invoice["buyer"]["vat_id"],
    "Currency": lambda invoice: invoice["currency"],
    "Net amount": lambda invoice: Decimal(invoice["totals"]["net"]),
    "Tax amount": lambda invoice: Decimal(invoice["totals"]["tax"]),
    "Total amount": lambda invoice: Decimal(invoice["totals"]["gross"]),
}
_LINE_READERS: dict[str, Callable[[ExpectedInvoice], CellValue]] = {
    "Line description": lambda line: line["name"],
    "Line quantity": lambda line: Decimal(line["quantity"]),
    "Line unit price": lambda line: Decimal(line["price"]) / Decimal(line["per"]),
    "Line net amount": lambda line: Decimal(line["net"]),
    "Line tax rate": lambda line: Decimal(line["rate"]),
}
HEADER_COLUMNS, LINE_COLUMNS = tuple(_HEADER_READERS), tuple(_LINE_READERS)
_UNREADABLE_COLUMNS = {"invoice_number": "Invoice number"}


def count_pages(sha256: str) -> int:
    """Return the number of pages of a document; 1 for an unknown one."""
    row = load_manifest_by_sha256().get(sha256)
    return int(row["pages"]) if row else 1


def find_failure_reason(sha256: str, *, accept_unknown_documents: bool) -> str | None:
    """Return why no page of a document can be read, or None if they can be read."""
    row = load_manifest_by_sha256().get(sha256)
    if row is None:
        return None if accept_unknown_documents else UNKNOWN_DOCUMENT_MESSAGE
    return UNREADABLE_PAGE_MESSAGE if row["reads_as"] == "failure" else None


def build_rows(sha256: str, columns: tuple[str, ...], *, one_row_per_line: bool) -> list[dict[str, CellValue]]:
    """Return the rows of a readable document: one row per line or one in all, none if it is not an invoice.

    An unknown column is None; a document without lines has one row.
    """
    row = load_manifest_by_sha256().get(sha256)
    if row is not None and row["reads_as"] != "document":
        return []
    invoice = row["expected"] if row else build_invoice_from_hash(sha256)
    header = {name: read_value(invoice) for name, read_value in _HEADER_READERS.items()}
    for unreadable_field in row["unreadable"] if row else ():
        header[_UNREADABLE_COLUMNS[unreadable_field]] = None
    lines = [{name: read_value(line) for name, read_value in _LINE_READERS.items()} for line in invoice["lines"]]
    joined_lines: dict[str, CellValue] = {
        name: "; ".join(str(line[name]) for line in lines) or None for name in _LINE_READERS
    }
    line_parts = (lines or [{}]) if one_row_per_line else [joined_lines]
    known_columns = {normalise_column_name(name): name for name in (*_HEADER_READERS, *_LINE_READERS)}
    return [
        {name: {**header, **line_part}.get(known_columns.get(normalise_column_name(name), "")) for name in columns}
        for line_part in line_parts
    ]


def normalise_column_name(name: str) -> str:
    """Return a column name in lower case without blanks and underscores, as the vendor compares them."""
    return "".join(name.lower().replace("_", " ").split())


@cache
def _list_template_invoices() -> tuple[ExpectedInvoice, ...]:
    """Return correct sample invoices, whose parties and tax rates the generated invoices use."""
    accepted_invoices = (row["expected"] for row in load_manifest() if row["expected_state"] == "accepted")
    return tuple(invoice for invoice in accepted_invoices if invoice["currency"] == "EUR" and invoice["tax_breakdown"])


def build_invoice_from_hash(sha256: str) -> ExpectedInvoice:
    """Return a small correct invoice generated from a hash: two lines, and net + tax = total."""
    seed = int(sha256[:15], 16)
    template = _list_template_invoices()[seed % len(_list_template_invoices())]
    breakdown = template["tax_breakdown"][0]
    lines = [_build_line(number, seed >> (8 * number), breakdown) for number in (1, 2)]
    net = sum((Decimal(line["net"]) for line in lines), Decimal(0))
    tax = (net * Decimal(breakdown["rate"]) / 100).quantize(Decimal("0.01"))
    issue_date = dt.date(2026, 1, 1) + dt.timedelta(days=seed % 150)
    return {
        "doc_type": "invoice", "invoice_number": f"S-{sha256[:12]}", "issue_date": issue_date.isoformat(),
        "due_date": (issue_date + dt.timedelta(days=30)).isoformat(), "order_number": None, "currency": "EUR",
        "seller": template["seller"], "buyer": template["buyer"], "lines": lines,
        "totals": {"net": str(net), "tax": str(tax), "gross": str(net + tax)},
    }  # fmt: skip


def _build_line(number: int, seed: int, breakdown: dict[str, str]) -> dict[str, str]:
    quantity, price = Decimal(1 + seed % 9), Decimal(100 + seed % 90_000) / 100
    return {
        "name": f"Article {number}", "quantity": str(quantity), "price": str(price), "per": "1",
        "net": str((quantity * price).quantize(Decimal("0.01"))), "rate": breakdown["rate"],
    }  # fmt: skip
