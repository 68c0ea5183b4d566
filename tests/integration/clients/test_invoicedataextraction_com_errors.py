"""Each code of the invoicedataextraction.com API (contract sheet 02 §4): the error it becomes, and its attributes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from invoices.clients.error_mapping import Conflict, NotFound, RequestRefused
from invoices.clients.http_client import make_session
from invoices.clients.invoicedataextraction_com import (
    AlreadyUploaded,
    FilesRefused,
    InvoiceDataExtractionClient,
    NotEnoughCredits,
    OutputGone,
    PartRefused,
    SessionGone,
    SubmissionExists,
    SubmissionsPaused,
    TaskError,
    TaskRefused,
)
from invoices.errors import (
    AccountError,
    ContractError,
    DocumentError,
    InvoicesError,
    TransientError,
    UnknownOutcome,
)
from tests.integration.clients.invoicedataextraction_com_responses import (
    API_KEY,
    EXTRACTION_ID,
    IDEMPOTENT_ROUTES,
    OTHER_EXTRACTION_ID,
    ROUTES,
)
from tests.servers.scripted_http_server import Response, ScriptedServer

ERROR_CODES: list[tuple[str, str, int, bool, type[InvoicesError]]] = [  # route, code, HTTP, retryable, error
    ("session", "RATE_LIMITED", 429, True, TransientError),
    ("status", "RATE_LIMITED", 429, True, TransientError),
    ("submit", "INTERNAL_ERROR", 500, True, TransientError),
    ("answers", "INTERNAL_ERROR", 500, True, UnknownOutcome),
    ("complete", "UPLOAD_COMPLETE_FAILED", 502, True, TransientError),
    ("submit", "SUBMISSIONS_PAUSED", 503, True, SubmissionsPaused),
    ("balance", "UNAUTHENTICATED", 401, False, AccountError),
    ("balance", "API_KEY_EXPIRED", 401, False, AccountError),
    ("submit", "API_KEY_REVOKED", 401, False, AccountError),
    ("list", "FORBIDDEN", 403, False, AccountError),
    ("submit", "INVALID_INPUT", 400, False, ContractError),
    ("session", "DUPLICATE_FILE_NAME", 400, False, ContractError),
    ("session", "DUPLICATE_FILE_ID", 400, False, ContractError),
    ("session", "FILE_TOO_LARGE", 400, False, FilesRefused),
    ("session", "TOTAL_UPLOAD_SIZE_LIMIT_EXCEEDED", 400, False, FilesRefused),
    ("session", "INSUFFICIENT_CREDITS", 402, False, NotEnoughCredits),
    ("session", "SESSION_ALREADY_INITIALIZED", 409, False, SessionGone),
    ("parts", "FILE_NOT_FOUND", 404, False, SessionGone),
    ("parts", "NOT_FOUND", 404, False, SessionGone),
    ("parts", "FILE_NOT_UPLOADABLE", 409, False, AlreadyUploaded),
    ("complete", "FILE_ABORTED", 409, False, SessionGone),
    ("complete", "UPLOAD_ID_NOT_FOUND", 409, False, SessionGone),
    ("complete", "INVALID_COMPLETION_PARTS", 400, False, PartRefused),
    ("complete", "OBJECT_SIZE_MISMATCH", 422, False, SessionGone),
    ("submit", "SUBMISSION_ID_ALREADY_USED", 409, False, SubmissionExists),
    ("status", "EXTRACTION_NOT_FOUND", 404, False, NotFound),
    ("delete", "NOT_FOUND", 404, False, NotFound),
    ("results", "OUTPUT_NOT_AVAILABLE", 404, False, OutputGone),
    ("output", "OUTPUT_EXPIRED", 404, False, OutputGone),
    ("delete", "EXTRACTION_IN_PROGRESS", 409, False, Conflict),
    ("cancel", "EXTRACTION_NOT_CANCELLABLE", 409, False, Conflict),
    ("session", "FILE_LINK_UNREADABLE", 422, False, FilesRefused),
    ("submit", "BRAND_NEW", 409, True, TransientError),
    ("submit", "BRAND_NEW", 500, False, ContractError),
    ("submit", "BRAND_NEW", 422, False, DocumentError),
    ("submit", "BRAND_NEW", 409, False, RequestRefused),
    ("submit", "BRAND_NEW", 429, False, TransientError),
    ("status", "BRAND_NEW", 403, True, AccountError),
    ("answers", "BRAND_NEW", 503, True, UnknownOutcome),
]
TASK_CODES = {
    "CONCURRENT_TASK_LIMIT": (409, True), "SUBMISSION_STALLED": (409, True), "ENCRYPTED_FILE": (422, False),
    "FILE_PAGE_LIMIT_EXCEEDED": (422, False), "NO_PAGES_FOUND": (422, False), "PROMPT_REJECTED": (422, False),
    "PROMPT_UNCLEAR": (422, False), "VALIDATION_FAILED": (422, False), "FILE_SIZE_LIMIT_EXCEEDED": (422, False),
    "PROCESSING_FILE_SIZE_LIMIT_EXCEEDED": (422, False),
}  # fmt: skip


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[InvoiceDataExtractionClient]:
    with make_session() as session:
        yield InvoiceDataExtractionClient(f"{server.url}/v1", API_KEY, session, deadline=2)


def build_error_response(
    code: str, status: int, *, retryable: Any = False, details: Any = None, **headers: str
) -> Response:
    error = {"code": code, "message": f"Words about {code}", "retryable": retryable, "details": details}
    return Response.from_json({"success": False, "error": error}, status, **headers)


@pytest.mark.parametrize(("route", "code", "status", "retryable", "error_type"), ERROR_CODES)
def test_each_code_becomes_the_error_for_what_the_caller_does_next(
    server: ScriptedServer,
    client: InvoiceDataExtractionClient,
    route: str,
    code: str,
    status: int,
    retryable: bool,
    error_type: type[InvoicesError],
) -> None:
    server.set_replies(build_error_response(code, status, retryable=retryable, X_Request_ID="req_7"))
    with pytest.raises(InvoicesError, match=rf"answered {status}: {code} 'Words about {code}'.*req_7") as caught:
        ROUTES[route][0](client)
    assert type(caught.value) is error_type
    assert caught.value.request_id == "req_7"
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", TASK_CODES)
def test_a_task_error_in_the_response_to_a_submission_is_a_refused_task(
    server: ScriptedServer, client: InvoiceDataExtractionClient, code: str
) -> None:
    status, retryable = TASK_CODES[code]
    server.set_replies(build_error_response(code, status, retryable=retryable, details={"file_names": ["a.pdf"]}))
    with pytest.raises(TaskRefused) as caught:
        ROUTES["submit"][0](client)
    assert caught.value.error == TaskError(code, f"Words about {code}", retryable, ("a.pdf",))


@pytest.mark.parametrize("code", [*TASK_CODES, "INTERNAL_ERROR", "INSUFFICIENT_CREDITS", "BRAND_NEW"])
def test_the_same_task_error_may_be_a_state(
    server: ScriptedServer, client: InvoiceDataExtractionClient, code: str
) -> None:
    error = {"code": code, "message": "m", "retryable": True, "details": {"credits_required": 3, "credits_balance": 1}}
    server.set_replies(
        Response.from_json({"success": False, "status": "failed", "extraction_id": EXTRACTION_ID, "error": error})
    )
    assert client.poll_extraction(EXTRACTION_ID).error == TaskError(
        code, "m", True, credits_required=3, credits_balance=1
    )


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@pytest.mark.parametrize("route", [name for name in ROUTES if name != "answers"])
def test_an_error_page_of_a_gateway_is_a_transient_error(
    server: ScriptedServer, client: InvoiceDataExtractionClient, route: str, status: int
) -> None:
    server.set_replies(Response(status, b"<html>busy</html>", {"Content-Type": "text/html", "Retry-After": "9"}))
    with pytest.raises(TransientError) as caught:
        ROUTES[route][0](client)
    assert caught.value.retry_after == 9


@pytest.mark.parametrize("status", [401, 402, 403])
@pytest.mark.parametrize("route", ["balance", "submit", "status"])
def test_a_refused_account_without_a_body_is_an_account_error(
    server: ScriptedServer, client: InvoiceDataExtractionClient, route: str, status: int
) -> None:
    server.set_replies(Response(status))
    with pytest.raises(AccountError):
        ROUTES[route][0](client)


RETRY_AFTER_CASES = [
    ({"Retry_After": "3"}, {"retry_after": 2}, 3), ({}, {"retry_after": 2}, 2), ({}, {"retry_after_seconds": 4}, 4),
    ({}, None, None), ({"Retry_After": "abc"}, {"retry_after": "x"}, None), ({"Retry_After": "36000"}, None, 3600),
    ({"Retry_After": "Mon, 05 Jan 2026 10:00:30 GMT", "Date": "Mon, 05 Jan 2026 10:00:00 GMT"}, None, 30),
    ({"Retry_After": "Mon, 05 Jan 2026 09:00:00 GMT", "Date": "Mon, 05 Jan 2026 10:00:00 GMT"}, None, 0),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "details", "wait"), RETRY_AFTER_CASES)
def test_the_wait_of_a_rate_limit_is_read_from_headers_and_body(
    server: ScriptedServer,
    client: InvoiceDataExtractionClient,
    headers: dict[str, str],
    details: Any,
    wait: float | None,
) -> None:
    server.set_replies(build_error_response("RATE_LIMITED", 429, retryable=True, details=details, **headers))
    with pytest.raises(TransientError) as caught:
        client.fetch_balance()
    assert caught.value.retry_after == wait


DATE_HEADER = {"Date": "Mon, 05 Jan 2026 10:00:00 GMT"}
PAUSE_CASES = [
    ({"resumes_at": "2026-01-05T10:02:00Z"}, DATE_HEADER, 120),
    ({"resumes_at": "2026-01-05T09:00:00Z"}, DATE_HEADER, 300),
    ({"resumes_at": "2026-01-06T10:00:00Z"}, DATE_HEADER, 3600), (None, DATE_HEADER, 300),
    ({"resumes_at": "soon"}, DATE_HEADER, 300),
    (None, {**DATE_HEADER, "Retry_After": "20"}, 20),
]  # fmt: skip


@pytest.mark.parametrize(("details", "headers", "wait"), PAUSE_CASES)
def test_a_pause_lasts_until_its_stated_end_or_five_minutes(
    server: ScriptedServer, client: InvoiceDataExtractionClient, details: Any, headers: dict[str, str], wait: float
) -> None:
    server.set_replies(build_error_response("SUBMISSIONS_PAUSED", 503, retryable=True, details=details, **headers))
    with pytest.raises(SubmissionsPaused) as caught:
        ROUTES["submit"][0](client)
    assert caught.value.retry_after == wait


def test_a_used_submission_id_names_its_extraction(server: ScriptedServer, client: InvoiceDataExtractionClient) -> None:
    details = {"extraction_id": OTHER_EXTRACTION_ID, "differing_fields": ["prompt", 7]}
    server.set_replies(build_error_response("SUBMISSION_ID_ALREADY_USED", 409, details=details))
    with pytest.raises(SubmissionExists) as caught:
        ROUTES["submit"][0](client)
    assert (caught.value.extraction_id, caught.value.differing_fields) == (OTHER_EXTRACTION_ID, ("prompt",))


def test_the_error_for_missing_credits_has_the_amounts(
    server: ScriptedServer, client: InvoiceDataExtractionClient
) -> None:
    server.set_replies(
        build_error_response(
            "INSUFFICIENT_CREDITS", 402, details={"credits_balance": 3, "credits_reserved": 2, "file_count": 9}
        ),
        build_error_response("INSUFFICIENT_CREDITS", 409, details={"credits_balance": 0, "credits_required": 5}),
    )
    missing_credits = []
    for route in ("session", "submit"):
        with pytest.raises(NotEnoughCredits) as caught:
            ROUTES[route][0](client)
        missing_credits.append((caught.value.balance, caught.value.reserved, caught.value.required))
    assert missing_credits == [(3, 2, 9), (0, None, 5)]


@pytest.mark.parametrize(
    ("details", "ids", "names"),
    [
        ({"file_id": "f1", "file_name": "a.pdf"}, ("f1",), ("a.pdf",)),
        ({"file_names": ["a.pdf", "b.pdf"]}, (), ("a.pdf", "b.pdf")),
        ({"files": [{"file_id": "f1"}, {"file_id": "f2", "file_name": "b"}, "x"]}, ("f1", "f2"), ("b",)),
        (None, (), ()),
    ],
)
def test_a_file_that_is_too_large_is_named(
    server: ScriptedServer,
    client: InvoiceDataExtractionClient,
    details: Any,
    ids: tuple[str, ...],
    names: tuple[str, ...],
) -> None:
    server.set_replies(build_error_response("FILE_TOO_LARGE", 400, details=details))
    with pytest.raises(FilesRefused) as caught:
        ROUTES["session"][0](client)
    error = caught.value
    assert (error.reason_code, error.file_ids, error.file_names) == ("document_too_large", ids, names)
    assert all(name in str(error) for name in (*ids, *names))


@pytest.mark.parametrize(
    ("paths", "error_type"),
    [
        ([["file_ids", 1]], SessionGone), ([["upload_session_id"]], SessionGone), ([["file_ids"]], ContractError),
        ([["file_ids", 0], ["prompt"]], ContractError), ([["prompt", "fields", 0]], ContractError), ([], ContractError),
        (["file_ids"], ContractError),
    ],
)  # fmt: skip
def test_a_file_missing_from_its_session_is_no_contract_error(
    server: ScriptedServer, client: InvoiceDataExtractionClient, paths: list[Any], error_type: type[InvoicesError]
) -> None:
    issues = [{"message": "Not acceptable here", "path": path} for path in paths]
    server.set_replies(build_error_response("INVALID_INPUT", 400, details={"issues": issues}))
    with pytest.raises(error_type, match="Not acceptable here" if paths else "INVALID_INPUT") as caught:
        ROUTES["submit"][0](client)
    assert type(caught.value) is error_type


@pytest.mark.parametrize("route", ["parts", "complete"])
@pytest.mark.parametrize("status", [404, 410])
def test_an_unknown_session_is_gone(
    server: ScriptedServer, client: InvoiceDataExtractionClient, route: str, status: int
) -> None:
    server.set_replies(Response(status))
    with pytest.raises(SessionGone):
        ROUTES[route][0](client)


@pytest.mark.parametrize("body", [{"success": False}, {"success": False, "error": "no"}, {}, {"error": {"code": 7}}])
@pytest.mark.parametrize("route", [*IDEMPOTENT_ROUTES, "results", "details", "balance", "list", "delete"])
def test_a_response_without_success_is_an_error(
    server: ScriptedServer, client: InvoiceDataExtractionClient, route: str, body: Any
) -> None:
    server.set_replies(Response.from_json(body))
    is_repeatable = route in IDEMPOTENT_ROUTES and not isinstance(body.get("error"), dict)
    with pytest.raises(TransientError if is_repeatable else ContractError):
        ROUTES[route][0](client)


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[1]", b'{"error": {"code": "X"', b'{"error": {"code": 1, "code": 2}}']
)
def test_an_error_without_a_readable_body_is_mapped_by_its_status(
    server: ScriptedServer, client: InvoiceDataExtractionClient, body: bytes
) -> None:
    server.set_replies(Response(500, body), Response(404, body), Response(400, body))
    for error_type in (TransientError, NotFound, ContractError):
        with pytest.raises(error_type):
            client.poll_extraction(EXTRACTION_ID)


def test_a_redirect_is_not_followed(server: ScriptedServer, client: InvoiceDataExtractionClient) -> None:
    server.set_replies(Response(307, headers={"Location": f"{server.url}/elsewhere"}))
    with pytest.raises(ContractError, match="redirects are not followed"):
        ROUTES["submit"][0](client)
    assert len(server.requests) == 1
