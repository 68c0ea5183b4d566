"""Changes: the rows that the warehouse does not have yet, in chunks and in order."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from invoices.ledger import Ledger, Transaction
from invoices.ledger.changes import (
    LOADABLE_TABLES,
    count_loadable_rows,
    get_latest_revision,
    iter_changed_rows,
)
from invoices.ledger.export_batches import create_export_batch
from invoices.ledger.extractions import ExtractionTerms, record_free_answer, record_intent
from invoices.ledger.ledger import set_note
from invoices.ledger.validations import record_validation
from tests.integration.ledger.validation_fixtures import (
    DOCUMENT,
    PUBLISHERS,
    build_candidate,
    build_finding,
    record_sightings,
)


def count_changes(ledger: Ledger, after: int, up_to: int, size: int = 2) -> dict[str, int]:
    with ledger.open_snapshot() as connection:
        counts = {
            name: sum(len(chunk) for chunk in iter_changed_rows(connection, name, after, up_to, size))
            for name in LOADABLE_TABLES
        }
    return {name: count for name, count in counts.items() if count}


def test_the_changes_between_two_revisions_are_exactly_the_rows_written_between_them(ledger: Ledger) -> None:
    marks = [0]
    writes: list[Callable[[Transaction], object]] = [
        lambda tx: record_sightings(tx, *(letter * 64 for letter in "abc")),
        lambda tx: record_free_answer(tx, "x1", "a" * 64, "einvoice", "{}"),
        lambda tx: record_validation(tx, [build_candidate("i1")], [build_finding("i1")], "rules", PUBLISHERS),
        lambda tx: create_export_batch(tx, ["i1"]),
    ]
    for write in writes:
        with ledger.begin_transaction() as tx:
            write(tx)
        with ledger.open_snapshot() as connection:
            marks.append(get_latest_revision(connection))
    steps = [count_changes(ledger, after, up_to) for after, up_to in itertools.pairwise(marks)]
    assert steps == [
        {"documents": 3, "sightings": 3},
        {"extractions": 1},
        {"candidates": 1, "findings": 1, "receipts": 1},  # the export queue's row was written again by the batch
        {"exported_invoices": 1},
    ]
    assert count_changes(ledger, marks[-1], 1_000_000) == {}
    assert count_changes(ledger, 0, marks[1]) == steps[0]


def test_changes_come_in_chunks_and_in_order(ledger: Ledger) -> None:
    for letter in "abcde":
        with ledger.begin_transaction() as tx:
            record_sightings(tx, letter * 64)
    with ledger.open_snapshot() as connection:
        chunks = list(iter_changed_rows(connection, "documents", 0, 1_000, 2))
    assert [[row["document_sha256"][0] for row in chunk] for chunk in chunks] == [["a", "b"], ["c", "d"], ["e"]]


def test_a_transaction_that_changes_no_loadable_row_leaves_nothing_to_load(ledger: Ledger) -> None:
    with ledger.begin_transaction() as tx:
        record_sightings(tx, DOCUMENT)
    with ledger.open_snapshot() as connection:
        latest = get_latest_revision(connection)
    with ledger.begin_transaction() as tx:
        set_note(tx, "mode", "real")
    with ledger.open_snapshot() as connection:
        assert get_latest_revision(connection) == latest


def test_row_counts_tell_what_the_warehouse_has_at_least(ledger: Ledger) -> None:
    with ledger.begin_transaction() as tx:
        record_sightings(tx, "a" * 64)
        first = tx.revision
    with ledger.begin_transaction() as tx:
        record_sightings(tx, "b" * 64)
        record_validation(tx, [build_candidate("i1")], [build_finding("i1")], "rules", PUBLISHERS)
    with ledger.open_snapshot() as connection:
        assert {name: count for name, count in count_loadable_rows(connection, first).items() if count} == {
            "documents": 1, "sightings": 1,
        }  # fmt: skip


def test_an_open_extraction_is_no_loadable_row(ledger: Ledger) -> None:
    with ledger.begin_transaction() as tx:
        record_intent(tx, ExtractionTerms("smartbills_com"), "x1", DOCUMENT, pages=1, run_id="a run")
        record_free_answer(tx, "x2", DOCUMENT, "einvoice", "{}")
    with ledger.open_snapshot() as connection:
        assert count_loadable_rows(connection, tx.revision)["extractions"] == 1


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 100])
def test_heavy_rows_come_in_chunks_by_bytes_each_once_and_in_order(ledger: Ledger, chunk_size: int) -> None:
    with ledger.begin_transaction() as tx:
        for name, size in (("b", 4), ("a", 4), ("c", 40), ("d", 0)):
            record_free_answer(tx, name, name * 64, "einvoice", "x" * size)
    with ledger.begin_transaction() as tx:
        record_free_answer(tx, "A", "e" * 64, "einvoice", "xx")
    with ledger.open_snapshot() as connection:
        chunks = list(iter_changed_rows(connection, "extractions", 0, 1_000, chunk_size, max_bytes=10))
    names = [[row["extraction_id"] for row in chunk] for chunk in chunks]
    assert [name for chunk in names for name in chunk] == ["a", "b", "c", "d", "A"]
    if chunk_size == 100:
        assert names == [["a", "b"], ["c"], ["d", "A"]]
