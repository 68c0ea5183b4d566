"""Candidates that are checked in slices get the same rows and outcomes as all of them at once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from expectations.validation import CRITICAL_RULE_IDS, validate_candidates
from tests.integration.extraction_payloads import build_einvoice_payload, build_extraction_table, build_rows_payload
from tests.sweep_size import IS_SOAK
from transforms.candidate_batch import KNOWN_KEYS_SCHEMA, CandidateBatch, iter_candidate_batches
from transforms.candidate_slices import SliceLimits, list_candidate_slices

LINE = {"line_id": "9", "description": "x", "quantity": "0", "net_amount": "0.00", "unit_price": "0"}
ANSWERS = build_extraction_table([
    ("d1", "einvoice", build_einvoice_payload(*({"invoice_number": number} for number in "121"))),
    ("d2", "einvoice", "{}"),
    ("d3", "einvoice", build_einvoice_payload({"invoice_number": "3", "currency": None}, {"lines": [LINE] * 7})),
    ("d4", "einvoice", build_einvoice_payload({"invoice_number": "3"}, {"invoice_number": "2", "order_number": "o"})),
    ("d5", "invoicedataextraction_com", build_rows_payload([{"Invoice number": name} for name in "ABAB"])),
    ("d6", "unknown", "{}"),
    ("d7", "einvoice", build_einvoice_payload({"invoice_number": "2"})),
])  # fmt: skip


def build_slices(max_candidates: int, max_lines: int = 1_000, known_keys: Any = None) -> list[CandidateBatch]:
    keys = KNOWN_KEYS_SCHEMA.empty_table() if known_keys is None else known_keys
    return list(
        iter_candidate_batches(ANSWERS, keys, [], CRITICAL_RULE_IDS, limits=SliceLimits(max_candidates, max_lines))
    )


def collect_rows(slices: list[CandidateBatch], name: str, *columns: str) -> list[tuple[Any, ...]]:
    """Return the rows of one table of all slices, sorted."""
    table = pa.concat_tables([getattr(part, name) for part in slices])
    rows = table.select(columns or table.column_names).to_pylist()
    return sorted((tuple(row.values()) for row in rows), key=repr)


@pytest.mark.parametrize(("max_candidates", "max_lines"), [(4, 1_000), *([(1, 1_000), (1_000, 3)] if IS_SOAK else [])])
def test_slices_have_the_rows_and_outcomes_of_the_whole_batch(max_candidates: int, max_lines: int) -> None:
    [whole] = build_slices(1_000)
    slices = build_slices(max_candidates, max_lines)
    assert len(slices) >= 3
    for name in ("candidates", "lines", "taxes", "candidate_keys", "duplicates", "empty_answers"):
        assert collect_rows(slices, name) == collect_rows([whole], name), name
    outcomes = ("invoice_id", "rule_id", "outcome")
    assert collect_rows(slices, "checks", *outcomes) == collect_rows([whole], "checks", *outcomes)
    verdicts = Counter(
        verdict for part in slices for verdict in validate_candidates(part).verdicts["verdict"].to_pylist()
    )
    assert verdicts == Counter(validate_candidates(whole).verdicts["verdict"].to_pylist())
    assert verdicts["duplicate"] >= 2


def test_a_slice_has_at_most_so_many_candidates_or_lines_and_a_long_invoice_is_alone() -> None:
    line_counts = [("a", 1), ("b", 2), ("c", 7), ("d", 0), ("e", 3), ("f", 1)]
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE stated_candidates (invoice_id VARCHAR, document_sha256 VARCHAR, sequence INT, ordinal INT)"
        )
        connection.execute("CREATE TABLE stated_lines (invoice_id VARCHAR)")
        for ordinal, (invoice_id, line_count) in enumerate(line_counts):
            connection.execute("INSERT INTO stated_candidates VALUES ($1, 'd', 1, $2)", [invoice_id, ordinal])
            connection.execute("INSERT INTO stated_lines SELECT $1 FROM range($2)", [invoice_id, line_count])

        def list_slices(*limits: int) -> list[str]:
            parts = list_candidate_slices(connection, "FROM stated_lines", SliceLimits(*limits))
            return ["".join(part.invoice_ids) for part in parts]

        assert list_slices(4, 100) == ["abcd", "ef"]
        assert list_slices(100, 3) == ["ab", "c", "de", "f"]
        assert list_slices(100, 100) == ["abcdef"]


def test_what_an_earlier_validation_of_the_same_batch_recorded_makes_nothing_a_duplicate() -> None:
    """A document is validated again: the later slices of its earlier validation are no earlier invoices."""
    first_slices = build_slices(6)
    keys = [row for part in first_slices for row in part.candidate_keys.to_pylist()]
    recorded = [row | {"verdict": "accepted", "duplicate_of": None} for row in keys]
    columns = ("invoice_id", "rule_id", "outcome")
    again = build_slices(6, known_keys=lambda _: recorded)
    assert collect_rows(again, "checks", *columns) == collect_rows(first_slices, "checks", *columns)


def test_a_batch_without_an_invoice_is_one_slice() -> None:
    empty = build_extraction_table([("d1", "einvoice", "{}"), ("d2", "einvoice", "no JSON")])
    [batch] = iter_candidate_batches(empty, KNOWN_KEYS_SCHEMA.empty_table(), [])
    assert (batch.candidates.num_rows, batch.empty_answers.num_rows, batch.document_count) == (0, 2, 2)
