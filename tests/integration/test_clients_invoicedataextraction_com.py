"""The batch extraction client on the wire: what each route sends, and what it makes of the answers."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from invoicedataextraction_answers import (
    COMPLETE,
    COMPLETED,
    FAILED,
    FIELDS,
    FILES,
    ID,
    KEY,
    OTHER,
    PAGE,
    PARTS,
    PROCESSING,
    ROUTES,
    SESSION,
    SUBMISSION,
    SUBMITTED,
    UNDER_OUR_ID,
    schema_of,
)  # fmt: skip
from scripted_server import Answer, Drop, ScriptedServer, Seen

from invoices.clients.invoicedataextraction_com import (
    CancelRequested,
    FailedPage,
    InvoiceDataExtraction,
    Note,
    ReviewItem,
    SuccessfulPage,
    TaskError,
)
from invoices.clients.transport import make_session
from invoices.errors import ConfigurationError, ContractError, InvoicesError, TransientError, UnknownOutcome


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[InvoiceDataExtraction]:
    with make_session() as session:
        yield InvoiceDataExtraction(f"{server.url}/v1", KEY, session, deadline=2)


@pytest.mark.parametrize("route", ROUTES)
def test_each_call_is_one_request_with_the_key_and_a_body_only_where_it_has_one(
    server: ScriptedServer, client: InvoiceDataExtraction, route: str
) -> None:
    ask, answer, target, _, body = ROUTES[route]
    server.play(Answer.json(answer))
    ask(client)
    [seen] = server.seen
    assert f"{seen.method} {seen.target}" == target
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.headers["accept"] == "application/json"
    assert seen.headers.get("content-type") == (None if body is None else "application/json")
    assert (json.loads(seen.body) if seen.body else None) == body


@pytest.mark.parametrize("route", [name for name, row in ROUTES.items() if row[3]])
def test_each_body_is_what_the_vendors_contract_allows(
    server: ScriptedServer, client: InvoiceDataExtraction, route: str
) -> None:
    ask, answer, _, schema, _ = ROUTES[route]
    validator = schema_of(schema)
    server.play(Answer.json(answer))
    ask(client)
    validator.validate(json.loads(server.seen[0].body))


@pytest.mark.parametrize("route", UNDER_OUR_ID)
@pytest.mark.parametrize(
    "step",
    [Drop(), Drop(reset=True), Answer(500), Answer(502, b"<html>", {"Content-Type": "text/html"}), Answer(503),
     Answer(504), Answer(200, b"<html>", {"Content-Type": "text/html"}), Answer(200, b'{"success": tr'),
     Answer(200, b'{"success": true}', claims=99, cut_after=17), Answer.json([])],
    ids=str,
)  # fmt: skip
def test_work_under_an_id_of_ours_may_be_asked_for_again_whatever_became_of_the_answer(
    server: ScriptedServer, client: InvoiceDataExtraction, route: str, step: Answer | Drop
) -> None:
    server.play(step)
    with pytest.raises(TransientError):
        ROUTES[route][0](client)
    assert len(server.seen) == 1


@pytest.mark.parametrize("step", [Drop(), Answer(500), Answer(200, b"<html>"), Answer.json([])], ids=str)
def test_answers_to_questions_have_no_id_and_are_never_sent_twice(
    server: ScriptedServer, client: InvoiceDataExtraction, step: Answer | Drop
) -> None:
    server.play(step)
    with pytest.raises(UnknownOutcome):
        ROUTES["answers"][0](client)


@pytest.mark.parametrize("route", [name for name in ROUTES if name not in (*UNDER_OUR_ID, "answers")])
def test_a_page_for_people_in_place_of_an_answer_stops_the_source(
    server: ScriptedServer, client: InvoiceDataExtraction, route: str
) -> None:
    server.play(Answer(200, b"<html>Please sign in</html>", {"Content-Type": "text/html"}))
    with pytest.raises(ContractError):
        ROUTES[route][0](client)


@pytest.mark.parametrize("route", [name for name in ROUTES if "status" not in name])
def test_a_success_that_says_it_failed_is_an_error_by_its_envelope(
    server: ScriptedServer, client: InvoiceDataExtraction, route: str
) -> None:
    refusal = {"code": "RATE_LIMITED", "message": "slow", "retryable": True, "details": {"retry_after": 7}}
    server.play(Answer.json({"success": False, "error": refusal}))
    with pytest.raises(TransientError) as caught:
        ROUTES[route][0](client)
    assert caught.value.retry_after == 7


def test_a_status_without_a_status_is_an_error_by_its_envelope(
    server: ScriptedServer, client: InvoiceDataExtraction
) -> None:
    server.play(Answer.json({"success": False, "error": {"code": "NEW", "message": "m", "retryable": True}}))
    with pytest.raises(TransientError, match="NEW"):
        client.extraction(ID)


WRONG_ANSWERS = {
    "session": [{**SESSION, "upload_session_id": "sess:2"}],
    "parts": [{**PARTS, "file_id": "f:2"}, {**PARTS, "upload_session_id": "x"}],
    "complete": [{**COMPLETE, "file_id": "f:2"}, {**COMPLETE, "upload_session_id": "sess:2"}],
    "status": [{**PROCESSING, "extraction_id": OTHER}, {"status": "processing", "success": True}],
    "results": [{**PAGE, "extraction_id": OTHER}, {**PAGE, "offset": 7}, {**PAGE, "row_count": 2}],
    "details": [{"success": True, "extraction": {**FAILED, "extraction_id": OTHER}}, {"success": True}],
    "cancel": [{**PROCESSING, "cancellation_requested": True, "extraction_id": OTHER},
               {**FAILED, "success": True, "extraction_id": OTHER}],
    "output": [{"download_url": "https://s.test/d", "format": "xlsx"}, {"format": "csv"}, {"download_url": None}],
    "balance": [{"success": True}, {"success": True, "credits_balance": "5", "credits_reserved": 0},
                {"credits_balance": 5, "credits_reserved": 0}],
}  # fmt: skip


@pytest.mark.parametrize(("route", "answer"), [(name, one) for name, many in WRONG_ANSWERS.items() for one in many])
def test_an_answer_about_something_else_is_never_attached(
    server: ScriptedServer, client: InvoiceDataExtraction, route: str, answer: Any
) -> None:
    server.play(Answer.json(answer))
    with pytest.raises(ContractError):
        ROUTES[route][0](client)


INCOMPLETE_ANSWERS = {
    "session": [{"success": True}, {**SESSION, "files": SESSION["files"][:1]},
                {**SESSION, "files": [{"file_id": "f1", "part_size": 0}, {"file_id": "f:2", "part_size": "x"}]}],
    "parts": [{"success": True}, {**PARTS, "part_urls": PARTS["part_urls"][:1]},
              {**PARTS, "part_urls": [{"part_number": 1, "url": None}, {"part_number": 2, "url": "https://s.test"}]}],
    "complete": [{**COMPLETE, "status": "pending"}],
    "submit": [{"success": True}, {"success": True, "extraction_id": ""}, {"success": True, "extraction_id": "a/b"}],
}  # fmt: skip


@pytest.mark.parametrize(("route", "answer"), [(n, one) for n, many in INCOMPLETE_ANSWERS.items() for one in many])
def test_a_success_that_lacks_what_was_asked_for_is_asked_for_again(
    server: ScriptedServer, client: InvoiceDataExtraction, route: str, answer: Any
) -> None:
    server.play(Answer.json(answer))
    with pytest.raises(TransientError):
        ROUTES[route][0](client)


def test_the_spendable_credits_are_those_that_nobody_holds(
    server: ScriptedServer, client: InvoiceDataExtraction
) -> None:
    server.play(Answer.json({"success": True, "credits_balance": 50, "credits_reserved": 53}))
    assert client.balance().spendable == -3


def test_a_session_tells_how_each_file_is_cut(server: ScriptedServer, client: InvoiceDataExtraction) -> None:
    server.play(Answer.json({**SESSION, "new_field": [1]}))
    assert client.open_session("sess:1", FILES).part_sizes == {"f1": 8, "f:2": 8}


def test_a_file_that_was_complete_before_is_complete(server: ScriptedServer, client: InvoiceDataExtraction) -> None:
    server.play(Answer.json({"success": True, "file_id": "f1"}))
    client.complete("sess:1", "f1", {1: '"a"'})


def test_an_extraction_under_a_known_submission_id_is_the_one_there_was(
    server: ScriptedServer, client: InvoiceDataExtraction
) -> None:
    server.play(Answer.json(SUBMITTED, 202))
    assert [client.submit(SUBMISSION) for _ in range(2)] == [ID, ID]
    assert server.seen[0].body == server.seen[1].body


def test_a_completed_extraction_tells_all_and_keeps_no_address(
    server: ScriptedServer, client: InvoiceDataExtraction
) -> None:
    server.play(Answer.json(COMPLETED))
    found = client.extraction(ID)
    assert (found.status, found.is_over, found.credits_deducted, found.credits_balance) == ("completed", True, 2, 48)
    assert found.pages.successful == (SuccessfulPage("a.pdf", 1), SuccessfulPage("a.pdf", 2))
    assert found.pages.failed == (FailedPage("b.pdf", 1, "TOO_LARGE", "Page"),)
    assert found.notes == (Note("Totals", "Two totals."),)
    assert found.review_items == (ReviewItem("Check", ("Total",), (2,), ("a.pdf (Page 2)",)),)
    assert found.output_expires_at == dt.datetime(2026, 6, 30, tzinfo=dt.UTC)
    assert "very-secret" not in repr(found)


def test_a_failed_task_is_a_state_though_it_says_no_success(
    server: ScriptedServer, client: InvoiceDataExtraction
) -> None:
    server.play(Answer.json(FAILED))
    found = client.extraction(ID)
    assert found.is_over
    assert found.error == TaskError("ENCRYPTED_FILE", "Locked", False, ("a.pdf",))


@pytest.mark.parametrize(
    ("status", "is_over"),
    [("processing", False), ("input_required", False), ("cancelled", True), ("queued_for_review", False)],
)
def test_only_three_words_are_the_end(
    server: ScriptedServer, client: InvoiceDataExtraction, status: str, is_over: bool
) -> None:
    server.play(Answer.json({"success": True, "status": status, "extraction_id": ID, "credits_deducted": None}))
    found = client.extraction(ID)
    assert (found.status, found.is_over, found.credits_deducted) == (status, is_over, None)


def test_a_held_call_is_given_the_time_it_is_held(server: ScriptedServer) -> None:
    slow = Answer(200, json.dumps(PROCESSING).encode(), {"Content-Type": "application/json"}, drip=0.006)
    server.play(slow)
    with make_session() as session:
        hasty = InvoiceDataExtraction(f"{server.url}/v1", KEY, session, deadline=0.3)
        with pytest.raises(TransientError, match=r"within 0\.3 s"):
            hasty.extraction(ID)
        assert hasty.extraction(ID, wait=30).progress == 42


@pytest.mark.parametrize("wait", [0, 46, -1])
def test_no_other_wait_is_asked_for(server: ScriptedServer, client: InvoiceDataExtraction, wait: int) -> None:
    with pytest.raises(ContractError):
        client.extraction(ID, wait=wait)
    assert server.seen == []


def test_cancelling_is_noted_or_was_done_before(server: ScriptedServer, client: InvoiceDataExtraction) -> None:
    noted = {**PROCESSING, "cancellation_requested": True, "cancel_requested_at": "2026-01-05T10:00:00Z"}
    done = {"success": True, "status": "cancelled", "extraction_id": ID, "cancellation_reason": "user"}
    server.play(Answer.json(noted), Answer.json(done))
    assert client.cancel(ID) == CancelRequested(ID, dt.datetime(2026, 1, 5, 10, tzinfo=dt.UTC))
    cancelled = client.cancel(ID)
    assert (cancelled.status, cancelled.cancellation_reason) == ("cancelled", "user")
    assert "content-type" not in server.seen[0].headers


def test_details_tell_how_it_was_asked_for(server: ScriptedServer, client: InvoiceDataExtraction) -> None:
    record = {
        **COMPLETED, "submission_id": "sub:1", "task_name": "batch", "created_at": "2026-01-05T10:00:00+02:00",
        "file_names": ["a.pdf"], "prompt": FIELDS, "options": {"json_typed_values": True},
    }  # fmt: skip
    server.play(Answer.json({"success": True, "extraction": record}))
    details = client.details(ID)
    assert (details.submission_id, details.file_names, details.prompt) == ("sub:1", ("a.pdf",), FIELDS)
    assert details.created_at == dt.datetime(2026, 1, 5, 8, tzinfo=dt.UTC)
    assert details.extraction.pages.failed_count == 1


@pytest.mark.parametrize("route", ROUTES)
def test_a_server_that_drips_is_left_in_time(server: ScriptedServer, route: str) -> None:
    server.play(Answer(200, b" " * 5000, {"Content-Type": "application/json"}, drip=0.05))
    with make_session() as session:
        hasty = InvoiceDataExtraction(f"{server.url}/v1", KEY, session, deadline=0.2)
        ask = ROUTES["status" if route == "held status" else route][0]
        with pytest.raises(InvoicesError, match=r"within 0\.2 s"):
            ask(hasty)


def test_the_client_does_not_show_its_key(server: ScriptedServer, client: InvoiceDataExtraction) -> None:
    assert KEY not in repr(client)
    server.react(lambda seen: Answer.json({"error": {"code": "X", "message": told(seen), "retryable": False}}, 400))
    with pytest.raises(InvoicesError) as caught:
        client.balance()
    assert KEY not in str(caught.value)
    assert "hidden" in str(caught.value)


def told(seen: Seen) -> str:
    return f"You sent {seen.headers['authorization']} and {KEY}"


@pytest.mark.parametrize("url", ["http://api.test/v1", "https://u:p@api.test/v1", "", "ftp://x"])
def test_a_key_is_not_sent_to_an_unsafe_address(url: str) -> None:
    with make_session() as session, pytest.raises(ConfigurationError):
        InvoiceDataExtraction(url, KEY, session)


def test_the_states_these_tests_play_are_the_contracts() -> None:
    for state in (PROCESSING, COMPLETED, FAILED):
        schema_of("StatusResponse").validate(state)
    schema_of("Session").validate(SESSION)
    schema_of("PartsResponse").validate(PARTS)
    schema_of("CompleteResponse").validate(COMPLETE)
    schema_of("Results").validate(PAGE)


def test_money_stays_exact(server: ScriptedServer, client: InvoiceDataExtraction) -> None:
    body = json.dumps({**PAGE, "rows": "ROWS"}).replace('"ROWS"', '[{"Total": 1250.10, "No": "", "Due": null}]')
    server.play(Answer(200, body.encode(), {"Content-Type": "application/json"}))
    [row] = client.results(ID).rows
    assert row == {"Total": Decimal("1250.10"), "No": "", "Due": None}
    assert str(row["Total"]) == "1250.10"
