"""The receipts client on the wire: what it sends, how it finds a receipt again, and what each answer means."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from scripted_server import Answer, Drop, ScriptedServer, Seen

from invoices.clients.classification import NotFound
from invoices.clients.smartbills_io import DuplicateReceipt, SmartBillsIo
from invoices.clients.transport import make_session
from invoices.errors import (
    AccountError,
    ConfigurationError,
    ContractError,
    DocumentError,
    TransientError,
    UnknownOutcome,
)
from invoices.model import Invoice, Line, Party, Tax
from invoices.receipts.mapping import Customer, receipt_body

KEY = "sk_test_77aa"
CONTRACT = Path(os.environ.get("INVOICES_API_CONTRACTS", Path(__file__).parents[3] / "shared/apis/openapi"))
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[SmartBillsIo]:
    with make_session() as session:
        yield SmartBillsIo(f"{server.url}/v1", KEY, "biz-7", session, deadline=2)


def receipt(number: int, receipt_id: str | None = None, created: dt.datetime | None = NOON) -> dict[str, Any]:
    return {
        "id": number,
        "receiptId": receipt_id or f"r{number}",
        "total": {"amount": 1.5, "currency": "EUR"},
        "createdAt": created.isoformat().replace("+00:00", "Z") if created else None,
    }


class Shelf:
    """A receipts API that keeps receipts, and can be told to lie or to change while it is read."""

    def __init__(self, *stored: dict[str, Any], largest_page: int = 100, meta: str | None = "metadata") -> None:
        self.stored = list(stored)
        self.largest_page, self.meta = largest_page, meta
        self.ignores_order = False
        self.before: dict[int, Any] = {}  # the n-th request (from 1) → something to do first
        self.requests = 0

    def __call__(self, seen: Seen) -> Answer:
        self.requests += 1
        self.before.get(self.requests, lambda: None)()
        query = seen.query
        page, size = int(query["page"]), min(int(query["pageSize"]), self.largest_page)
        is_reversed = query["sortOrder"] == "desc" and not self.ignores_order
        ordered = sorted(self.stored, key=lambda r: (r["createdAt"] or "", r["id"]), reverse=is_reversed)
        data = ordered[(page - 1) * size : page * size]
        pages = -(-len(ordered) // size)
        position = {
            "metadata": {"metadata": {"page": page, "pageSize": size, "totalPages": pages, "count": len(ordered)}},
            "pagination": {
                "pagination": {"count": len(ordered), "pageCount": pages, "currentPage": page, "limit": size}
            },
            "flat": {"page": page, "pageSize": size, "totalPages": pages, "totalCount": len(ordered)},
            None: {},
        }[self.meta]
        return Answer.json({"data": data, **position})


BODY = {
    "receiptId": "abc-v1",
    "billingAddress": {"comapny": "Käufer GmbH"},
    "receiptMetadata": {"refferingSite": "n/a"},
    "total": {"amount": Decimal("0.30"), "currency": "EUR"},
    "quantity": Decimal("1E+2"),
    "taxesIncluded": False,
}


def test_a_receipt_is_created_with_one_post_spelled_and_counted_as_given(
    server: ScriptedServer, client: SmartBillsIo
) -> None:
    server.play(Answer(201, b'{"id": 12, "receiptId": "abc-v1", "total": {"amount": 0.30, "currency": "EUR"}}'))
    created = client.create(BODY, "abc-v1")
    assert (created.id, created.receipt_id, created.currency) == (12, "abc-v1", "EUR")
    assert str(created.total) == "0.30"
    [seen] = server.seen
    assert (seen.method, seen.target) == ("POST", "/v1/receipts")
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.headers["x-tenant-id"] == "biz-7"
    assert seen.headers["idempotency-key"] == "abc-v1"
    assert seen.headers["content-type"] == "application/json"
    assert (
        seen.body
        == (
            '{"receiptId":"abc-v1","billingAddress":{"comapny":"Käufer GmbH"},'
            '"receiptMetadata":{"refferingSite":"n/a"},"total":{"amount":0.30,"currency":"EUR"},"quantity":100,"taxesIncluded":false}'
        ).encode()
    )


def test_a_200_is_as_good_as_a_201_and_a_bare_total_as_money(server: ScriptedServer, client: SmartBillsIo) -> None:
    server.play(Answer(200, b'{"id": "12", "total": 0.1, "currency": "EUR"}', {"Content-Type": "application/json"}))
    created = client.create(BODY, "abc-v1")
    assert (created.id, created.total, created.currency) == (12, Decimal("0.1"), "EUR")


@pytest.mark.parametrize(
    "step",
    [Answer(201), Answer(204), Answer(201, b"{}"), Answer(201, b'{"id": 12'), Answer(500), Answer(504), Drop(),
     Drop(reset=True), Answer(200, b"<html>", {"Content-Type": "text/html"}),
     Answer.json({"id": 12, "receiptId": "someone-elses"}, 201)],
)  # fmt: skip
def test_an_unclear_creation_is_to_be_looked_up_and_never_repeated(
    server: ScriptedServer, client: SmartBillsIo, step: Answer | Drop
) -> None:
    server.play(step)
    with pytest.raises(UnknownOutcome):
        client.create(BODY, "abc-v1")
    assert len(server.seen) == 1


def test_a_creation_without_an_answer_says_so(server: ScriptedServer, client: SmartBillsIo) -> None:
    server.play(Answer(201))
    with pytest.raises(UnknownOutcome, match="its body is empty"):
        client.create(BODY, "abc-v1")


@pytest.mark.parametrize(
    ("status", "code"), [(409, "DUPLICATE_RECEIPT"), (409, None), (422, "IdempotencyMismatch"), (409, "CONFLICT")]
)
def test_a_duplicate_is_to_be_looked_up(
    server: ScriptedServer, client: SmartBillsIo, status: int, code: str | None
) -> None:
    server.play(Answer.json({"error": {"code": code, "message": "There is one"}}, status))
    with pytest.raises(DuplicateReceipt, match="There is one"):
        client.create(BODY, "abc-v1")


ERROR_SHAPES = [
    {"error": {"code": "INVALID_AMOUNT", "message": "Bad", "details": [{"field": "total"}], "requestId": "q-1"}},
    {
        "type": "about:blank",
        "title": "Bad",
        "status": 400,
        "code": "INVALID_AMOUNT",
        "traceId": "q-1",
        "errors": {"a": ["b"]},
    },
    {"code": "INVALID_AMOUNT", "message": "Bad", "requestId": "q-1"},
    {"statusCode": 400, "errors": [{"code": "INVALID_AMOUNT", "message": "Bad"}], "requestId": "q-1"},
]


@pytest.mark.parametrize("shape", ERROR_SHAPES)
def test_a_refusal_is_understood_in_every_shape(server: ScriptedServer, client: SmartBillsIo, shape: Any) -> None:
    server.play(Answer.json(shape, 400))
    with pytest.raises(DocumentError, match="INVALID_AMOUNT 'Bad'") as caught:
        client.create(BODY, "abc-v1")
    assert caught.value.request_id == "q-1"


def test_the_vendors_page_that_echoes_the_key_shows_nothing(server: ScriptedServer, client: SmartBillsIo) -> None:
    page = f"<html>AmbiguousMatchException HEADERS Authorization: Bearer {KEY}</html>"
    server.play(Answer(500, page.encode(), {"Content-Type": "text/html"}))
    with pytest.raises(UnknownOutcome) as caught:
        client.create(BODY, "abc-v1")
    assert str(caught.value) == "POST 127.0.0.1/v1/receipts answered 500"


def test_a_creation_that_never_left_may_be_repeated(server: ScriptedServer) -> None:
    with ScriptedServer() as gone:
        url = gone.url
    with make_session() as session, pytest.raises(TransientError, match="not sent"):
        SmartBillsIo(f"{url}/v1", KEY, None, session).create(BODY, "k")


def test_a_float_never_reaches_the_wire(server: ScriptedServer, client: SmartBillsIo) -> None:
    with pytest.raises(TypeError, match="float"):
        client.create({"total": 0.1}, "k")
    assert server.seen == []


def test_a_receipt_is_read_by_the_vendors_id(server: ScriptedServer, client: SmartBillsIo) -> None:
    server.play(Answer.json(receipt(12)), Answer.json(receipt(13)), Answer(404))
    assert client.get(12).created_at == NOON
    assert server.seen[0].target == "/v1/receipts/12"
    with pytest.raises(ContractError, match="13"):
        client.get(12)
    with pytest.raises(NotFound):
        client.get(12)


@pytest.mark.parametrize(
    ("answer", "was_there"), [(Answer.json(receipt(1)), True), (Answer(204), True), (Answer(404), False)]
)
def test_deleting_twice_is_deleting_once(
    server: ScriptedServer, client: SmartBillsIo, answer: Answer, was_there: bool
) -> None:
    server.play(answer)
    assert client.delete(1) is was_there
    assert (server.seen[0].method, server.seen[0].target) == ("DELETE", "/v1/receipts/1")


@pytest.mark.parametrize("meta", ["metadata", "pagination", "flat", None])
@pytest.mark.parametrize("largest_page", [100, 7])
@pytest.mark.parametrize("count", [0, 1, 7, 14, 23])
def test_all_receipts_are_listed_once_oldest_first(
    server: ScriptedServer, client: SmartBillsIo, meta: str | None, largest_page: int, count: int
) -> None:
    server.react(Shelf(*(receipt(n) for n in range(1, count + 1)), largest_page=largest_page, meta=meta))
    assert [r.id for r in client.receipts()] == list(range(1, count + 1))
    assert server.seen[0].query == {"page": "1", "pageSize": "100", "orderBy": "createdAt", "sortOrder": "asc"}


def test_receipts_that_arrive_while_listing_are_listed_too(server: ScriptedServer, client: SmartBillsIo) -> None:
    shelf = Shelf(*(receipt(n) for n in range(1, 11)), largest_page=5)
    shelf.before = {3: lambda: shelf.stored.append(receipt(11))}
    server.react(shelf)
    assert [r.id for r in client.receipts()] == list(range(1, 12))


def test_receipts_since_an_instant_leave_out_older_ones(server: ScriptedServer, client: SmartBillsIo) -> None:
    day = dt.timedelta(days=1)
    server.react(Shelf(receipt(1, created=NOON - day), receipt(2, created=NOON), receipt(3, created=None)))
    assert sorted(r.id for r in client.receipts(NOON)) == [2, 3]


@pytest.mark.parametrize("meta", ["metadata", "pagination", "flat", None])
@pytest.mark.parametrize("position", [1, 5, 6, 11, 12])
def test_a_receipt_is_found_wherever_it_lies(
    server: ScriptedServer, client: SmartBillsIo, meta: str | None, position: int
) -> None:
    stored = [receipt(n, "wanted" if n == position else None) for n in range(1, 13)]
    server.react(Shelf(*stored, largest_page=5, meta=meta))
    assert [r.id for r in client.find("wanted")] == [position]
    assert client.find("unwanted") == []


def test_two_receipts_under_one_key_are_both_told(server: ScriptedServer, client: SmartBillsIo) -> None:
    server.react(Shelf(receipt(1, "wanted"), receipt(2), receipt(3, "wanted")))
    assert [r.id for r in client.find("wanted")] == [3, 1]


def test_looking_ends_a_day_before_the_sending(server: ScriptedServer, client: SmartBillsIo) -> None:
    hours = [receipt(n, created=NOON - dt.timedelta(hours=n)) for n in range(1, 1001)]
    server.react(Shelf(*hours))
    assert client.find("absent", NOON) == []
    assert len(server.seen) == 2  # the newest hundred hours, and the newest once more


def test_an_unsorted_list_is_read_to_its_end(server: ScriptedServer, client: SmartBillsIo) -> None:
    shelf = Shelf(*(receipt(n, created=NOON - dt.timedelta(days=200 - n)) for n in range(1, 200)), largest_page=10)
    shelf.stored.append(receipt(500, "wanted", NOON))
    shelf.ignores_order = True
    server.react(shelf)
    assert [r.id for r in client.find("wanted", NOON)] == [500]


def test_a_receipt_that_appears_while_looking_is_found(server: ScriptedServer, client: SmartBillsIo) -> None:
    shelf = Shelf(*(receipt(n) for n in range(1, 21)), largest_page=5)
    shelf.before = {3: lambda: shelf.stored.append(receipt(99, "wanted"))}
    server.react(shelf)
    assert [r.id for r in client.find("wanted")] == [99]


def test_a_receipt_that_slips_onto_a_page_already_read_is_found(server: ScriptedServer, client: SmartBillsIo) -> None:
    shelf = Shelf(*(receipt(n, "wanted" if n == 5 else None) for n in range(1, 16)), largest_page=5)
    shelf.before = {3: lambda: shelf.stored.remove(receipt(15))}
    server.react(shelf)
    assert [r.id for r in client.find("wanted")] == [5]


def test_a_list_that_never_stops_shrinking_proves_nothing(server: ScriptedServer, client: SmartBillsIo) -> None:
    shelf = Shelf(*(receipt(n) for n in range(1, 40)))
    shelf.before = dict.fromkeys(range(2, 20), lambda: shelf.stored.pop())
    server.react(shelf)
    with pytest.raises(UnknownOutcome, match="keeps shrinking"):
        client.find("absent")


def test_a_list_that_ignores_pages_is_no_proof_of_absence(server: ScriptedServer, client: SmartBillsIo) -> None:
    data = [receipt(n) for n in range(1, 101)]
    server.play(Answer.json({"data": data, "metadata": {"page": 1, "pageSize": 100, "totalPages": 9, "count": 900}}))
    with pytest.raises(ContractError, match="only what earlier pages showed"):
        client.find("absent")


def test_a_page_count_that_is_too_low_does_not_hide_receipts(server: ScriptedServer, client: SmartBillsIo) -> None:
    shelf = Shelf(*(receipt(n, "wanted" if n == 1 else None) for n in range(1, 151)))

    def understated(seen: Seen) -> Answer:
        answer = shelf(seen)
        return Answer.json({**json.loads(answer.body), "metadata": {"pageSize": 100, "totalPages": 1, "count": 150}})

    server.react(understated)
    assert [r.id for r in client.find("wanted")] == [1]


@pytest.mark.parametrize(
    "answer", [[], {}, {"data": None}, {"data": [1]}, {"data": [{"id": True}]}, {"data": [{"id": "x"}]}]
)
def test_a_list_of_another_shape_is_no_list(server: ScriptedServer, client: SmartBillsIo, answer: Any) -> None:
    server.play(Answer.json(answer))
    with pytest.raises(ContractError):
        client.list()


def test_an_account_that_may_not_read_stops(server: ScriptedServer, client: SmartBillsIo) -> None:
    server.play(Answer(403))
    with pytest.raises(AccountError):
        client.find("x")


def test_the_route_can_be_the_one_of_a_business(server: ScriptedServer) -> None:
    server.play(Answer.json(receipt(1)))
    with make_session() as session:
        SmartBillsIo(f"{server.url}/v1/", KEY, None, session, path="/businesses/7/receipts").get(1)
    assert server.seen[0].target == "/v1/businesses/7/receipts/1"
    assert "x-tenant-id" not in server.seen[0].headers


@pytest.mark.parametrize("path", ["", "a//b", "../x", "receipts?x=1", "receipts#a"])
def test_a_route_that_is_none_is_a_setting_to_fix(path: str) -> None:
    with make_session() as session, pytest.raises(ConfigurationError):
        SmartBillsIo("https://api.smartbills.io/v1", KEY, None, session, path=path)


def test_the_client_does_not_show_its_key(client: SmartBillsIo) -> None:
    assert KEY not in repr(client)


INVOICE = Invoice(
    invoice_id="7f3a", document_sha256="0" * 64, ordinal=1, kind="invoice", direction="expense", invoice_number="A-17",
    issued_on=dt.date(2026, 1, 15), due_on=dt.date(2026, 2, 14), currency="EUR", order_number="PO 9",
    customer=Party("Käufer GmbH", "DE1", "DE"), supplier=Party("Beispiel SA", "FR2", "FR"),
    net_amount=Decimal("100.0000"), discount_amount=Decimal(5), charge_amount=Decimal(3), tax_amount=Decimal(20),
    total_amount=Decimal(120), prepaid_amount=Decimal(20), payable_amount=Decimal(100),
    lines=(Line(1, "Service", Decimal("2.000000"), "C62", Decimal(51), Decimal(102), Decimal(20), None),),
    taxes=(Tax("S", Decimal("20.000000"), Decimal(100), Decimal(20)),),
)  # fmt: skip


def contract() -> Any:
    path = CONTRACT / "05-smartbills-receipts.yaml"
    if not path.exists():
        pytest.skip("the vendor's contract is not at hand (INVOICES_API_CONTRACTS)")
    return pytest.importorskip("yaml").safe_load(path.read_text("utf-8"))


@pytest.mark.parametrize("customer", [Customer(7), Customer(email="a@example.org"), Customer(phone="+1 555")])
def test_what_is_sent_is_what_the_contract_asks_for(
    server: ScriptedServer, client: SmartBillsIo, customer: Customer
) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    document = contract()
    closed = dict(document["components"]["schemas"]["ReceiptCreateRequest"], additionalProperties=False)
    server.play(Answer.json(receipt(1, "7f3a-v1"), 201))
    client.create(receipt_body(INVOICE, customer, "7f3a-v1"), "7f3a-v1")
    sent = json.loads(server.seen[0].body)
    jsonschema.Draft202012Validator({**closed, "components": document["components"]}).validate(sent)
    assert b'"comapny":"K\xc3\xa4ufer GmbH"' in server.seen[0].body
    assert b'"refferingSite":' in server.seen[0].body


def test_the_contracts_own_examples_are_read(server: ScriptedServer, client: SmartBillsIo) -> None:
    create = contract()["paths"]["/v1/receipts"]["post"]["requestBody"]["content"]["application/json"]["example"]
    server.play(Answer.json({**create, "id": 3, "createdAt": "2026-01-15T10:00:00.1234567Z"}, 201))
    created = client.create({"receiptId": create["receiptId"]}, create["receiptId"])
    assert created.total == Decimal(115)
    assert created.created_at is not None
