"""What distinguishes an invoice from the one that it is compared with, field by field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import zip_longest
from typing import Any

from sqlalchemy import Connection

from invoices.ledger.validations import find_candidate_row
from invoices.model.currencies import format_money

DUPLICATE_RULE_PREFIX = "DUPLICATE"
INVOICE_ID_PATTERN = re.compile(r"\b[0-9a-f]{32}\b")
MAX_DIFFERENCES_LISTED = 20
NOT_COMPARED = {  # identities and provenance, which differ between any two documents
    "invoice_id", "document_sha256", "ordinal", "extraction_id", "extracted_by", "profile", "received_at",
    "verdict",
    "line_number", "line_id", "parent_line_id", "tax_number",
}  # fmt: skip
AMOUNT_NAMES = {
    "line_total_amount": "sum of lines", "discount_amount": "discount", "charge_amount": "charges",
    "net_amount": "net", "tax_amount": "tax", "total_amount": "total", "prepaid_amount": "prepaid",
    "rounding_amount": "rounding", "payable_amount": "payable",
}  # fmt: skip

Row = Mapping[str, Any]


def find_comparison(connection: Connection, body: Row, findings: Sequence[Row]) -> dict[str, Any] | None:
    """Return how an invoice differs from the earlier one that a finding about duplicates names; None without one.

    ``invoice_id``, ``document_sha256`` and ``verdict`` are of the earlier one, ``currencies`` of both.
    ``differences`` is a list of ``field``, ``here`` and ``there``, with the values as the ledger has them; None
    is not stated.
    """
    for finding in findings:
        if finding["rule_id"].startswith(DUPLICATE_RULE_PREFIX):
            for invoice_id in INVOICE_ID_PATTERN.findall(finding["message"] or ""):
                other = find_candidate_row(connection, invoice_id)
                if other is not None:
                    return _compare_candidates(body, other)
    return None


def _compare_candidates(body: Row, other: Row) -> dict[str, Any]:
    other_body = json.loads(other["body"])
    return {
        **{name: other[name] for name in ("invoice_id", "document_sha256", "verdict")},
        "currencies": {
            "here": body["candidate"].get("currency"),
            "there": other_body["candidate"].get("currency"),
        },
        "differences": list_differences(body, other_body),
    }


def list_differences(here: Row, there: Row) -> list[dict[str, Any]]:
    """Return the differing fields of two invoices: of the invoice, then of its lines and taxes by their position."""
    differences = list(_iter_field_differences("", here["candidate"], there["candidate"]))
    for noun, name in (("line", "lines"), ("tax", "taxes")):
        for index, (own_row, other_row) in enumerate(zip_longest(here[name], there[name]), start=1):
            if own_row is None or other_row is None:
                own_text, other_text = (None if row is None else _describe_row(row) for row in (own_row, other_row))
                differences.append({"field": f"{noun} {index}", "here": own_text, "there": other_text})
            else:
                differences += _iter_field_differences(f"{noun} {index} ", own_row, other_row)
    return differences


def _iter_field_differences(prefix: str, here: Row, there: Row) -> Iterator[dict[str, Any]]:
    for name in dict.fromkeys((*here, *there)):
        if name not in NOT_COMPARED and here.get(name) != there.get(name):
            yield {"field": f"{prefix}{name}", "here": here.get(name), "there": there.get(name)}


def _describe_row(row: Row) -> str:
    """Return the stated values of a line or tax in one text."""
    names = ("description", "quantity", "tax_category", "tax_rate", "taxable_amount", "net_amount", "tax_amount")
    return ", ".join(
        f"{name.replace('_', ' ')} {format_value(row[name])}" for name in names if row.get(name) is not None
    )


def format_comparison(comparison: Row) -> Iterator[str]:
    """Yield the comparison as lines for a person."""
    other_text = f"invoice {comparison['invoice_id']} (document {comparison['document_sha256'][:12]})"
    differences = comparison["differences"]
    if not differences:
        yield f"compared with {other_text}: every value is the same"
        return
    yield f"compared with {other_text}:"
    for difference in differences[:MAX_DIFFERENCES_LISTED]:
        here, there = (
            _format_side(difference["field"], difference[side], comparison["currencies"][side])
            for side in ("here", "there")
        )
        yield f"  {difference['field'].replace('_', ' ')}: {here} here, {there} there"
    if len(differences) > MAX_DIFFERENCES_LISTED:
        yield f"  … and {len(differences) - MAX_DIFFERENCES_LISTED:,} more (see them all with --json)"


def _format_side(field: str, value: Any, currency: str | None) -> str:
    if value is None:
        return "not stated"
    if field.rpartition(" ")[2].isdigit():  # a whole line or tax
        return f"({value})"
    return format_money(Decimal(value), currency) if field.endswith("_amount") and currency else format_value(value)


def format_value(value: Any) -> str:
    """Return a stored value for a person: a decimal without trailing zeros, other text in quotes."""
    text = str(value)
    try:
        number = Decimal(text)
    except InvalidOperation:
        return repr(text)
    if "." not in text or not number.is_finite():
        return repr(text)
    return f"{number:f}".rstrip("0").rstrip(".")


def describe_amounts(candidate: Row) -> str:
    """Return the amounts that an invoice states, in words; an empty text if it states none."""
    currency = candidate.get("currency")
    parts = []
    for name, label in AMOUNT_NAMES.items():
        if (value := candidate.get(name)) is not None:
            amount_text = format_money(Decimal(value), currency) if currency else format_value(value)
            parts.append(f"{label} {amount_text}")
    return ", ".join(parts)
