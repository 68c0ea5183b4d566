"""Judgements, the outbox, export batches and the changes that the warehouse is given."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from invoices.ledger import Ledger, Transaction
from invoices.ledger.batches import (
    assign,
    export_batch_list,
    export_counts,
    invoices_in,
    issue,
    manifest_of,
    waiting_invoices,
)
from invoices.ledger.changes import LOADABLE, WATERMARK, changed_rows, latest_revision, loaded_revision, row_counts
from invoices.ledger.extractions import (
    Terms,
    advance,
    answers,
    extraction_rows,
    intend,
    jobs_of,
    record_answer,
    remote_ids,
)
from invoices.ledger.judgements import (
    Candidate,
    Finding,
    candidate_rows,
    document_of,
    export_rows,
    finding_rows,
    known_keys,
    receipt_rows,
    record_judgement,
)
from invoices.ledger.ledger import set_counter
from invoices.ledger.outbox import move, outgoing, outgoing_count, receipts_by_status
from invoices.ledger.sightings import Sighting, record_sighting

DOCUMENT = "d" * 64
PUBLISHERS = ("smartbills_io",)


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An empty ledger, on SQLite and on PostgreSQL."""
    opened = Ledger(ledger_url)
    yield opened
    opened.close()


def candidate(invoice: str, verdict: str = "accepted", **values: Any) -> Candidate:
    body = json.dumps({"candidate": {"invoice_id": invoice}, "lines": [], "taxes": []})
    given: dict[str, Any] = {
        "document_sha256": DOCUMENT, "ordinal": 1, "number_key": f"n-{invoice}", "content_key": f"c-{invoice}",
        "invoice_number": f"No {invoice}", "body": body,
    } | values  # fmt: skip
    return Candidate(invoice_id=invoice, verdict=verdict, **given)


def finding(invoice: str | None, rule: str = "BR-CO-15") -> Finding:
    return Finding(invoice, DOCUMENT, rule, "critical", f"{rule} does not hold.")


def ask(tx: Transaction, extraction: str, document: str, **values: Any) -> None:
    intend(tx, Terms("smartbills_com"), extraction, document, pages=1, run="a run", **values)


def judge(ledger: Ledger, judged: Iterable[Candidate], broken: Iterable[Finding] = ()) -> None:
    with ledger.transaction() as tx:
        record_judgement(tx, list(judged), list(broken), "rules", PUBLISHERS)


def everything(ledger: Ledger) -> dict[str, int]:
    with ledger.reading() as connection:
        return row_counts(connection, up_to=1_000_000)


# Judgements


def test_an_accepted_candidate_joins_the_outbox_and_the_export_queue(ledger: Ledger) -> None:
    judge(ledger, [candidate("a"), candidate("b", "review"), candidate("c", "quarantined")], [finding("c")])
    with ledger.reading() as connection:
        assert waiting_invoices(connection, 10) == ["a"]
        assert [(r.invoice_id, r.receipt_id, r.status) for r in outgoing(connection, "smartbills_io", 10)] == [
            ("a", "a-v1", "pending")
        ]
        assert [row["invoice_id"] for row in candidate_rows(connection, DOCUMENT)] == ["a", "b", "c"]
        assert [row["rule_id"] for row in finding_rows(connection, DOCUMENT)] == ["BR-CO-15"]


def test_judgement_outbox_and_export_queue_are_written_together_or_not_at_all(ledger: Ledger) -> None:
    before = everything(ledger)

    def failing() -> None:
        with ledger.transaction() as tx:
            record_judgement(tx, [candidate("a")], [finding("a")], "rules", PUBLISHERS)
            raise RuntimeError("killed here")

    with pytest.raises(RuntimeError):
        failing()
    assert everything(ledger) == before
    with pytest.raises(IntegrityError):  # the second of two equal candidates fails after the first was written
        judge(ledger, [candidate("a"), candidate("a")], [])
    assert everything(ledger) == before


def test_judging_again_replaces_candidate_and_findings_and_queues_nothing_twice(ledger: Ledger) -> None:
    judge(ledger, [candidate("a", "review")], [finding("a", "BT-9"), finding("a", "BR-16")])
    judge(ledger, [candidate("a")], [finding("a", "BT-9")])
    judge(ledger, [candidate("a")], [finding("a", "BT-9")])
    with ledger.reading() as connection:
        assert [row["verdict"] for row in candidate_rows(connection, DOCUMENT)] == ["accepted"]
        assert [row["rule_id"] for row in finding_rows(connection, DOCUMENT)] == ["BT-9"]
        assert waiting_invoices(connection, 10) == ["a"]
        assert len(receipt_rows(connection, "a")) == 1


