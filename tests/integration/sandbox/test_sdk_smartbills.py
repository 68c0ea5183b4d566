"""The vendor's own package (smartbills 2.1.0), unmodified, against the stand-in for smartbills.io.

The package has no extraction call: API 01 (smartbills.com) has no SDK at all, so there is nothing to run against
that stand-in (contract sheet 01 §1). Its receipts use the business route, whose dialect differs from the documented
one (sheet 05 §2, §9).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
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

from sandbox.process import Sandbox

API_KEYS = (f"sk_test_sdk_{number}" for number in itertools.count())
AMOUNT_FIELDS = (
    "totalDiscounts",
    "totalFees",
    "subTotal",
    "totalTip",
    "totalDuties",
    "totalShipping",
    "totalTaxes",
    "total",
)
BUSINESS_ID = 7


@pytest.fixture
def api_key(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return an unused API key; no proxy is used for the loopback address."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return next(API_KEYS)


def run_with_client(
    sandbox: Sandbox, api_key: str, use_client: Callable[[SmartbillsClient], Awaitable[Any]], retries: int = 3
) -> Any:
    """Return the result of an async function that gets the vendor's client; the SDK adds ``/v1`` itself."""
    base_url = sandbox.smartbills_io["base_url"].removesuffix("/v1")
    options = SmartbillsClientOptions(
        base_url=base_url, access_token=api_key, business_id=BUSINESS_ID, max_retries=retries, retry_delay=0.0
    )

    async def use_session() -> Any:
        async with SmartbillsClient(options) as client:
            return await use_client(client)

    return asyncio.run(use_session())


def build_receipt(number: str, **changes: Any) -> Any:
    """Return a receipt of 12.34 EUR as the SDK sends it: a dict, as its model does not accept dates and Decimals."""
    amounts = {name: {"amount": 0, "currency": "EUR"} for name in AMOUNT_FIELDS}
    amounts["total"] = amounts["subTotal"] = {"amount": 12.34, "currency": "EUR"}
    line = {"name": "Service", "quantity": 1, "price": {"amount": 12.34, "currency": "EUR"}}
    defaults = {"receiptId": number, "type": "RECEIPT_OFFICIAL", "taxesIncluded": False, "date": "2026-01-15T00:00:00Z"}
    return {**defaults, **amounts, "lineItems": [line], **changes}


def test_the_package_creates_reads_lists_and_deletes_a_receipt(sandbox: Sandbox, api_key: str) -> None:
    async def use_client(client: SmartbillsClient) -> None:
        created = await client.receipts.create(build_receipt("r-1"))
        assert (await client.receipts.get_by_id(created.id)).receipt_id == "r-1"
        [listed] = (await client.receipts.list()).data
        assert (listed.id, listed.total.amount) == (created.id, 12.34)
        await client.receipts.delete(created.id)
        assert (await client.receipts.list()).data == []
        with pytest.raises(SmartbillsNotFoundError):
            await client.receipts.get_by_id(created.id)

    run_with_client(sandbox, api_key, use_client)
    [journal] = sandbox.read_journal(api_key)["receipts"]
    assert (journal["receiptId"], journal["tenant_id"], journal["body"]["total"]["amount"]) == (
        "r-1",
        "7",
        Decimal("12.34"),
    )
    assert journal["deleted_at"] is not None


def test_the_package_uses_the_business_route(sandbox: Sandbox, api_key: str) -> None:
    async def use_client(client: SmartbillsClient) -> None:
        created = await client.receipts.create(build_receipt("r-1"))
        await client.receipts.list()
        await client.receipts.delete(created.id)

    run_with_client(sandbox, api_key, use_client)
    route = "/smartbills_io/v1/businesses/{business}/receipts"
    assert sandbox.read_journal(api_key)["answers"] == {
        f"POST {route}": {"201": 1}, f"GET {route}": {"200": 1}, f"DELETE {route}/{{id}}": {"204": 1},
    }  # fmt: skip


def test_the_package_reads_pages(sandbox: Sandbox, api_key: str) -> None:
    async def use_client(client: SmartbillsClient) -> tuple[list[str], int, int]:
        for number in range(3):
            await client.receipts.create(build_receipt(f"r-{number}"))
        first = await client.receipts.list(ReceiptListRequest(page=1, limit=2))
        second = await client.receipts.list(ReceiptListRequest(page=2, limit=2))
        names = [str(row.receipt_id) for row in [*first.data, *second.data]]
        return names, first.pagination.count, first.pagination.page_count

    assert run_with_client(sandbox, api_key, use_client) == (["r-2", "r-1", "r-0"], 3, 2)


def test_the_package_finds_a_receipt_by_its_number(sandbox: Sandbox, api_key: str) -> None:
    async def use_client(client: SmartbillsClient) -> list[str]:
        for number in range(3):
            await client.receipts.create(build_receipt(f"r-{number}"))
        found = await client.receipts.list(ReceiptListRequest(ReceiptNumber="r-1"))
        return [str(row.receipt_id) for row in found.data]

    assert run_with_client(sandbox, api_key, use_client) == ["r-1"]


def test_the_package_updates_a_receipt_from_the_six_documented_properties(sandbox: Sandbox, api_key: str) -> None:
    changes: Any = {
        "merchantId": 1, "totalAmount": 9.5, "currency": "EUR", "items": [], "paymentMethod": "x", "date": "2026-01-01",
    }  # fmt: skip

    async def use_client(client: SmartbillsClient) -> float:
        created = await client.receipts.create(build_receipt("r-1"))
        return float((await client.receipts.update(created.id, changes)).total.amount)

    assert run_with_client(sandbox, api_key, use_client) == 9.5


def test_the_package_repeats_a_post_after_a_500_and_makes_a_second_receipt(sandbox: Sandbox, api_key: str) -> None:
    sandbox.update_settings(api_key, smartbills_io__http_500_after_work=1)
    run_with_client(sandbox, api_key, lambda client: client.receipts.create(build_receipt("r-1")))
    assert [row["receiptId"] for row in sandbox.read_journal(api_key)["receipts"]] == ["r-1", "r-1"]


def test_a_lost_answer_raises_an_error_of_the_underlying_library(sandbox: Sandbox, api_key: str) -> None:
    sandbox.update_settings(api_key, smartbills_io__lost_response=1)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        run_with_client(sandbox, api_key, lambda client: client.receipts.create(build_receipt("r-1")))
    assert len(sandbox.read_journal(api_key)["receipts"]) == 1


def test_the_package_recognises_the_errors(sandbox: Sandbox, api_key: str) -> None:
    with pytest.raises(SmartbillsValidationError):
        run_with_client(sandbox, api_key, lambda client: client.receipts.create(build_receipt("r-1", total=None)))
    sandbox.update_settings(api_key, smartbills_io__unique_receipt_id="on")

    async def create_receipt_twice(client: SmartbillsClient) -> None:
        await client.receipts.create(build_receipt("r-1"))
        await client.receipts.create(build_receipt("r-1"))

    with pytest.raises(SmartbillsConflictError):
        run_with_client(sandbox, api_key, create_receipt_twice)
    assert len(sandbox.read_journal(api_key)["receipts"]) == 1
