"""What the vendor's model reads on a document: the sample world is known by hash, strangers may be made of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any

from sandbox.samples import known_documents, manifest

Paper = dict[str, Any]
Value = Decimal | str | None
REHEARSAL = (
    "This is a rehearsal: the sandbox knows only the sample documents; "
    "a real Invoice Data Extraction account would read this file."
)
BROKEN = "The page could not be read."

_HEADER: dict[str, Callable[[Paper], Value]] = {
    "Document type": lambda paper: paper["doc_type"],
    "Invoice number": lambda paper: paper["invoice_number"],
    "Invoice date": lambda paper: paper["issue_date"],
    "Due date": lambda paper: paper["due_date"],
    "Order number": lambda paper: paper["order_number"],
    "Supplier name": lambda paper: paper["seller"]["name"],
    "Supplier tax ID": lambda paper: paper["seller"]["vat_id"],
    "Supplier country": lambda paper: paper["seller"]["country"],
    "Supplier IBAN": lambda paper: paper["seller"]["iban"],
    "Customer name": lambda paper: paper["buyer"]["name"],
    "Customer tax ID": lambda paper: paper["buyer"]["vat_id"],
    "Currency": lambda paper: paper["currency"],
    "Net amount": lambda paper: Decimal(paper["totals"]["net"]),
    "Tax amount": lambda paper: Decimal(paper["totals"]["tax"]),
    "Total amount": lambda paper: Decimal(paper["totals"]["gross"]),
}
_LINE: dict[str, Callable[[Paper], Value]] = {
    "Line description": lambda line: line["name"],
    "Line quantity": lambda line: Decimal(line["quantity"]),
    "Line unit price": lambda line: Decimal(line["price"]) / Decimal(line["per"]),
    "Line net amount": lambda line: Decimal(line["net"]),
    "Line tax rate": lambda line: Decimal(line["rate"]),
}
HEADER_COLUMNS, LINE_COLUMNS = tuple(_HEADER), tuple(_LINE)
_SMUDGED = {"invoice_number": "Invoice number"}


def page_count(sha256: str) -> int:
    """Return how many pages a document has; strangers have one."""
    row = known_documents().get(sha256)
    return int(row["pages"]) if row else 1


def failure_of(sha256: str, *, reads_strangers: bool) -> str | None:
    """Return why no page of a document can be read, or None where they can."""
    row = known_documents().get(sha256)
    if row is None:
        return None if reads_strangers else REHEARSAL
    return BROKEN if row["reads_as"] == "failure" else None


def rows_of(sha256: str, columns: tuple[str, ...], *, per_line: bool) -> list[dict[str, Value]]:
    """Return a readable document's rows with these columns: one a line or one in all, none where it is no invoice.

    A column that the model knows nothing about is None; a document without lines is one row.
    """
    row = known_documents().get(sha256)
    if row is not None and row["reads_as"] != "document":
        return []
    paper = row["expected"] if row else stranger(sha256)
    header = {name: read(paper) for name, read in _HEADER.items()}
    for field in row["unreadable"] if row else ():
        header[_SMUDGED[field]] = None
    lines = [{name: read(line) for name, read in _LINE.items()} for line in paper["lines"]]
    parts = (lines or [{}]) if per_line else [_joined(lines)]
    known = {plain(name): name for name in (*_HEADER, *_LINE)}
    return [{name: {**header, **part}.get(known.get(plain(name), "")) for name in columns} for part in parts]


def plain(name: str) -> str:
    """Return a column name without case, blanks and underscores, as the vendor compares them."""
    return "".join(name.lower().replace("_", " ").split())


def _joined(lines: list[dict[str, Value]]) -> dict[str, Value]:
    return {name: "; ".join(str(line[name]) for line in lines) or None for name in _LINE}


@cache
def _models() -> tuple[Paper, ...]:
    """Return sound invoices of the sample world, whose parties strangers borrow."""
    sound = (row["expected"] for row in manifest() if row["expected_state"] == "accepted")
    return tuple(paper for paper in sound if paper["currency"] == "EUR" and paper["tax_breakdown"])


def stranger(sha256: str) -> Paper:
    """Return a small sound invoice made of a hash: two lines, and net + tax = total."""
    seed = int(sha256[:15], 16)
    model = _models()[seed % len(_models())]
    breakdown = model["tax_breakdown"][0]
    lines = [_line(number, seed >> (8 * number), breakdown) for number in (1, 2)]
    net = sum((Decimal(line["net"]) for line in lines), Decimal(0))
    tax = (net * Decimal(breakdown["rate"]) / 100).quantize(Decimal("0.01"))
    issued = dt.date(2026, 1, 1) + dt.timedelta(days=seed % 150)
    return {
        "doc_type": "invoice", "invoice_number": f"S-{sha256[:12]}", "issue_date": issued.isoformat(),
        "due_date": (issued + dt.timedelta(days=30)).isoformat(), "order_number": None, "currency": "EUR",
        "seller": model["seller"], "buyer": model["buyer"], "lines": lines,
        "totals": {"net": str(net), "tax": str(tax), "gross": str(net + tax)},
    }  # fmt: skip


def _line(number: int, seed: int, breakdown: dict[str, str]) -> dict[str, str]:
    quantity, price = Decimal(1 + seed % 9), Decimal(100 + seed % 90_000) / 100
    return {
        "name": f"Article {number}", "quantity": str(quantity), "price": str(price), "per": "1",
        "net": str((quantity * price).quantize(Decimal("0.01"))), "rate": breakdown["rate"],
    }  # fmt: skip