def test_judging_again_does_not_touch_what_is_published_and_exported(ledger: Ledger) -> None:
    judge(ledger, [candidate("a")])
    with ledger.transaction() as tx:
        batch = assign(tx, ["a"])
        (receipt,) = outgoing(tx.connection, "smartbills_io", 10)
        move(tx, receipt, "published", remote_id="r-1")
    judge(ledger, [candidate("a", "review")])
    judge(ledger, [candidate("a")])
    with ledger.reading() as connection:
        assert waiting_invoices(connection, 10) == []
        assert [row["batch_id"] for row in export_rows(connection, "a")] == [batch.batch_id]
        assert [(row["status"], row["remote_id"]) for row in receipt_rows(connection, "a")] == [("published", "r-1")]


def test_more_candidates_than_a_statement_takes_are_judged_in_one_go(ledger: Ledger) -> None:
    many = [candidate(f"i{number:05}") for number in range(1_201)]
    judge(ledger, many)
    judge(ledger, many)
    with ledger.reading() as connection:
        assert len(waiting_invoices(connection, 10_000)) == outgoing_count(connection) == 1_201
        keys = known_keys(connection, [c.number_key for c in many if c.number_key], [])
    assert [row["invoice_id"] for row in keys] == [c.invoice_id for c in many]


def test_known_keys_are_those_of_accepted_candidates_and_of_those_in_review(ledger: Ledger) -> None:
    verdicts = ("accepted", "review", "quarantined", "duplicate")
    judge(ledger, [candidate(verdict, verdict, number_key="same", content_key=None) for verdict in verdicts])
    judge(ledger, [candidate("other", number_key=None, content_key="text")])
    with ledger.reading() as connection:
        assert [row["invoice_id"] for row in known_keys(connection, ["same"], [])] == ["accepted", "review"]
        assert [row["invoice_id"] for row in known_keys(connection, [], ["text"])] == ["other"]
        assert [row["invoice_id"] for row in known_keys(connection, ["same"], ["text"])] == [
            "accepted", "other", "review",
        ]  # fmt: skip
        assert known_keys(connection, ["absent"], ["same"]) == known_keys(connection, [], []) == []


def test_a_document_is_found_by_invoice_id_and_by_invoice_number(ledger: Ledger) -> None:
    judge(ledger, [candidate("a"), candidate("b", document_sha256="e" * 64, invoice_number="No a")])
    with ledger.reading() as connection:
        assert document_of(connection, "a") == [DOCUMENT]
        assert sorted(document_of(connection, "No a")) == [DOCUMENT, "e" * 64]
        assert document_of(connection, "No") == []


# Outbox


def test_moving_a_receipt_to_where_it_is_writes_nothing(ledger: Ledger) -> None:
    judge(ledger, [candidate("a")])
    with ledger.transaction() as tx:
        (receipt,) = outgoing(tx.connection, "smartbills_io", 10)
        assert move(tx, receipt, "waiting", reason_code="no_customer", reason="Nobody.")
    with ledger.reading() as connection:
        before = latest_revision(connection)
    with ledger.transaction() as tx:
        assert not move(tx, receipt, "waiting", reason_code="no_customer", reason="Nobody.")
    with ledger.reading() as connection:
        assert latest_revision(connection) == before
        assert receipts_by_status(connection) == {("waiting", "no_customer", "Nobody."): 1}


def test_a_published_or_failed_receipt_is_not_outgoing_any_more(ledger: Ledger) -> None:
    judge(ledger, map(candidate, "abcd"))
    with ledger.transaction() as tx:
        a, b, c, _ = outgoing(tx.connection, "smartbills_io", 10)
        move(tx, a, "published", remote_id="r")
        move(tx, b, "failed", reason_code="refused", reason="No.")
        move(tx, c, "sending", first_sent_at=tx.at)
    with ledger.reading() as connection:
        left = outgoing(connection, "smartbills_io", 10)
        assert [(r.invoice_id, r.status, r.first_sent_at is not None) for r in left] == [
            ("c", "sending", True), ("d", "pending", False),
        ]  # fmt: skip
        assert outgoing(connection, "smartbills_io", 10, after="c") == left[1:]
        assert outgoing(connection, "elsewhere", 10) == []
        assert outgoing_count(connection) == 2


