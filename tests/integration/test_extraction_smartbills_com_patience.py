"""Asking smartbills.com with patience: limits, refusals and failures, and who is left alone when."""

from __future__ import annotations

import datetime as dt
import email.utils
from collections.abc import Iterator

import pytest

from invoices.documents.store import DocumentStore
from invoices.extraction.patience.budget import Window
from invoices.extraction.smartbills_com import PLANS
from invoices.ledger import Ledger
from invoices.settings import Settings
from sandbox.serving import Sandbox, start
from tests.integration.extraction_office import (
    ANSWERED,
    LONG_PAPER,
    MINUTE,
    PAPERS,
    After,
    Counting,
    Line,
    Office,
)
from tests.integration.scripted_server import Answer, ScriptedServer
from tests.integration.smartbills_com_asker import SmartBillsAsker

pytestmark = pytest.mark.unmeasured


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    half = MINUTE / 2  # shorter than ours, so that a busy machine's delays are not taken for calls too many
    with start(tmp_path_factory.mktemp("sandbox"), minute_seconds=half) as running:
        yield running


@pytest.fixture
def asker(sandbox: Sandbox, ledger: Ledger, home: Settings) -> Iterator[SmartBillsAsker]:
    """Someone with an account of their own and no document yet."""
    with ScriptedServer() as server:
        yield SmartBillsAsker(Office(ledger, DocumentStore(home.documents_directory), sandbox), Line(server, sandbox))


def test_a_refusal_with_a_wait_is_heeded_and_then_tried_again(asker: SmartBillsAsker) -> None:
    slept: list[float] = []
    asker.options = {"sleep": slept.append}
    (sha,) = asker.office.collect(PAPERS[0])
    asker.line.befall("submit", Answer(429, headers=retry_after(seconds=0.5)))
    asker.ask()
    assert 0.1 < max(slept) <= 0.5
    assert (asker.charges(), asker.office.job(sha)["possible_double_charge"]) == ([sha], False)


@pytest.mark.parametrize("headers", [{"Retry-After": "1800"}, {"X-RateLimit-Reset": "4000000000"}])
def test_a_wait_beyond_patience_leaves_the_documents_for_a_later_run_without_a_problem(
    asker: SmartBillsAsker, headers: dict[str, str]
) -> None:
    hashes = asker.office.collect(*PAPERS[:2])
    asker.line.befall("submit", Answer(429, headers=headers))
    asked = asker.ask()
    assert asker.office.all_stand(hashes) == {("ask", "waiting", "rate_limited")}
    assert (asked.problems, asker.charges(), asker.line.calls("submit")) == ([], [], 1)


def test_a_look_that_has_to_wait_leaves_the_submitted_document_waiting(asker: SmartBillsAsker) -> None:
    (sha,) = asker.office.collect(PAPERS[0])
    asker.line.befall("look", Answer(429, headers={"Retry-After": "3000"}))
    asker.ask()
    assert asker.office.stands(sha) == ("ask", "waiting", "rate_limited")
    asker.ask()
    assert (asker.office.stands(sha), asker.charges()) == (ANSWERED, [sha])


@pytest.mark.parametrize("told", ["absent", "seconds"])
def test_the_plan_of_the_vendor_is_never_exceeded(asker: SmartBillsAsker, told: str) -> None:
    asker.turn(plan="free", rate_limits=True, retry_after_on_429=told)
    asker.counting = Counting(PLANS["free"])
    hashes = asker.office.collect(*PAPERS[:8])
    asker.ask_until_nothing_waits()
    assert asker.office.all_stand(hashes) == {ANSWERED}
    assert "429" not in statuses(asker)
    assert asker.charges() == hashes


@pytest.mark.parametrize("encoding", ["epoch_seconds", "epoch_ms", "iso8601", "http_date"])
def test_what_the_vendor_says_is_left_is_believed_before_our_own_count(asker: SmartBillsAsker, encoding: str) -> None:
    asker.turn(plan="free", rate_limits=True, reset_encoding=encoding)
    asker.options = {"sleep": lambda _: None}  # the budget is far wider than the plan: only the vendor's word holds
    asker.office.collect(*PAPERS[:8])
    asker.ask()
    assert statuses(asker).get("429", 0) == 0
    assert sum(statuses(asker).values()) >= 10


def test_the_vendors_clock_may_be_wrong_when_it_says_that_nothing_is_left(asker: SmartBillsAsker) -> None:
    behind = dt.datetime.now(dt.UTC) - dt.timedelta(hours=5)
    told = {
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(int(behind.timestamp()) + 1800),
        "Date": email.utils.format_datetime(behind, usegmt=True),
    }
    hashes = asker.office.collect(*PAPERS[:2])
    asker.line.whenever("look", lambda seen: Answer.json(processing(seen.path), 200, **told))
    asker.ask()
    assert asker.stopped is not None
    assert asker.stopped.reason_code == "rate_limited"
    assert asker.line.calls("look") == 1
    assert asker.office.all_stand(hashes) == {("ask", "waiting", "rate_limited")}


def test_a_used_up_plan_ends_the_vendors_part_of_the_run(asker: SmartBillsAsker) -> None:
    asker.counting = Counting([Window(4, 3600)])
    hashes = asker.office.collect(*PAPERS[:6])
    asker.ask()
    assert sum(statuses(asker).values()) == 4
    assert len(set(asker.charges())) == len(asker.charges())
    assert {state for _, state, _ in asker.office.all_stand(hashes)} == {"waiting"}


