"""The invoicedataextraction.com client: what each call sends, and how it handles the responses."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from invoices.clients.http_client import make_session
from invoices.clients.invoicedataextraction_com import (
    FailedPage,
    InvoiceDataExtractionClient,
    PendingCancellation,
    ReviewItem,
    SuccessfulPage,
    TaskError,
    UncertaintyNote,
)
from invoices.errors import (
    ConfigurationError,
    ContractError,
    InvoicesError,
    TransientError,
    UnknownOutcome,
    UnreadableResponse,
)
from tests.integration.clients.invoicedataextraction_com_responses import (
    API_KEY,
    COMPLETE_RESPONSE,
    COMPLETED_RESPONSE,
    EXTRACTION_ID,
    FAILED_RESPONSE,
    FIELDS,
    FILES,
    IDEMPOTENT_ROUTES,
    OTHER_EXTRACTION_ID,
    PARTS_RESPONSE,
    PROCESSING_RESPONSE,
    RESULTS_PAGE,
    ROUTES,
    SESSION_RESPONSE,
    SUBMISSION,
    SUBMITTED_RESPONSE,
    build_schema_validator,
)  # fmt: skip
from tests.servers.scripted_http_server import Disconnect, ReceivedRequest, Response, ScriptedServer


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[InvoiceDataExtractionClient]:
    with make_session() as session:
        yield InvoiceDataExtractionClient(f"{server.url}/v1", API_KEY, session, deadline=2)


@pytest.mark.parametrize("route", ROUTES)
def test_each_call_is_one_request_with_the_key_and_the_expected_body(
    server: ScriptedServer, client: InvoiceDataExtractionClient, route: str
) -> None:
    call, answer, target, _, body = ROUTES[route]
    server.set_replies(Response.from_json(answer))
    call(client)
    [request] = server.requests
    assert f"{request.method} {request.target}" == target
    assert request.headers["authorization"] == f"Bearer {API_KEY}"
    assert request.headers["accept"] == "application/json"
    assert request.headers.get("content-type") == (None if body is None else "application/json")
    assert (json.loads(request.body) if request.body else None) == body


@pytest.mark.parametrize("route", [name for name, row in ROUTES.items() if row[3]])
def test_each_body_matches_the_vendors_contract(
    server: ScriptedServer, client: InvoiceDataExtractionClient, route: str
) -> None:
    call, answer, _, schema, _ = ROUTES[route]
    validator = build_schema_validator(schema)
    server.set_replies(Response.from_json(answer))
    call(client)
    validator.validate(json.loads(server.requests[0].body))


@pytest.mark.parametrize("route", IDEMPOTENT_ROUTES)
@pytest.mark.parametrize(
    "reply",
    [Disconnect(), Disconnect(is_reset=True), Response(500), Response(502, b"<html>", {"Content-Type": "text/html"}),
        Response(503),
     Response(504), Response(200, b"<html>", {"Content-Type": "text/html"}), Response(200, b'{"success": tr'),
     Response(200, b'{"success": true}', declared_length=99, close_after_bytes=17), Response.from_json([])],
    ids=str,
)  # fmt: skip
def test_a_call_with_an_id_of_ours_may_be_repeated_after_any_failure(
    server: ScriptedServer, client: InvoiceDataExtractionClient, route: str, reply: Response | Disconnect
) -> None:
    server.set_replies(reply)
    with pytest.raises(TransientError):
        ROUTES[route][0](client)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "reply", [Disconnect(), Response(500), Response(200, b"<html>"), Response.from_json([])], ids=str
)
def test_answers_to_questions_have_no_id_and_are_never_sent_twice(
    server: ScriptedServer, client: InvoiceDataExtractionClient, reply: Response | Disconnect
) -> None:
    server.set_replies(reply)
    with pytest.raises(UnknownOutcome):
        ROUTES["answers"][0](client)


@pytest.mark.parametrize("route", [name for name in ROUTES if name not in (*IDEMPOTENT_ROUTES, "answers")])
def test_an_html_page_instead_of_json_is_a_contract_error(
    server: ScriptedServer, client: InvoiceDataExtractionClient, route: str
) -> None:
    server.set_replies(Response(200, b"<html>Please sign in</html>", {"Content-Type": "text/html"}))
    with pytest.raises(ContractError):
        ROUTES[route][0](client)


@pytest.mark.parametrize("route", [name for name in ROUTES if "status" not in name])
def test_a_2xx_without_success_is_mapped_by_its_envelope(
    server: ScriptedServer, client: InvoiceDataExtractionClient, route: str
) -> None:
    refusal = {"code": "RATE_LIMITED", "message": "slow", "retryable": True, "details": {"retry_after": 7}}
    server.set_replies(Response.from_json({"success": False, "error": refusal}))
    with pytest.raises(TransientError) as caught:
        ROUTES[route][0](client)
    assert caught.value.retry_after == 7


def test_a_poll_without_a_status_is_mapped_by_its_envelope(
    server: ScriptedServer, client: InvoiceDataExtractionClient
) -> None:
    server.set_replies(
        Response.from_json({"success": False, "error": {"code": "NEW", "message": "m", "retryable": True}})
    )
    with pytest.raises(TransientError, match="NEW"):
        client.poll_extraction(EXTRACTION_ID)


WRONG_RESPONSES = {
    "session": [{**SESSION_RESPONSE, "upload_session_id": "sess:2"}],
    "parts": [{**PARTS_RESPONSE, "file_id": "f:2"}, {**PARTS_RESPONSE, "upload_session_id": "x"}],
    "complete": [{**COMPLETE_RESPONSE, "file_id": "f:2"}, {**COMPLETE_RESPONSE, "upload_session_id": "sess:2"}],
    "status": [{**PROCESSING_RESPONSE, "extraction_id": OTHER_EXTRACTION_ID},
        {"status": "processing", "success": True}],
    "results": [{**RESULTS_PAGE, "extraction_id": OTHER_EXTRACTION_ID}, {**RESULTS_PAGE, "offset": 7},
        {**RESULTS_PAGE, "row_count": 2}],
    "details": [{"success": True, "extraction": {**FAILED_RESPONSE, "extraction_id": OTHER_EXTRACTION_ID}},
        {"success": True}],
    "cancel": [{**PROCESSING_RESPONSE, "cancellation_requested": True, "extraction_id": OTHER_EXTRACTION_ID},
               {**FAILED_RESPONSE, "success": True, "extraction_id": OTHER_EXTRACTION_ID}],
    "output": [{"download_url": "https://s.test/d", "format": "xlsx"}, {"format": "csv"}, {"download_url": None}],
    "balance": [{"success": True}, {"success": True, "credits_balance": "5", "credits_reserved": 0},
                {"credits_balance": 5, "credits_reserved": 0}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("route", "answer"), [(route, body) for route, bodies in WRONG_RESPONSES.items() for body in bodies]
)
def test_a_response_for_something_else_is_refused(
    server: ScriptedServer, client: InvoiceDataExtractionClient, route: str, answer: Any
) -> None:
    server.set_replies(Response.from_json(answer))
    with pytest.raises(TransientError if route in IDEMPOTENT_ROUTES else UnreadableResponse):
        ROUTES[route][0](client)


INCOMPLETE_RESPONSES = {
    "session": [{"success": True}, {**SESSION_RESPONSE, "files": SESSION_RESPONSE["files"][:1]},
                {**SESSION_RESPONSE, "files": [{"file_id": "f1", "part_size": 0},
                    {"file_id": "f:2", "part_size": "x"}]}],
    "parts": [{"success": True}, {**PARTS_RESPONSE, "part_urls": PARTS_RESPONSE["part_urls"][:1]},
              {**PARTS_RESPONSE, "part_urls": [{"part_number": 1, "url": None},
                  {"part_number": 2, "url": "https://s.test"}]}],
    "complete": [{**COMPLETE_RESPONSE, "status": "pending"}],
    "submit": [{"success": True}, {"success": True, "extraction_id": ""}, {"success": True, "extraction_id": "a/b"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("route", "answer"), [(route, body) for route, bodies in INCOMPLETE_RESPONSES.items() for body in bodies]
)
def test_an_incomplete_success_is_a_transient_error(
    server: ScriptedServer, client: InvoiceDataExtractionClient, route: str, answer: Any
) -> None:
    server.set_replies(Response.from_json(answer))
    with pytest.raises(TransientError):
        ROUTES[route][0](client)


def test_reserved_credits_are_not_available(server: ScriptedServer, client: InvoiceDataExtractionClient) -> None:
    server.set_replies(Response.from_json({"success": True, "credits_balance": 50, "credits_reserved": 53}))
    assert client.fetch_balance().credits_available == -3


def test_a_session_has_the_part_size_of_each_file(server: ScriptedServer, client: InvoiceDataExtractionClient) -> None:
    server.set_replies(Response.from_json({**SESSION_RESPONSE, "new_field": [1]}))
    assert client.open_session("sess:1", FILES).part_sizes == {"f1": 8, "f:2": 8}


def test_completing_a_complete_file_succeeds(server: ScriptedServer, client: InvoiceDataExtractionClient) -> None:
    server.set_replies(Response.from_json({"success": True, "file_id": "f1"}))
    client.finish_file_upload("sess:1", "f1", {1: '"a"'})


def test_the_same_submission_id_gives_the_same_extraction(
    server: ScriptedServer, client: InvoiceDataExtractionClient
) -> None:
    server.set_replies(Response.from_json(SUBMITTED_RESPONSE, 202))
    assert [client.submit_extraction(SUBMISSION) for _ in range(2)] == [EXTRACTION_ID, EXTRACTION_ID]
    assert server.requests[0].body == server.requests[1].body


def test_a_completed_extraction_has_all_fields_and_no_url(
    server: ScriptedServer, client: InvoiceDataExtractionClient
) -> None:
    server.set_replies(Response.from_json(COMPLETED_RESPONSE))
    extraction = client.poll_extraction(EXTRACTION_ID)
    assert (
        extraction.status,
        extraction.is_final,
        extraction.credits_deducted,
        extraction.credits_balance,
    ) == ("completed", True, 2, 48)
    assert extraction.pages.successful == (SuccessfulPage("a.pdf", 1), SuccessfulPage("a.pdf", 2))
    assert extraction.pages.failed == (FailedPage("b.pdf", 1, "TOO_LARGE", "Page"),)
    assert extraction.notes == (UncertaintyNote("Totals", "Two totals."),)
    assert extraction.review_items == (ReviewItem("Check", ("Total",), (2,), ("a.pdf (Page 2)",)),)
    assert extraction.output_expires_at == dt.datetime(2026, 6, 30, tzinfo=dt.UTC)
    assert "very-secret" not in repr(extraction)


def test_a_failed_task_is_a_state_and_not_an_error(server: ScriptedServer, client: InvoiceDataExtractionClient) -> None:
    server.set_replies(Response.from_json(FAILED_RESPONSE))
    extraction = client.poll_extraction(EXTRACTION_ID)
    assert extraction.is_final
    assert extraction.error == TaskError("ENCRYPTED_FILE", "Locked", False, ("a.pdf",))


@pytest.mark.parametrize(
    ("status", "is_final"),
    [("processing", False), ("input_required", False), ("cancelled", True), ("queued_for_review", False)],
)
def test_only_three_statuses_are_final(
    server: ScriptedServer, client: InvoiceDataExtractionClient, status: str, is_final: bool
) -> None:
    server.set_replies(
        Response.from_json(
            {"success": True, "status": status, "extraction_id": EXTRACTION_ID, "credits_deducted": None}
        )
    )
    extraction = client.poll_extraction(EXTRACTION_ID)
    assert (extraction.status, extraction.is_final, extraction.credits_deducted) == (
        status,
        is_final,
        None,
    )


def test_a_long_poll_extends_the_deadline(server: ScriptedServer) -> None:
    slow_response = Response(
        200, json.dumps(PROCESSING_RESPONSE).encode(), {"Content-Type": "application/json"}, seconds_per_byte=0.006
    )
    server.set_replies(slow_response)
    with make_session() as session:
        impatient_client = InvoiceDataExtractionClient(f"{server.url}/v1", API_KEY, session, deadline=0.3)
        with pytest.raises(TransientError, match=r"within 0\.3 s"):
            impatient_client.poll_extraction(EXTRACTION_ID)
        assert impatient_client.poll_extraction(EXTRACTION_ID, hold_seconds=30).progress == 42


@pytest.mark.parametrize("hold_seconds", [0, 46, -1])
def test_a_long_poll_outside_the_limits_is_refused(
    server: ScriptedServer, client: InvoiceDataExtractionClient, hold_seconds: int
) -> None:
    with pytest.raises(ContractError):
        client.poll_extraction(EXTRACTION_ID, hold_seconds=hold_seconds)
    assert server.requests == []


def test_cancelling_returns_a_pending_cancellation_or_the_cancelled_state(
    server: ScriptedServer, client: InvoiceDataExtractionClient
) -> None:
    pending = {**PROCESSING_RESPONSE, "cancellation_requested": True, "cancel_requested_at": "2026-01-05T10:00:00Z"}
    cancelled_state = {
        "success": True,
        "status": "cancelled",
        "extraction_id": EXTRACTION_ID,
        "cancellation_reason": "user",
    }
    server.set_replies(Response.from_json(pending), Response.from_json(cancelled_state))
    assert client.cancel_extraction(EXTRACTION_ID) == PendingCancellation(
        EXTRACTION_ID, dt.datetime(2026, 1, 5, 10, tzinfo=dt.UTC)
    )
    cancelled = client.cancel_extraction(EXTRACTION_ID)
    assert (cancelled.status, cancelled.cancellation_reason) == ("cancelled", "user")
    assert "content-type" not in server.requests[0].headers


def test_details_have_the_submission(server: ScriptedServer, client: InvoiceDataExtractionClient) -> None:
    record = {
        **COMPLETED_RESPONSE, "submission_id": "sub:1", "task_name": "batch", "created_at": "2026-01-05T10:00:00+02:00",
        "file_names": ["a.pdf"], "prompt": FIELDS, "options": {"json_typed_values": True},
    }  # fmt: skip
    server.set_replies(Response.from_json({"success": True, "extraction": record}))
    details = client.fetch_extraction_details(EXTRACTION_ID)
    assert (details.submission_id, details.file_names, details.prompt) == ("sub:1", ("a.pdf",), FIELDS)
    assert details.created_at == dt.datetime(2026, 1, 5, 8, tzinfo=dt.UTC)
    assert details.extraction.pages.failed_count == 1


@pytest.mark.parametrize("route", ROUTES)
def test_a_slow_server_is_abandoned_at_the_deadline(server: ScriptedServer, route: str) -> None:
    server.set_replies(Response(200, b" " * 5000, {"Content-Type": "application/json"}, seconds_per_byte=0.05))
    with make_session() as session:
        impatient_client = InvoiceDataExtractionClient(f"{server.url}/v1", API_KEY, session, deadline=0.2)
        call = ROUTES["status" if route == "held status" else route][0]
        with pytest.raises(InvoicesError, match=r"within 0\.2 s"):
            call(impatient_client)


def test_the_client_does_not_show_its_key(server: ScriptedServer, client: InvoiceDataExtractionClient) -> None:
    assert API_KEY not in repr(client)
    server.set_handler(
        lambda request: Response.from_json(
            {"error": {"code": "X", "message": format_credentials(request), "retryable": False}}, 400
        )
    )
    with pytest.raises(InvoicesError) as caught:
        client.fetch_balance()
    assert API_KEY not in str(caught.value)
    assert "hidden" in str(caught.value)


def format_credentials(request: ReceivedRequest) -> str:
    return f"You sent {request.headers['authorization']} and {API_KEY}"


@pytest.mark.parametrize("url", ["http://api.test/v1", "https://u:p@api.test/v1", "", "ftp://x"])
def test_a_key_is_not_sent_to_an_unsafe_address(url: str) -> None:
    with make_session() as session, pytest.raises(ConfigurationError):
        InvoiceDataExtractionClient(url, API_KEY, session)


def test_the_responses_of_these_tests_match_the_contract() -> None:
    for state in (PROCESSING_RESPONSE, COMPLETED_RESPONSE, FAILED_RESPONSE):
        build_schema_validator("StatusResponse").validate(state)
    build_schema_validator("Session").validate(SESSION_RESPONSE)
    build_schema_validator("PartsResponse").validate(PARTS_RESPONSE)
    build_schema_validator("CompleteResponse").validate(COMPLETE_RESPONSE)
    build_schema_validator("Results").validate(RESULTS_PAGE)


def test_amounts_stay_exact(server: ScriptedServer, client: InvoiceDataExtractionClient) -> None:
    body = json.dumps({**RESULTS_PAGE, "rows": "ROWS"}).replace('"ROWS"', '[{"Total": 1250.10, "No": "", "Due": null}]')
    server.set_replies(Response(200, body.encode(), {"Content-Type": "application/json"}))
    [row] = client.fetch_results(EXTRACTION_ID).rows
    assert row == {"Total": Decimal("1250.10"), "No": "", "Due": None}
    assert str(row["Total"]) == "1250.10"
