"""Publishing through the outbox, judged by the journal of the other side: each receipt is created at most once."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyrate_limiter import InMemoryBucket

from invoices.clients.smartbills_io import RemoteReceipt, SmartBillsIo
from invoices.clients.transport import make_session
from invoices.errors import UnknownOutcome
from invoices.extraction.patience.breaker import FAILURES_TO_OPEN
from invoices.extraction.patience.budget import Budget, Window
from invoices.ledger import Ledger
from invoices.ledger.judgements import Candidate, receipt_rows, record_judgement
from invoices.ledger.outbox import outgoing
from invoices.model import Invoice, Line, Party, Tax, receipt_id
from invoices.receipts.mapping import Customer
from invoices.receipts.publishing import PUBLISHER, Published, ReceiptPublisher
from sandbox.serving import Sandbox, start

pytestmark = pytest.mark.unmeasured
EMAIL = Customer(email="books@example.org")
WRITE_ONLY, READ_AND_WRITE = ["receipts.write"], ["receipts.read", "receipts.write"]  # looking needs receipts.read
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A running sandbox; each test has a key, and so a journal, of its own."""
    with start(tmp_path_factory.mktemp("sandbox"), minute_seconds=1) as running:
        yield running


def plenty() -> Budget:
    """Return a budget that never runs out."""
    limit = Window(10_000, 60)
    return Budget((limit,), InMemoryBucket([limit.as_rate(0.001)]), scale=0.001)


class Office:
    """A ledger with accepted invoices, and everything needed to publish their receipts in a new process."""

    def __init__(self, ledger: Ledger, sandbox: Sandbox) -> None:
        self.ledger, self.sandbox = ledger, sandbox
        self.key = f"sk_test_publishing_{next(numbers)}"
        self.published = Published()

    def accept(self, *invoices: Invoice) -> None:
        found = [
            Candidate(i.invoice_id, i.document_sha256, i.ordinal, "accepted", None, None, i.invoice_number, "{}")
            for i in invoices
        ]
        with self.ledger.transaction() as tx:
            record_judgement(tx, found, [], "rules", (PUBLISHER,))

    def publish(
        self,
        *invoices: Invoice,
        default: Customer | None = EMAIL,
        port: int | None = None,
        chokes_on: tuple[Invoice, ...] = (),
    ) -> bool:
        base_url = f"http://127.0.0.1:{port or self.sandbox.port}/smartbills_io/v1"
        client = Choking(SmartBillsIo(base_url, self.key, "1", make_session()), *chokes_on)
        publisher = ReceiptPublisher(self.ledger, client, {}, default, plenty(), sleep=lambda _: None)
        with self.ledger.reading() as connection:
            waiting = outgoing(connection, PUBLISHER, 100)
        self.published = Published()
        return publisher.publish(waiting, {i.invoice_id: i for i in invoices}, self.published)

    def created(self) -> list[str]:
        return [receipt["receiptId"] for receipt in self.sandbox.journal(self.key)["receipts"]]

    def turn(self, **knobs: object) -> None:
        self.sandbox.turn(self.key, **knobs)

    def stands(self, invoice: Invoice) -> tuple[str, str | None]:
        with self.ledger.reading() as connection:
            (row,) = receipt_rows(connection, invoice.invoice_id)
        return row["status"], row["reason_code"]


@pytest.fixture
def office(ledger: Ledger, sandbox: Sandbox) -> Office:
    """An office with nothing accepted yet."""
    return Office(ledger, sandbox)


def invoice(name: str, total: str = "119.00", **values: object) -> Invoice:
    net = Decimal(total) - Decimal("19.00")
    stated = {"kind": "invoice", "tax_amount": Decimal("19.00")} | values
    return Invoice(
        invoice_id=name.rjust(32, "0"), document_sha256=name.rjust(64, "0"), ordinal=1, direction="expense",
        invoice_number=f"R-{name}", issued_on=dt.date(2026, 3, 1), currency="EUR", total_amount=Decimal(total),
        net_amount=net, customer=Party("Us"),
        lines=(Line(1, "Work", Decimal(1), "C62", net, net, Decimal(19)),),
        taxes=(Tax("S", Decimal(19), net, Decimal("19.00")),), **stated,  # type: ignore[arg-type]
    )  # fmt: skip


