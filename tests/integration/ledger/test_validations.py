"""Judgements, the outbox, export batches and the changes that the warehouse is given."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from invoices.ledger import Ledger, Transaction
from invoices.ledger.changes import (
    LOADABLE_TABLES,
    WATERMARK_COUNTER,
    count_loadable_rows,
    get_latest_revision,
    get_loaded_revision,
    iter_changed_rows,
)
from invoices.ledger.export_batches import (
    count_exports,
    create_export_batch,
    find_manifest_sha256,
    list_batch_invoice_ids,
    list_export_batches,
    list_unexported_invoice_ids,
    mark_export_batch_issued,
)
from invoices.ledger.extractions import (
    ExtractionTerms,
    filter_known_remote_ids,
    list_document_jobs_of_vendor,
    list_extraction_rows,
    list_latest_answers,
    record_free_answer,
    record_intent,
    update_extraction,
)
from invoices.ledger.ledger import set_counter_value
from invoices.ledger.outbox import (
    count_receipts_by_status,
    count_unpublished_receipts,
    list_unpublished_receipts,
    update_receipt,
)
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.ledger.validations import (
    Candidate,
    Finding,
    list_candidate_rows,
    list_document_hashes_by_invoice,
    list_export_batch_rows,
    list_finding_rows,
    list_possible_duplicates,
    list_receipt_rows,
    record_validation,
)

DOCUMENT = "d" * 64
PUBLISHERS = ("smartbills_io",)


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An empty ledger, on SQLite and on PostgreSQL."""
    new_ledger = Ledger(ledger_url)
    yield new_ledger
    new_ledger.close()


def build_candidate(invoice: str, verdict: str = "accepted", **values: Any) -> Candidate:
    body = json.dumps({"candidate": {"invoice_id": invoice}, "lines": [], "taxes": []})
    defaults: dict[str, Any] = {
        "document_sha256": DOCUMENT, "ordinal": 1, "number_key": f"n-{invoice}", "content_key": f"c-{invoice}",
        "invoice_number": f"No {invoice}", "body": body,
    } | values  # fmt: skip
    return Candidate(invoice_id=invoice, verdict=verdict, **defaults)


def build_finding(invoice: str | None, rule: str = "BR-CO-15") -> Finding:
    return Finding(invoice, DOCUMENT, rule, "critical", f"{rule} does not hold.")


def record_intent_for(tx: Transaction, extraction: str, document: str, **values: Any) -> None:
    record_intent(tx, ExtractionTerms("smartbills_com"), extraction, document, pages=1, run_id="a run", **values)


def validate_candidates(ledger: Ledger, candidates: Iterable[Candidate], findings: Iterable[Finding] = ()) -> None:
    with ledger.begin_transaction() as tx:
        record_validation(tx, list(candidates), list(findings), "rules", PUBLISHERS)


def count_rows_by_table(ledger: Ledger) -> dict[str, int]:
    with ledger.open_snapshot() as connection:
        return count_loadable_rows(connection, up_to_revision=1_000_000)


# Judgements


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


def test_more_candidates_than_a_statement_takes_are_validated_in_one_go(ledger: Ledger) -> None:
    many = [build_candidate(f"i{number:05}") for number in range(1_201)]
    validate_candidates(ledger, many)
    validate_candidates(ledger, many)
    with ledger.open_snapshot() as connection:
        assert len(list_unexported_invoice_ids(connection, 10_000)) == count_unpublished_receipts(connection) == 1_201
        keys = list_possible_duplicates(connection, [c.number_key for c in many if c.number_key], [])
    assert [row["invoice_id"] for row in keys] == [c.invoice_id for c in many]


def test_known_keys_are_those_of_accepted_candidates_and_of_those_in_review(ledger: Ledger) -> None:
    verdicts = ("accepted", "review", "quarantined", "duplicate")
    validate_candidates(
        ledger, [build_candidate(verdict, verdict, number_key="same", content_key=None) for verdict in verdicts]
    )
    validate_candidates(ledger, [build_candidate("other", number_key=None, content_key="text")])
    with ledger.open_snapshot() as connection:
        assert [row["invoice_id"] for row in list_possible_duplicates(connection, ["same"], [])] == [
            "accepted",
            "review",
        ]
        assert [row["invoice_id"] for row in list_possible_duplicates(connection, [], ["text"])] == ["other"]
        assert [row["invoice_id"] for row in list_possible_duplicates(connection, ["same"], ["text"])] == [
            "accepted", "other", "review",
        ]  # fmt: skip
        assert (
            list_possible_duplicates(connection, ["absent"], ["same"])
            == list_possible_duplicates(connection, [], [])
            == []
        )


def test_a_document_is_found_by_invoice_id_and_by_invoice_number(ledger: Ledger) -> None:
    validate_candidates(
        ledger, [build_candidate("a"), build_candidate("b", document_sha256="e" * 64, invoice_number="No a")]
    )
    with ledger.open_snapshot() as connection:
        assert list_document_hashes_by_invoice(connection, "a") == [DOCUMENT]
        assert sorted(list_document_hashes_by_invoice(connection, "No a")) == [DOCUMENT, "e" * 64]
        assert list_document_hashes_by_invoice(connection, "No") == []


# Outbox


def test_moving_a_receipt_to_where_it_is_writes_nothing(ledger: Ledger) -> None:
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


def test_a_published_or_failed_receipt_is_not_outgoing_any_more(ledger: Ledger) -> None:
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


# Batches


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


def test_waiting_invoices_come_page_by_page(ledger: Ledger) -> None:
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


