"""The faults of the receipts API that settings of the sandbox cause."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from sandbox.process import Sandbox
from tests.integration.sandbox.smartbills_api_client import ApiClient


@pytest.fixture
def api_client(sandbox: Sandbox) -> Iterator[ApiClient]:
    """Return a client with an unused API key."""
    new_client = ApiClient(sandbox)
    yield new_client
    new_client.session.close()


def list_receipt_ids(api_client: ApiClient) -> list[Any]:
    answer = api_client.session.get(api_client.receipts_url, timeout=10).json()
    return [row["receiptId"] for row in answer["data"]]


def test_a_new_receipt_is_missing_from_the_next_lists(api_client: ApiClient) -> None:
    api_client.create_receipt(receiptId="r-1")
    assert [list_receipt_ids(api_client) for _ in range(2)] == [["r-1"]] * 2
    api_client.update_sandbox_settings(smartbills_io__list_lag=2)
    api_client.create_receipt(receiptId="r-2")
    assert [list_receipt_ids(api_client) for _ in range(3)] == [["r-1"], ["r-1"], ["r-2", "r-1"]]


@pytest.mark.parametrize("form", ["html", "cut", "no_list", "entry_without_id", "null", "id_only", "empty"])
def test_a_garbled_answer_has_status_200_and_the_work_is_done(api_client: ApiClient, form: str) -> None:
    api_client.update_sandbox_settings(
        smartbills_io__garbled_create=1, smartbills_io__garbled_list=1, smartbills_io__garbled_form=form
    )
    created = api_client.create_receipt(receiptId="r-1")
    listed = api_client.session.get(api_client.receipts_url, timeout=10)
    assert (created.status_code, listed.status_code) == (200, 200)
    assert b"createdAt" not in listed.content or form == "cut"
    assert list_receipt_ids(api_client) == ["r-1"]


def test_an_empty_list_hides_what_is_there(api_client: ApiClient) -> None:
    api_client.create_receipt(receiptId="r-1")
    api_client.update_sandbox_settings(smartbills_io__empty_list=1)
    assert [list_receipt_ids(api_client) for _ in range(2)] == [[], ["r-1"]]


@pytest.mark.parametrize("status", [400, 404, 405, 413, 422])
def test_the_next_creations_are_refused_with_this_status(api_client: ApiClient, status: int) -> None:
    api_client.update_sandbox_settings(smartbills_io__refused_creations=1, smartbills_io__refusal_status=status)
    assert [api_client.create_receipt().status_code for _ in range(2)] == [status, 201]
    assert api_client.count_receipts() == 1


def test_creations_for_an_unknown_customer_are_refused(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(smartbills_io__refused_customer="typo@example.org")
    assert api_client.create_receipt(customer={"email": "typo@example.org"}).status_code == 400
    assert api_client.create_receipt(customer={"email": "books@example.org"}).status_code == 201


def test_the_vendors_clock_may_be_ahead(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(smartbills_io__clock_shift_seconds=86_400)
    answer = api_client.create_receipt()
    tomorrow = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    for time in (parsedate_to_datetime(answer.headers["Date"]), dt.datetime.fromisoformat(answer.json()["createdAt"])):
        assert abs(time - tomorrow) < dt.timedelta(minutes=10)
