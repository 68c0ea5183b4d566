"""Reads accepted invoices from the published warehouse, so that receipts and exports have what analysts see."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from invoices.model import Invoice, Line, Party, Tax
from transforms.loading.release import get_published_database_path

_HEADER_COLUMNS = (
    "invoice_id", "document_sha256", "ordinal", "kind", "direction", "invoice_number", "issued_on", "currency",
    "total_amount", "due_on", "order_number", "net_amount", "discount_amount", "charge_amount", "tax_amount",
    "prepaid_amount", "payable_amount",
)  # fmt: skip
DETAIL_LINES_ONLY = "coalesce(line_kind, 'detail') = 'detail'"  # group lines repeat the amounts of their parts
_PARTY_COLUMNS = ("name", "tax_id", "country", "iban")
_LINE_COLUMNS = tuple(Line.__slots__)
_TAX_COLUMNS = tuple(Tax.__slots__)


def read_accepted_invoices(warehouse_directory: Path, invoice_ids: Sequence[str]) -> list[Invoice]:
    """Return the invoices with these ids that are accepted and in the published warehouse, ordered by id."""
    if not get_published_database_path(warehouse_directory).exists():
        return []
    with duckdb.connect(get_published_database_path(warehouse_directory), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        lines_by_invoice = _read_child_rows_by_invoice(
            connection, "invoice_lines", _LINE_COLUMNS, "line_number", invoice_ids, DETAIL_LINES_ONLY
        )
        taxes_by_invoice = _read_child_rows_by_invoice(
            connection, "invoice_taxes", _TAX_COLUMNS, "tax_number", invoice_ids
        )
        party_columns = ", ".join(
            [f"supplier_{name}" for name in _PARTY_COLUMNS] + [f"customer_{name}" for name in _PARTY_COLUMNS[:3]]
        )
        rows = connection.execute(
            f"select {', '.join(_HEADER_COLUMNS)}, {party_columns} from core.invoices "
            "where list_contains(?, invoice_id) order by invoice_id",
            [list(invoice_ids)],
        ).fetchall()
    return [_build_invoice(row, lines_by_invoice.get(row[0], []), taxes_by_invoice.get(row[0], [])) for row in rows]


def _build_invoice(row: tuple[Any, ...], lines: list[tuple[Any, ...]], taxes: list[tuple[Any, ...]]) -> Invoice:
    header = dict(zip(_HEADER_COLUMNS, row, strict=False))
    supplier, customer = row[len(_HEADER_COLUMNS) : len(_HEADER_COLUMNS) + 4], row[len(_HEADER_COLUMNS) + 4 :]
    return Invoice(
        **header,
        supplier=Party(*supplier),
        customer=Party(*customer),
        lines=tuple(Line(*line) for line in lines),
        taxes=tuple(Tax(*tax) for tax in taxes),
    )


def _read_child_rows_by_invoice(
    connection: duckdb.DuckDBPyConnection,
    view: str,
    columns: Sequence[str],
    order_column: str,
    invoice_ids: Sequence[str],
    condition: str = "true",
) -> dict[str, list[tuple[Any, ...]]]:
    rows = connection.execute(
        f"select invoice_id, {', '.join(columns)} from core.{view} "
        f"where list_contains(?, invoice_id) and {condition} order by invoice_id, {order_column}",
        [list(invoice_ids)],
    ).fetchall()
    rows_by_invoice: dict[str, list[tuple[Any, ...]]] = {}
    for invoice_id, *values in rows:
        rows_by_invoice.setdefault(invoice_id, []).append(tuple(values))
    return rows_by_invoice


def sum_accepted_amounts_by_currency(warehouse_directory: Path) -> list[tuple[Any, ...]]:
    """Return (currency, invoice count, net, tax, total) of accepted invoices; credit notes are negative."""
    if not get_published_database_path(warehouse_directory).exists():
        return []
    with duckdb.connect(get_published_database_path(warehouse_directory), read_only=True) as connection:
        return connection.execute(
            "with signed as (select *, case kind when 'credit_note' then -1 else 1 end as sign from core.invoices) "
            "select currency, count(*), sum(sign * net_amount), sum(sign * tax_amount), sum(sign * total_amount) "
            "from signed group by currency order by currency"
        ).fetchall()