# Batches


def test_an_invoice_is_never_in_two_batches(ledger: Ledger) -> None:
    judge(ledger, map(candidate, "abc"))
    with ledger.transaction() as tx:
        first = assign(tx, ["a", "b"])
    with ledger.transaction() as tx:
        second = assign(tx, ["a", "b", "c"])
    with ledger.reading() as connection:
        assert invoices_in(connection, first.batch_id) == ["a", "b"]
        assert invoices_in(connection, second.batch_id) == ["c"]
        assert waiting_invoices(connection, 10) == []


def test_waiting_invoices_come_page_by_page(ledger: Ledger) -> None:
    judge(ledger, map(candidate, "edcba"))
    with ledger.reading() as connection:
        assert waiting_invoices(connection, 2) == ["a", "b"]
        assert waiting_invoices(connection, 2, after="b") == ["c", "d"]
        assert waiting_invoices(connection, 2, after="e") == []


def test_a_batch_is_issued_with_the_hash_of_its_manifest(ledger: Ledger) -> None:
    judge(ledger, map(candidate, "abc"))
    with ledger.transaction() as tx:
        batch = assign(tx, ["a", "b"])
    with ledger.reading() as connection:
        assert export_batch_list(connection, "assigned") == [batch]
        assert manifest_of(connection, batch.batch_id) is None
        assert export_counts(connection) == {"batches": 0, "invoices": 2, "waiting": 1}
    with ledger.transaction() as tx:
        issue(tx, batch, "f" * 64)
    with ledger.reading() as connection:
        assert export_batch_list(connection, "assigned") == []
        assert [b.status for b in export_batch_list(connection)] == ["issued"]
        assert manifest_of(connection, batch.batch_id) == "f" * 64
        assert export_counts(connection) == {"batches": 1, "invoices": 2, "waiting": 1}


def test_a_batch_undone_gives_its_number_back(ledger: Ledger) -> None:
    judge(ledger, [candidate("a")])

    def failing() -> None:
        with ledger.transaction() as tx:
            assign(tx, ["a"])
            raise RuntimeError("killed here")

    with pytest.raises(RuntimeError):
        failing()
    with ledger.transaction() as tx:
        assert assign(tx, ["a"]).batch_id == "batch-000001"


# Extractions


def see(tx: Transaction, *documents: str) -> None:
    for one in documents:
        record_sighting(tx, Sighting(one[:32], one, "application/pdf", 1, "inbox", "folder", f"/{one}"))


def test_an_answer_that_cost_nothing_is_written_once(ledger: Ledger) -> None:
    for payload in ("{}", '{"other": 1}'):
        with ledger.transaction() as tx:
            record_answer(tx, "x1", DOCUMENT, "einvoice", payload)
    with ledger.reading() as connection:
        (row,) = extraction_rows(connection, DOCUMENT)
    assert (row["payload"], row["status"], row["pages_charged"]) == ("{}", "answered", 0)


def test_answers_are_the_latest_of_each_document_in_the_order_of_arrival(ledger: Ledger) -> None:
    first, second = "f" * 64, "a" * 64
    with ledger.transaction() as tx:
        see(tx, first)
        see(tx, second)
        record_answer(tx, "x2", second, "einvoice", '"2"')
        ask(tx, "x1", first)
        advance(tx, "x1", "failed", answered_at=tx.at)
        ask(tx, "x1b", first, generation=2)
        assert [a.payload for a in answers(tx.connection, [first, second])] == ['"2"']
        advance(tx, "x1b", "answered", payload='"1"', answered_at=tx.at)
    with ledger.reading() as connection:
        assert [a.payload for a in answers(connection, [second, first])] == ['"1"', '"2"']
        assert [job.generation for job in jobs_of(connection, first, "smartbills_com")] == [1, 2]


def test_the_same_intent_again_is_the_same_question(ledger: Ledger) -> None:
    for _ in range(2):
        with ledger.transaction() as tx:
            ask(tx, "x1", DOCUMENT)
    with ledger.reading() as connection:
        assert [job.status for job in jobs_of(connection, DOCUMENT, "smartbills_com")] == ["intended"]


