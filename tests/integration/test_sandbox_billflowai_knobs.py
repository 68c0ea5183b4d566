"""The traps of BillflowAI: limits, quota, answers that get lost, shapes that vary, sessions that expire."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from billflowai_caller import SCAN, Caller

import sandbox as sandbox_package
from sandbox.billflowai.knobs import KNOBS
from sandbox.billflowai.tokens import session_token
from sandbox.serving import Sandbox, start


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox for all tests; each test comes with a key of its own."""
    with start(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture
def caller(sandbox: Sandbox) -> Iterator[Caller]:
    """A caller with a key that nobody used before."""
    made = Caller(sandbox)
    yield made
    made.session.close()


def pdf(number: int) -> bytes:
    """Return a file nobody has seen."""
    return b"%%PDF-1.7 %d" % number


@pytest.mark.parametrize("form", ["absent", "seconds", "http_date"])
def test_more_calls_than_a_minute_has_are_refused_and_told_when_to_come_again(caller: Caller, form: str) -> None:
    caller.turn(rate_limit_per_minute=2, retry_after=form)
    answers = [caller.session.get(f"{caller.api}/invoices", timeout=30) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    told = answers[-1].headers.get("Retry-After")
    if form == "absent":
        assert told is None
    elif form == "seconds":
        assert 1 <= int(told or 0) <= 60
    else:
        assert 0 < email.utils.parsedate_to_datetime(told or "").timestamp() - time.time() <= 61
    caller.turn(rate_limit_per_minute=0)
    assert caller.upload(SCAN).status_code == 200


def test_the_minute_is_as_long_as_the_server_was_told(tmp_path: Path) -> None:
    with start(tmp_path, minute_seconds=0.05, knobs={"billflowai.rate_limit_per_minute": 1}) as running:
        caller = Caller(running)
        for _ in range(3):
            assert caller.session.get(f"{caller.api}/invoices", timeout=30).status_code == 200
            time.sleep(0.06)
        caller.session.close()


def test_work_that_takes_long_does_not_keep_others_waiting(caller: Caller) -> None:
    caller.turn(latency_ms=60_000, concurrency_limit=1)
    with pytest.raises(requests.ReadTimeout):
        caller.session.post(f"{caller.api}/extract-invoice-file", files={"file": SCAN}, timeout=1)
    assert caller.refusal(SCAN) == (429, "RATE_LIMITED")
    assert caller.stored() == []


def test_many_extractions_run_at_the_same_time(caller: Caller) -> None:
    caller.turn(latency_ms=300, read_strangers="on")
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda n: Caller(caller.sandbox, caller.key).upload(pdf(n)), range(6)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(caller.charges()) == 6


def test_a_used_up_quota_is_402_and_costs_nothing(caller: Caller) -> None:
    caller.turn(quota_total=5, quota_used=3, read_strangers="on")
    assert [caller.upload(pdf(n)).status_code for n in range(3)] == [200, 200, 402]
    assert caller.refusal(pdf(2)) == (402, "QUOTA_EXCEEDED")
    assert len(caller.charges()) == 2


def test_a_quota_holds_among_extractions_at_the_same_time(caller: Caller) -> None:
    caller.turn(quota_total=2, latency_ms=300, read_strangers="on")
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda n: Caller(caller.sandbox, caller.key).upload(pdf(n)), range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 402, 402, 402]
    assert len(caller.charges()) == 2


def test_an_answer_that_is_lost_was_stored_and_charged_and_comes_back_for_nothing(caller: Caller) -> None:
    caller.turn(lost_response=1)
    with pytest.raises(requests.ConnectionError):
        caller.upload(SCAN)
    assert (len(caller.charges()), len(caller.stored())) == (1, 1)
    assert caller.read(SCAN)["meta"]["source"] == "cache"
    assert len(caller.charges()) == 1


def test_a_500_after_the_work_was_charged_and_not_stored_so_a_repeat_is_charged_again(caller: Caller) -> None:
    caller.turn(http_500_after_work=1)
    assert caller.refusal(SCAN) == (500, "PERSIST_FAILED")
    assert (len(caller.charges()), len(caller.stored())) == (1, 0)
    assert caller.read(SCAN)["meta"]["source"] == "extracted"
    assert len(caller.charges()) == 2


def test_every_nth_call_fails_without_work(caller: Caller) -> None:
    caller.turn(http_500_every=2)
    assert [caller.upload(SCAN).status_code for _ in range(4)] == [200, 500, 200, 500]
    assert len(caller.charges()) == 1


def test_extractions_fail_with_the_code_one_wishes_so_many_times(caller: Caller) -> None:
    caller.turn(fail_code="EXTRACTION_FAILED=2")
    assert [caller.upload(SCAN).status_code for _ in range(3)] == [422, 422, 200]
    caller.turn(fail_code="PERSIST_FAILED")
    assert {caller.refusal(SCAN) for _ in range(3)} == {(500, "PERSIST_FAILED")}
    caller.turn(fail_code="504=1")
    gateway = caller.upload(SCAN)
    assert (gateway.status_code, gateway.headers["Content-Type"]) == (504, "text/html; charset=utf-8")
    assert caller.upload(SCAN).status_code == 200
    assert len(caller.charges()) == 1


@pytest.mark.parametrize(("source", "charges", "stored"), [("extracted", 2, 2), ("cache", 0, 2), ("duplicate", 2, 1)])
def test_the_source_is_told_and_charged_as_the_knob_says(
    caller: Caller, source: str, charges: int, stored: int
) -> None:
    caller.turn(source=source)
    assert {caller.read(SCAN)["meta"]["source"] for _ in range(2)} == {source}
    assert (len(caller.charges()), len(caller.stored())) == (charges, stored)


def test_without_a_source_nothing_is_stored(caller: Caller) -> None:
    caller.turn(source="none")
    assert "meta" not in caller.read(SCAN)
    assert (len(caller.charges()), caller.stored()) == (1, [])


def test_fields_are_null_missing_or_strings_as_the_knobs_say(caller: Caller) -> None:
    caller.turn(null_fields="date,items", drop_fields="currency,meta", line_total_null="on")
    answer = caller.read(SCAN)
    assert (answer["date"], answer["items"]) == (None, [])
    assert not {"currency", "meta"} & set(answer)
    caller.turn(null_fields="", numbers_as_strings="on")
    answer = caller.read(SCAN)
    assert answer["total"] == "2400.00"
    assert {line["line_total"] for line in answer["items"]} == {None}
    assert all(isinstance(line["price"], str) for line in answer["items"])


def test_the_vendors_sample_satisfies_two_sums_and_not_the_third(caller: Caller) -> None:
    caller.turn(vendor_sample="on")
    answer = caller.read(SCAN)
    total, subtotal, discount, tax = (answer[name] for name in ("total", "subtotal", "discount", "tax"))
    assert (total, subtotal, discount, tax) == (1200, 1300, 100, 180)
    assert answer["items"] == [{"description": "Service", "quantity": 1, "price": 1020, "line_total": None}]
    assert subtotal - discount == total == answer["items"][0]["price"] + tax != subtotal - discount + tax


def test_a_session_token_opens_the_world_of_its_account_until_it_expires(caller: Caller) -> None:
    invoice_id = caller.read(SCAN)["meta"]["invoiceId"]
    session = Caller(caller.sandbox, session_token(caller.key))
    assert [row["id"] for row in session.stored()] == [invoice_id]
    stale = Caller(caller.sandbox, session_token(caller.key, time.time() - 100))
    assert stale.upload(SCAN).status_code == 200
    caller.turn(jwt_ttl=99)
    assert stale.refusal(SCAN) == (401, "UNAUTHORIZED")
    assert session.upload(SCAN).status_code == 200
    forged = Caller(caller.sandbox, session_token(caller.key)[:-2] + "xx")
    assert forged.refusal(SCAN) == (401, "UNAUTHORIZED")


def test_every_knob_is_in_the_table_of_its_room() -> None:
    text = (Path(sandbox_package.__file__).parent / "README.md").read_text(encoding="utf-8")
    table = text.partition("(`billflowai`)")[2].partition("\n## ")[0]
    assert [name for name in KNOBS if f"| `{name}` |" not in table] == []
