"""The smartbills.com client: its options, and how it parses rate limits and errors."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

import pytest

from invoices.clients.http_client import make_session
from invoices.clients.smartbills_com import RateLimit, SmartBillsComClient
from invoices.errors import ConfigurationError, ContractError, DocumentError, TransientError, UnknownOutcome
from tests.run_environment import CONTRACT_DIRECTORY
from tests.servers.scripted_http_server import Response, ScriptedServer

API_KEY = "sk_test_4f1e"
ACCEPTED_RESPONSE = {"id": "inv_1", "status": "processing", "created_at": "2026-01-15T10:30:00Z"}
RESPONSE_DATE = "Thu, 15 Jan 2026 10:30:00 GMT"
RESETS_AT = dt.datetime(2026, 1, 15, 10, 30, 40, tzinfo=dt.UTC)
RESET_HEADERS = {
    "epoch seconds": "1768473040",
    "epoch milliseconds": "1768473040000",
    "ISO 8601": "2026-01-15T10:30:40Z",
    "ISO 8601 without a zone": "2026-01-15T10:30:40",
    "ISO 8601 elsewhere": "2026-01-15T11:30:40.000+01:00",
    "HTTP date": "Thu, 15 Jan 2026 10:30:40 GMT",
}


def submit_document(url: str, **options: Any) -> RateLimit | None:
    with make_session() as session:
        return (
            SmartBillsComClient(url, API_KEY, session, deadline=2, **options)
            .submit_document(b"x", "a.pdf", "application/pdf")
            .rate_limit
        )


def fetch_rate_limit(url: str) -> RateLimit | None:
    with make_session() as session:
        return SmartBillsComClient(url, API_KEY, session, deadline=2).poll_job("inv_1").rate_limit


@pytest.mark.parametrize(("option", "sent"), [(None, None), (True, "true"), (False, "false")])
def test_line_items_are_requested_only_if_configured(
    server: ScriptedServer, option: bool | None, sent: str | None
) -> None:
    server.set_replies(Response.from_json(ACCEPTED_RESPONSE))
    submit_document(server.url, extract_line_items=option)
    field = re.search(r'name="extract_line_items"\r\n\r\n(\w+)\r\n', server.requests[0].body.decode())
    assert (field and field[1]) == sent


@pytest.mark.parametrize("version", [None, "1.2.0"])
def test_a_version_is_pinned_on_every_call_or_on_none(server: ScriptedServer, version: str | None) -> None:
    server.set_replies(
        Response.from_json(ACCEPTED_RESPONSE), Response.from_json(ACCEPTED_RESPONSE), Response.from_json([])
    )
    with make_session() as session:
        client = SmartBillsComClient(server.url, API_KEY, session, deadline=2, version=version)
        client.submit_document(b"x", "a.pdf", "application/pdf")
        client.poll_job("inv_1")
        client.list_jobs()
    assert [request.headers.get("smartbills-version") for request in server.requests] == [version] * 3


@pytest.mark.parametrize("version", ["", " ", "1.2\r\nX: 1"])
def test_an_invalid_version_is_a_configuration_error(version: str) -> None:
    with make_session() as session, pytest.raises(ConfigurationError, match="SmartBills-Version"):
        SmartBillsComClient("https://api.smartbills.com", API_KEY, session, version=version)


def test_requests_match_the_contract(server: ScriptedServer) -> None:
    path = CONTRACT_DIRECTORY / "01-smartbills-extraction.yaml"
    if not path.exists():
        pytest.skip("the vendor's contract is not available: set INVOICES_API_CONTRACTS")
    route = pytest.importorskip("yaml").safe_load(path.read_text("utf-8"))["paths"]["/v1/invoices/extract"]["post"]
    form = route["requestBody"]["content"]["multipart/form-data"]["schema"]
    server.set_replies(Response.from_json(ACCEPTED_RESPONSE))
    submit_document(server.url, extract_line_items=False, version="1.2.0")
    sent = re.findall(r'; name="(\w+)"', server.requests[0].body.decode())
    assert set(form["required"]) <= set(sent) <= set(form["properties"])
    assert {parameter["name"].lower() for parameter in route["parameters"]} <= set(server.requests[0].headers)


@pytest.mark.parametrize("encoding", RESET_HEADERS)
@pytest.mark.parametrize("call", [submit_document, fetch_rate_limit])
def test_a_rate_limit_is_measured_by_the_vendors_clock(
    server: ScriptedServer, call: Callable[[str], RateLimit | None], encoding: str
) -> None:
    headers = {"X_RateLimit_Limit": "10", "X_RateLimit_Remaining": "0", "X_RateLimit_Reset": RESET_HEADERS[encoding]}
    server.set_replies(Response.from_json(ACCEPTED_RESPONSE, Date=RESPONSE_DATE, **headers))
    rate_limit = call(server.url)
    assert rate_limit == RateLimit(10, 0, RESETS_AT)
    assert rate_limit.seconds_until_reset == 40


def test_the_wait_after_a_refusal_is_measured_by_the_vendors_clock(server: ScriptedServer) -> None:
    for reset in RESET_HEADERS.values():
        server.set_replies(
            Response.from_json({"error": "RATE_LIMITED"}, 429, Date=RESPONSE_DATE, X_RateLimit_Reset=reset)
        )
        with pytest.raises(TransientError, match="RATE_LIMITED") as caught:
            submit_document(server.url)
        assert caught.value.retry_after == 40


ERROR_BODIES = [
    {"success": False, "data": None, "error": {"code": "INVALID_FILE", "message": "no"}},
    {"success": False, "error": "INVALID_FILE"},
    {"error": {"code": "INVALID_FILE"}},
    {"error": "INVALID_FILE"},
]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        *((400, body) for body in ERROR_BODIES),
        *((413, body) for body in ERROR_BODIES),
        (200, ERROR_BODIES[0]),
        (200, ERROR_BODIES[1]),
    ],
)
def test_every_error_shape_shows_the_vendors_code(server: ScriptedServer, status: int, body: dict[str, Any]) -> None:
    server.set_replies(Response.from_json(body, status))
    with pytest.raises(DocumentError, match="INVALID_FILE"):
        submit_document(server.url)


@pytest.mark.parametrize("body", [{"error": "INVALID_FILE"}, {"success": True, "data": {}}, {"success": "false"}])
def test_a_success_without_a_job_is_an_unknown_outcome(server: ScriptedServer, body: dict[str, Any]) -> None:
    server.set_replies(Response.from_json(body))
    with pytest.raises(UnknownOutcome):
        submit_document(server.url)


@pytest.mark.parametrize("body", ERROR_BODIES)
def test_a_refused_poll_is_never_a_document_error(server: ScriptedServer, body: dict[str, Any]) -> None:
    server.set_replies(Response.from_json(body, 400))
    with pytest.raises(ContractError, match="INVALID_FILE"):
        fetch_rate_limit(server.url)
