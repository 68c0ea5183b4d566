"""Accepted invoices, read back from the published warehouse: what is published and exported is what analysts see."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from invoices.model import Invoice, Line, Party, Tax
from transforms.loading.release import published_path

_HEADER = (
    "invoice_id", "document_sha256", "ordinal", "kind", "direction", "invoice_number", "issued_on", "currency",
    "total_amount", "due_on", "order_number", "net_amount", "discount_amount", "charge_amount", "tax_amount",
    "prepaid_amount", "payable_amount",
)  # fmt: skip
NO_GROUPS = "coalesce(line_kind, 'detail') = 'detail'"  # group lines repeat what their parts state
_PARTY = ("name", "tax_id", "country", "iban")
_LINE = tuple(Line.__slots__)
_TAX = tuple(Tax.__slots__)


def accepted_invoices(directory: Path, wanted: Sequence[str]) -> list[Invoice]:
    """Return those of the wanted invoices (by id) that are accepted and published, with lines and taxes, by id."""
    if not published_path(directory).exists():
        return []
    with duckdb.connect(published_path(directory), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        lines = _children(connection, "invoice_lines", _LINE, "line_number", wanted, NO_GROUPS)
        taxes = _children(connection, "invoice_taxes", _TAX, "tax_number", wanted)
        party = ", ".join([f"supplier_{name}" for name in _PARTY] + [f"customer_{name}" for name in _PARTY[:3]])
        rows = connection.execute(
            f"select {', '.join(_HEADER)}, {party} from core.invoices "
            "where list_contains(?, invoice_id) order by invoice_id",
            [list(wanted)],
        ).fetchall()
    return [_invoice(row, lines.get(row[0], []), taxes.get(row[0], [])) for row in rows]


def _invoice(row: tuple[Any, ...], lines: list[tuple[Any, ...]], taxes: list[tuple[Any, ...]]) -> Invoice:
    header = dict(zip(_HEADER, row, strict=False))
    supplier, customer = row[len(_HEADER) : len(_HEADER) + 4], row[len(_HEADER) + 4 :]
    return Invoice(
        **header,
        supplier=Party(*supplier),
        customer=Party(*customer),
        lines=tuple(Line(*line) for line in lines),
        taxes=tuple(Tax(*tax) for tax in taxes),
    )


def _children(
    connection: duckdb.DuckDBPyConnection,
    view: str,
    columns: Sequence[str],
    order: str,
    wanted: Sequence[str],
    condition: str = "true",
) -> dict[str, list[tuple[Any, ...]]]:
    rows = connection.execute(
        f"select invoice_id, {', '.join(columns)} from core.{view} "
        f"where list_contains(?, invoice_id) and {condition} order by invoice_id, {order}",
        [list(wanted)],
    ).fetchall()
    children: dict[str, list[tuple[Any, ...]]] = {}
    for invoice, *values in rows:
        children.setdefault(invoice, []).append(tuple(values))
    return children


def money_by_currency(directory: Path) -> list[tuple[Any, ...]]:
    """Return (currency, invoices, net, tax, total) of the accepted invoices, credit notes negative, by currency."""
    if not published_path(directory).exists():
        return []
    with duckdb.connect(published_path(directory), read_only=True) as connection:
        return connection.execute(
            "with booked as (select *, case kind when 'credit_note' then -1 else 1 end as sign from core.invoices) "
            "select currency, count(*), sum(sign * net_amount), sum(sign * tax_amount), sum(sign * total_amount) "
            "from booked group by currency order by currency"
        ).fetchall()