@pytest.mark.parametrize("status", [401, 402, 403])
def test_an_account_that_is_refused_stops_at_once_with_everything_waiting(asker: SmartBillsAsker, status: int) -> None:
    asker.turn(processing_seconds=60)
    hashes = asker.office.collect(*PAPERS[:3])
    asker.line.befall("submit", None, Answer(status))
    asked = asker.ask()
    assert asker.line.calls("submit") == 2
    assert asker.office.all_stand(hashes) == {("ask", "waiting", "account_stopped")}
    (problem,) = asked.problems
    assert str(status) in problem
    asker.turn(processing_seconds=0)
    asker.ask()
    assert asker.charges() == hashes


def test_a_vendor_that_is_down_is_left_alone_after_a_few_tries(asker: SmartBillsAsker) -> None:
    hashes = asker.office.collect(*PAPERS[:4])
    asker.line.befall("submit", Answer(429), times=50)
    asked = asker.ask()
    assert asker.line.calls("submit") <= 13
    assert asker.office.all_stand(hashes) == {("ask", "waiting", "vendor_unavailable")}
    assert (asker.charges(), bool(asked.problems)) == ([], True)


def test_success_in_between_forgives_earlier_failures(asker: SmartBillsAsker) -> None:
    hashes = asker.office.collect(*PAPERS[:3])
    asker.line.befall("submit", Answer(429), Answer(429), None, times=3)
    asker.ask()
    assert asker.charges() == hashes


def test_a_vendor_that_fails_every_fifth_call_is_asked_all_the_same(asker: SmartBillsAsker) -> None:
    asker.turn(http_500_every=5)
    hashes = asker.office.collect(*PAPERS[:8])
    asker.ask_until_nothing_waits()
    assert asker.office.all_stand(hashes) == {ANSWERED}
    assert sorted(set(asker.charges())) == sorted(hashes)
    assert len(asker.charges()) == 8  # a 500 without work is looked up, found missing, and repeated


def test_a_vendor_that_takes_no_submission_as_agreed_is_left_alone_and_asked_again_later(
    asker: SmartBillsAsker,
) -> None:
    hashes = asker.office.collect(*PAPERS[:2])
    for _ in range(3):
        asker.line.befall("submit", Answer(404))
        asked = asker.ask()
        assert asker.office.all_stand(hashes) == {("ask", "waiting", "contract_changed")}
        assert len(asked.problems) == 1
    asker.ask()
    assert asker.charges() == hashes
    assert not any(asker.office.job(sha)["possible_double_charge"] for sha in hashes)


# Caps


@pytest.mark.parametrize("period", ["run", "day", "month"])
def test_a_cap_is_never_exceeded_and_the_rest_waits(asker: SmartBillsAsker, period: str) -> None:
    asker.office.cap(**{period: 2})
    hashes = asker.office.collect(*PAPERS[:5])
    asked = asker.ask()
    assert asker.charges() == hashes[:2]
    assert asker.office.all_stand(hashes[2:]) == {("ask", "waiting", "cap_reached")}
    (remark,) = asked.remarks
    assert period in remark
    asker.ask()
    assert len(asker.charges()) == (4 if period == "run" else 2)


def test_a_document_too_long_for_the_cap_does_not_hold_up_shorter_ones(asker: SmartBillsAsker) -> None:
    asker.office.cap(run=1)
    (long,) = asker.office.collect(LONG_PAPER, pages=2)
    (short,) = asker.office.collect(PAPERS[0])
    asker.ask()
    assert asker.office.stands(long) == ("ask", "waiting", "cap_reached")
    assert (asker.office.stands(short), asker.pages()) == (ANSWERED, 1)


def test_a_repeat_counts_as_a_second_page_and_needs_room_for_it(asker: SmartBillsAsker) -> None:
    asker.office.cap(day=1)
    (sha,) = asker.office.collect(PAPERS[0])
    asker.line.befall("submit", After(Answer(500)))
    asker.turn(list_route=False)
    asker.ask()
    assert asker.office.stands(sha) == ("ask", "waiting", "cap_reached")
    assert (asker.charges(), asker.office.job(sha)["status"]) == ([sha], "unknown")


def test_what_is_submitted_is_still_looked_at_when_the_cap_is_reached(asker: SmartBillsAsker) -> None:
    asker.office.cap(month=1)
    (first,) = asker.office.collect(PAPERS[0])
    asker.line.befall("look", Answer(401))
    asker.ask()
    with asker.office.ledger.transaction() as tx:  # a document of before that is seen to first
        tx.connection.exec_driver_sql("update documents set sequence = 100 where document_sha256 = ?", (first,))
    (second,) = asker.office.collect(PAPERS[1])
    asker.ask()
    assert (asker.office.stands(first), asker.charges()) == (ANSWERED, [first])
    assert asker.office.stands(second) == ("ask", "waiting", "cap_reached")


def retry_after(seconds: float) -> dict[str, str]:
    """Return how a vendor says it to a part of a second: by the instant of its reset."""
    now = dt.datetime.now(dt.UTC)
    return {"Date": now.isoformat(), "X-RateLimit-Reset": (now + dt.timedelta(seconds=seconds)).isoformat()}


def processing(path: str) -> dict[str, str]:
    """Return that a job is not done."""
    return {"id": path.rpartition("/")[2], "status": "processing"}


def statuses(asker: SmartBillsAsker) -> dict[str, int]:
    """Return how often the vendor answered what."""
    counts: dict[str, int] = {}
    for by_status in asker.office.sandbox.journal(asker.key)["answers"].values():
        for status, count in by_status.items():
            counts[status] = counts.get(status, 0) + count
    return counts
