"""Asking invoicedataextraction.com: limits, keys, addresses that expire, and looking no more often than is allowed."""

from __future__ import annotations

import time
from typing import Any

import pytest

from invoices.clients.invoicedataextraction_com import ExpiredUrl, PartRefused, SessionGone
from invoices.errors import AccountError, TransientError
from invoices.extraction.patience.budget import Window
from tests.integration.batch_office import ANSWERED, MINUTE, Office

CALLS = {
    "upload": "part_urls", "submit": "submit", "balance": "balance", "poll": "extraction",
    "results": "results", "list": "extractions", "download": "output_rows",
}  # fmt: skip


@pytest.mark.parametrize("told", ["present", "absent", "http_date"])
@pytest.mark.parametrize("body", ["json", "html"])
def test_a_limit_that_the_vendor_holds_us_to_is_waited_for(office: Office, told: str, body: str) -> None:
    hashes = office.collect(4)
    office.scale = 0.05  # patience for the whole second of a header
    office.turn(limits="upload=5", retry_after=told, rate_limit_body=body)
    for _ in range(5):  # without a header the wait is a guess
        office.ask()
        if told != "absent" or office.stands(*hashes) == ANSWERED:
            break
    assert office.stands(*hashes) == ANSWERED
    office.check_books(*hashes)


@pytest.mark.parametrize("group", CALLS)
def test_a_refusal_for_too_many_calls_is_heeded_in_each_group_of_routes(office: Office, group: str) -> None:
    hashes = office.collect(2)
    seen: list[float] = []

    def too_many(found: Any, *args: Any, **named: Any) -> Any:
        seen.append(time.monotonic())
        if len(seen) == 1:
            raise TransientError("429", retry_after=0.3)
        return found(*args, **named)

    office.instead[CALLS[group]] = too_many
    if group == "list":
        office.instead["submit"] = _once_gone()
    if group == "download":
        office.turn(missing_outputs="results")
    office.ask()
    assert seen[1] - seen[0] >= 0.3
    assert office.stands(*hashes) == ANSWERED
    office.check_books(*hashes)


def _once_gone() -> Any:
    told: list[int] = []

    def submit(found: Any, submission: Any) -> Any:
        told.append(1)
        if len(told) == 1:
            raise SessionGone("409")
        return found(submission)

    return submit


def test_a_wait_that_is_longer_than_patience_leaves_the_rest_to_a_later_run(office: Office) -> None:
    hashes = office.collect(3)

    def too_many(_found: Any, *_args: Any) -> Any:
        raise TransientError("429", retry_after=36_000.0)

    office.instead["submit"] = too_many
    office.ask()
    assert office.stands(*hashes) == {("ask", "rate_limited")}
    assert office.client.counts["submit"] == 1
    office.instead.clear()
    office.ask()
    assert office.stands(*hashes) == ANSWERED


@pytest.mark.parametrize(
    "call", ["balance", "open_session", "part_urls", "complete", "submit", "extraction", "results"]
)
@pytest.mark.parametrize("state", ["expired", "revoked"])
def test_a_key_that_is_refused_in_mid_batch_stops_everything_and_keeps_every_document(
    office: Office, call: str, state: str
) -> None:
    hashes = office.collect(3)

    def refused(found: Any, *args: Any, **named: Any) -> Any:
        office.turn(key_state=state)
        return found(*args, **named)

    office.instead[call] = refused
    asked = office.ask()
    assert office.stands(*hashes) == {("ask", "account_stopped")}
    assert "refuses the account" in asked.problems[0]
    office.instead.clear()
    office.turn(key_state="valid")
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    office.check_books(*hashes)


def test_a_document_that_was_never_submitted_may_be_asked_about_elsewhere_when_the_account_is_stopped(
    office: Office,
) -> None:
    hashes = office.collect(2)

    def refused(_found: Any, *_args: Any) -> Any:
        raise AccountError("403 FORBIDDEN")

    office.instead["complete"] = refused
    office.ask()
    assert {office.job(sha256)["status"] for sha256 in hashes} == {"refused"}
    assert office.spent() == {0}


def test_an_outage_stops_after_a_handful_of_calls(office: Office) -> None:
    hashes = office.collect(6)
    office.turn(http_500_every=1)
    office.ask()
    assert office.stands(*hashes) in ({("ask", "vendor_unavailable")}, {("ask", "rate_limited")})
    assert sum(office.client.counts.values()) <= 12
    office.turn(http_500_every=0)
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    office.check_books(*hashes)


