"""What the vendor's model makes of a document: the sample world is known by hash, strangers only if a knob says so."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from decimal import Decimal
from typing import Any

from sandbox.samples import known_documents

FIELDS = ("invoice_number", "date", "counterparty", "total", "subtotal", "discount", "tax", "currency")
AMOUNTS = ("total", "subtotal", "discount", "tax")
SAMPLE: dict[str, Any] = {
    "total": 1200, "subtotal": 1300, "discount": 100, "tax": 180,
    "items": [{"description": "Service", "quantity": 1, "price": 1020, "line_total": None}],
}  # fmt: skip
"""Amounts and line as the vendor's page prints them: two sums of them hold, the third one does not (§2.3)."""
Reading = dict[str, Any]


class Unreadable(Exception):
    """The model makes nothing of this document; the message says why."""


def has_known_form(content: bytes) -> bool:
    """Return whether bytes begin as a PDF, JPG or PNG does."""
    return content.startswith((b"%PDF-", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"))


def read(sha256: str, kind: str, *, reads_strangers: bool, tells_sample: bool) -> Reading:
    """Return what is read of the document of this hash, numbers as Decimal; raises Unreadable."""
    row = known_documents().get(sha256)
    if row is None and not (reads_strangers or tells_sample):
        raise Unreadable(
            "This is a rehearsal: the sandbox knows only the sample documents; a real BillflowAI account would read "
            "this file."
        )
    if row is not None and row["reads_as"] == "failure":
        raise Unreadable("The document could not be read.")
    reading = _of_stranger(sha256, kind) if row is None else _of_known(row, kind)
    return {**reading, **SAMPLE} if tells_sample else reading


def _of_known(row: dict[str, Any], kind: str) -> Reading:
    if row["reads_as"] != "document":
        return {**dict.fromkeys(FIELDS), "items": []}
    paper, totals = row["expected"], row["expected"]["totals"]
    reading = {
        "invoice_number": paper["invoice_number"],
        "date": paper["issue_date"],
        "counterparty": paper["buyer" if kind == "revenue" else "seller"]["name"],
        "total": Decimal(totals["gross"]),
        "subtotal": Decimal(totals["net"]) + Decimal(totals["allowances"]),
        "discount": Decimal(totals["allowances"]),
        "tax": Decimal(totals["tax"]),
        "currency": paper["currency"],
        "items": [_line(line) for line in paper["lines"]],
    }
    return {name: None if name in row["unreadable"] else value for name, value in reading.items()}


def _line(line: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": line["name"],
        "quantity": Decimal(line["quantity"]),
        "price": Decimal(line["price"]),
        "line_total": Decimal(line["net"]),
    }


def _of_stranger(sha256: str, kind: str) -> Reading:
    """Return an invoice of one line at 20 % tax; its number is the hash, so that no two files share one."""
    seed = int(sha256[:12], 16)
    quantity, price = Decimal(1 + seed % 9), Decimal(500 + seed // 9 % 49_500) / 100
    net = quantity * price
    tax = (net / 5).quantize(Decimal("0.01"))
    return {
        "invoice_number": f"S-{sha256[:16].upper()}",
        "date": (dt.date(2026, 1, 1) + dt.timedelta(days=seed % 180)).isoformat(),
        "counterparty": f"{'Customer' if kind == 'revenue' else 'Supplier'} {seed % 97:02d} Ltd",
        "total": net + tax,
        "subtotal": net,
        "discount": Decimal("0.00"),
        "tax": tax,
        "currency": "EUR",
        "items": [{"description": "Service", "quantity": quantity, "price": price, "line_total": net}],
    }


def told(
    reading: Reading, *, nulled: Collection[str], dropped: Collection[str], no_line_totals: bool, as_strings: bool
) -> Reading:
    """Return a reading in the shape that the knobs ask for."""
    empty: Reading = {name: [] if name == "items" else None for name in nulled if name in reading}
    shaped = {name: value for name, value in {**reading, **empty}.items() if name not in dropped}
    if no_line_totals and isinstance(shaped.get("items"), list):
        shaped["items"] = [{**item, "line_total": None} for item in shaped["items"]]
    return _stringed(shaped) if as_strings else shaped


def _stringed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _stringed(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_stringed(item) for item in value]
    is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    return format(Decimal(value), "f") if is_number else value
