"""The manifest and the control sheet: the counts and control totals of a batch, and the hash of each of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from invoices.exports.batch_header import BatchHeader
from invoices.exports.cells import format_decimal
from invoices.exports.control_totals import BILL_AMOUNTS, TAX_AMOUNTS, BatchSummary
from invoices.exports.tables import Cell, Column
from invoices.exports.workbook import Sheet
from invoices.model.currencies import get_minor_digits

FILE_NAME = "manifest.json"
SIGN_CONVENTION = "credit notes negative"
REHEARSAL_NOTE = "not for the books: the sandbox stood in for the vendors"

_AMOUNT_NAMES = tuple(dict.fromkeys((*BILL_AMOUNTS, *TAX_AMOUNTS)))
_CONTROL_COLUMNS = (
    Column("item"),
    Column("value"),
    Column("currency"),
    Column("tax_rate", "number"),
    Column("tax_category"),
    Column("count", "count"),
    *(Column(name, "amount") for name in _AMOUNT_NAMES),
)


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file of a batch as it is on disk."""

    byte_count: int
    row_count: int
    sha256: str


def describe_file(path: Path, row_count: int) -> WrittenFile:
    """Return size and hash of a file, which is read in pieces."""
    with path.open("rb") as file:
        return WrittenFile(path.stat().st_size, row_count, hashlib.file_digest(file, "sha256").hexdigest())


def render_manifest(
    batch: BatchHeader,
    summary: BatchSummary,
    notices: Mapping[str, int],
    files: Mapping[str, WrittenFile],
) -> bytes:
    """Return ``manifest.json``: JSON in UTF-8, amounts as decimal strings, one entry per file except itself.

    It has the key ``rehearsal`` only for a batch of a rehearsal.
    """
    document = {
        "batch_id": batch.batch_id,
        "created_at": batch.created_at_text,
        **({"rehearsal": REHEARSAL_NOTE} if batch.is_rehearsal else {}),
        "sign": SIGN_CONVENTION,
        **build_counts_and_totals(summary),
        "notices": dict(notices),
        "files": {
            name: {"bytes": file.byte_count, "rows": file.row_count, "sha256": file.sha256}
            for name, file in files.items()
        },
    }
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()


def build_counts_and_totals(summary: BatchSummary) -> dict[str, object]:
    """Return the part of the manifest that can be recomputed from the CSV files."""
    totals = [
        {
            "currency": total.currency,
            "invoices": total.invoice_count,
            **_format_amounts(total.currency, total.amounts),
            "missing": total.missing_counts,
        }
        for total in summary.totals
    ]
    tax_totals = [
        {
            "currency": total.currency,
            "tax_rate": total.tax_rate,
            "tax_category": total.tax_category,
            "tax_lines": total.tax_line_count,
            **_format_amounts(total.currency, total.amounts),
        }
        for total in summary.tax_totals
    ]
    counts = {"counts": summary.counts, "kinds": summary.kinds, "directions": summary.directions}
    return {**counts, "totals": totals, "tax_totals": tax_totals}


def build_control_sheet(batch: BatchHeader, summary: BatchSummary) -> Sheet:
    """Return the sheet Control: the counts and totals of the manifest, for people."""
    rows = [
        *([_build_control_row("REHEARSAL", value=REHEARSAL_NOTE)] if batch.is_rehearsal else []),
        _build_control_row("batch_id", value=batch.batch_id),
        _build_control_row("created_at", value=batch.created_at_text),
        _build_control_row("sign", value=SIGN_CONVENTION),
        *(_build_control_row(item, count=count) for item, count in summary.counts.items()),
        *(_build_control_row("kind", value=kind, count=count) for kind, count in summary.kinds.items()),
        *(_build_control_row("direction", value=value, count=count) for value, count in summary.directions.items()),
        *(
            _build_control_row("total", total.currency, count=total.invoice_count, amounts=total.amounts)
            for total in summary.totals
        ),
        *(
            _build_control_row(
                "tax total",
                total.currency,
                tax_rate=None if total.tax_rate is None else Decimal(total.tax_rate),
                tax_category=total.tax_category,
                count=total.tax_line_count,
                amounts=total.amounts,
            )
            for total in summary.tax_totals
        ),
    ]
    return Sheet("Control", _CONTROL_COLUMNS, rows)


def _build_control_row(
    item: str,
    currency: str | None = None,
    *,
    value: str | None = None,
    tax_rate: Decimal | None = None,
    tax_category: str | None = None,
    count: int | None = None,
    amounts: Mapping[str, Decimal] | None = None,
) -> list[Cell]:
    stated_amounts = amounts or {}
    return [item, value, currency, tax_rate, tax_category, count, *(stated_amounts.get(name) for name in _AMOUNT_NAMES)]


def _format_amounts(currency: str, amounts: Mapping[str, Decimal]) -> dict[str, str]:
    return {name: format_decimal(amount, get_minor_digits(currency)) for name, amount in amounts.items()}
