"""Reading the vendor's list of receipts: complete, or an error, also while the list changes."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator

import pytest

from invoices.clients.http_client import make_session
from invoices.clients.smartbills_io import RemoteReceipt, SmartBillsIoClient
from invoices.errors import ContractError, UnknownOutcome
from invoices.receipts.remote_receipts import NewestReceipts, RemoteReceiptList
from tests.integration.clients.fake_receipts_api import NOON, FakeReceiptsApi, build_receipt
from tests.servers.scripted_http_server import ReceivedRequest, Response, ScriptedServer

HOUR = dt.timedelta(hours=1)
NOTHING_EARLIER = NewestReceipts([], is_sorted=False)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running_server:
        yield running_server


@pytest.fixture
def receipt_list(server: ScriptedServer) -> Iterator[RemoteReceiptList]:
    with make_session() as session:
        client = SmartBillsIoClient(f"{server.url}/v1", "sk_test_1", "7", session, deadline=5)
        yield RemoteReceiptList(client.fetch_receipt_page)


def list_numbers(receipt_list: RemoteReceiptList) -> list[int]:
    return sorted(receipt.id for group in receipt_list.read_all().receipts.values() for receipt in group)


def is_ours(receipt: RemoteReceipt) -> bool:
    return receipt.receipt_id is not None and receipt.receipt_id.startswith("ours")


@pytest.mark.parametrize("pagination_style", ["metadata", "pagination", "flat", None])
@pytest.mark.parametrize("max_page_size", [100, 7])
@pytest.mark.parametrize("count", [0, 1, 7, 14, 23])
def test_the_whole_list_is_read(
    server: ScriptedServer,
    receipt_list: RemoteReceiptList,
    pagination_style: str | None,
    max_page_size: int,
    count: int,
) -> None:
    stored = [build_receipt(number) for number in range(1, count + 1)]
    server.set_handler(FakeReceiptsApi(*stored, max_page_size=max_page_size, pagination_style=pagination_style))
    assert list_numbers(receipt_list) == list(range(1, count + 1))


def test_a_list_of_one_page_is_read_once_and_a_longer_one_until_two_readings_agree(
    server: ScriptedServer, receipt_list: RemoteReceiptList
) -> None:
    receipts_api = FakeReceiptsApi(*(build_receipt(number) for number in range(1, 101)))
    server.set_handler(receipts_api)
    receipt_list.read_all()
    assert receipts_api.request_count == 1
    receipts_api.receipts.append(build_receipt(101))
    receipt_list.read_all()
    assert receipts_api.request_count == 5


@pytest.mark.parametrize("request_number", range(1, 7))
def test_no_receipt_is_missed_when_another_is_deleted_meanwhile(
    server: ScriptedServer, receipt_list: RemoteReceiptList, request_number: int
) -> None:
    receipts_api = FakeReceiptsApi(*(build_receipt(number) for number in range(1, 16)), max_page_size=5)
    receipts_api.actions_before_request = {request_number: lambda: receipts_api.receipts.remove(build_receipt(15))}
    server.set_handler(receipts_api)
    assert set(range(1, 15)) <= set(list_numbers(receipt_list))


@pytest.mark.parametrize("deletion", range(2, 7))
@pytest.mark.parametrize("addition", range(2, 7))
def test_no_receipt_is_missed_when_one_is_deleted_and_one_added_meanwhile(
    server: ScriptedServer, receipt_list: RemoteReceiptList, deletion: int, addition: int
) -> None:
    receipts_api = FakeReceiptsApi(*(build_receipt(number) for number in range(1, 16)), max_page_size=5)

    def delete() -> None:
        receipts_api.receipts.remove(build_receipt(15))

    def add() -> None:
        receipts_api.receipts.append(build_receipt(99))

    actions = {addition: add, deletion: delete}
    receipts_api.actions_before_request = actions if addition != deletion else {deletion: lambda: (delete(), add())}
    server.set_handler(receipts_api)
    assert set(range(1, 15)) <= set(list_numbers(receipt_list))


def test_a_list_that_keeps_shrinking_is_an_unknown_outcome(
    server: ScriptedServer, receipt_list: RemoteReceiptList
) -> None:
    receipts_api = FakeReceiptsApi(*(build_receipt(number) for number in range(1, 400)))
    receipts_api.actions_before_request = dict.fromkeys(range(2, 30), lambda: receipts_api.receipts.pop())
    server.set_handler(receipts_api)
    with pytest.raises(UnknownOutcome, match="keep disappearing"):
        receipt_list.read_all()


def test_a_list_that_ignores_pages_is_no_proof_of_absence(
    server: ScriptedServer, receipt_list: RemoteReceiptList
) -> None:
    data = [build_receipt(number) for number in range(1, 101)]
    server.set_replies(Response.from_json({"data": data}))
    with pytest.raises(ContractError, match="only receipts of earlier pages"):
        receipt_list.read_all()
    server.set_replies(
        Response.from_json({"data": data, "metadata": {"page": 1, "pageSize": 100, "totalPages": 9, "count": 900}})
    )
    with pytest.raises(UnknownOutcome, match="counts 900 receipts and shows only 100"):
        receipt_list.read_all()


def test_a_page_count_that_is_too_low_does_not_hide_receipts(
    server: ScriptedServer, receipt_list: RemoteReceiptList
) -> None:
    receipts_api = FakeReceiptsApi(*(build_receipt(number) for number in range(1, 151)))

    def build_understated_page(request: ReceivedRequest) -> Response:
        answer = receipts_api(request)
        return Response.from_json(
            {**json.loads(answer.body), "metadata": {"pageSize": 100, "totalPages": 1, "count": 150}}
        )

    server.set_handler(build_understated_page)
    assert list_numbers(receipt_list) == list(range(1, 151))


def test_an_empty_list_that_was_not_empty_before_is_read_again(
    server: ScriptedServer, receipt_list: RemoteReceiptList
) -> None:
    full_page = Response.from_json({"data": [build_receipt(1)], "metadata": {"totalPages": 1, "count": 1}})
    server.set_replies(Response.from_json({"data": []}), full_page)
    assert list_numbers(receipt_list) == [1]
    server.set_replies(Response.from_json({"data": []}), full_page)
    assert [receipt.id for receipt in receipt_list.read_newest(is_ours).receipts] == [1]


def test_the_newest_receipts_are_read_down_to_the_first_of_ours(
    server: ScriptedServer, receipt_list: RemoteReceiptList
) -> None:
    stored = [build_receipt(n, f"ours{n}" if n in (4, 7) else None, NOON + n * HOUR) for n in range(1, 21)]
    receipts_api = FakeReceiptsApi(*stored, max_page_size=5)
    server.set_handler(receipts_api)
    newest = receipt_list.read_newest(is_ours)
    assert ([receipt.id for receipt in newest.receipts], newest.is_sorted) == ([*range(20, 5, -1)], True)
    assert receipts_api.request_count == 3
    receipts_api.ignores_order = True
    assert not receipt_list.read_newest(is_ours).is_sorted


@pytest.mark.parametrize("pagination_style", ["metadata", "pagination", "flat", None])
@pytest.mark.parametrize("position", [1, 5, 6, 11, 12])
def test_a_new_receipt_is_found_on_any_page(
    server: ScriptedServer, receipt_list: RemoteReceiptList, pagination_style: str | None, position: int
) -> None:
    stored = [build_receipt(n, "wanted" if n == position else None) for n in range(1, 13)]
    server.set_handler(FakeReceiptsApi(*stored, max_page_size=5, pagination_style=pagination_style))
    assert [receipt.id for receipt in receipt_list.find_new_receipts("wanted", NOTHING_EARLIER)] == [position]
    assert receipt_list.find_new_receipts("unwanted", NOTHING_EARLIER) == []


@pytest.mark.parametrize("clock_error", [-1000 * HOUR, 0 * HOUR, 1000 * HOUR])
def test_a_lookup_ends_where_the_list_was_known_before_whatever_the_clocks_say(
    server: ScriptedServer, receipt_list: RemoteReceiptList, clock_error: dt.timedelta
) -> None:
    stored = [build_receipt(n, f"ours{n}", NOON + clock_error + n * HOUR) for n in range(1, 101)]
    receipts_api = FakeReceiptsApi(*stored, max_page_size=5)
    server.set_handler(receipts_api)
    earlier = receipt_list.read_newest(is_ours)
    receipts_api.receipts += [build_receipt(n, "wanted", NOON + clock_error + n * HOUR) for n in range(101, 108)]
    receipts_api.request_count = 0
    assert len(receipt_list.find_new_receipts("wanted", earlier)) == 7
    assert receipts_api.request_count == 2
    receipts_api.ignores_order = True
    assert len(receipt_list.find_new_receipts("wanted", earlier)) == 7
