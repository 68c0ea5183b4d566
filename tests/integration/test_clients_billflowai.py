"""The client of the one-call vendor on the wire: what it sends, and what it makes of every answer there may be."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from scripted_server import Answer, ScriptedServer

from invoices.clients.billflowai import BillflowAi, RateLimit, Reading, StoredInvoice
from invoices.clients.minted_urls import mint_url
from invoices.clients.transport import make_session
from invoices.errors import (
    AccountError,
    ConfigurationError,
    ContractError,
    DocumentError,
    InvoicesError,
    UnknownOutcome,
)

KEY = "bf_live_4f1e"
CONTRACT = Path(os.environ.get("INVOICES_API_CONTRACTS", Path(__file__).parents[3] / "shared/apis/openapi"))
SAMPLE = {
    "invoice_number": "INV-12345",
    "date": "2026-03-20",
    "counterparty": "Acme Corp",
    "total": 1200,
    "subtotal": 1300,
    "discount": 100,
    "tax": 180,
    "currency": "USD",
    "items": [{"description": "Service", "quantity": 1, "price": 1020, "line_total": None}],
    "meta": {"source": "extracted", "invoiceId": "0b0f2a0e-5d0a-4c52-9a0c-6a2d6d9a5f11"},
}
EXPIRES_AT = dt.datetime(2026, 1, 15, 10, 30, tzinfo=dt.UTC)
URL = mint_url("https://papers.example.com", "s" * 32, "ab" * 32, "pdf", EXPIRES_AT)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[BillflowAi]:
    with make_session() as session:
        yield BillflowAi(server.url, KEY, session, deadline=2)


def upload(client: BillflowAi) -> Reading:
    return client.extract_file(b"%PDF", "a.pdf", "application/pdf")


def by_url(client: BillflowAi) -> Reading:
    return client.extract_url(URL)


def test_an_upload_is_one_post_with_the_kind_the_file_and_the_key(server: ScriptedServer, client: BillflowAi) -> None:
    server.play(Answer.json(SAMPLE))
    client.extract_file(b"%PDF-1.7 \r\n--x\x00", "../bills/invoice.pdf", "application/pdf", "revenue")
    [seen] = server.seen
    assert (seen.method, seen.target) == ("POST", "/api/extract-invoice-file")
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    boundary = re.fullmatch(r"multipart/form-data; boundary=(\w+)", seen.headers["content-type"])[1]
    assert (
        seen.body
        == (
            f'--{boundary}\r\nContent-Disposition: form-data; name="invoice_kind"\r\n\r\nrevenue\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="invoice.pdf"\r\n'
            f"Content-Type: application/pdf\r\n\r\n%PDF-1.7 \r\n--x\x00\r\n--{boundary}--\r\n"
        ).encode()
    )


def test_an_address_is_sent_as_json_and_as_the_contract_wants_it(server: ScriptedServer, client: BillflowAi) -> None:
    server.play(Answer.json(SAMPLE))
    client.extract_url(URL)
    [seen] = server.seen
    assert (seen.method, seen.target) == ("POST", "/api/extract-invoice")
    assert seen.headers["content-type"] == "application/json"
    assert json.loads(seen.body) == {"file_url": URL.address, "invoice_kind": "expense"}


@pytest.mark.parametrize("ask", [upload, by_url])
def test_the_answer_is_kept_as_it_came_with_exact_numbers(
    server: ScriptedServer, client: BillflowAi, ask: Callable[[BillflowAi], Reading]
) -> None:
    body = b'{"total": 1200.10, "tax": "180.00", "discount": null, "new": {"a": 1}, "meta": {"source": "cache"}}'
    limits = {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "59"}
    server.play(Answer(200, body, {"Content-Type": "application/json", **limits}))
    reading = ask(client)
    assert (reading.source, reading.invoice_id, reading.limits) == ("cache", None, RateLimit(60, 59, None))
    assert reading.answer["total"] == Decimal("1200.10")
    assert str(reading.answer["total"]) == "1200.10"
    assert reading.answer["tax"] == "180.00"
    assert reading.answer["new"] == {"a": 1}


@pytest.mark.parametrize(
    ("meta", "source"),
    [
        ({"source": "extracted"}, "extracted"), ({"source": "cache"}, "cache"), ({"source": "duplicate"}, "duplicate"),
        ({"source": "archive"}, "archive"), ({"source": "a\nb"}, None), ({"source": 1}, None), ({}, None), (None, None),
        ({"duplicate": True}, "duplicate"), ({"duplicate": False}, None),
        ({"source": "cache", "duplicate": True}, "cache"),
    ],
)  # fmt: skip
def test_where_the_answer_comes_from_is_told(
    server: ScriptedServer, client: BillflowAi, meta: Any, source: str | None
) -> None:
    server.play(Answer.json({**SAMPLE, "meta": meta}))
    assert upload(client).source == source


SPARSE = [
    {"total": None}, {"items": []}, {"items": None, "total": 1}, {"currency": "USD"}, {"total": "-1200.50"},
    {"items": [{}], "meta": {}}, {"items": [{"line_total": None, "price": "1", "note": [1]}]}, {"invoice_number": 17},
]  # fmt: skip


@pytest.mark.parametrize("answer", SPARSE)
def test_what_the_vendor_could_not_see_may_be_missing(
    server: ScriptedServer, client: BillflowAi, answer: dict[str, Any]
) -> None:
    server.play(Answer.json(answer))
    assert upload(client).answer == answer


STRANGE = [
    {}, [], None, "x", {"meta": {"source": "extracted"}}, {"success": True, "data": SAMPLE}, {"error": {"code": "X"}},
    {"total": "1,200.00"}, {"total": "12 €"}, {"total": True}, {"tax": {"amount": 1}}, {"total": ""}, {"discount": [1]},
    {"items": {}}, {"items": "x"}, {"items": [1]}, {"items": [None]}, {"items": [{"price": "one"}]},
    {"items": [{"quantity": True}]}, {"currency": ["USD"]}, {"date": {"year": 2026}}, {"total": 1, "meta": "cache"},
    {"total": 1, "meta": [1]}, {"total": "１２"}, {"total": "1e9"},
]  # fmt: skip


@pytest.mark.parametrize("answer", STRANGE)
def test_a_success_that_is_no_invoice_did_its_work_all_the_same(
    server: ScriptedServer, client: BillflowAi, answer: Any
) -> None:
    server.play(Answer.json(answer))
    with pytest.raises(UnknownOutcome):
        upload(client)
    assert len(server.seen) == 1


@pytest.mark.parametrize("url", ["https://papers.example.com/a.pdf", URL.address, None, ("https://x", "y")])
def test_no_address_from_elsewhere_is_given_to_the_vendor(server: ScriptedServer, client: BillflowAi, url: Any) -> None:
    with pytest.raises(TypeError):
        client.extract_url(url)
    assert server.connections == 0


@pytest.mark.parametrize("kind", ["", "EXPENSE", "income", "expense\r\n"])
def test_another_kind_of_invoice_is_not_sent(server: ScriptedServer, client: BillflowAi, kind: str) -> None:
    for ask in (
        lambda: client.extract_file(b"x", "a.pdf", "application/pdf", kind),
        lambda: client.extract_url(URL, kind),
    ):
        with pytest.raises(ConfigurationError):
            ask()
    assert server.connections == 0


@pytest.mark.parametrize(
    "wrap", [lambda rows: rows, lambda rows: {"invoices": rows}, lambda rows: {"data": rows, "total": 2}]
)
def test_stored_invoices_are_listed_in_any_known_wrapping(
    server: ScriptedServer, client: BillflowAi, wrap: Callable[[Any], Any]
) -> None:
    rows = [
        {"id": "i1", "invoice_number": "A-17", "created_at": "2026-01-15T10:30:00Z", "counterparty": 7},
        {"id": "i2"},
    ]
    server.play(Answer.json(wrap(rows)))
    first = StoredInvoice("i1", "A-17", None, dt.datetime(2026, 1, 15, 10, 30, tzinfo=dt.UTC))
    assert client.invoices() == [first, StoredInvoice("i2")]
    assert (server.seen[0].method, server.seen[0].target) == ("GET", "/api/invoices")


@pytest.mark.parametrize(
    "answer",
    [{}, {"data": {}}, [1], [{"invoice_number": "x"}], [{"id": "../x"}], "x", None, {"data": [{"id": "1"}], "total": 2},
     {"invoices": [{"id": "1"}], "pagination": {"hasNext": True}}, {"invoices": [], "meta": {"totalPages": 2}}],
)  # fmt: skip
def test_a_list_that_may_not_be_whole_is_unusable(server: ScriptedServer, client: BillflowAi, answer: Any) -> None:
    server.play(Answer.json(answer))
    with pytest.raises(ContractError):
        client.invoices()


def test_the_client_does_not_show_its_key(client: BillflowAi) -> None:
    assert KEY not in repr(client)
    assert KEY not in repr(vars(client))


@pytest.mark.parametrize("url", ["http://billflow.example.com", "", "https://u:p4ss@billflow.example.com", "ftp://x"])
def test_a_key_is_not_sent_to_an_unsafe_address(url: str) -> None:
    with make_session() as session, pytest.raises(ConfigurationError) as caught:
        BillflowAi(url, KEY, session)
    assert "p4ss" not in str(caught.value)


def contract() -> Any:
    path = CONTRACT / "03-billflowai.yaml"
    if not path.exists():
        pytest.skip("the vendor's contract is not at hand (INVOICES_API_CONTRACTS)")
    return pytest.importorskip("yaml").safe_load(path.read_text("utf-8"))


def test_what_is_asked_is_what_the_contract_wants(server: ScriptedServer, client: BillflowAi) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    document = contract()
    server.play(Answer.json(SAMPLE))
    client.extract_url(URL, "revenue")
    wanted = document["paths"]["/api/extract-invoice"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator(wanted).validate(json.loads(server.seen[0].body))
    upload(client)
    form = document["paths"]["/api/extract-invoice-file"]["post"]["requestBody"]["content"]["multipart/form-data"]
    sent = re.findall(r'; name="(\w+)"', server.seen[1].body.decode())
    assert set(form["schema"]["required"]) <= set(sent) <= set(form["schema"]["properties"])


def test_the_contracts_own_examples_are_read(server: ScriptedServer, client: BillflowAi) -> None:
    responses = contract()["components"]["responses"]
    server.play(Answer.json(responses["Extracted"]["content"]["application/json"]["example"]))
    assert upload(client).source == "extracted"
    statuses = {"BadRequest": 400, "Unauthorized": 401, "QuotaExceeded": 402, "Unprocessable": 422, "ServerFault": 500}
    kinds = []
    for name, status in statuses.items():
        server.play(Answer.json(responses[name]["content"]["application/json"]["example"], status))
        with pytest.raises(InvoicesError) as caught:
            upload(client)
        kinds.append(type(caught.value))
    assert kinds == [DocumentError, AccountError, AccountError, DocumentError, UnknownOutcome]
