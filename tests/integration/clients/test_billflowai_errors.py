"""The BillflowAI client: refusals, timeouts and broken connections, and whether the work may have been done."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator

import pytest

from invoices.clients.billflowai import BillflowAiClient, ExtractionFailed, ExtractionResponse
from invoices.clients.http_client import make_session
from invoices.clients.presigned_urls import build_presigned_url
from invoices.errors import AccountError, ContractError, DocumentError, InvoicesError, TransientError, UnknownOutcome
from tests.servers.scripted_http_server import Disconnect, Response, ScriptedServer

API_KEY = "bf_live_4f1e"
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


ERROR_RESPONSES: list[tuple[int, str, type[InvoicesError], str | None]] = [
    (400, "VALIDATION", DocumentError, "request_refused"),
    (400, "INVALID_URL", DocumentError, "url_refused"),
    (400, "SOMETHING_NEW", DocumentError, "request_refused"),
    (401, "UNAUTHORIZED", AccountError, None),
    (402, "QUOTA_EXCEEDED", AccountError, None),
    (403, "FORBIDDEN", AccountError, None),
    (404, "NOT_FOUND", ContractError, None),
    (413, "TOO_LARGE", DocumentError, "document_too_large"),
    (422, "FETCH_FAILED", DocumentError, "fetch_failed"),
    (422, "EXTRACTION_FAILED", ExtractionFailed, "extraction_failed"),
    (422, "SOMETHING_NEW", DocumentError, "content_refused"),
    (429, "THROTTLED", TransientError, None),
    (500, "PERSIST_FAILED", UnknownOutcome, None),
    (500, "INTERNAL", UnknownOutcome, None),
    (500, "EXTRACTION_FAILED", UnknownOutcome, None),
    (502, "BAD_GATEWAY", UnknownOutcome, None),
    (503, "UNAVAILABLE", TransientError, None),
    (504, "TIMEOUT", UnknownOutcome, None),
]


@pytest.mark.parametrize("extract_document", [extract_file, extract_url])
@pytest.mark.parametrize(("status", "code", "error_type", "reason_code"), ERROR_RESPONSES)
def test_each_refusal_becomes_the_error_for_what_the_caller_does_next(
    server: ScriptedServer,
    client: BillflowAiClient,
    extract_document: Callable[[BillflowAiClient], ExtractionResponse],
    status: int,
    code: str,
    error_type: type[InvoicesError],
    reason_code: str | None,
) -> None:
    server.set_replies(Response.from_json({"error": {"code": code, "message": "no"}}, status, X_Request_ID="req-1"))
    with pytest.raises(error_type, match=code) as caught:
        extract_document(client)
    assert (type(caught.value) is error_type) or (status == 404)
    assert getattr(caught.value, "reason_code", None) == reason_code
    assert caught.value.request_id == "req-1"
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_the_wait_requested_by_the_vendor_is_passed_on(
    server: ScriptedServer, client: BillflowAiClient, status: int
) -> None:
    server.set_replies(Response(status, headers={"Retry-After": "7"}), Response(status))
    waits = []
    for _ in range(2):
        with pytest.raises(TransientError) as caught:
            extract_file(client)
        waits.append(caught.value.retry_after)
    assert waits == [7, None]


@pytest.mark.parametrize(
    "reply",
    [
        Disconnect(),
        Disconnect(is_reset=True),
        Response(200, b"<html>"),
        Response(200, b'{"total": 1', framing="close"),
        Response(504, b""),
    ],
)
def test_an_unclear_outcome_is_unknown_and_never_sent_twice(
    server: ScriptedServer, client: BillflowAiClient, reply: Response | Disconnect
) -> None:
    server.set_replies(reply)
    with pytest.raises(UnknownOutcome):
        extract_file(client)
    assert len(server.requests) == 1


def test_a_response_that_never_arrives_is_an_unknown_outcome(server: ScriptedServer) -> None:
    server.set_replies(Disconnect(delay_seconds=60))
    with make_session() as session, pytest.raises(UnknownOutcome):
        extract_file(BillflowAiClient(server.url, API_KEY, session, deadline=0.3))


def test_a_request_that_was_not_sent_is_a_transient_error() -> None:
    with ScriptedServer() as stopped_server:
        url = stopped_server.url
    with make_session() as session, pytest.raises(TransientError, match="was not sent"):
        extract_file(BillflowAiClient(url, API_KEY, session, deadline=2))


def test_the_read_timeout_is_as_long_as_the_deadline() -> None:
    with make_session() as session:
        timeouts = BillflowAiClient("https://billflow.example.com", API_KEY, session)._http_client._timeouts
    assert (timeouts.connect, timeouts.read, timeouts.total) == (5, 150, 150)


def test_a_redirect_is_not_followed(server: ScriptedServer, client: BillflowAiClient) -> None:
    server.set_replies(Response(307, headers={"Location": "http://169.254.169.254/"}))
    with pytest.raises(ContractError, match=r"169\.254\.169\.254"):
        extract_file(client)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 422, 500])
def test_neither_key_nor_signature_is_repeated_in_a_message(
    server: ScriptedServer, client: BillflowAiClient, status: int
) -> None:
    message = f"could not download {PRESIGNED_URL.signed_url} for Bearer {API_KEY}"
    server.set_replies(
        Response.from_json(
            {"error": {"code": "FETCH_FAILED", "message": message}}, status, X_Request_ID=PRESIGNED_URL.signature
        )
    )
    with pytest.raises(InvoicesError) as caught:
        client.extract_url(PRESIGNED_URL)
    displayed = f"{caught.value} {caught.value.request_id}"
    assert "could not download" in displayed
    assert API_KEY not in displayed
    assert PRESIGNED_URL.signature not in displayed


@pytest.mark.parametrize(
    ("status", "error_type"), [(401, AccountError), (404, ContractError), (422, ContractError), (503, TransientError)]
)
def test_a_refused_list_is_never_a_document_error(
    server: ScriptedServer, client: BillflowAiClient, status: int, error_type: type[InvoicesError]
) -> None:
    server.set_replies(Response.from_json({"error": {"code": "EXTRACTION_FAILED", "message": "no"}}, status))
    with pytest.raises(error_type):
        client.list_invoices()
