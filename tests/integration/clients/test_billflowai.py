"""The BillflowAI client: the requests it sends, and how it handles every kind of response."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from invoices.clients.billflowai import BillflowAiClient, ExtractionResponse, RateLimit, StoredInvoice
from invoices.clients.http_client import make_session
from invoices.clients.presigned_urls import build_presigned_url
from invoices.errors import (
    AccountError,
    ConfigurationError,
    ContractError,
    DocumentError,
    InvoicesError,
    UnknownOutcome,
)
from tests.run_environment import CONTRACT_DIRECTORY
from tests.servers.scripted_http_server import Response, ScriptedServer

API_KEY = "bf_live_4f1e"
SAMPLE_RESPONSE = {
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
PRESIGNED_URL = build_presigned_url("https://documents.example.com", "s" * 32, "ab" * 32, "pdf", EXPIRES_AT)


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[BillflowAiClient]:
    with make_session() as session:
        yield BillflowAiClient(server.url, API_KEY, session, deadline=2)


def extract_file(client: BillflowAiClient) -> ExtractionResponse:
    return client.extract_file(b"%PDF", "a.pdf", "application/pdf")


def extract_url(client: BillflowAiClient) -> ExtractionResponse:
    return client.extract_url(PRESIGNED_URL)


def test_an_upload_is_one_post_with_the_kind_the_file_and_the_key(
    server: ScriptedServer, client: BillflowAiClient
) -> None:
    server.set_replies(Response.from_json(SAMPLE_RESPONSE))
    client.extract_file(b"%PDF-1.7 \r\n--x\x00", "../bills/invoice.pdf", "application/pdf", "revenue")
    [request] = server.requests
    assert (request.method, request.target) == ("POST", "/api/extract-invoice-file")
    assert request.headers["authorization"] == f"Bearer {API_KEY}"
    boundary = re.fullmatch(r"multipart/form-data; boundary=(\w+)", request.headers["content-type"])[1]
    assert (
        request.body
        == (
            f'--{boundary}\r\nContent-Disposition: form-data; name="invoice_kind"\r\n\r\nrevenue\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="invoice.pdf"\r\n'
            f"Content-Type: application/pdf\r\n\r\n%PDF-1.7 \r\n--x\x00\r\n--{boundary}--\r\n"
        ).encode()
    )


def test_a_url_is_sent_as_json(server: ScriptedServer, client: BillflowAiClient) -> None:
    server.set_replies(Response.from_json(SAMPLE_RESPONSE))
    client.extract_url(PRESIGNED_URL)
    [request] = server.requests
    assert (request.method, request.target) == ("POST", "/api/extract-invoice")
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {"file_url": PRESIGNED_URL.signed_url, "invoice_kind": "expense"}


@pytest.mark.parametrize("extract_document", [extract_file, extract_url])
def test_the_payload_is_unchanged_and_has_exact_numbers(
    server: ScriptedServer, client: BillflowAiClient, extract_document: Callable[[BillflowAiClient], ExtractionResponse]
) -> None:
    body = b'{"total": 1200.10, "tax": "180.00", "discount": null, "new": {"a": 1}, "meta": {"source": "cache"}}'
    limits = {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "59"}
    server.set_replies(Response(200, body, {"Content-Type": "application/json", **limits}))
    extraction = extract_document(client)
    assert (extraction.source, extraction.invoice_id, extraction.rate_limit) == ("cache", None, RateLimit(60, 59, None))
    assert extraction.payload["total"] == Decimal("1200.10")
    assert str(extraction.payload["total"]) == "1200.10"
    assert extraction.payload["tax"] == "180.00"
    assert extraction.payload["new"] == {"a": 1}


@pytest.mark.parametrize(
    ("meta", "source"),
    [
        ({"source": "extracted"}, "extracted"), ({"source": "cache"}, "cache"), ({"source": "duplicate"}, "duplicate"),
        ({"source": "archive"}, "archive"), ({"source": "a\nb"}, None), ({"source": 1}, None), ({}, None), (None, None),
        ({"duplicate": True}, "duplicate"), ({"duplicate": False}, None),
        ({"source": "cache", "duplicate": True}, "cache"),
    ],
)  # fmt: skip
def test_the_source_of_the_result_is_known(
    server: ScriptedServer, client: BillflowAiClient, meta: Any, source: str | None
) -> None:
    server.set_replies(Response.from_json({**SAMPLE_RESPONSE, "meta": meta}))
    assert extract_file(client).source == source


INCOMPLETE_INVOICES = [
    {"total": None}, {"items": []}, {"items": None, "total": 1}, {"currency": "USD"}, {"total": "-1200.50"},
    {"items": [{}], "meta": {}}, {"items": [{"line_total": None, "price": "1", "note": [1]}]}, {"invoice_number": 17},
]  # fmt: skip


@pytest.mark.parametrize("body", INCOMPLETE_INVOICES)
def test_fields_that_the_vendor_could_not_read_may_be_missing(
    server: ScriptedServer, client: BillflowAiClient, body: dict[str, Any]
) -> None:
    server.set_replies(Response.from_json(body))
    assert extract_file(client).payload == body


ODD_ANSWERS = [
    {"total": "1,200.00"}, {"total": "12 €"}, {"total": True}, {"tax": {"amount": 1}}, {"total": ""}, {"discount": [1]},
    {"items": {}}, {"items": "x"}, {"items": [1]}, {"items": [None]}, {"items": [{"price": "one"}]},
    {"items": [{"quantity": True}]}, {"currency": ["USD"]}, {"date": {"year": 2026}}, {"total": 1, "meta": "cache"},
    {"total": 1, "meta": [1]}, {"total": "１２"}, {"total": "1e9"}, {"total": "NaN"},
]  # fmt: skip
OTHER_OBJECTS = [
    {}, {"meta": {"source": "extracted"}}, {"success": True, "data": SAMPLE_RESPONSE}, {"error": {"code": "X"}},
]  # fmt: skip


@pytest.mark.parametrize("body", ODD_ANSWERS)
def test_an_answer_with_a_value_of_any_kind_is_kept_as_it_came(
    server: ScriptedServer, client: BillflowAiClient, body: dict[str, Any]
) -> None:
    server.set_replies(Response.from_json(body))
    extraction = extract_file(client)
    assert (extraction.payload, extraction.is_invoice, len(server.requests)) == (body, True, 1)


@pytest.mark.parametrize("body", OTHER_OBJECTS)
def test_an_object_without_any_field_of_an_invoice_is_kept_and_marked(
    server: ScriptedServer, client: BillflowAiClient, body: dict[str, Any]
) -> None:
    server.set_replies(Response.from_json(body))
    extraction = extract_file(client)
    assert (extraction.payload, extraction.is_invoice, len(server.requests)) == (body, False, 1)


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        (b'{"total": NaN, "tax": -Infinity}', {"total": "NaN", "tax": "-Infinity"}),
        (b'{"total": 1e400}', {"total": "1e400"}),
        (b'{"total": %b}' % (b"9" * 5000), {"total": "9" * 5000}),
        (b'{"total": 1, "total": 2, "tax": 3, "tax": 3}', {"total": [1, 2], "tax": 3}),
        ('{"total": "5 €"}'.encode("utf-16"), {"total": "5 €"}),
        (b'\xef\xbb\xbf{"total": 1}', {"total": 1}),
        (b'{"counterparty": "K\xf6ln", "total": 1}', '{"counterparty": "K\\xf6ln", "total": 1}'),
        (b'{"total": 1', '{"total": 1'),
        (b"[]", "[]"), (b"null", "null"), (b'"x"', '"x"'), (b"[" * 300, "[" * 300),
        (b'{"total": 1, "x": ' + b"[" * 70 + b"]" * 70 + b"}", '{"total": 1, "x": ' + "[" * 70 + "]" * 70 + "}"),
    ],
)  # fmt: skip
def test_a_body_that_is_no_strict_json_is_kept_as_it_came(
    server: ScriptedServer, client: BillflowAiClient, body: bytes, payload: Any
) -> None:
    server.set_replies(Response(200, body, {"Content-Type": "application/json"}))
    extraction = extract_file(client)
    assert (extraction.payload, extraction.source, len(server.requests)) == (payload, None, 1)


@pytest.mark.parametrize(
    "url", ["https://documents.example.com/a.pdf", PRESIGNED_URL.signed_url, None, ("https://x", "y")]
)
def test_only_a_presigned_url_is_sent_to_the_vendor(server: ScriptedServer, client: BillflowAiClient, url: Any) -> None:
    with pytest.raises(TypeError):
        client.extract_url(url)
    assert server.connection_count == 0


@pytest.mark.parametrize("kind", ["", "EXPENSE", "income", "expense\r\n"])
def test_an_unknown_invoice_kind_is_a_configuration_error(
    server: ScriptedServer, client: BillflowAiClient, kind: str
) -> None:
    for call in (
        lambda: client.extract_file(b"x", "a.pdf", "application/pdf", kind),
        lambda: client.extract_url(PRESIGNED_URL, kind),
    ):
        with pytest.raises(ConfigurationError):
            call()
    assert server.connection_count == 0


@pytest.mark.parametrize(
    "wrap", [lambda rows: rows, lambda rows: {"invoices": rows}, lambda rows: {"data": rows, "total": 2}]
)
def test_stored_invoices_are_listed_from_any_known_envelope(
    server: ScriptedServer, client: BillflowAiClient, wrap: Callable[[Any], Any]
) -> None:
    rows = [
        {"id": "i1", "invoice_number": "A-17", "created_at": "2026-01-15T10:30:00Z", "counterparty": 7},
        {"id": "i2"},
    ]
    server.set_replies(Response.from_json(wrap(rows)))
    first = StoredInvoice("i1", "A-17", None, dt.datetime(2026, 1, 15, 10, 30, tzinfo=dt.UTC))
    assert client.list_invoices() == [first, StoredInvoice("i2")]
    assert (server.requests[0].method, server.requests[0].target) == ("GET", "/api/invoices")


@pytest.mark.parametrize(
    "body",
    [{}, {"data": {}}, [1], [{"invoice_number": "x"}], [{"id": "../x"}], "x", None, {"data": [{"id": "1"}], "total": 2},
     {"invoices": [{"id": "1"}], "pagination": {"hasNext": True}}, {"invoices": [], "meta": {"totalPages": 2}}],
)  # fmt: skip
def test_a_list_that_may_be_incomplete_is_a_contract_error(
    server: ScriptedServer, client: BillflowAiClient, body: Any
) -> None:
    server.set_replies(Response.from_json(body))
    with pytest.raises(ContractError):
        client.list_invoices()


def test_the_client_does_not_show_its_key(client: BillflowAiClient) -> None:
    assert API_KEY not in repr(client)
    assert API_KEY not in repr(vars(client))


@pytest.mark.parametrize("url", ["http://billflow.example.com", "", "https://u:p4ss@billflow.example.com", "ftp://x"])
def test_a_key_is_not_sent_to_an_unsafe_address(url: str) -> None:
    with make_session() as session, pytest.raises(ConfigurationError) as caught:
        BillflowAiClient(url, API_KEY, session)
    assert "p4ss" not in str(caught.value)


def load_contract() -> Any:
    path = CONTRACT_DIRECTORY / "03-billflowai.yaml"
    if not path.exists():
        pytest.skip("the vendor's contract is not available: set INVOICES_API_CONTRACTS")
    return pytest.importorskip("yaml").safe_load(path.read_text("utf-8"))


def test_requests_match_the_contract(server: ScriptedServer, client: BillflowAiClient) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    document = load_contract()
    server.set_replies(Response.from_json(SAMPLE_RESPONSE))
    client.extract_url(PRESIGNED_URL, "revenue")
    schema = document["paths"]["/api/extract-invoice"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator(schema).validate(json.loads(server.requests[0].body))
    extract_file(client)
    form = document["paths"]["/api/extract-invoice-file"]["post"]["requestBody"]["content"]["multipart/form-data"]
    sent = re.findall(r'; name="(\w+)"', server.requests[1].body.decode())
    assert set(form["schema"]["required"]) <= set(sent) <= set(form["schema"]["properties"])


def test_the_examples_of_the_contract_are_parsed(server: ScriptedServer, client: BillflowAiClient) -> None:
    responses = load_contract()["components"]["responses"]
    server.set_replies(Response.from_json(responses["Extracted"]["content"]["application/json"]["example"]))
    assert extract_file(client).source == "extracted"
    statuses = {"BadRequest": 400, "Unauthorized": 401, "QuotaExceeded": 402, "Unprocessable": 422, "ServerFault": 500}
    error_types = []
    for name, status in statuses.items():
        server.set_replies(Response.from_json(responses[name]["content"]["application/json"]["example"], status))
        with pytest.raises(InvoicesError) as caught:
            extract_file(client)
        error_types.append(type(caught.value))
    assert error_types == [DocumentError, AccountError, AccountError, DocumentError, UnknownOutcome]