def test_a_batch_undone_gives_its_number_back(ledger: Ledger) -> None:
    validate_candidates(ledger, [build_candidate("a")])

    def write_and_fail() -> None:
        with ledger.begin_transaction() as tx:
            create_export_batch(tx, ["a"])
            raise RuntimeError("killed here")

    with pytest.raises(RuntimeError):
        write_and_fail()
    with ledger.begin_transaction() as tx:
        assert create_export_batch(tx, ["a"]).batch_id == "batch-000001"


# Extractions


def record_sightings(tx: Transaction, *documents: str) -> None:
    for sha256 in documents:
        record_sighting(tx, Sighting(sha256[:32], sha256, "application/pdf", 1, "inbox", "folder", f"/{sha256}"))


def test_an_answer_that_cost_nothing_is_written_once(ledger: Ledger) -> None:
    for payload in ("{}", '{"other": 1}'):
        with ledger.begin_transaction() as tx:
            record_free_answer(tx, "x1", DOCUMENT, "einvoice", payload)
    with ledger.open_snapshot() as connection:
        (row,) = list_extraction_rows(connection, DOCUMENT)
    assert (row["payload"], row["status"], row["pages_charged"]) == ("{}", "answered", 0)


def test_answers_are_the_latest_of_each_document_in_the_order_of_arrival(ledger: Ledger) -> None:
    first, second = "f" * 64, "a" * 64
    with ledger.begin_transaction() as tx:
        record_sightings(tx, first)
        record_sightings(tx, second)
        record_free_answer(tx, "x2", second, "einvoice", '"2"')
        record_intent_for(tx, "x1", first)
        update_extraction(tx, "x1", "failed", answered_at=tx.timestamp)
        record_intent_for(tx, "x1b", first, generation=2)
        assert [a.payload for a in list_latest_answers(tx.connection, [first, second])] == ['"2"']
        update_extraction(tx, "x1b", "answered", payload='"1"', answered_at=tx.timestamp)
    with ledger.open_snapshot() as connection:
        assert [a.payload for a in list_latest_answers(connection, [second, first])] == ['"1"', '"2"']
        assert [job.generation for job in list_document_jobs_of_vendor(connection, first, "smartbills_com")] == [1, 2]


def test_the_same_intent_again_is_the_same_question(ledger: Ledger) -> None:
    for _ in range(2):
        with ledger.begin_transaction() as tx:
            record_intent_for(tx, "x1", DOCUMENT)
    with ledger.open_snapshot() as connection:
        assert [job.status for job in list_document_jobs_of_vendor(connection, DOCUMENT, "smartbills_com")] == [
            "intended"
        ]


def test_only_the_vendors_ids_that_the_ledger_knows_are_known(ledger: Ledger) -> None:
    with ledger.begin_transaction() as tx:
        record_intent_for(tx, "x1", DOCUMENT)
        update_extraction(tx, "x1", "submitted", remote_id="job-1")
    with ledger.open_snapshot() as connection:
        assert filter_known_remote_ids(connection, "smartbills_com", ["job-1", "job-2"]) == {"job-1"}
        assert (
            filter_known_remote_ids(connection, "other", ["job-1"])
            == filter_known_remote_ids(connection, "smartbills_com", [])
            == set()
        )


# Changes


def count_changes(ledger: Ledger, after: int, up_to: int, size: int = 2) -> dict[str, int]:
    with ledger.open_snapshot() as connection:
        counts = {
            name: sum(len(piece) for piece in iter_changed_rows(connection, name, after, up_to, size))
            for name in LOADABLE_TABLES
        }
    return {name: count for name, count in counts.items() if count}


def test_the_changes_between_two_revisions_are_exactly_what_was_written_between_them(ledger: Ledger) -> None:
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


def test_changes_come_in_pieces_and_in_order(ledger: Ledger) -> None:
    for letter in "abcde":
        with ledger.begin_transaction() as tx:
            record_sightings(tx, letter * 64)
    with ledger.open_snapshot() as connection:
        pieces = list(iter_changed_rows(connection, "documents", 0, 1_000, 2))
    assert [[row["document_sha256"][0] for row in piece] for piece in pieces] == [["a", "b"], ["c", "d"], ["e"]]


def test_a_transaction_that_changes_no_loadable_row_leaves_nothing_to_load(ledger: Ledger) -> None:
    with ledger.begin_transaction() as tx:
        record_sightings(tx, DOCUMENT)
    with ledger.open_snapshot() as connection:
        latest = get_latest_revision(connection)
    with ledger.begin_transaction() as tx:
        set_counter_value(tx, WATERMARK_COUNTER, latest)
    with ledger.open_snapshot() as connection:
        assert get_loaded_revision(connection) == get_latest_revision(connection) == latest


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


def test_an_unanswered_question_is_no_row_that_the_warehouse_lacks(ledger: Ledger) -> None:
    with ledger.begin_transaction() as tx:
        record_intent_for(tx, "x1", DOCUMENT)
        record_free_answer(tx, "x2", DOCUMENT, "einvoice", "{}")
    with ledger.open_snapshot() as connection:
        assert count_loadable_rows(connection, tx.revision)["extractions"] == 1


def test_a_number_whose_files_exist_already_is_not_given_again(ledger: Ledger) -> None:
    with ledger.begin_transaction() as tx:
        batch = create_export_batch(tx, [], is_batch_id_taken=lambda batch_id: batch_id < "batch-000003")
    assert batch.batch_id == "batch-000003"
