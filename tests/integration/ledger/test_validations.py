"""Validations: candidates, findings, the outbox and the export queue are written together."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError

from invoices.ledger import Ledger
from invoices.ledger.changes import count_loadable_rows, get_latest_revision
from invoices.ledger.documents import find_document_row, set_document_state
from invoices.ledger.export_batches import create_export_batch, list_unexported_invoice_ids
from invoices.ledger.outbox import (
    count_receipts_by_status,
    count_unpublished_receipts,
    list_unpublished_receipts,
    update_receipt,
)
from invoices.ledger.retries import mark_for_retry
from invoices.ledger.validations import (
    list_candidate_rows,
    list_document_hashes_by_invoice,
    list_export_batch_rows,
    list_finding_rows,
    list_possible_duplicates,
    list_receipt_rows,
    record_validation,
)
from tests.integration.ledger.validation_fixtures import (
    DOCUMENT,
    PUBLISHERS,
    build_candidate,
    build_finding,
    record_sightings,
    validate_candidates,
)


def count_rows_by_table(ledger: Ledger) -> dict[str, int]:
    with ledger.open_snapshot() as connection:
        return count_loadable_rows(connection, up_to_revision=1_000_000)


def test_an_accepted_candidate_joins_the_outbox_and_the_export_queue(ledger: Ledger) -> None:
    validate_candidates(
        ledger,
        [build_candidate("a"), build_candidate("b", "review"), build_candidate("c", "quarantined")],
        [build_finding("c")],
    )
    with ledger.open_snapshot() as connection:
        assert list_unexported_invoice_ids(connection, 10) == ["a"]
        assert [
            (r.invoice_id, r.receipt_id, r.status) for r in list_unpublished_receipts(connection, "smartbills_io", 10)
        ] == [("a", "a-v1", "pending")]
        assert [row["invoice_id"] for row in list_candidate_rows(connection, DOCUMENT)] == ["a", "b", "c"]
        assert [row["rule_id"] for row in list_finding_rows(connection, DOCUMENT)] == ["BR-CO-15"]


def test_validation_outbox_and_export_queue_are_written_together_or_not_at_all(ledger: Ledger) -> None:
    before = count_rows_by_table(ledger)

    def write_and_fail() -> None:
        with ledger.begin_transaction() as tx:
            record_validation(tx, [build_candidate("a")], [build_finding("a")], "rules", PUBLISHERS)
            raise RuntimeError("killed here")

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert count_rows_by_table(ledger) == before
    with pytest.raises(IntegrityError):  # the second of two equal candidates fails after the first was written
        validate_candidates(ledger, [build_candidate("a"), build_candidate("a")], [])
    assert count_rows_by_table(ledger) == before


def test_validating_again_replaces_candidate_and_findings_and_queues_nothing_twice(ledger: Ledger) -> None:
    validate_candidates(
        ledger, [build_candidate("a", "review")], [build_finding("a", "BT-9"), build_finding("a", "BR-16")]
    )
    validate_candidates(ledger, [build_candidate("a")], [build_finding("a", "BT-9")])
    validate_candidates(ledger, [build_candidate("a")], [build_finding("a", "BT-9")])
    with ledger.open_snapshot() as connection:
        assert [row["verdict"] for row in list_candidate_rows(connection, DOCUMENT)] == ["accepted"]
        assert [row["rule_id"] for row in list_finding_rows(connection, DOCUMENT)] == ["BT-9"]
        assert list_unexported_invoice_ids(connection, 10) == ["a"]
        assert len(list_receipt_rows(connection, "a")) == 1


def test_validating_again_does_not_touch_what_is_published_and_exported(ledger: Ledger) -> None:
    validate_candidates(ledger, [build_candidate("a")])
    with ledger.begin_transaction() as tx:
        batch = create_export_batch(tx, ["a"])
        (receipt,) = list_unpublished_receipts(tx.connection, "smartbills_io", 10)
        update_receipt(tx, receipt, "published", remote_id="r-1")
    validate_candidates(ledger, [build_candidate("a", "review")])
    validate_candidates(ledger, [build_candidate("a")])
    with ledger.open_snapshot() as connection:
        assert list_unexported_invoice_ids(connection, 10) == []
        assert [row["batch_id"] for row in list_export_batch_rows(connection, "a")] == [batch.batch_id]
        assert [(row["status"], row["remote_id"]) for row in list_receipt_rows(connection, "a")] == [
            ("published", "r-1")
        ]


def test_more_candidates_can_be_recorded_together_than_fit_into_one_statement(ledger: Ledger) -> None:
    many = [build_candidate(f"i{number:05}") for number in range(1_201)]
    validate_candidates(ledger, many)
    validate_candidates(ledger, many)
    with ledger.open_snapshot() as connection:
        assert len(list_unexported_invoice_ids(connection, 10_000)) == count_unpublished_receipts(connection) == 1_201
        known_keys = list_possible_duplicates(connection, [c.keys[0] for c in many])
    assert [row["invoice_id"] for row in known_keys] == [c.invoice_id for c in many]


def test_possible_duplicates_are_accepted_candidates_and_those_in_review_that_wait_for_none(ledger: Ledger) -> None:
    verdicts = ("accepted", "review", "quarantined", "duplicate")
    validate_candidates(ledger, [build_candidate(verdict, verdict, keys=("same",)) for verdict in verdicts])
    validate_candidates(ledger, [build_candidate("other", keys=("text", "more"), duplicate_of="review")])
    validate_candidates(
        ledger, [build_candidate("waits", "review", keys=("same",))], [build_finding("waits", "DUPLICATE-UNDECIDED")]
    )
    with ledger.open_snapshot() as connection:

        def list_invoice_ids(*keys: str) -> list[str]:
            return [row["invoice_id"] for row in list_possible_duplicates(connection, keys)]

        assert list_invoice_ids("same") == ["accepted", "review"]
        assert list_invoice_ids("same", "text") == ["accepted", "review", "other"]
        assert list_invoice_ids("absent") == list_invoice_ids() == []
        assert list_possible_duplicates(connection, ["more"]) == [
            {"key": "more", "invoice_id": "other", "verdict": "accepted", "duplicate_of": "review"}
        ]


def test_validating_again_replaces_the_keys(ledger: Ledger) -> None:
    for keys in (("a", "b"), ("b", "c"), ()):
        validate_candidates(ledger, [build_candidate("x", keys=keys)])
        with ledger.open_snapshot() as connection:
            assert [row["key"] for row in list_possible_duplicates(connection, ["a", "b", "c"])] == list(keys)


@pytest.mark.parametrize(("verdict", "decided_by"), [("review", "rules"), ("duplicate", "rules"), ("review", "anna")])
def test_a_copy_is_validated_again_once_its_original_has_another_verdict(
    ledger: Ledger, verdict: str, decided_by: str
) -> None:
    copy_document = "c" * 64
    with ledger.begin_transaction() as tx:
        record_sightings(tx, DOCUMENT, copy_document)
        copy = build_candidate("copy", verdict, document_sha256=copy_document, duplicate_of="original")
        record_validation(tx, [build_candidate("original", "review")], [], "rules", PUBLISHERS)
        record_validation(tx, [copy], [], decided_by, PUBLISHERS)
        set_document_state(tx, copy_document, stage="done", state="review", reason_code="x", reason="x")

    def get_copy_stage() -> str:
        with ledger.open_snapshot() as connection:
            return str((find_document_row(connection, copy_document) or {})["stage"])

    validate_candidates(ledger, [build_candidate("original", "review")])
    assert get_copy_stage() == "done"
    validate_candidates(ledger, [build_candidate("original", "quarantined")])
    assert get_copy_stage() == ("validate" if decided_by == "rules" else "done")


def test_the_copies_of_a_retried_document_are_validated_again(ledger: Ledger) -> None:
    with ledger.begin_transaction() as tx:
        record_sightings(tx, DOCUMENT, "c" * 64)
        copy = build_candidate("copy", "review", document_sha256="c" * 64, duplicate_of="original")
        record_validation(tx, [build_candidate("original", "review"), copy], [], "rules", PUBLISHERS)
        for document in (DOCUMENT, "c" * 64):
            set_document_state(tx, document, stage="done", state="review", reason_code="x", reason="x")
    with ledger.begin_transaction() as tx:
        assert mark_for_retry(tx, [DOCUMENT]) == [DOCUMENT]
        assert (find_document_row(tx.connection, "c" * 64) or {})["stage"] == "validate"
        assert list_possible_duplicates(tx.connection, ["n-original"]) == []


def test_a_document_is_found_by_invoice_id_and_by_invoice_number(ledger: Ledger) -> None:
    validate_candidates(
        ledger, [build_candidate("a"), build_candidate("b", document_sha256="e" * 64, invoice_number="No a")]
    )
    with ledger.open_snapshot() as connection:
        assert list_document_hashes_by_invoice(connection, "a") == [DOCUMENT]
        assert sorted(list_document_hashes_by_invoice(connection, "No a")) == [DOCUMENT, "e" * 64]
        assert list_document_hashes_by_invoice(connection, "No") == []


def test_setting_the_status_that_a_receipt_already_has_writes_nothing(ledger: Ledger) -> None:
    validate_candidates(ledger, [build_candidate("a")])
    with ledger.begin_transaction() as tx:
        (receipt,) = list_unpublished_receipts(tx.connection, "smartbills_io", 10)
        assert update_receipt(tx, receipt, "waiting", reason_code="no_customer", reason="Nobody.")
    with ledger.open_snapshot() as connection:
        before = get_latest_revision(connection)
    with ledger.begin_transaction() as tx:
        assert not update_receipt(tx, receipt, "waiting", reason_code="no_customer", reason="Nobody.")
    with ledger.open_snapshot() as connection:
        assert get_latest_revision(connection) == before
        assert count_receipts_by_status(connection) == {("waiting", "no_customer", "Nobody."): 1}


def test_a_published_or_failed_receipt_is_no_longer_unpublished(ledger: Ledger) -> None:
    validate_candidates(ledger, map(build_candidate, "abcd"))
    with ledger.begin_transaction() as tx:
        a, b, c, _ = list_unpublished_receipts(tx.connection, "smartbills_io", 10)
        update_receipt(tx, a, "published", remote_id="r")
        update_receipt(tx, b, "failed", reason_code="refused", reason="No.")
        update_receipt(tx, c, "sending", first_sent_at=tx.timestamp)
    with ledger.open_snapshot() as connection:
        left = list_unpublished_receipts(connection, "smartbills_io", 10)
        assert [(r.invoice_id, r.status, r.first_sent_at is not None) for r in left] == [
            ("c", "sending", True), ("d", "pending", False),
        ]  # fmt: skip
        assert list_unpublished_receipts(connection, "smartbills_io", 10, after_invoice_id="c") == left[1:]
        assert list_unpublished_receipts(connection, "elsewhere", 10) == []
        assert count_unpublished_receipts(connection) == 2