def test_an_address_for_a_part_that_has_expired_is_asked_for_again(office: Office) -> None:
    hashes = office.collect(2)
    office.turn(put_expiry=0)
    urls = 0

    def renewed(found: Any, *args: Any) -> Any:
        nonlocal urls
        urls += 1
        if urls > 2:
            office.turn(put_expiry=60)
        return found(*args)

    office.instead["part_urls"] = renewed
    office.ask(connections=1)
    assert office.stands(*hashes) == ANSWERED
    office.check_books(*hashes)


def test_a_document_whose_addresses_always_expire_waits_and_the_others_go_on(office: Office) -> None:
    bad, *good = office.collect(3)

    def put(found: Any, url: str, content: bytes) -> Any:
        if content == office.store.read(bad):
            raise ExpiredUrl("403")
        return found(url, content)

    office.instead["put_part"] = put
    office.ask()
    assert office.stands(*good) == ANSWERED
    assert office.stands(bad) == {("ask", "vendor_unavailable")}
    office.instead.clear()
    office.ask()
    assert office.stands(bad) == ANSWERED
    office.check_books(bad, *good)


def test_a_part_whose_tag_is_refused_is_put_again(office: Office) -> None:
    hashes = office.collect(2)
    told: list[str] = []

    def wrong_once(found: Any, url: str, content: bytes) -> Any:
        tag = found(url, content)
        told.append(tag)
        return '"' + "0" * 32 + '"' if len(told) == 1 else tag

    office.instead["put_part"] = wrong_once
    office.ask()
    assert len(told) == 3
    assert office.stands(*hashes) == ANSWERED


def test_a_part_that_never_arrives_whole_costs_nothing_and_waits(office: Office) -> None:
    (only,) = office.collect(1)

    def refused(_found: Any, *_args: Any) -> Any:
        raise PartRefused("400 INVALID_COMPLETION_PARTS")

    office.instead["complete"] = refused
    office.ask()
    assert office.stands(only) == {("ask", "vendor_unavailable")}
    assert (office.job(only)["status"], office.spent()) == ("refused", {0})


def test_the_output_is_fetched_from_a_new_address_when_one_has_expired(office: Office) -> None:
    (only,) = office.collect(1)
    office.turn(missing_outputs="results", download_expiry=0)
    tries: list[int] = []

    def renewed(found: Any, *args: Any) -> Any:
        tries.append(1)
        if len(tries) == 3:
            office.turn(download_expiry=60)
        return found(*args)

    office.instead["output_rows"] = renewed
    office.ask()
    assert len(tries) == 3
    assert office.stands(only) == ANSWERED


def test_a_vendor_that_does_not_hold_its_answers_is_not_asked_more_often_for_that(office: Office) -> None:
    hashes = office.collect(2)
    office.turn(wait_supported="off", processing_seconds=1.0)
    began = time.monotonic()
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    pause = 5.0 * MINUTE / 60
    assert office.client.counts["extraction"] <= (time.monotonic() - began) / pause + 2


def test_a_held_look_ends_when_the_answer_is_there(office: Office) -> None:
    hashes = office.collect(2)
    office.turn(processing_seconds=0.4)
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    assert office.client.counts["extraction"] <= 2


def test_looks_are_not_held_while_something_else_is_to_be_done(office: Office) -> None:
    office.collect(10)
    office.turn(processing_seconds=0.3)
    waits: list[int | None] = []

    def watched(found: Any, extraction_id: str, wait: int | None = None) -> Any:
        waits.append(wait)
        return found(extraction_id, wait)

    office.instead["extraction"] = watched
    office.ask(batch_documents=1, connections=1)
    assert {None, 1} == set(waits)


def test_no_more_calls_are_made_than_a_group_of_routes_allows(office: Office) -> None:
    office.scale = 0.02  # our minute is twice as long as the vendor's: a busy machine shall not matter
    office.windows = {**office.windows, "upload": (Window(10, 60),)}
    office.turn(limits="upload=10")
    hashes = office.collect(8)
    for _ in range(3):
        office.ask(connections=4)
    assert office.stands(*hashes) == ANSWERED
    assert not [route for route, by_status in office.journal()["answers"].items() if "429" in by_status]


def test_the_stand_in_never_has_to_refuse_a_call(office: Office) -> None:
    hashes = office.collect(30)
    office.turn(processing_seconds=0.2)
    office.ask(batch_documents=3, connections=4)
    assert office.stands(*hashes) == ANSWERED
    assert not [route for route, by_status in office.journal()["answers"].items() if "429" in by_status]
    office.check_books(*hashes)