def test_each_accepted_invoice_becomes_one_receipt_and_no_second_one(office: Office) -> None:
    one, two = invoice("1"), invoice("2")
    office.accept(one, two)
    assert office.publish(one, two)
    assert office.publish(one, two)
    assert office.created() == [receipt_id(one.invoice_id), receipt_id(two.invoice_id)]
    assert office.stands(one) == ("published", None)


@pytest.mark.parametrize("fault", ["lost_response", "http_500_after_work"])
def test_a_receipt_that_was_created_behind_a_lost_answer_is_found_and_not_created_again(
    office: Office, fault: str
) -> None:
    one = invoice("1")
    office.accept(one)
    office.turn(**{f"smartbills_io__{fault}": 1})
    assert office.publish(one)
    assert office.created() == [receipt_id(one.invoice_id)]
    assert office.stands(one) == ("published", None)


def test_while_nobody_can_look_nothing_is_sent_again(office: Office) -> None:
    one = invoice("1")
    office.accept(one)
    office.turn(smartbills_io__lost_response=1, smartbills_io__scopes=WRITE_ONLY)
    assert not office.publish(one)
    assert office.published.problems
    assert office.stands(one)[0] == "sending"
    office.turn(smartbills_io__scopes=READ_AND_WRITE)
    assert office.publish(one)
    assert office.created() == [receipt_id(one.invoice_id)]


def test_a_run_killed_before_the_answer_looks_first(office: Office) -> None:
    one = invoice("1")
    office.accept(one)
    office.turn(smartbills_io__lost_response=1, smartbills_io__scopes=WRITE_ONLY)
    office.publish(one)
    office.turn(smartbills_io__scopes=READ_AND_WRITE)
    before = office.sandbox.journal(office.key)["requests"].get("POST /v1/receipts", 0)
    assert office.publish(one)
    assert office.sandbox.journal(office.key)["requests"].get("POST /v1/receipts", 0) == before


def test_a_receipt_with_our_id_and_another_total_is_not_taken_for_ours(office: Office) -> None:
    one = invoice("1")
    office.accept(one)
    office.turn(smartbills_io__lost_response=1, smartbills_io__scopes=WRITE_ONLY)
    office.publish(one)
    office.turn(smartbills_io__scopes=READ_AND_WRITE)
    changed = invoice("1", total="219.00")
    assert office.publish(changed)
    assert office.stands(one) == ("failed", "receipt_differs")
    assert len(office.created()) == 1


def test_without_a_customer_the_receipt_waits_and_says_what_to_set(office: Office) -> None:
    one = invoice("1")
    office.accept(one)
    assert office.publish(one, default=None)
    with office.ledger.reading() as connection:
        (row,) = receipt_rows(connection, one.invoice_id)
    assert (row["status"], row["reason_code"]) == ("waiting", "no_customer")
    assert "INVOICES_SMARTBILLS_IO__CUSTOMER_EMAIL" in row["reason"]
    assert office.created() == []
    assert office.publish(one)
    assert office.stands(one) == ("published", None)


def test_waiting_again_for_the_same_reason_writes_nothing(office: Office) -> None:
    one = invoice("1")
    office.accept(one)
    office.publish(one, default=None)
    with office.ledger.reading() as connection:
        (before,) = receipt_rows(connection, one.invoice_id)
    office.publish(one, default=None)
    with office.ledger.reading() as connection:
        assert receipt_rows(connection, one.invoice_id) == [before]


def test_a_credit_note_is_held_and_not_tried_again(office: Office) -> None:
    note = invoice("1", kind="credit_note")
    office.accept(note)
    assert office.publish(note)
    assert office.stands(note) == ("held", "credit_note_not_published")
    with office.ledger.reading() as connection:
        assert outgoing(connection, PUBLISHER, 100) == []


