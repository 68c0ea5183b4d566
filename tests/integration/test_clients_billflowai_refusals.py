"""What the client of the one-call vendor makes of refusals, silence and broken lines: may the work be done, or not?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator

import pytest
from scripted_server import Answer, Drop, ScriptedServer

from invoices.clients.billflowai import BillflowAi, ExtractionFailed, Reading
from invoices.clients.minted_urls import mint_url
from invoices.clients.transport import make_session
from invoices.errors import AccountError, ContractError, DocumentError, InvoicesError, TransientError, UnknownOutcome

KEY = "bf_live_4f1e"
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


REFUSALS: list[tuple[int, str, type[InvoicesError], str | None]] = [
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


@pytest.mark.parametrize("ask", [upload, by_url])
@pytest.mark.parametrize(("status", "code", "kind", "reason"), REFUSALS)
def test_each_refusal_says_what_to_do_next(
    server: ScriptedServer,
    client: BillflowAi,
    ask: Callable[[BillflowAi], Reading],
    status: int,
    code: str,
    kind: type[InvoicesError],
    reason: str | None,
) -> None:
    server.play(Answer.json({"error": {"code": code, "message": "no"}}, status, X_Request_ID="req-1"))
    with pytest.raises(kind, match=code) as caught:
        ask(client)
    assert (type(caught.value) is kind) or (status == 404)
    assert getattr(caught.value, "reason_code", None) == reason
    assert caught.value.request_id == "req-1"
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_the_vendor_asks_for_is_passed_on(server: ScriptedServer, client: BillflowAi, status: int) -> None:
    server.play(Answer(status, headers={"Retry-After": "7"}), Answer(status))
    waits = []
    for _ in range(2):
        with pytest.raises(TransientError) as caught:
            upload(client)
        waits.append(caught.value.retry_after)
    assert waits == [7, None]


@pytest.mark.parametrize(
    "step",
    [Drop(), Drop(reset=True), Answer(200, b"<html>"), Answer(200, b'{"total": 1', framing="close"), Answer(504, b"")],
)
def test_work_that_may_be_done_is_unknown_and_never_sent_twice(
    server: ScriptedServer, client: BillflowAi, step: Answer | Drop
) -> None:
    server.play(step)
    with pytest.raises(UnknownOutcome):
        upload(client)
    assert len(server.seen) == 1


def test_an_answer_that_never_comes_is_unknown(server: ScriptedServer) -> None:
    server.play(Drop(after=60))
    with make_session() as session, pytest.raises(UnknownOutcome):
        upload(BillflowAi(server.url, KEY, session, deadline=0.3))


def test_what_never_left_may_be_sent_again() -> None:
    with ScriptedServer() as gone:
        url = gone.url
    with make_session() as session, pytest.raises(TransientError, match="was not sent"):
        upload(BillflowAi(url, KEY, session, deadline=2))


def test_the_vendor_may_be_silent_for_as_long_as_it_reads() -> None:
    with make_session() as session:
        patience = BillflowAi("https://billflow.example.com", KEY, session)._origin._patience
    assert (patience.connect, patience.read, patience.total) == (5, 150, 150)


def test_a_redirect_is_followed_by_nobody(server: ScriptedServer, client: BillflowAi) -> None:
    server.play(Answer(307, headers={"Location": "http://169.254.169.254/"}))
    with pytest.raises(ContractError, match=r"169\.254\.169\.254"):
        upload(client)
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [400, 422, 500])
def test_neither_key_nor_signature_is_repeated_in_a_message(
    server: ScriptedServer, client: BillflowAi, status: int
) -> None:
    message = f"could not download {URL.address} for Bearer {KEY}"
    server.play(
        Answer.json({"error": {"code": "FETCH_FAILED", "message": message}}, status, X_Request_ID=URL.signature)
    )
    with pytest.raises(InvoicesError) as caught:
        client.extract_url(URL)
    told = f"{caught.value} {caught.value.request_id}"
    assert "could not download" in told
    assert KEY not in told
    assert URL.signature not in told


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AccountError), (404, ContractError), (422, ContractError), (503, TransientError)]
)
def test_a_list_that_is_refused_blames_no_document(
    server: ScriptedServer, client: BillflowAi, status: int, kind: type[InvoicesError]
) -> None:
    server.play(Answer.json({"error": {"code": "EXTRACTION_FAILED", "message": "no"}}, status))
    with pytest.raises(kind):
        client.invoices()
