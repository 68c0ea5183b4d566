"""The manifest and the control sheet: what a batch holds, what it adds up to, and the hash of each of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal

from invoices.exports.batch import Batch
from invoices.exports.cells import plain
from invoices.exports.tables import Cell, Column
from invoices.exports.totals import BILL_AMOUNTS, TAX_AMOUNTS, Summary
from invoices.exports.workbook import Sheet
from invoices.model.currencies import minor_digits

FILE_NAME = "manifest.json"
SIGN = "credit notes negative"

_AMOUNTS = tuple(dict.fromkeys((*BILL_AMOUNTS, *TAX_AMOUNTS)))
_CONTROL_COLUMNS = (
    Column("item"),
    Column("value"),
    Column("currency"),
    Column("tax_rate", "number"),
    Column("tax_category"),
    Column("count", "count"),
    *(Column(name, "amount") for name in _AMOUNTS),
)


def manifest_bytes(
    batch: Batch, summary: Summary, notices: Mapping[str, int], rows: Mapping[str, int], files: Mapping[str, bytes]
) -> bytes:
    """Return ``manifest.json``: JSON in UTF-8, amounts as decimal strings, one entry per file except itself."""
    document = {
        "batch_id": batch.batch_id,
        "created_at": batch.created_text,
        "sign": SIGN,
        **summary_document(summary),
        "notices": dict(notices),
        "files": {
            name: {"bytes": len(content), "rows": rows[name], "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        },
    }
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()


def summary_document(summary: Summary) -> dict[str, object]:
    """Return the part of the manifest that can be counted again from the CSV files."""
    totals = [
        {
            "currency": total.currency,
            "invoices": total.invoice_count,
            **_written(total.currency, total.amounts),
            "missing": total.missing,
        }
        for total in summary.totals
    ]
    tax_totals = [
        {
            "currency": total.currency,
            "tax_rate": total.tax_rate,
            "tax_category": total.tax_category,
            "tax_lines": total.tax_line_count,
            **_written(total.currency, total.amounts),
        }
        for total in summary.tax_totals
    ]
    counted = {"counts": summary.counts, "kinds": summary.kinds, "directions": summary.directions}
    return {**counted, "totals": totals, "tax_totals": tax_totals}


def control_sheet(batch: Batch, summary: Summary) -> Sheet:
    """Return the sheet Control: the manifest's counts and totals, for people."""
    rows = [
        _control_row("batch_id", value=batch.batch_id),
        _control_row("created_at", value=batch.created_text),
        _control_row("sign", value=SIGN),
        *(_control_row(item, count=count) for item, count in summary.counts.items()),
        *(_control_row("kind", value=kind, count=count) for kind, count in summary.kinds.items()),
        *(_control_row("direction", value=value, count=count) for value, count in summary.directions.items()),
        *(
            _control_row("total", total.currency, count=total.invoice_count, amounts=total.amounts)
            for total in summary.totals
        ),
        *(
            _control_row(
                "tax total",
                total.currency,
                rate=None if total.tax_rate is None else Decimal(total.tax_rate),
                category=total.tax_category,
                count=total.tax_line_count,
                amounts=total.amounts,
            )
            for total in summary.tax_totals
        ),
    ]
    return Sheet("Control", _CONTROL_COLUMNS, rows)


def _control_row(
    item: str,
    currency: str | None = None,
    *,
    value: str | None = None,
    rate: Decimal | None = None,
    category: str | None = None,
    count: int | None = None,
    amounts: Mapping[str, Decimal] | None = None,
) -> list[Cell]:
    stated = amounts or {}
    return [item, value, currency, rate, category, count, *(stated.get(name) for name in _AMOUNTS)]


def _written(currency: str, amounts: Mapping[str, Decimal]) -> dict[str, str]:
    return {name: plain(amount, minor_digits(currency)) for name, amount in amounts.items()}
