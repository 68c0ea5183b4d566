"""The warehouse's tables as Arrow schemas, and the ledger's rows brought into them, exactly."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

TEXT, INTEGER, FLAG, DATE = pa.string(), pa.int64(), pa.bool_(), pa.date32()
INSTANT = pa.timestamp("us", tz="UTC")
AMOUNT, FINE = pa.decimal128(18, 4), pa.decimal128(18, 6)  # FINE: line amounts, quantities, unit prices, rates

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LoadTable:
    """One table: where it goes, by which columns its rows are replaced, and how a ledger row becomes its rows."""

    layer: str
    name: str
    ledger_table: str
    key: tuple[str, ...]
    schema: pa.Schema
    rows: Callable[[Row], Sequence[Row]]

    def arrow(self, ledger_rows: Sequence[Row]) -> pa.Table:
        """Return the rows of this table for some rows of the ledger, typed; a value that does not fit raises."""
        rows = [
            {name: row.get(name) for name in self.schema.names}
            for from_ledger in ledger_rows
            for row in self.rows(from_ledger)
        ]
        return pa.Table.from_pylist(rows, schema=self.schema)


def _schema(**columns: pa.DataType) -> pa.Schema:
    """Return a schema; the key, its first column (and a publisher), is never null."""
    first = next(iter(columns))
    return pa.schema(
        [pa.field(name, kind, nullable=name not in (first, "publisher")) for name, kind in columns.items()]
    )


def _as_is(row: Row) -> Sequence[Row]:
    return (row,)


def _concluded(row: Row) -> Sequence[Row]:
    """Return the question once it is answered or has failed, its price exact; an open one has no row yet."""
    if row["status"] not in ("answered", "failed"):
        return ()
    return (dict(row) | {"page_price_amount": _value(row.get("page_price_amount"), FINE)},)


CANDIDATES = _schema(
    invoice_id=TEXT, document_sha256=TEXT, ordinal=INTEGER, verdict=TEXT, extracted_by=TEXT, kind=TEXT, direction=TEXT,
    type_code=TEXT, profile=TEXT, invoice_number=TEXT, issued_on=DATE, due_on=DATE, payment_terms=TEXT,
    order_number=TEXT, supplier_name=TEXT, supplier_tax_id=TEXT, supplier_country=TEXT, supplier_iban=TEXT,
    customer_name=TEXT, customer_tax_id=TEXT, customer_country=TEXT, currency=TEXT, line_total_amount=AMOUNT,
    net_amount=AMOUNT, discount_amount=AMOUNT, charge_amount=AMOUNT, tax_amount=AMOUNT, total_amount=AMOUNT,
    prepaid_amount=AMOUNT, rounding_amount=AMOUNT, payable_amount=AMOUNT, received_at=INSTANT, judged_at=INSTANT,
    judged_by=TEXT,
)  # fmt: skip
LINES = _schema(
    invoice_id=TEXT, line_number=INTEGER, line_id=TEXT, parent_line_id=TEXT, line_kind=TEXT, description=TEXT,
    quantity=FINE, unit=TEXT, unit_price_amount=FINE, price_base_quantity=FINE, net_amount=FINE, tax_category=TEXT,
    tax_rate=FINE, tax_amount=FINE,
)  # fmt: skip
TAXES = _schema(
    invoice_id=TEXT, tax_number=INTEGER, tax_category=TEXT, tax_rate=FINE, taxable_amount=AMOUNT, tax_amount=AMOUNT,
    exemption_reason=TEXT,
)  # fmt: skip


def as_body(candidate: Row, lines: Sequence[Row], taxes: Sequence[Row]) -> str:
    """Return a judged candidate as the JSON text that the ledger keeps; decimals, dates and instants as their text."""
    return json.dumps({"candidate": candidate, "lines": lines, "taxes": taxes}, ensure_ascii=False, default=str)


def _candidate(row: Row) -> Sequence[Row]:
    body = _typed(json.loads(row["body"])["candidate"], CANDIDATES)
    return (body | {name: row[name] for name in ("invoice_id", "verdict", "judged_at", "judged_by")},)


def _lines(row: Row) -> Sequence[Row]:
    return [_typed(line, LINES) | {"invoice_id": row["invoice_id"]} for line in json.loads(row["body"])["lines"]]


def _taxes(row: Row) -> Sequence[Row]:
    taxes = json.loads(row["body"])["taxes"]
    return [_typed(tax, TAXES) | {"invoice_id": row["invoice_id"]} for tax in taxes]


def _typed(values: Row, schema: pa.Schema) -> dict[str, Any]:
    return {name: _value(value, schema.field(name).type) for name, value in values.items() if name in schema.names}


def _value(value: Any, kind: pa.DataType) -> Any:
    if value is None or not isinstance(value, str):
        return value
    if pa.types.is_decimal(kind):
        return Decimal(value)
    if pa.types.is_date(kind):
        return dt.date.fromisoformat(value)
    if pa.types.is_timestamp(kind):
        return dt.datetime.fromisoformat(value)
    return value


TABLES: tuple[LoadTable, ...] = (
    LoadTable(
        "raw", "documents", "documents", ("document_sha256",),
        _schema(
            document_sha256=TEXT, media_type=TEXT, byte_count=INTEGER, page_count=INTEGER, first_seen_at=INSTANT
        ), _as_is,
    ),
    LoadTable(
        "raw", "sightings", "sightings", ("sighting_id",),
        _schema(
            sighting_id=TEXT, document_sha256=TEXT, source_name=TEXT, source_kind=TEXT, location=TEXT, file_name=TEXT,
            sender=TEXT, subject=TEXT, message_id=TEXT, received_at=INSTANT, seen_at=INSTANT, message_key=TEXT,
            section=TEXT, declared_type=TEXT, original_sender=TEXT, left_out=TEXT, entity=TEXT, cost_centre=TEXT,
        ), _as_is,
    ),
    LoadTable(
        "raw", "messages", "messages", ("message_key",),
        _schema(
            message_key=TEXT, source_name=TEXT, folder=TEXT, uidvalidity=INTEGER, uid=INTEGER, content_sha256=TEXT,
            message_id=TEXT, sender=TEXT, reply_to=TEXT, subject=TEXT, received_at=INSTANT, byte_count=INTEGER,
            authentication=TEXT, outcome=TEXT, reason=TEXT, document_count=INTEGER, left_out=TEXT, action=TEXT,
            acted_at=INSTANT, seen_at=INSTANT,
        ), _as_is,
    ),
    LoadTable(
        "raw", "extractions", "extractions", ("extraction_id",),
        _schema(
            extraction_id=TEXT, document_sha256=TEXT, extracted_by=TEXT, status=TEXT, payload=TEXT, message=TEXT,
            run_id=TEXT, batch_id=TEXT, pages_reserved=INTEGER, pages_charged=INTEGER, page_price_amount=FINE,
            page_price_currency=TEXT, possible_double_charge=FLAG, requested_at=INSTANT, answered_at=INSTANT,
        ), _concluded,
    ),
    LoadTable(
        "core", "documents", "documents", ("document_sha256",),
        _schema(document_sha256=TEXT, state=TEXT, reason_code=TEXT, reason=TEXT, changed_at=INSTANT), _as_is,
    ),
    LoadTable("core", "candidates", "candidates", ("invoice_id",), CANDIDATES, _candidate),
    LoadTable("core", "candidate_lines", "candidates", ("invoice_id",), LINES, _lines),
    LoadTable("core", "candidate_taxes", "candidates", ("invoice_id",), TAXES, _taxes),
    LoadTable(
        "core", "findings", "findings", ("finding_id",),
        _schema(
            finding_id=TEXT, invoice_id=TEXT, document_sha256=TEXT, rule_id=TEXT, severity=TEXT, message=TEXT,
            checked_at=INSTANT,
        ), _as_is,
    ),
    LoadTable(
        "core", "receipts", "receipts", ("invoice_id", "publisher"),
        _schema(
            invoice_id=TEXT, publisher=TEXT, receipt_id=TEXT, remote_id=TEXT, status=TEXT, reason_code=TEXT,
            reason=TEXT, published_at=INSTANT,
        ), _as_is,
    ),
    LoadTable(
        "core", "exported_invoices", "exported_invoices", ("invoice_id",), _schema(invoice_id=TEXT, batch_id=TEXT),
        _as_is,
    ),
)  # fmt: skip