def test_one_receipt_that_is_refused_does_not_stop_the_others(office: Office) -> None:
    odd, sound = invoice("1", tax_amount=None), invoice("2")
    office.accept(odd, sound)
    assert office.publish(odd, sound)
    assert office.stands(odd) == ("failed", "receipt_incomplete")
    assert office.created() == [receipt_id(sound.invoice_id)]


class Choking:
    """The API over a server that fails at some receipts, whenever they come."""

    def __init__(self, client: SmartBillsIo, *chokes_on: Invoice) -> None:
        self._client, self._chokes_on = client, {receipt_id(i.invoice_id) for i in chokes_on}
        self.find = client.find

    def create(self, body: Mapping[str, Any], idempotency_key: str) -> RemoteReceipt:
        if body["receiptId"] in self._chokes_on:
            raise UnknownOutcome("POST receipts answered 500")
        return self._client.create(body, idempotency_key)


def test_one_receipt_at_which_the_server_fails_does_not_stop_the_others(office: Office) -> None:
    poison, sound = invoice("1"), invoice("2")
    office.accept(poison, sound)
    assert office.publish(poison, sound, chokes_on=(poison,))
    assert office.stands(poison) == ("sending", None)
    assert office.created() == [receipt_id(sound.invoice_id)]
    assert len(office.published.problems) == 1


def test_a_server_that_fails_at_every_receipt_is_left_alone_after_a_few(office: Office) -> None:
    found = [invoice(str(number)) for number in range(1, 10)]
    office.accept(*found)
    assert not office.publish(*found, chokes_on=tuple(found))
    assert len(office.published.problems) == FAILURES_TO_OPEN
    assert office.stands(found[-1]) == ("pending", None)


def test_a_refused_key_stops_at_once_and_everything_waits(office: Office) -> None:
    one, two = invoice("1"), invoice("2")
    office.accept(one, two)
    office.key = "sk_live_unknown_there"
    assert not office.publish(one, two)
    assert len(office.published.problems) == 1
    assert "sk_live" not in office.published.problems[0]
    assert office.stands(two)[0] == "pending"


def test_a_server_that_is_down_leaves_the_receipts_to_a_later_run(office: Office) -> None:
    found = [invoice(str(number)) for number in range(1, 10)]
    office.accept(*found)
    assert not office.publish(*found, port=9)
    assert office.published.problems
    assert office.stands(found[-1]) == ("pending", None)
    assert office.publish(*found)
    assert sorted(office.created()) == sorted(receipt_id(i.invoice_id) for i in found)


def test_a_limit_is_waited_for(office: Office) -> None:
    found = [invoice(str(number)) for number in range(1, 8)]
    office.accept(*found)
    office.turn(smartbills_io__http_500_every=3)
    office.publish(*found)
    office.turn(smartbills_io__http_500_every=0)
    office.publish(*found)
    assert sorted(office.created()) == sorted(receipt_id(i.invoice_id) for i in found)


def test_the_invoice_is_not_in_the_warehouse_yet(office: Office, tmp_path: Path) -> None:
    one = invoice("1")
    office.accept(one)
    assert office.publish()
    assert office.stands(one) == ("waiting", "not_loaded")


def test_receipts_found_and_receipts_sent_are_all_written(office: Office) -> None:
    found = [invoice(str(number)) for number in range(1, 5)]
    office.accept(*found)
    office.turn(smartbills_io__lost_response=2, smartbills_io__scopes=WRITE_ONLY)
    office.publish(*found)
    office.turn(smartbills_io__scopes=READ_AND_WRITE)
    assert office.publish(*found)
    assert {office.stands(i) for i in found} == {("published", None)}
    assert sorted(office.created()) == sorted(receipt_id(i.invoice_id) for i in found)
    assert office.published.receipts["published"] == len(found)
