"""The invoicedataextraction.com client: requests it refuses to send, and reading all pages of a list."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest

from invoices.clients.http_client import make_session
from invoices.clients.invoicedataextraction_com import (
    ExtractionSummary,
    FileToUpload,
    InvoiceDataExtractionClient,
    Submission,
)
from invoices.errors import ContractError
from tests.integration.clients.invoicedataextraction_com_responses import (
    API_KEY,
    EXTRACTION_ID,
    FILES,
    OTHER_EXTRACTION_ID,
    CallClient,
)
from tests.servers.scripted_http_server import Response, ScriptedServer


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[InvoiceDataExtractionClient]:
    with make_session() as session:
        yield InvoiceDataExtractionClient(f"{server.url}/v1", API_KEY, session, deadline=2)


def test_all_pages_of_the_list_are_read(server: ScriptedServer, client: InvoiceDataExtractionClient) -> None:
    entry = {
        "extraction_id": EXTRACTION_ID,
        "submission_id": "sub:1",
        "status": "failed",
        "created_at": "2026-01-05T10:00:00Z",
    }
    first = {"success": True, "extractions": [entry], "has_more": True, "next_cursor": "c/1"}
    last = {
        "success": True,
        "extractions": [{"extraction_id": OTHER_EXTRACTION_ID}],
        "has_more": False,
        "next_cursor": None,
    }
    server.set_replies(Response.from_json(first), Response.from_json(last))
    after = dt.datetime(2026, 1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    extractions = list(client.list_extractions(created_after=after, status="failed", limit=1))
    created_at = dt.datetime(2026, 1, 5, 10, tzinfo=dt.UTC)
    assert extractions == [
        ExtractionSummary(EXTRACTION_ID, "sub:1", "failed", created_at),
        ExtractionSummary(OTHER_EXTRACTION_ID, None, None, None),
    ]
    query = {"limit": "1", "created_after": "2026-01-01T00:00:00Z", "status": "failed"}
    assert [request.query for request in server.requests] == [query, {**query, "cursor": "c/1"}]


ENDLESS_LISTS = [
    {"has_more": True, "next_cursor": "same"},
    {"has_more": True, "next_cursor": None},
    {"next_cursor": None},
]


@pytest.mark.parametrize("more", [*ENDLESS_LISTS, {"extractions": [{}]}, {"extractions": None}, {"extractions": ["x"]}])
def test_a_list_that_may_be_incomplete_is_a_contract_error(
    server: ScriptedServer, client: InvoiceDataExtractionClient, more: Any
) -> None:
    server.set_replies(Response.from_json({"success": True, "extractions": [], **more}))
    with pytest.raises(ContractError):
        list(client.list_extractions())
    assert len(server.requests) <= 2


def test_a_timestamp_without_a_zone_is_refused(client: InvoiceDataExtractionClient) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        client.list_extractions(created_after=dt.datetime(2026, 1, 1))  # noqa: DTZ001  the point of the test


BAD_IDS = ["", ".", "..", "a/b", "a?b", "a b", "ä", "x" * 201, "a\n"]


@pytest.mark.parametrize("bad_id", BAD_IDS)
def test_an_id_of_ours_that_the_vendor_would_refuse_is_not_sent(
    server: ScriptedServer, client: InvoiceDataExtractionClient, bad_id: str
) -> None:
    calls: list[CallClient] = [
        lambda c: c.open_session(bad_id, FILES),
        lambda c: c.open_session("s", [FileToUpload(bad_id, "a.pdf", 1)]),
        lambda c: c.request_part_urls(bad_id, "f", [1]),
        lambda c: c.finish_file_upload("s", bad_id, {1: '"a"'}),
        lambda c: c.submit_extraction(Submission(bad_id, "s", ["f"], "task", "No", "per_invoice")),
        lambda c: c.submit_extraction(Submission("x", "s", ["f", bad_id], "task", "No", "per_invoice")),
        lambda c: c.poll_extraction(bad_id),
        lambda c: c.delete_extraction(bad_id),
    ]
    for call in calls:
        with pytest.raises(ContractError):
            call(client)
    assert server.requests == []


def test_a_request_that_the_vendor_would_refuse_or_misread_is_not_sent(
    server: ScriptedServer, client: InvoiceDataExtractionClient
) -> None:
    calls: list[CallClient] = [
        lambda c: c.open_session("s", []),
        lambda c: c.open_session("s", [FileToUpload("f", "a.pdf", 1), FileToUpload("f", "b.pdf", 1)]),
        lambda c: c.open_session("s", [FileToUpload("f", "a.pdf", 1), FileToUpload("g", "a.pdf", 1)]),
        lambda c: c.request_part_urls("s", "f", []),
        lambda c: c.request_part_urls("s", "f", [0]),
        lambda c: c.request_part_urls("s", "f", range(1, 1002)),
        lambda c: c.finish_file_upload("s", "f", {}),
        lambda c: c.finish_file_upload("s", "f", {1: '"a"', 3: '"c"'}),
        lambda c: c.submit_extraction(Submission("x", "s", ["f"], "task", "No", "automatic")),  # type: ignore[arg-type]
        lambda c: c.fetch_results_page(EXTRACTION_ID, -1, 10),
        lambda c: c.fetch_results_page(EXTRACTION_ID, 0, 1001),
    ]
    for call in calls:
        with pytest.raises(ContractError):
            call(client)
    assert server.requests == []
