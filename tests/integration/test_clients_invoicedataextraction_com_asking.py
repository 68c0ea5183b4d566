"""What the batch extraction client does not send, and how it turns the pages of the list."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from invoicedataextraction_answers import FILES, ID, KEY, OTHER, Ask
from scripted_server import Answer, ScriptedServer

from invoices.clients.invoicedataextraction_com import (
    ExtractionSummary,
    FileToUpload,
    InvoiceDataExtraction,
    Submission,
)
from invoices.clients.transport import make_session
from invoices.errors import ContractError


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[InvoiceDataExtraction]:
    with make_session() as session:
        yield InvoiceDataExtraction(f"{server.url}/v1", KEY, session, deadline=2)


def test_the_list_is_turned_to_its_end(server: ScriptedServer, client: InvoiceDataExtraction) -> None:
    entry = {"extraction_id": ID, "submission_id": "sub:1", "status": "failed", "created_at": "2026-01-05T10:00:00Z"}
    first = {"success": True, "extractions": [entry], "has_more": True, "next_cursor": "c/1"}
    last = {"success": True, "extractions": [{"extraction_id": OTHER}], "has_more": False, "next_cursor": None}
    server.play(Answer.json(first), Answer.json(last))
    after = dt.datetime(2026, 1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    found = list(client.extractions(created_after=after, status="failed", limit=1))
    moment = dt.datetime(2026, 1, 5, 10, tzinfo=dt.UTC)
    assert found == [ExtractionSummary(ID, "sub:1", "failed", moment), ExtractionSummary(OTHER, None, None, None)]
    asked = {"limit": "1", "created_after": "2026-01-01T00:00:00Z", "status": "failed"}
    assert [seen.query for seen in server.seen] == [asked, {**asked, "cursor": "c/1"}]


ENDLESS = [{"has_more": True, "next_cursor": "same"}, {"has_more": True, "next_cursor": None}, {"next_cursor": None}]


@pytest.mark.parametrize("more", [*ENDLESS, {"extractions": [{}]}, {"extractions": None}, {"extractions": ["x"]}])
def test_a_list_that_may_not_be_whole_is_unusable(
    server: ScriptedServer, client: InvoiceDataExtraction, more: Any
) -> None:
    server.play(Answer.json({"success": True, "extractions": [], **more}))
    with pytest.raises(ContractError):
        list(client.extractions())
    assert len(server.seen) <= 2


def test_an_instant_without_a_zone_is_not_guessed(client: InvoiceDataExtraction) -> None:
    with pytest.raises(ValueError, match="no zone"):
        client.extractions(created_after=dt.datetime(2026, 1, 1))  # noqa: DTZ001  the point of the test


BAD_IDS = ["", ".", "..", "a/b", "a?b", "a b", "ä", "x" * 201, "a\n"]


@pytest.mark.parametrize("one", BAD_IDS)
def test_an_id_of_ours_that_the_vendor_would_refuse_is_not_sent(
    server: ScriptedServer, client: InvoiceDataExtraction, one: str
) -> None:
    asks: list[Ask] = [
        lambda c: c.open_session(one, FILES),
        lambda c: c.open_session("s", [FileToUpload(one, "a.pdf", 1)]),
        lambda c: c.part_urls(one, "f", [1]),
        lambda c: c.complete("s", one, {1: '"a"'}),
        lambda c: c.submit(Submission(one, "s", ["f"], "task", "No", "per_invoice")),
        lambda c: c.submit(Submission("x", "s", ["f", one], "task", "No", "per_invoice")),
        lambda c: c.extraction(one),
        lambda c: c.delete(one),
    ]
    for ask in asks:
        with pytest.raises(ContractError):
            ask(client)
    assert server.seen == []


def test_what_the_vendor_would_refuse_or_misread_is_not_sent(
    server: ScriptedServer, client: InvoiceDataExtraction
) -> None:
    asks: list[Ask] = [
        lambda c: c.open_session("s", []),
        lambda c: c.open_session("s", [FileToUpload("f", "a.pdf", 1), FileToUpload("f", "b.pdf", 1)]),
        lambda c: c.open_session("s", [FileToUpload("f", "a.pdf", 1), FileToUpload("g", "a.pdf", 1)]),
        lambda c: c.part_urls("s", "f", []),
        lambda c: c.part_urls("s", "f", [0]),
        lambda c: c.part_urls("s", "f", range(1, 1002)),
        lambda c: c.complete("s", "f", {}),
        lambda c: c.complete("s", "f", {1: '"a"', 3: '"c"'}),
        lambda c: c.submit(Submission("x", "s", ["f"], "task", "No", "automatic")),  # type: ignore[arg-type]
        lambda c: c.results_page(ID, -1, 10),
        lambda c: c.results_page(ID, 0, 1001),
    ]
    for ask in asks:
        with pytest.raises(ContractError):
            ask(client)
    assert server.seen == []
