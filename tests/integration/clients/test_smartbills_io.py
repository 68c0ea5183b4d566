"""The smartbills.io client: the requests it sends, and how it handles every kind of response."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from invoices.clients.error_mapping import NotFound
from invoices.clients.http_client import make_session
from invoices.clients.smartbills_io import DuplicateReceipt, SmartBillsIoClient
from invoices.errors import (
    ConfigurationError,
    ContractError,
    DocumentError,
    TransientError,
    UnknownOutcome,
)
from invoices.model import Invoice, Line, Party, Tax
from invoices.receipts.mapping import Customer, build_receipt_body
from tests.integration.clients.fake_receipts_api import NOON, build_receipt
from tests.run_environment import CONTRACT_DIRECTORY
from tests.servers.scripted_http_server import Disconnect, Response, ScriptedServer

API_KEY = "sk_test_77aa"


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[SmartBillsIoClient]:
    with make_session() as session:
        yield SmartBillsIoClient(f"{server.url}/v1", API_KEY, "biz-7", session, deadline=2)


RECEIPT_BODY = {
    "receiptId": "abc-v1",
    "billingAddress": {"comapny": "Käufer GmbH"},
    "receiptMetadata": {"refferingSite": "n/a"},
    "total": {"amount": Decimal("0.30"), "currency": "EUR"},
    "quantity": Decimal("1E+2"),
    "taxesIncluded": False,
}


def test_a_receipt_is_created_with_one_post_and_an_unchanged_body(
    server: ScriptedServer, client: SmartBillsIoClient
) -> None:
    server.set_replies(
        Response(201, b'{"id": 12, "receiptId": "abc-v1", "total": {"amount": 0.30, "currency": "EUR"}}')
    )
    created = client.create_receipt(RECEIPT_BODY, "abc-v1")
    assert (created.id, created.receipt_id, created.currency) == (12, "abc-v1", "EUR")
    assert str(created.total) == "0.30"
    [request] = server.requests
    assert (request.method, request.target) == ("POST", "/v1/receipts")
    assert request.headers["authorization"] == f"Bearer {API_KEY}"
    assert request.headers["x-tenant-id"] == "biz-7"
    assert request.headers["idempotency-key"] == "abc-v1"
    assert request.headers["content-type"] == "application/json"
    assert (
        request.body
        == (
            '{"receiptId":"abc-v1","billingAddress":{"comapny":"Käufer GmbH"},'
            '"receiptMetadata":{"refferingSite":"n/a"},"total":{"amount":0.30,"currency":"EUR"},"quantity":100,"taxesIncluded":false}'
        ).encode()
    )


def test_a_200_counts_as_created_and_a_plain_total_as_money(server: ScriptedServer, client: SmartBillsIoClient) -> None:
    server.set_replies(
        Response(200, b'{"id": "12", "total": 0.1, "currency": "EUR"}', {"Content-Type": "application/json"})
    )
    created = client.create_receipt(RECEIPT_BODY, "abc-v1")
    assert (created.id, created.total, created.currency) == (12, Decimal("0.1"), "EUR")


@pytest.mark.parametrize(
    "reply",
    [Response(201), Response(204), Response(201, b"{}"), Response(201, b'{"id": 12'), Response(500), Response(504),
        Disconnect(),
     Disconnect(is_reset=True), Response(200, b"<html>", {"Content-Type": "text/html"}),
     Response.from_json({"id": 12, "receiptId": "someone-elses"}, 201)],
)  # fmt: skip
def test_an_unclear_creation_is_to_be_looked_up_and_never_repeated(
    server: ScriptedServer, client: SmartBillsIoClient, reply: Response | Disconnect
) -> None:
    server.set_replies(reply)
    with pytest.raises(UnknownOutcome):
        client.create_receipt(RECEIPT_BODY, "abc-v1")
    assert len(server.requests) == 1


def test_an_empty_response_to_a_creation_is_named_as_such(server: ScriptedServer, client: SmartBillsIoClient) -> None:
    server.set_replies(Response(201))
    with pytest.raises(UnknownOutcome, match="its body is empty"):
        client.create_receipt(RECEIPT_BODY, "abc-v1")


@pytest.mark.parametrize(
    ("status", "code"), [(409, "DUPLICATE_RECEIPT"), (409, None), (422, "IdempotencyMismatch"), (409, "CONFLICT")]
)
def test_a_duplicate_raises_its_own_error(
    server: ScriptedServer, client: SmartBillsIoClient, status: int, code: str | None
) -> None:
    server.set_replies(Response.from_json({"error": {"code": code, "message": "There is one"}}, status))
    with pytest.raises(DuplicateReceipt, match="There is one"):
        client.create_receipt(RECEIPT_BODY, "abc-v1")


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
def test_a_refusal_of_every_shape_is_parsed(server: ScriptedServer, client: SmartBillsIoClient, shape: Any) -> None:
    server.set_replies(Response.from_json(shape, 400))
    with pytest.raises(DocumentError, match="INVALID_AMOUNT 'Bad'") as caught:
        client.create_receipt(RECEIPT_BODY, "abc-v1")
    assert caught.value.request_id == "q-1"


def test_an_error_page_that_echoes_the_key_is_not_quoted(server: ScriptedServer, client: SmartBillsIoClient) -> None:
    page = f"<html>AmbiguousMatchException HEADERS Authorization: Bearer {API_KEY}</html>"
    server.set_replies(Response(500, page.encode(), {"Content-Type": "text/html"}))
    with pytest.raises(UnknownOutcome) as caught:
        client.create_receipt(RECEIPT_BODY, "abc-v1")
    assert str(caught.value) == "POST 127.0.0.1/v1/receipts answered 500"


def test_a_creation_that_was_not_sent_is_a_transient_error(server: ScriptedServer) -> None:
    with ScriptedServer() as stopped_server:
        url = stopped_server.url
    with make_session() as session, pytest.raises(TransientError, match="not sent"):
        SmartBillsIoClient(f"{url}/v1", API_KEY, None, session).create_receipt(RECEIPT_BODY, "k")


def test_a_float_never_reaches_the_wire(server: ScriptedServer, client: SmartBillsIoClient) -> None:
    with pytest.raises(TypeError, match="float"):
        client.create_receipt({"total": 0.1}, "k")
    assert server.requests == []


def test_a_receipt_is_fetched_by_the_vendors_id(server: ScriptedServer, client: SmartBillsIoClient) -> None:
    server.set_replies(Response.from_json(build_receipt(12)), Response.from_json(build_receipt(13)), Response(404))
    assert client.fetch_receipt(12).created_at == NOON
    assert server.requests[0].target == "/v1/receipts/12"
    with pytest.raises(ContractError, match="13"):
        client.fetch_receipt(12)
    with pytest.raises(NotFound):
        client.fetch_receipt(12)


@pytest.mark.parametrize(
    ("answer", "was_there"),
    [(Response.from_json(build_receipt(1)), True), (Response(204), True), (Response(404), False)],
)
def test_deleting_returns_whether_the_receipt_was_there(
    server: ScriptedServer, client: SmartBillsIoClient, answer: Response, was_there: bool
) -> None:
    server.set_replies(answer)
    assert client.delete_receipt(1) is was_there
    assert (server.requests[0].method, server.requests[0].target) == ("DELETE", "/v1/receipts/1")


def test_the_route_can_be_that_of_a_business(server: ScriptedServer) -> None:
    server.set_replies(Response.from_json(build_receipt(1)))
    with make_session() as session:
        SmartBillsIoClient(f"{server.url}/v1/", API_KEY, None, session, path="/businesses/7/receipts").fetch_receipt(1)
    assert server.requests[0].target == "/v1/businesses/7/receipts/1"
    assert "x-tenant-id" not in server.requests[0].headers


@pytest.mark.parametrize("path", ["", "a//b", "../x", "receipts?x=1", "receipts#a"])
def test_an_invalid_route_is_a_configuration_error(path: str) -> None:
    with make_session() as session, pytest.raises(ConfigurationError):
        SmartBillsIoClient("https://api.smartbills.io/v1", API_KEY, None, session, path=path)


def test_the_client_does_not_show_its_key(client: SmartBillsIoClient) -> None:
    assert API_KEY not in repr(client)


INVOICE = Invoice(
    invoice_id="7f3a", document_sha256="0" * 64, ordinal=1, kind="invoice", direction="expense", invoice_number="A-17",
    issued_on=dt.date(2026, 1, 15), due_on=dt.date(2026, 2, 14), currency="EUR", order_number="PO 9",
    customer=Party("Käufer GmbH", "DE1", "DE"), supplier=Party("Beispiel SA", "FR2", "FR"),
    net_amount=Decimal("100.0000"), discount_amount=Decimal(5), charge_amount=Decimal(3), tax_amount=Decimal(20),
    total_amount=Decimal(120), prepaid_amount=Decimal(20), payable_amount=Decimal(100),
    lines=(Line(1, "Service", Decimal("2.000000"), "C62", Decimal(51), Decimal(102), Decimal(20), None),),
    taxes=(Tax("S", Decimal("20.000000"), Decimal(100), Decimal(20)),),
)  # fmt: skip


def load_contract() -> Any:
    path = CONTRACT_DIRECTORY / "05-smartbills-receipts.yaml"
    if not path.exists():
        pytest.skip("the vendor's contract is not available: set INVOICES_API_CONTRACTS")
    return pytest.importorskip("yaml").safe_load(path.read_text("utf-8"))


@pytest.mark.parametrize("customer", [Customer(7), Customer(email="a@example.org"), Customer(phone="+1 555")])
def test_a_receipt_matches_the_contract(server: ScriptedServer, client: SmartBillsIoClient, customer: Customer) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    document = load_contract()
    closed = dict(document["components"]["schemas"]["ReceiptCreateRequest"], additionalProperties=False)
    server.set_replies(Response.from_json(build_receipt(1, "7f3a-v1"), 201))
    client.create_receipt(build_receipt_body(INVOICE, customer, "7f3a-v1"), "7f3a-v1")
    sent = json.loads(server.requests[0].body)
    jsonschema.Draft202012Validator({**closed, "components": document["components"]}).validate(sent)
    assert b'"comapny":"K\xc3\xa4ufer GmbH"' in server.requests[0].body
    assert b'"refferingSite":' in server.requests[0].body


def test_the_examples_of_the_contract_are_parsed(server: ScriptedServer, client: SmartBillsIoClient) -> None:
    create = load_contract()["paths"]["/v1/receipts"]["post"]["requestBody"]["content"]["application/json"]["example"]
    server.set_replies(Response.from_json({**create, "id": 3, "createdAt": "2026-01-15T10:00:00.1234567Z"}, 201))
    created = client.create_receipt({"receiptId": create["receiptId"]}, create["receiptId"])
    assert created.total == Decimal(115)
    assert created.created_at is not None
