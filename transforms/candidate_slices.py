"""Cuts the candidates of a batch of answers into slices, so that one document of many invoices is checked in parts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

DOCUMENT_MODELS = ("stated_candidates", "empty_answers")  # of transforms/core: built once, for all slices


@dataclass(frozen=True, slots=True)
class SliceLimits:
    """How many candidates and lines are checked at once; a candidate with more lines is a slice of its own."""

    max_candidates: int
    max_lines: int


DEFAULT_SLICE_LIMITS = SliceLimits(max_candidates=1_000, max_lines=20_000)


@dataclass(frozen=True, slots=True)
class CandidateSlice:
    """The candidates of one slice, in the order of their arrival, and their documents."""

    invoice_ids: tuple[str, ...]
    document_hashes: frozenset[str]


def list_candidate_slices(
    connection: duckdb.DuckDBPyConnection, stated_lines_sql: str, limits: SliceLimits
) -> list[CandidateSlice]:
    """Return the slices of ``stated_candidates``; one slice without candidates if there are none."""
    rows = connection.execute(
        "SELECT invoice_id, document_sha256, coalesce(line_count, 0) FROM stated_candidates "
        f"LEFT JOIN (SELECT invoice_id, count(*) AS line_count FROM (\n{stated_lines_sql}\n) GROUP BY invoice_id) "
        "USING (invoice_id) ORDER BY sequence, document_sha256, ordinal"
    ).fetchall()
    slices = [
        CandidateSlice(tuple(row[0] for row in group), frozenset(row[1] for row in group))
        for group in _iter_groups(rows, limits)
    ]
    return slices or [CandidateSlice((), frozenset())]


def select_candidates(connection: duckdb.DuckDBPyConnection, invoice_ids: Sequence[str]) -> None:
    """Make ``stated_candidates`` the candidates of one slice; all of them stay in ``all_stated_candidates``."""
    connection.execute("CREATE TABLE IF NOT EXISTS all_stated_candidates AS FROM stated_candidates")
    connection.execute(
        "CREATE OR REPLACE TABLE stated_candidates AS "
        "SELECT * FROM all_stated_candidates WHERE invoice_id IN (SELECT unnest($1::VARCHAR[]))",
        [list(invoice_ids)],
    )


def exclude_invoices(keys: pa.Table, invoice_ids: Collection[str]) -> pa.Table:
    """Return the keys without those of these invoices, which an earlier validation of the same batch has recorded."""
    return keys.filter(
        pa.array([invoice_id not in invoice_ids for invoice_id in keys["invoice_id"].to_pylist()], pa.bool_())
    )


def read_keys_of_originals(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the keys of the candidates of this slice of which a candidate of a later slice may be a duplicate.

    The verdict is the one that the rules give: accepted, or review if a warning is broken.
    """
    return connection.execute(
        "WITH broken AS (SELECT invoice_id, "
        "bool_or(rule_id IN (SELECT rule_id FROM critical_rules) "
        "OR rule_id IN ('DUPLICATE-CONTENT', 'DUPLICATE-UNDECIDED')) AS is_no_original, "
        "bool_or(rule_id IN (SELECT rule_id FROM warning_rules)) AS is_in_review "
        "FROM candidate_checks WHERE outcome = 'broken' GROUP BY invoice_id) "
        "SELECT key, invoice_id, CASE WHEN is_in_review THEN 'review' ELSE 'accepted' END AS verdict, duplicate_of "
        "FROM candidate_keys LEFT JOIN broken USING (invoice_id) LEFT JOIN candidate_duplicates USING (invoice_id) "
        "WHERE NOT coalesce(is_no_original, false)"
    ).to_arrow_table()


def _iter_groups(rows: Sequence[tuple[str, str, int]], limits: SliceLimits) -> Iterator[list[tuple[str, str, int]]]:
    group: list[tuple[str, str, int]] = []
    line_count = 0
    for row in rows:
        if group and (len(group) == limits.max_candidates or line_count + row[2] > limits.max_lines):
            yield group
            group, line_count = [], 0
        group.append(row)
        line_count += row[2]
    if group:
        yield group
