"""The stand-in for smartbills.io over HTTP: receipts, pages, both dialects, error envelopes, lost answers."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
import requests

from sandbox.process import Sandbox
from tests.integration.sandbox.smartbills_api_client import ApiClient


@pytest.fixture
def api_client(sandbox: Sandbox) -> Iterator[ApiClient]:
    """Return a client with an unused API key."""
    new_client = ApiClient(sandbox)
    yield new_client
    new_client.session.close()


def test_a_receipt_is_created_read_listed_updated_and_deleted(api_client: ApiClient) -> None:
    created = api_client.create_receipt(
        receiptId="r-1", total={"amount": 12.34, "currency": "EUR"}, customer={"email": "a@b.example"}
    )
    assert created.status_code == 201
    receipt = created.json()
    assert "customer" not in receipt
    url = f"{api_client.receipts_url}/{receipt['id']}"
    assert api_client.session.get(url, timeout=10).json() == receipt
    changes = {
        "merchantId": 1,
        "totalAmount": 9.5,
        "currency": "EUR",
        "items": [],
        "paymentMethod": "x",
        "date": "2026-01-01",
    }
    assert api_client.session.put(url, json={**changes, "date": None}, timeout=10).status_code == 400
    assert api_client.session.put(url, json=changes, timeout=10).json()["total"] == {"amount": 9.5, "currency": "EUR"}
    assert api_client.session.delete(url, timeout=10).json()["receiptId"] == "r-1"
    assert api_client.session.delete(url, timeout=10).status_code == 404
    journal = api_client.sandbox.read_journal(api_client.api_key)["receipts"]
    assert [(row["receiptId"], row["body"]["total"]["amount"]) for row in journal] == [("r-1", Decimal("12.34"))]


def test_the_list_has_pages_newest_first(api_client: ApiClient) -> None:
    ids = [api_client.create_receipt(receiptId=f"r-{n}").json()["id"] for n in range(5)]
    first = api_client.session.get(api_client.receipts_url, params={"page": 1, "pageSize": 2}, timeout=10).json()
    assert [row["id"] for row in first["data"]] == [ids[4], ids[3]]
    assert first["metadata"] == {"page": 1, "pageSize": 2, "totalPages": 3, "count": 5}
    query: dict[str, str | int] = {"page": 3, "pageSize": 2, "orderBy": "receiptId", "sortOrder": "asc"}
    assert [
        row["receiptId"]
        for row in api_client.session.get(api_client.receipts_url, params=query, timeout=10).json()["data"]
    ] == ["r-4"]
    assert (
        api_client.session.get(api_client.receipts_url, params={"page": 9, "pageSize": 2}, timeout=10).json()["data"]
        == []
    )
    for wrong in ({"page": 0}, {"pageSize": 101}, {"sortOrder": "x"}, {"orderBy": "id; drop table receipts"}):
        assert api_client.session.get(api_client.receipts_url, params=wrong, timeout=10).status_code == 400


def test_the_business_route_uses_the_dialect_of_the_sdk(api_client: ApiClient) -> None:
    receipt = api_client.create_receipt(
        api_client.business_receipts_url, lineItems=[{"name": "Service", "description": "text"}]
    ).json()
    assert [item["name"] for item in receipt["lineItems"]] == ["Service"]
    assert "pagination" in api_client.session.get(api_client.business_receipts_url, timeout=10).json()
    assert (
        api_client.session.delete(f"{api_client.business_receipts_url}/{receipt['id']}", timeout=10).status_code == 204
    )
    elsewhere = api_client.business_receipts_url.replace("businesses/1/", "businesses/2/")
    assert api_client.session.get(elsewhere, timeout=10).status_code == 403


def test_a_lost_answer_leaves_the_receipt_and_repeating_makes_a_second_one(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(smartbills_io__lost_response=1)
    with pytest.raises(requests.ConnectionError):
        api_client.create_receipt(receiptId="r-1")
    assert api_client.count_receipts() == 1
    assert api_client.create_receipt(receiptId="r-1").status_code == 201
    assert api_client.count_receipts() == 2


def test_uniqueness_and_idempotency_are_settings(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(smartbills_io__unique_receipt_id="on", smartbills_io__http_500_after_work=1)
    assert api_client.create_receipt(receiptId="r-1").status_code == 500
    assert api_client.create_receipt(receiptId="r-1").json()["error"]["code"] == "DUPLICATE_RECEIPT"
    api_client.update_sandbox_settings(smartbills_io__unique_receipt_id="off", smartbills_io__idempotency_key="on")
    api_client.session.headers["Idempotency-Key"] = "k"
    assert (
        api_client.create_receipt(receiptId="r-2").json()["id"]
        == api_client.create_receipt(receiptId="r-2").json()["id"]
    )
    assert api_client.create_receipt(receiptId="r-3").status_code == 409
    assert api_client.count_receipts() == 2


def test_pages_shift_when_somebody_else_creates_a_receipt(api_client: ApiClient) -> None:
    ids = [api_client.create_receipt().json()["id"] for _ in range(4)]
    api_client.update_sandbox_settings(smartbills_io__page_shift=1)
    pages = [
        api_client.session.get(api_client.receipts_url, params={"page": n, "pageSize": 2}, timeout=10).json()
        for n in (1, 2)
    ]
    assert [row["id"] for page in pages for row in page["data"]] == [ids[3], ids[2], ids[2], ids[1]]
    assert api_client.count_receipts() == 4


def test_an_invalid_receipt_is_refused_in_each_error_envelope(api_client: ApiClient) -> None:
    refused = api_client.create_receipt(total=12, subTotal=None)
    assert refused.status_code == 400
    assert {row["field"] for row in refused.json()["error"]["details"]} == {"total", "subTotal"}
    for envelope, member in (("2", "title"), ("3", "message"), ("4", "errors")):
        api_client.update_sandbox_settings(smartbills_io__error_envelope=envelope)
        assert member in api_client.create_receipt(total=12).json()
    api_client.update_sandbox_settings(smartbills_io__error_envelope="5")
    assert api_client.create_receipt(total=12).headers["Content-Type"].startswith("text/html")
    assert api_client.count_receipts() == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"[" * 200_000, b'{"total": NaN}', b"\xff\xfe"])
def test_a_hostile_body_is_a_400(api_client: ApiClient, body: bytes) -> None:
    assert api_client.session.post(api_client.receipts_url, data=body, timeout=10).status_code == 400
    assert api_client.count_receipts() == 0


def test_a_body_over_a_megabyte_is_refused(api_client: ApiClient) -> None:
    assert api_client.session.post(api_client.receipts_url, data=b" " * 1_100_000, timeout=10).status_code == 413


def test_tenant_and_scope_are_required(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(smartbills_io__scopes="receipts.read")
    assert api_client.create_receipt().status_code == 403
    assert api_client.session.get(api_client.receipts_url, timeout=10).status_code == 200
    del api_client.session.headers["x-tenant-id"]
    assert api_client.session.get(api_client.receipts_url, timeout=10).status_code == 400


def test_a_full_leaky_bucket_answers_429_with_a_retry_after(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(smartbills_io__rate_model="leaky_bucket", smartbills_io__retry_after="60")
    answers = [api_client.session.get(f"{api_client.receipts_url}/1", timeout=10) for _ in range(110)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert refused[0].headers["Retry-After"] == "60"
