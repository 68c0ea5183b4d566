"""Export batches: an invoice is in one batch, and a batch is issued with its manifest."""

from __future__ import annotations

import pytest

from invoices.ledger import Ledger
from invoices.ledger.export_batches import (
    adopt_export_batch,
    count_exports,
    create_export_batch,
    find_manifest_sha256,
    list_batch_invoice_ids,
    list_export_batches,
    list_unexported_invoice_ids,
    mark_export_batch_issued,
)
from tests.integration.ledger.validation_fixtures import build_candidate, validate_candidates


def test_an_invoice_is_never_in_two_batches(ledger: Ledger) -> None:
    validate_candidates(ledger, map(build_candidate, "abc"))
    with ledger.begin_transaction() as tx:
        first = create_export_batch(tx, ["a", "b"])
    with ledger.begin_transaction() as tx:
        second = create_export_batch(tx, ["a", "b", "c"])
    with ledger.open_snapshot() as connection:
        assert list_batch_invoice_ids(connection, first.batch_id) == ["a", "b"]
        assert list_batch_invoice_ids(connection, second.batch_id) == ["c"]
        assert list_unexported_invoice_ids(connection, 10) == []


def test_invoices_without_a_batch_are_listed_page_by_page(ledger: Ledger) -> None:
    validate_candidates(ledger, map(build_candidate, "edcba"))
    with ledger.open_snapshot() as connection:
        assert list_unexported_invoice_ids(connection, 2) == ["a", "b"]
        assert list_unexported_invoice_ids(connection, 2, after_invoice_id="b") == ["c", "d"]
        assert list_unexported_invoice_ids(connection, 2, after_invoice_id="e") == []


def test_a_batch_is_issued_with_the_hash_of_its_manifest(ledger: Ledger) -> None:
    validate_candidates(ledger, map(build_candidate, "abc"))
    with ledger.begin_transaction() as tx:
        batch = create_export_batch(tx, ["a", "b"])
    with ledger.open_snapshot() as connection:
        assert list_export_batches(connection, "assigned") == [batch]
        assert find_manifest_sha256(connection, batch.batch_id) is None
        assert count_exports(connection) == {"batches": 0, "invoices": 2, "waiting": 1}
    with ledger.begin_transaction() as tx:
        mark_export_batch_issued(tx, batch, "f" * 64)
    with ledger.open_snapshot() as connection:
        assert list_export_batches(connection, "assigned") == []
        assert [b.status for b in list_export_batches(connection)] == ["issued"]
        assert find_manifest_sha256(connection, batch.batch_id) == "f" * 64
        assert count_exports(connection) == {"batches": 1, "invoices": 2, "waiting": 1}


def test_a_rolled_back_batch_releases_its_batch_id(ledger: Ledger) -> None:
    validate_candidates(ledger, [build_candidate("a")])

    def write_and_fail() -> None:
        with ledger.begin_transaction() as tx:
            create_export_batch(tx, ["a"])
            raise RuntimeError("killed here")

    with pytest.raises(RuntimeError):
        write_and_fail()
    with ledger.begin_transaction() as tx:
        assert create_export_batch(tx, ["a"]).batch_id == "batch-000001"


def test_a_batch_id_whose_files_exist_is_not_assigned_again(ledger: Ledger) -> None:
    with ledger.begin_transaction() as tx:
        batch = create_export_batch(tx, [], is_batch_id_taken=lambda batch_id: batch_id < "batch-000003")
    assert batch.batch_id == "batch-000003"


def test_an_adopted_batch_counts_also_for_invoices_that_are_validated_later(ledger: Ledger) -> None:
    validate_candidates(ledger, map(build_candidate, "ab"))
    with ledger.begin_transaction() as tx:
        first = create_export_batch(tx, ["a"])
        mark_export_batch_issued(tx, first, "f" * 64)
        assert adopt_export_batch(tx, "batch-000007", tx.timestamp, "e" * 64, ["a", "b", "c"]) == {"a": first.batch_id}
    validate_candidates(ledger, map(build_candidate, "cd"))
    with ledger.begin_transaction() as tx:
        assert list_batch_invoice_ids(tx.connection, "batch-000007") == ["b", "c"]
        assert list_unexported_invoice_ids(tx.connection, 10) == ["d"]
        assert find_manifest_sha256(tx.connection, "batch-000007") == "e" * 64
        assert create_export_batch(tx, ["d"]).batch_id == "batch-000008"