def test_only_the_vendors_ids_that_the_ledger_knows_are_known(ledger: Ledger) -> None:
    with ledger.transaction() as tx:
        ask(tx, "x1", DOCUMENT)
        advance(tx, "x1", "submitted", remote_id="job-1")
    with ledger.reading() as connection:
        assert remote_ids(connection, "smartbills_com", ["job-1", "job-2"]) == {"job-1"}
        assert remote_ids(connection, "other", ["job-1"]) == remote_ids(connection, "smartbills_com", []) == set()


# Changes


def changes(ledger: Ledger, after: int, up_to: int, size: int = 2) -> dict[str, int]:
    with ledger.reading() as connection:
        found = {
            name: sum(len(piece) for piece in changed_rows(connection, name, after, up_to, size)) for name in LOADABLE
        }
    return {name: count for name, count in found.items() if count}


def test_the_changes_between_two_revisions_are_exactly_what_was_written_between_them(ledger: Ledger) -> None:
    marks = [0]
    writes: list[Callable[[Transaction], object]] = [
        lambda tx: see(tx, *(letter * 64 for letter in "abc")),
        lambda tx: record_answer(tx, "x1", "a" * 64, "einvoice", "{}"),
        lambda tx: record_judgement(tx, [candidate("i1")], [finding("i1")], "rules", PUBLISHERS),
        lambda tx: assign(tx, ["i1"]),
    ]
    for write in writes:
        with ledger.transaction() as tx:
            write(tx)
        with ledger.reading() as connection:
            marks.append(latest_revision(connection))
    steps = [changes(ledger, after, up_to) for after, up_to in itertools.pairwise(marks)]
    assert steps == [
        {"documents": 3, "sightings": 3},
        {"extractions": 1},
        {"candidates": 1, "findings": 1, "receipts": 1},  # the export queue's row was written again by the batch
        {"exported_invoices": 1},
    ]
    assert changes(ledger, marks[-1], 1_000_000) == {}
    assert changes(ledger, 0, marks[1]) == steps[0]


def test_changes_come_in_pieces_and_in_order(ledger: Ledger) -> None:
    for letter in "abcde":
        with ledger.transaction() as tx:
            see(tx, letter * 64)
    with ledger.reading() as connection:
        pieces = list(changed_rows(connection, "documents", 0, 1_000, 2))
    assert [[row["document_sha256"][0] for row in piece] for piece in pieces] == [["a", "b"], ["c", "d"], ["e"]]


def test_a_transaction_that_changes_no_loadable_row_leaves_nothing_to_load(ledger: Ledger) -> None:
    with ledger.transaction() as tx:
        see(tx, DOCUMENT)
    with ledger.reading() as connection:
        latest = latest_revision(connection)
    with ledger.transaction() as tx:
        set_counter(tx, WATERMARK, latest)
    with ledger.reading() as connection:
        assert loaded_revision(connection) == latest_revision(connection) == latest


def test_row_counts_tell_what_the_warehouse_has_at_least(ledger: Ledger) -> None:
    with ledger.transaction() as tx:
        see(tx, "a" * 64)
        first = tx.revision
    with ledger.transaction() as tx:
        see(tx, "b" * 64)
        record_judgement(tx, [candidate("i1")], [finding("i1")], "rules", PUBLISHERS)
    with ledger.reading() as connection:
        assert {name: count for name, count in row_counts(connection, first).items() if count} == {
            "documents": 1, "sightings": 1,
        }  # fmt: skip


def test_an_unanswered_question_is_no_row_that_the_warehouse_lacks(ledger: Ledger) -> None:
    with ledger.transaction() as tx:
        ask(tx, "x1", DOCUMENT)
        record_answer(tx, "x2", DOCUMENT, "einvoice", "{}")
    with ledger.reading() as connection:
        assert row_counts(connection, tx.revision)["extractions"] == 1


def test_a_number_whose_files_exist_already_is_not_given_again(ledger: Ledger) -> None:
    with ledger.transaction() as tx:
        batch = assign(tx, [], is_taken=lambda batch_id: batch_id < "batch-000003")
    assert batch.batch_id == "batch-000003"
