"""Reads accepted invoices from the published warehouse, so that receipts and exports have what analysts see."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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

MAX_INVOICES_AT_ONCE = 1_000
MAX_LINES_AT_ONCE = 20_000  # in memory; an invoice with more is read alone


@dataclass(frozen=True, slots=True)
class InvoiceReference:
    """An accepted invoice in the published warehouse: what it is ordered by, and how heavy it is."""

    invoice_id: str
    issued_on: dt.date
    supplier_name: str | None
    invoice_number: str
    line_count: int


class AcceptedInvoiceReader:
    """Reads one release of the published warehouse, even if the next one is published meanwhile."""

    def __init__(self, connection: duckdb.DuckDBPyConnection | None) -> None:
        """Read from this connection; without one there are no invoices."""
        self._connection = connection

    def list_references(self, invoice_ids: Sequence[str]) -> list[InvoiceReference]:
        """Return those of the invoices that are accepted and in the warehouse, ordered by id."""
        if self._connection is None:
            return []
        rows = self._connection.execute(
            "select invoice_id, issued_on, supplier_name, invoice_number, count(l.line_number) "
            "from core.invoices left join core.invoice_lines as l using (invoice_id) "
            "where invoice_id in (select unnest($1::varchar[])) group by all order by invoice_id",
            [list(invoice_ids)],
        ).fetchall()
        return [InvoiceReference(*row) for row in rows]

    def iter_invoices(self, references: Sequence[InvoiceReference]) -> Iterator[Invoice]:
        """Yield the invoices in this order; few of them, or few lines, are in memory at a time."""
        for chunk in iter_reference_chunks(references):
            yield from self._read_chunk([reference.invoice_id for reference in chunk])

    def _read_chunk(self, invoice_ids: Sequence[str]) -> list[Invoice]:
        if self._connection is None:
            return []
        lines_by_invoice = self._read_child_rows_by_invoice(
            self._connection, Line, "invoice_lines", _LINE_COLUMNS, "line_number", invoice_ids, DETAIL_LINES_ONLY
        )
        taxes_by_invoice = self._read_child_rows_by_invoice(
            self._connection, Tax, "invoice_taxes", _TAX_COLUMNS, "tax_number", invoice_ids
        )
        party_columns = ", ".join(
            [f"supplier_{name}" for name in _PARTY_COLUMNS] + [f"customer_{name}" for name in _PARTY_COLUMNS[:3]]
        )
        rows = self._connection.execute(
            f"select {', '.join(_HEADER_COLUMNS)}, {party_columns} from core.invoices "
            "where invoice_id in (select unnest($1::varchar[]))",
            [list(invoice_ids)],
        ).fetchall()
        invoices = {
            row[0]: _build_invoice(row, lines_by_invoice.get(row[0], []), taxes_by_invoice.get(row[0], []))
            for row in rows
        }
        return [invoices[invoice_id] for invoice_id in invoice_ids]

    @staticmethod
    def _read_child_rows_by_invoice(
        connection: duckdb.DuckDBPyConnection,
        row_type: type[Any],
        view: str,
        columns: Sequence[str],
        order_column: str,
        invoice_ids: Sequence[str],
        condition: str = "true",
    ) -> dict[str, list[Any]]:
        result = connection.execute(
            f"select invoice_id, {', '.join(columns)} from core.{view} "
            f"where invoice_id in (select unnest($1::varchar[])) and {condition} order by invoice_id, {order_column}",
            [list(invoice_ids)],
        )
        rows_by_invoice: dict[str, list[Any]] = {}
        while rows := result.fetchmany(1_000):
            for invoice_id, *values in rows:
                rows_by_invoice.setdefault(invoice_id, []).append(row_type(*values))
        return rows_by_invoice


@dataclass(frozen=True, slots=True)
class OrderedInvoices:
    """Invoices in a given order; each iteration reads them again, few at a time."""

    reader: AcceptedInvoiceReader
    references: Sequence[InvoiceReference]

    def __len__(self) -> int:
        """Return the number of invoices."""
        return len(self.references)

    def __iter__(self) -> Iterator[Invoice]:
        """Read the invoices."""
        return self.reader.iter_invoices(self.references)


@contextmanager
def open_accepted_invoices(warehouse_directory: Path) -> Iterator[AcceptedInvoiceReader]:
    """Open the published warehouse for reading; without one the reader has no invoices."""
    database_path = get_published_database_path(warehouse_directory)
    if not database_path.exists():
        yield AcceptedInvoiceReader(None)
        return
    with duckdb.connect(database_path, read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'; SET memory_limit = '256MB'; SET threads = 1")
        yield AcceptedInvoiceReader(connection)


def iter_reference_chunks(
    references: Sequence[InvoiceReference],
    max_invoices: int = MAX_INVOICES_AT_ONCE,
    max_lines: int = MAX_LINES_AT_ONCE,
) -> Iterator[list[InvoiceReference]]:
    """Yield the references in chunks that are not heavier than this, or have one invoice."""
    chunk: list[InvoiceReference] = []
    line_count = 0
    for reference in references:
        if chunk and (len(chunk) == max_invoices or line_count + reference.line_count > max_lines):
            yield chunk
            chunk, line_count = [], 0
        chunk.append(reference)
        line_count += reference.line_count
    if chunk:
        yield chunk


def list_accepted_invoices(warehouse_directory: Path, invoice_ids: Sequence[str]) -> list[InvoiceReference]:
    """Return those of the invoices that are accepted and in the published warehouse, ordered by id."""
    with open_accepted_invoices(warehouse_directory) as reader:
        return reader.list_references(invoice_ids)


def read_accepted_invoices(warehouse_directory: Path, invoice_ids: Sequence[str]) -> list[Invoice]:
    """Return the invoices with these ids that are accepted and in the published warehouse, ordered by id."""
    with open_accepted_invoices(warehouse_directory) as reader:
        return list(reader.iter_invoices(reader.list_references(invoice_ids)))


def _build_invoice(row: tuple[Any, ...], lines: Sequence[Line], taxes: Sequence[Tax]) -> Invoice:
    header = dict(zip(_HEADER_COLUMNS, row, strict=False))
    supplier, customer = row[len(_HEADER_COLUMNS) : len(_HEADER_COLUMNS) + 4], row[len(_HEADER_COLUMNS) + 4 :]
    return Invoice(
        **header,
        supplier=Party(*supplier),
        customer=Party(*customer),
        lines=tuple(lines),
        taxes=tuple(taxes),
    )


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
