"""Payloads as the extract stages store them: valid ones of each extractor, and changes to them."""

from __future__ import annotations

import copy
import datetime as dt
import json
from collections.abc import Sequence
from functools import cache
from typing import Any

import pyarrow as pa
import yaml

from tests.run_environment import CHECKOUT
from transforms.candidate_batch import EXTRACTIONS_SCHEMA

RECEIVED_AT = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
_SAMPLE_DIRECTORY = CHECKOUT / "tests" / "sql"


def build_einvoice_payload(*changes: dict[str, Any], profile: str = "en16931", syntax: str = "cii") -> str:
    """Return a payload with one valid invoice per set of changes; they are merged deeply, None removes a key."""
    invoices = [merge_deeply(_load_sample("sound_invoice"), change) for change in changes or ({},)]
    return json.dumps({"syntax": syntax, "profile": profile, "invoices": invoices}, ensure_ascii=False)


def build_rows_payload(changes: Sequence[dict[str, Any]] = ({},), **extra_fields: Any) -> str:
    """Return a payload of invoicedataextraction.com with one valid row per set of changes, and ``extra_fields``.

    By default each row is an invoice line on a page of its own, and all pages were read.
    """
    rows = [merge_deeply(_load_sample("sound_row"), change) for change in changes]
    read_pages = list(range(1, len(rows) + 1))
    payload = {"prompt": "1", "output_structure": "per_line_item", "page_count": len(rows), "rows": rows}
    payload |= {"pages": {"read": read_pages, "failed": []}, "uncertainty_notes": [], "review_needed": []}
    return json.dumps(payload | extra_fields, ensure_ascii=False)


def build_billflowai_payload(changes: dict[str, Any]) -> str:
    """Return a payload of BillflowAI with changes, merged deeply; None removes a key."""
    return json.dumps(merge_deeply(_load_sample("sound_billflowai"), changes), ensure_ascii=False)


def build_einvoice_table(*payloads: str) -> pa.Table:
    """Return a table with one answer per payload, for the documents d1, d2, …"""
    return build_extraction_table(
        [(f"d{number}", "einvoice", payload) for number, payload in enumerate(payloads, start=1)]
    )


def build_extraction_table(extraction_rows: Sequence[tuple[str, str, str]]) -> pa.Table:
    """Return a table of answers (document, extractor, payload) in order of arrival."""
    rows = [
        {
            "extraction_id": f"e{number}",
            "document_sha256": document,
            "extracted_by": extracted_by,
            "payload": payload,
            "received_at": RECEIVED_AT,
            "sequence": number,
        }
        for number, (document, extracted_by, payload) in enumerate(extraction_rows, start=1)
    ]
    return pa.Table.from_pylist(rows, schema=EXTRACTIONS_SCHEMA)


def merge_deeply(base: Any, changes: Any) -> Any:
    """Return ``base`` with ``changes`` merged into it, key by key."""
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    result = copy.deepcopy(base)
    for key, value in changes.items():
        result[key] = merge_deeply(base.get(key), value)
    return {key: value for key, value in result.items() if value is not None}


@cache
def _load_sample(name: str) -> dict[str, Any]:
    sample: dict[str, Any] = yaml.safe_load((_SAMPLE_DIRECTORY / f"{name}.yaml").read_text(encoding="utf-8"))
    return sample
