"""The smartbills.io client: listing receipts, and looking up one whose creation is unclear."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest

from invoices.clients.http_client import make_session
from invoices.clients.smartbills_io import SmartBillsIoClient
from invoices.errors import (
    AccountError,
    ContractError,
    UnknownOutcome,
)
from tests.integration.clients.fake_receipts_api import NOON, FakeReceiptsApi, build_receipt
from tests.servers.scripted_http_server import ReceivedRequest, Response, ScriptedServer

API_KEY = "sk_test_77aa"


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[SmartBillsIoClient]:
    with make_session() as session:
        yield SmartBillsIoClient(f"{server.url}/v1", API_KEY, "biz-7", session, deadline=2)


@pytest.mark.parametrize("pagination_style", ["metadata", "pagination", "flat", None])
@pytest.mark.parametrize("max_page_size", [100, 7])
@pytest.mark.parametrize("count", [0, 1, 7, 14, 23])
def test_all_receipts_are_listed_once_oldest_first(
    server: ScriptedServer, client: SmartBillsIoClient, pagination_style: str | None, max_page_size: int, count: int
) -> None:
    server.set_handler(
        FakeReceiptsApi(
            *(build_receipt(n) for n in range(1, count + 1)),
            max_page_size=max_page_size,
            pagination_style=pagination_style,
        )
    )
    assert [r.id for r in client.list_receipts()] == list(range(1, count + 1))
    assert server.requests[0].query == {"page": "1", "pageSize": "100", "orderBy": "createdAt", "sortOrder": "asc"}


def test_receipts_that_arrive_while_listing_are_listed_too(server: ScriptedServer, client: SmartBillsIoClient) -> None:
    receipts_api = FakeReceiptsApi(*(build_receipt(n) for n in range(1, 11)), max_page_size=5)
    receipts_api.actions_before_request = {3: lambda: receipts_api.receipts.append(build_receipt(11))}
    server.set_handler(receipts_api)
    assert [r.id for r in client.list_receipts()] == list(range(1, 12))


def test_receipts_older_than_since_are_not_listed(server: ScriptedServer, client: SmartBillsIoClient) -> None:
    day = dt.timedelta(days=1)
    server.set_handler(
        FakeReceiptsApi(
            build_receipt(1, created=NOON - day), build_receipt(2, created=NOON), build_receipt(3, created=None)
        )
    )
    assert sorted(r.id for r in client.list_receipts(NOON)) == [2, 3]


@pytest.mark.parametrize("pagination_style", ["metadata", "pagination", "flat", None])
@pytest.mark.parametrize("position", [1, 5, 6, 11, 12])
def test_a_receipt_is_found_on_any_page(
    server: ScriptedServer, client: SmartBillsIoClient, pagination_style: str | None, position: int
) -> None:
    stored = [build_receipt(n, "wanted" if n == position else None) for n in range(1, 13)]
    server.set_handler(FakeReceiptsApi(*stored, max_page_size=5, pagination_style=pagination_style))
    assert [r.id for r in client.find_receipts("wanted")] == [position]
    assert client.find_receipts("unwanted") == []


def test_two_receipts_with_one_key_are_both_returned(server: ScriptedServer, client: SmartBillsIoClient) -> None:
    server.set_handler(FakeReceiptsApi(build_receipt(1, "wanted"), build_receipt(2), build_receipt(3, "wanted")))
    assert [r.id for r in client.find_receipts("wanted")] == [3, 1]


def test_a_lookup_ends_one_day_before_the_creation(server: ScriptedServer, client: SmartBillsIoClient) -> None:
    hourly_receipts = [build_receipt(n, created=NOON - dt.timedelta(hours=n)) for n in range(1, 1001)]
    server.set_handler(FakeReceiptsApi(*hourly_receipts))
    assert client.find_receipts("absent", NOON) == []
    assert len(server.requests) == 2  # the newest hundred receipts, and the first page once more


def test_an_unsorted_list_is_read_to_its_end(server: ScriptedServer, client: SmartBillsIoClient) -> None:
    receipts_api = FakeReceiptsApi(
        *(build_receipt(n, created=NOON - dt.timedelta(days=200 - n)) for n in range(1, 200)), max_page_size=10
    )
    receipts_api.receipts.append(build_receipt(500, "wanted", NOON))
    receipts_api.ignores_order = True
    server.set_handler(receipts_api)
    assert [r.id for r in client.find_receipts("wanted", NOON)] == [500]


def test_a_receipt_created_during_the_lookup_is_found(server: ScriptedServer, client: SmartBillsIoClient) -> None:
    receipts_api = FakeReceiptsApi(*(build_receipt(n) for n in range(1, 21)), max_page_size=5)
    receipts_api.actions_before_request = {3: lambda: receipts_api.receipts.append(build_receipt(99, "wanted"))}
    server.set_handler(receipts_api)
    assert [r.id for r in client.find_receipts("wanted")] == [99]


def test_a_receipt_that_moves_to_a_page_already_read_is_found(
    server: ScriptedServer, client: SmartBillsIoClient
) -> None:
    receipts_api = FakeReceiptsApi(
        *(build_receipt(n, "wanted" if n == 5 else None) for n in range(1, 16)), max_page_size=5
    )
    receipts_api.actions_before_request = {3: lambda: receipts_api.receipts.remove(build_receipt(15))}
    server.set_handler(receipts_api)
    assert [r.id for r in client.find_receipts("wanted")] == [5]


def test_a_list_that_keeps_shrinking_is_an_unknown_outcome(server: ScriptedServer, client: SmartBillsIoClient) -> None:
    receipts_api = FakeReceiptsApi(*(build_receipt(n) for n in range(1, 40)))
    receipts_api.actions_before_request = dict.fromkeys(range(2, 20), lambda: receipts_api.receipts.pop())
    server.set_handler(receipts_api)
    with pytest.raises(UnknownOutcome, match="keeps shrinking"):
        client.find_receipts("absent")


def test_a_list_that_ignores_pages_is_no_proof_of_absence(server: ScriptedServer, client: SmartBillsIoClient) -> None:
    data = [build_receipt(n) for n in range(1, 101)]
    server.set_replies(
        Response.from_json({"data": data, "metadata": {"page": 1, "pageSize": 100, "totalPages": 9, "count": 900}})
    )
    with pytest.raises(ContractError, match="only receipts of earlier pages"):
        client.find_receipts("absent")


def test_a_page_count_that_is_too_low_does_not_hide_receipts(
    server: ScriptedServer, client: SmartBillsIoClient
) -> None:
    receipts_api = FakeReceiptsApi(*(build_receipt(n, "wanted" if n == 1 else None) for n in range(1, 151)))

    def build_understated_page(request: ReceivedRequest) -> Response:
        answer = receipts_api(request)
        return Response.from_json(
            {**json.loads(answer.body), "metadata": {"pageSize": 100, "totalPages": 1, "count": 150}}
        )

    server.set_handler(build_understated_page)
    assert [r.id for r in client.find_receipts("wanted")] == [1]


@pytest.mark.parametrize(
    "answer", [[], {}, {"data": None}, {"data": [1]}, {"data": [{"id": True}]}, {"data": [{"id": "x"}]}]
)
def test_a_list_of_another_shape_is_a_contract_error(
    server: ScriptedServer, client: SmartBillsIoClient, answer: Any
) -> None:
    server.set_replies(Response.from_json(answer))
    with pytest.raises(ContractError):
        client.fetch_receipt_page()


def test_an_account_without_read_permission_is_an_account_error(
    server: ScriptedServer, client: SmartBillsIoClient
) -> None:
    server.set_replies(Response(403))
    with pytest.raises(AccountError):
        client.find_receipts("x")
