"""The tables of the warehouse as Arrow schemas, and the exact conversion of ledger rows to them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

TEXT, INTEGER, BOOLEAN, DATE = pa.string(), pa.int64(), pa.bool_(), pa.date32()
TIMESTAMP = pa.timestamp("us", tz="UTC")
AMOUNT = pa.decimal128(18, 4)
PRECISE_DECIMAL = pa.decimal128(18, 6)  # line amounts, quantities, unit prices, rates
MAX_PAYLOAD_CHARS = 256 * 1024  # of an answer in the warehouse: about 800 invoice lines

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LoadTable:
    """One table: its layer, name and schema, the key of its rows, and the conversion of a ledger row to its rows."""

    layer: str
    name: str
    ledger_table: str
    merge_key: tuple[str, ...]
    schema: pa.Schema
    convert_row: Callable[[Row], Sequence[Row]]

    def to_arrow(self, ledger_rows: Sequence[Row]) -> pa.Table:
        """Return the typed rows of this table; raise an Arrow error or ValueError if a value does not fit."""
        rows = [
            {name: row.get(name) for name in self.schema.names}
            for ledger_row in ledger_rows
            for row in self.convert_row(ledger_row)
        ]
        return pa.Table.from_pylist(rows, schema=self.schema)


def _build_schema(**columns: pa.DataType) -> pa.Schema:
    """Return a schema; its key, the first column (and ``publisher``), is never null."""
    first_column = next(iter(columns))
    return pa.schema(
        [
            pa.field(name, data_type, nullable=name not in (first_column, "publisher"))
            for name, data_type in columns.items()
        ]
    )


def _keep_row_unchanged(row: Row) -> Sequence[Row]:
    return (row,)


def _convert_finished_extraction(row: Row) -> Sequence[Row]:
    """Return the extraction with its exact price once it is answered or has failed; an open one has no row yet.

    Only the ledger has an answer above the maximum: DuckDB holds those of 2,048 rows in memory, several times.
    """
    if row["status"] not in ("answered", "failed"):
        return ()
    payload = row.get("payload")
    is_too_long = payload is not None and len(payload) > MAX_PAYLOAD_CHARS
    price = _parse_value(row.get("page_price_amount"), PRECISE_DECIMAL)
    return (dict(row) | {"payload": None if is_too_long else payload, "page_price_amount": price},)


CANDIDATES_SCHEMA = _build_schema(
    invoice_id=TEXT, document_sha256=TEXT, ordinal=INTEGER, verdict=TEXT, extracted_by=TEXT, kind=TEXT, direction=TEXT,
    type_code=TEXT, profile=TEXT, invoice_number=TEXT, issued_on=DATE, due_on=DATE, payment_terms=TEXT,
    order_number=TEXT, supplier_name=TEXT, supplier_tax_id=TEXT, supplier_country=TEXT, supplier_iban=TEXT,
    customer_name=TEXT, customer_tax_id=TEXT, customer_country=TEXT, currency=TEXT, line_total_amount=AMOUNT,
    net_amount=AMOUNT, discount_amount=AMOUNT, charge_amount=AMOUNT, tax_amount=AMOUNT, total_amount=AMOUNT,
    prepaid_amount=AMOUNT, rounding_amount=AMOUNT, payable_amount=AMOUNT, other_tax_amount=AMOUNT,
    withheld_amount=AMOUNT, withheld_in_total_amount=AMOUNT, added_after_total_amount=AMOUNT, supplier_tax_number=TEXT,
    supplier_registration_id=TEXT, customer_tax_number=TEXT, customer_registration_id=TEXT, payee_name=TEXT,
    payment_reference=TEXT, further_accounts=TEXT, delivered_on=DATE, buyer_reference=TEXT, note=TEXT,
    attachment_names=TEXT, received_at=TIMESTAMP, validated_at=TIMESTAMP,
    decided_by=TEXT,
)  # fmt: skip
LINES_SCHEMA = _build_schema(
    invoice_id=TEXT, line_number=INTEGER, line_id=TEXT, parent_line_id=TEXT, line_kind=TEXT, description=TEXT,
    quantity=PRECISE_DECIMAL, unit=TEXT, unit_price_amount=PRECISE_DECIMAL, price_base_quantity=PRECISE_DECIMAL,
    net_amount=PRECISE_DECIMAL, tax_category=TEXT, tax_rate=PRECISE_DECIMAL, tax_amount=PRECISE_DECIMAL,
)  # fmt: skip
TAXES_SCHEMA = _build_schema(
    invoice_id=TEXT, tax_number=INTEGER, tax_category=TEXT, tax_rate=PRECISE_DECIMAL, taxable_amount=AMOUNT,
    tax_amount=AMOUNT, exemption_reason=TEXT,
)  # fmt: skip


def serialise_candidate(candidate: Row, line_texts: Iterable[str], tax_texts: Iterable[str]) -> str:
    """Return a validated candidate as the JSON text for the ledger; its lines and taxes are texts already."""
    return (
        f'{{"candidate": {serialise_row(candidate)}, "lines": [{", ".join(line_texts)}], '
        f'"taxes": [{", ".join(tax_texts)}]}}'
    )


def serialise_row(row: Row) -> str:
    """Return a candidate, line or tax as JSON text; decimals, dates and timestamps as strings."""
    return json.dumps(row, ensure_ascii=False, default=str)


def _convert_candidate(row: Row) -> Sequence[Row]:
    candidate = _convert_values_to_schema(json.loads(row["body"])["candidate"], CANDIDATES_SCHEMA)
    return (candidate | {name: row[name] for name in ("invoice_id", "verdict", "validated_at", "decided_by")},)


def _convert_lines(row: Row) -> Sequence[Row]:
    return [
        _convert_values_to_schema(line, LINES_SCHEMA) | {"invoice_id": row["invoice_id"]}
        for line in json.loads(row["body"])["lines"]
    ]


def _convert_taxes(row: Row) -> Sequence[Row]:
    taxes = json.loads(row["body"])["taxes"]
    return [_convert_values_to_schema(tax, TAXES_SCHEMA) | {"invoice_id": row["invoice_id"]} for tax in taxes]


def _convert_values_to_schema(values: Row, schema: pa.Schema) -> dict[str, Any]:
    return {
        name: _parse_value(value, schema.field(name).type) for name, value in values.items() if name in schema.names
    }


def _parse_value(value: Any, data_type: pa.DataType) -> Any:
    if value is None or not isinstance(value, str):
        return value
    if pa.types.is_decimal(data_type):
        return Decimal(value)
    if pa.types.is_date(data_type):
        return dt.date.fromisoformat(value)
    if pa.types.is_timestamp(data_type):
        return dt.datetime.fromisoformat(value)
    return value


WAREHOUSE_TABLES: tuple[LoadTable, ...] = (
    LoadTable(
        "raw", "documents", "documents", ("document_sha256",),
        _build_schema(
            document_sha256=TEXT, media_type=TEXT, byte_count=INTEGER, page_count=INTEGER, first_seen_at=TIMESTAMP
        ), _keep_row_unchanged,
    ),
    LoadTable(
        "raw", "sightings", "sightings", ("sighting_id",),
        _build_schema(
            sighting_id=TEXT, document_sha256=TEXT, source_name=TEXT, source_kind=TEXT, location=TEXT, file_name=TEXT,
            sender=TEXT, subject=TEXT, message_id=TEXT, received_at=TIMESTAMP, seen_at=TIMESTAMP, message_key=TEXT,
            section=TEXT, declared_type=TEXT, original_sender=TEXT, skip_reason_code=TEXT, entity=TEXT,
            cost_centre=TEXT, embedded_in=TEXT,
        ), _keep_row_unchanged,
    ),
    LoadTable(
        "raw", "messages", "messages", ("message_key",),
        _build_schema(
            message_key=TEXT, source_name=TEXT, folder=TEXT, uidvalidity=INTEGER, uid=INTEGER, content_sha256=TEXT,
            message_id=TEXT, sender=TEXT, reply_to=TEXT, subject=TEXT, received_at=TIMESTAMP, byte_count=INTEGER,
            authentication=TEXT, outcome=TEXT, reason=TEXT, document_count=INTEGER, skipped_parts=TEXT, action=TEXT,
            acted_at=TIMESTAMP, seen_at=TIMESTAMP,
        ), _keep_row_unchanged,
    ),
    LoadTable(
        "raw", "extractions", "extractions", ("extraction_id",),
        _build_schema(
            extraction_id=TEXT, document_sha256=TEXT, extracted_by=TEXT, status=TEXT, payload=TEXT, message=TEXT,
            run_id=TEXT, batch_id=TEXT, pages_reserved=INTEGER, pages_charged=INTEGER,
            page_price_amount=PRECISE_DECIMAL, page_price_currency=TEXT, possible_double_charge=BOOLEAN,
            requested_at=TIMESTAMP, answered_at=TIMESTAMP,
        ), _convert_finished_extraction,
    ),
    LoadTable(
        "core", "documents", "documents", ("document_sha256",),
        _build_schema(document_sha256=TEXT, state=TEXT, reason_code=TEXT, reason=TEXT, changed_at=TIMESTAMP),
        _keep_row_unchanged,
    ),
    LoadTable("core", "candidates", "candidates", ("invoice_id",), CANDIDATES_SCHEMA, _convert_candidate),
    LoadTable("core", "candidate_lines", "candidates", ("invoice_id",), LINES_SCHEMA, _convert_lines),
    LoadTable("core", "candidate_taxes", "candidates", ("invoice_id",), TAXES_SCHEMA, _convert_taxes),
    LoadTable(
        "core", "findings", "findings", ("finding_id",),
        _build_schema(
            finding_id=TEXT, invoice_id=TEXT, document_sha256=TEXT, rule_id=TEXT, severity=TEXT, message=TEXT,
            checked_at=TIMESTAMP,
        ), _keep_row_unchanged,
    ),
    LoadTable(
        "core", "receipts", "receipts", ("invoice_id", "publisher"),
        _build_schema(
            invoice_id=TEXT, publisher=TEXT, receipt_id=TEXT, remote_id=TEXT, status=TEXT, reason_code=TEXT,
            reason=TEXT, published_at=TIMESTAMP,
        ), _keep_row_unchanged,
    ),
    LoadTable(
        "core", "exported_invoices", "exported_invoices", ("invoice_id",),
        _build_schema(invoice_id=TEXT, batch_id=TEXT), _keep_row_unchanged,
    ),
)  # fmt: skip
