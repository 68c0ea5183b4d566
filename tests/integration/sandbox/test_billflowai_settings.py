"""The settings of BillflowAI: limits, quota, lost answers, varying shapes, expiring sessions."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

import sandbox as sandbox_package
from sandbox.billflowai.settings import SETTING_DEFINITIONS
from sandbox.billflowai.tokens import build_session_token
from sandbox.process import Sandbox, start_sandbox
from tests.integration.sandbox.billflowai_api_client import SCAN_CONTENT, ApiClient


@pytest.fixture
def api_client(sandbox: Sandbox) -> Iterator[ApiClient]:
    """Return a client with an unused API key."""
    new_client = ApiClient(sandbox)
    yield new_client
    new_client.session.close()


def build_unknown_pdf(number: int) -> bytes:
    """Return a PDF that is not in the sample data."""
    return b"%%PDF-1.7 %d" % number


@pytest.mark.parametrize("form", ["absent", "seconds", "http_date"])
def test_calls_above_the_rate_limit_are_refused_with_a_retry_after(api_client: ApiClient, form: str) -> None:
    api_client.update_sandbox_settings(rate_limit_per_minute=2, retry_after=form)
    answers = [api_client.session.get(f"{api_client.api_url}/invoices", timeout=30) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    retry_after = answers[-1].headers.get("Retry-After")
    if form == "absent":
        assert retry_after is None
    elif form == "seconds":
        assert 1 <= int(retry_after or 0) <= 60
    else:
        assert 0 < email.utils.parsedate_to_datetime(retry_after or "").timestamp() - time.time() <= 61
    api_client.update_sandbox_settings(rate_limit_per_minute=0)
    assert api_client.upload_file(SCAN_CONTENT).status_code == 200


def test_the_minute_lasts_as_long_as_set_at_the_start(tmp_path: Path) -> None:
    with start_sandbox(tmp_path, minute_seconds=0.05, settings={"billflowai.rate_limit_per_minute": 1}) as running:
        running_client = ApiClient(running)
        for _ in range(3):
            assert running_client.session.get(f"{running_client.api_url}/invoices", timeout=30).status_code == 200
            time.sleep(0.06)
        running_client.session.close()


def test_a_slow_extraction_does_not_delay_other_calls(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(latency_ms=60_000, concurrency_limit=1)
    with pytest.raises(requests.ReadTimeout):
        api_client.session.post(f"{api_client.api_url}/extract-invoice-file", files={"file": SCAN_CONTENT}, timeout=1)
    assert api_client.upload_refused_file(SCAN_CONTENT) == (429, "RATE_LIMITED")
    assert api_client.list_stored_invoices() == []


def test_many_extractions_run_at_the_same_time(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(latency_ms=300, read_strangers="on")
    with ThreadPoolExecutor(6) as pool:
        answers = list(
            pool.map(
                lambda n: ApiClient(api_client.sandbox, api_client.api_key).upload_file(build_unknown_pdf(n)), range(6)
            )
        )
    assert {answer.status_code for answer in answers} == {200}
    assert len(api_client.list_charges()) == 6


def test_a_used_up_quota_is_402_and_not_charged(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(quota_total=5, quota_used=3, read_strangers="on")
    assert [api_client.upload_file(build_unknown_pdf(n)).status_code for n in range(3)] == [200, 200, 402]
    assert api_client.upload_refused_file(build_unknown_pdf(2)) == (402, "QUOTA_EXCEEDED")
    assert len(api_client.list_charges()) == 2


def test_a_quota_holds_for_extractions_at_the_same_time(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(quota_total=2, latency_ms=300, read_strangers="on")
    with ThreadPoolExecutor(5) as pool:
        answers = list(
            pool.map(
                lambda n: ApiClient(api_client.sandbox, api_client.api_key).upload_file(build_unknown_pdf(n)), range(5)
            )
        )
    assert sorted(answer.status_code for answer in answers) == [200, 200, 402, 402, 402]
    assert len(api_client.list_charges()) == 2


def test_a_lost_answer_was_stored_and_charged_and_a_repeat_costs_nothing(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(lost_response=1)
    with pytest.raises(requests.ConnectionError):
        api_client.upload_file(SCAN_CONTENT)
    assert (len(api_client.list_charges()), len(api_client.list_stored_invoices())) == (1, 1)
    assert api_client.read_invoice(SCAN_CONTENT)["meta"]["source"] == "cache"
    assert len(api_client.list_charges()) == 1


def test_a_500_after_the_work_was_charged_and_not_stored_so_a_repeat_is_charged_again(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(http_500_after_work=1)
    assert api_client.upload_refused_file(SCAN_CONTENT) == (500, "PERSIST_FAILED")
    assert (len(api_client.list_charges()), len(api_client.list_stored_invoices())) == (1, 0)
    assert api_client.read_invoice(SCAN_CONTENT)["meta"]["source"] == "extracted"
    assert len(api_client.list_charges()) == 2


def test_every_nth_call_fails_without_work(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(http_500_every=2)
    assert [api_client.upload_file(SCAN_CONTENT).status_code for _ in range(4)] == [200, 500, 200, 500]
    assert len(api_client.list_charges()) == 1


def test_extractions_fail_as_often_as_set_with_the_code_that_is_set(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(fail_code="EXTRACTION_FAILED=2")
    assert [api_client.upload_file(SCAN_CONTENT).status_code for _ in range(3)] == [422, 422, 200]
    api_client.update_sandbox_settings(fail_code="PERSIST_FAILED")
    assert {api_client.upload_refused_file(SCAN_CONTENT) for _ in range(3)} == {(500, "PERSIST_FAILED")}
    api_client.update_sandbox_settings(fail_code="504=1")
    gateway = api_client.upload_file(SCAN_CONTENT)
    assert (gateway.status_code, gateway.headers["Content-Type"]) == (504, "text/html; charset=utf-8")
    assert api_client.upload_file(SCAN_CONTENT).status_code == 200
    assert len(api_client.list_charges()) == 1


@pytest.mark.parametrize(("source", "charges", "stored"), [("extracted", 2, 2), ("cache", 0, 2), ("duplicate", 2, 1)])
def test_an_extraction_is_answered_and_charged_as_the_source_setting_says(
    api_client: ApiClient, source: str, charges: int, stored: int
) -> None:
    api_client.update_sandbox_settings(source=source)
    assert {api_client.read_invoice(SCAN_CONTENT)["meta"]["source"] for _ in range(2)} == {source}
    assert (len(api_client.list_charges()), len(api_client.list_stored_invoices())) == (charges, stored)


def test_without_a_source_nothing_is_stored(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(source="none")
    assert "meta" not in api_client.read_invoice(SCAN_CONTENT)
    assert (len(api_client.list_charges()), api_client.list_stored_invoices()) == (1, [])


def test_fields_are_null_missing_or_strings_as_the_settings_say(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(null_fields="date,items", drop_fields="currency,meta", line_total_null="on")
    answer = api_client.read_invoice(SCAN_CONTENT)
    assert (answer["date"], answer["items"]) == (None, [])
    assert not {"currency", "meta"} & set(answer)
    api_client.update_sandbox_settings(null_fields="", numbers_as_strings="on")
    answer = api_client.read_invoice(SCAN_CONTENT)
    assert answer["total"] == "2400.00"
    assert {line["line_total"] for line in answer["items"]} == {None}
    assert all(isinstance(line["price"], str) for line in answer["items"])


def test_the_vendors_sample_satisfies_two_sums_and_not_the_third(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(vendor_sample="on")
    answer = api_client.read_invoice(SCAN_CONTENT)
    total, subtotal, discount, tax = (answer[name] for name in ("total", "subtotal", "discount", "tax"))
    assert (total, subtotal, discount, tax) == (1200, 1300, 100, 180)
    assert answer["items"] == [{"description": "Service", "quantity": 1, "price": 1020, "line_total": None}]
    assert subtotal - discount == total == answer["items"][0]["price"] + tax != subtotal - discount + tax


def test_a_session_token_gives_access_to_its_account_until_it_expires(api_client: ApiClient) -> None:
    invoice_id = api_client.read_invoice(SCAN_CONTENT)["meta"]["invoiceId"]
    session = ApiClient(api_client.sandbox, build_session_token(api_client.api_key))
    assert [row["id"] for row in session.list_stored_invoices()] == [invoice_id]
    stale = ApiClient(api_client.sandbox, build_session_token(api_client.api_key, time.time() - 100))
    assert stale.upload_file(SCAN_CONTENT).status_code == 200
    api_client.update_sandbox_settings(jwt_ttl=99)
    assert stale.upload_refused_file(SCAN_CONTENT) == (401, "UNAUTHORIZED")
    assert session.upload_file(SCAN_CONTENT).status_code == 200
    forged = ApiClient(api_client.sandbox, build_session_token(api_client.api_key)[:-2] + "xx")
    assert forged.upload_refused_file(SCAN_CONTENT) == (401, "UNAUTHORIZED")


def test_every_setting_is_in_the_table_of_its_vendor() -> None:
    text = (Path(sandbox_package.__file__).parent / "README.md").read_text(encoding="utf-8")
    table = text.partition("(`billflowai`)")[2].partition("\n## ")[0]
    assert [name for name in SETTING_DEFINITIONS if f"| `{name}` |" not in table] == []
