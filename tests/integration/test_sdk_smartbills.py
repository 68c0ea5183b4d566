"""The vendor's own package (smartbills 2.1.0), unmodified, against the stand-in of smartbills.io.

The package has no extraction call: API 01 (smartbills.com) has no SDK at all, so there is nothing to run against that
room (contract sheet 01 §1). Its receipts go through the business route, whose dialect differs from the documented one
(sheet 05 §2, §9).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from smartbills import (
    SmartbillsClient,
    SmartbillsClientOptions,
    SmartbillsConflictError,
    SmartbillsNotFoundError,
    SmartbillsValidationError,
)
from smartbills.models.receipts import ReceiptListRequest

from sandbox.serving import Sandbox, start

KEYS = (f"sk_test_sdk_{number}" for number in itertools.count())
MONEY = ("totalDiscounts", "totalFees", "subTotal", "totalTip", "totalDuties", "totalShipping", "totalTaxes", "total")
BUSINESS = 7


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox for all tests; each test comes with a key of its own."""
    with start(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """A key that nobody used before; no proxy stands between us and the loopback."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return next(KEYS)


def run(sandbox: Sandbox, key: str, work: Callable[[SmartbillsClient], Awaitable[Any]], retries: int = 3) -> Any:
    """Return what an async function makes of the vendor's client; the SDK adds ``/v1`` itself."""
    base_url = sandbox.smartbills_io["base_url"].removesuffix("/v1")
    options = SmartbillsClientOptions(
        base_url=base_url, access_token=key, business_id=BUSINESS, max_retries=retries, retry_delay=0.0
    )

    async def session() -> Any:
        async with SmartbillsClient(options) as client:
            return await work(client)

    return asyncio.run(session())


def receipt(number: str, **changes: Any) -> Any:
    """Return a receipt of 12.34 EUR as the SDK sends it: a dict, because its model takes no dates and Decimals."""
    amounts = {name: {"amount": 0, "currency": "EUR"} for name in MONEY}
    amounts["total"] = amounts["subTotal"] = {"amount": 12.34, "currency": "EUR"}
    line = {"name": "Service", "quantity": 1, "price": {"amount": 12.34, "currency": "EUR"}}
    fixed = {"receiptId": number, "type": "RECEIPT_OFFICIAL", "taxesIncluded": False, "date": "2026-01-15T00:00:00Z"}
    return {**fixed, **amounts, "lineItems": [line], **changes}


def test_a_receipt_goes_round_through_the_vendors_own_package(sandbox: Sandbox, key: str) -> None:
    async def work(client: SmartbillsClient) -> None:
        created = await client.receipts.create(receipt("r-1"))
        assert (await client.receipts.get_by_id(created.id)).receipt_id == "r-1"
        [listed] = (await client.receipts.list()).data
        assert (listed.id, listed.total.amount) == (created.id, 12.34)
        await client.receipts.delete(created.id)
        assert (await client.receipts.list()).data == []
        with pytest.raises(SmartbillsNotFoundError):
            await client.receipts.get_by_id(created.id)

    run(sandbox, key, work)
    [kept] = sandbox.journal(key)["receipts"]
    assert (kept["receiptId"], kept["tenant_id"], kept["body"]["total"]["amount"]) == ("r-1", "7", Decimal("12.34"))
    assert kept["deleted_at"] is not None


def test_the_packages_calls_take_the_business_route(sandbox: Sandbox, key: str) -> None:
    async def work(client: SmartbillsClient) -> None:
        created = await client.receipts.create(receipt("r-1"))
        await client.receipts.list()
        await client.receipts.delete(created.id)

    run(sandbox, key, work)
    route = "/smartbills_io/v1/businesses/{business}/receipts"
    assert sandbox.journal(key)["answers"] == {
        f"POST {route}": {"201": 1}, f"GET {route}": {"200": 1}, f"DELETE {route}/{{id}}": {"204": 1},
    }  # fmt: skip


def test_the_package_reads_our_pages(sandbox: Sandbox, key: str) -> None:
    async def work(client: SmartbillsClient) -> tuple[list[str], int, int]:
        for number in range(3):
            await client.receipts.create(receipt(f"r-{number}"))
        first = await client.receipts.list(ReceiptListRequest(page=1, limit=2))
        second = await client.receipts.list(ReceiptListRequest(page=2, limit=2))
        names = [str(row.receipt_id) for row in [*first.data, *second.data]]
        return names, first.pagination.count, first.pagination.page_count

    assert run(sandbox, key, work) == (["r-2", "r-1", "r-0"], 3, 2)


def test_the_package_finds_a_receipt_by_its_number(sandbox: Sandbox, key: str) -> None:
    async def work(client: SmartbillsClient) -> list[str]:
        for number in range(3):
            await client.receipts.create(receipt(f"r-{number}"))
        found = await client.receipts.list(ReceiptListRequest(ReceiptNumber="r-1"))
        return [str(row.receipt_id) for row in found.data]

    assert run(sandbox, key, work) == ["r-1"]


def test_the_package_updates_a_receipt_from_the_six_documented_properties(sandbox: Sandbox, key: str) -> None:
    changes: Any = {
        "merchantId": 1, "totalAmount": 9.5, "currency": "EUR", "items": [], "paymentMethod": "x", "date": "2026-01-01",
    }  # fmt: skip

    async def work(client: SmartbillsClient) -> float:
        created = await client.receipts.create(receipt("r-1"))
        return float((await client.receipts.update(created.id, changes)).total.amount)

    assert run(sandbox, key, work) == 9.5


def test_the_package_repeats_a_post_after_a_500_and_makes_a_second_receipt(sandbox: Sandbox, key: str) -> None:
    sandbox.turn(key, smartbills_io__http_500_after_work=1)
    run(sandbox, key, lambda client: client.receipts.create(receipt("r-1")))
    assert [row["receiptId"] for row in sandbox.journal(key)["receipts"]] == ["r-1", "r-1"]


def test_an_answer_that_is_lost_escapes_as_an_error_of_the_library_beneath(sandbox: Sandbox, key: str) -> None:
    sandbox.turn(key, smartbills_io__lost_response=1)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        run(sandbox, key, lambda client: client.receipts.create(receipt("r-1")))
    assert len(sandbox.journal(key)["receipts"]) == 1


def test_the_package_knows_our_refusals(sandbox: Sandbox, key: str) -> None:
    with pytest.raises(SmartbillsValidationError):
        run(sandbox, key, lambda client: client.receipts.create(receipt("r-1", total=None)))
    sandbox.turn(key, smartbills_io__unique_receipt_id="on")

    async def twice(client: SmartbillsClient) -> None:
        await client.receipts.create(receipt("r-1"))
        await client.receipts.create(receipt("r-1"))

    with pytest.raises(SmartbillsConflictError):
        run(sandbox, key, twice)
    assert len(sandbox.journal(key)["receipts"]) == 1
