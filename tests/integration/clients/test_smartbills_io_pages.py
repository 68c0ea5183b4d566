"""The smartbills.io client: pages of the list of receipts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from invoices.clients.http_client import make_session
from invoices.clients.smartbills_io import SmartBillsIoClient
from invoices.errors import AccountError, ContractError
from tests.integration.clients.fake_receipts_api import NOON
from tests.servers.scripted_http_server import Response, ScriptedServer

API_KEY = "sk_test_77aa"


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[SmartBillsIoClient]:
    with make_session() as session:
        yield SmartBillsIoClient(f"{server.url}/v1", API_KEY, "biz-7", session, deadline=2)


def test_a_page_has_the_vendors_time(server: ScriptedServer, client: SmartBillsIoClient) -> None:
    server.set_replies(Response.from_json({"data": []}, Date="Sun, 01 Mar 2026 12:00:00 GMT"))
    assert client.fetch_receipt_page().server_time == NOON
    assert server.requests[0].query == {"page": "1", "pageSize": "100", "orderBy": "createdAt", "sortOrder": "desc"}


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
        client.fetch_receipt_page()
