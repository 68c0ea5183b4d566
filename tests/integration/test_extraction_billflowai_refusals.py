"""Asking BillflowAI: refusals, limits and patience, and documents that the vendor fetches at addresses of ours."""

from __future__ import annotations

import datetime as dt
import email.utils
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from invoices.clients.minted_urls import is_genuine
from invoices.documents.store import DocumentStore
from invoices.errors import ConfigurationError
from invoices.extraction.billflowai import minting
from invoices.extraction.patience.budget import Window
from invoices.ledger import Ledger
from invoices.settings import Settings
from sandbox.serving import Sandbox, start
from tests.integration.billflowai_asker import BillflowAsker
from tests.integration.extraction_office import (
    ANSWERED,
    LOST,
    MINUTE,
    PAPERS,
    Counting,
    Line,
    Office,
    figures,
    strangers,
)
from tests.integration.scripted_server import Answer, ScriptedServer

pytestmark = pytest.mark.unmeasured
SECRET = "s" * 32
READING = {"invoice_number": "R-1", "total": 119.1, "meta": {"source": "extracted", "invoiceId": "i-1"}}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    half = MINUTE / 2  # shorter than ours, so that a busy machine's delays are not taken for calls too many
    with start(tmp_path_factory.mktemp("sandbox"), minute_seconds=half) as running:
        yield running


@pytest.fixture
def office(sandbox: Sandbox, ledger: Ledger, home: Settings) -> Office:
    return Office(ledger, DocumentStore(home.documents_directory), sandbox)


@pytest.fixture
def line(sandbox: Sandbox) -> Iterator[Line]:
    with ScriptedServer() as server:
        yield Line(server, sandbox)


@pytest.fixture
def asker(office: Office, line: Line) -> BillflowAsker:
    """Someone with an account of their own and no document yet."""
    return BillflowAsker(office, line)


def refused(code: str, status: int, **headers: str) -> Answer:
    """Return a refusal in the vendor's words."""
    return Answer.json({"error": {"code": code, "message": "no"}}, status, **headers)


def test_what_cannot_be_read_is_asked_once_more_and_costs_nothing(asker: BillflowAsker) -> None:
    asker.turn(read_strangers=False)
    unreadable, sound = asker.office.collect(*strangers(1), PAPERS[0])
    asked = asker.ask()
    assert asker.office.stands(unreadable) == ("done", "quarantined", "extraction_failed")
    assert (asker.office.stands(sound), asker.charges()) == (ANSWERED, [sound])
    assert (asker.requests(), figures(asked), asked.set_aside) == (3, (1, 1, 1), 1)
    assert (asker.office.job(unreadable)["pages_charged"], asker.office.done) == (0, 2)


def test_what_can_be_read_the_second_time_is_answered(asker: BillflowAsker) -> None:
    asker.turn(fail_code="EXTRACTION_FAILED=1")
    (sha,) = asker.office.collect(PAPERS[0])
    asker.ask()
    job = asker.office.job(sha)
    assert (asker.office.stands(sha), job["possible_double_charge"], asker.charges()) == (ANSWERED, False, [sha])


def test_the_second_question_comes_after_a_rest_while_others_are_asked(asker: BillflowAsker) -> None:
    asker.turn(fail_code="EXTRACTION_FAILED=1")
    hashes = asker.office.collect(*PAPERS[:4])
    asker.ask()
    assert asker.charges() == [*hashes[1:], hashes[0]]


@pytest.mark.parametrize("connections", [1, 4])
def test_a_used_up_quota_stops_at_once_and_names_the_account(asker: BillflowAsker, connections: int) -> None:
    asker.turn(quota_total=2)
    asker.options = {"connections": connections}
    hashes = asker.office.collect(*PAPERS[:8])
    asked = asker.ask()
    assert len(asker.charges()) == 2
    assert asker.requests() <= 2 + connections
    waiting = [sha for sha in hashes if sha not in asker.charges()]
    assert asker.office.all_stand(waiting) == {("ask", "waiting", "account_stopped")}
    (problem,) = asked.problems
    assert "BillflowAI refuses the account" in problem
    assert "QUOTA_EXCEEDED" in problem
    asker.turn(quota_total=0)
    asker.ask()
    assert sorted(asker.charges()) == sorted(hashes)


@pytest.mark.parametrize("form", ["absent", "seconds", "http_date"])
def test_the_vendors_minute_is_waited_for_however_it_is_told(asker: BillflowAsker, form: str) -> None:
    asker.turn(rate_limit_per_minute=6, retry_after=form)
    asker.counting = Counting((Window(6, 60),))
    hashes = asker.office.collect(*PAPERS[:10])
    asker.ask()
    assert asker.office.all_stand(hashes) == {ANSWERED}
    assert (sorted(asker.charges()), asker.requests()) == (sorted(hashes), 10)


@pytest.mark.parametrize("wait", [None, "0", "abc", "-5", "Mon, 01 Jan 2001 00:00:00 GMT", "1800", "36000", "date"])
def test_a_429_is_heeded_in_each_form_and_leaves_nothing_to_recover(
    asker: BillflowAsker, line: Line, wait: str | None
) -> None:
    later = email.utils.format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(hours=1), usegmt=True)
    headers = {} if wait is None else {"Retry_After": later if wait == "date" else wait}
    (sha,) = asker.office.collect(PAPERS[0])
    line.befall("submit", refused("RATE_LIMITED", 429, **headers))
    asked = asker.ask()
    if wait in ("1800", "36000", "date"):
        assert (asker.office.stands(sha), asked.problems) == (("ask", "waiting", "rate_limited"), [])
        asker.ask()
    assert (asker.office.stands(sha), asker.charges()) == (ANSWERED, [sha])
    assert not asker.office.job(sha)["possible_double_charge"]


def test_a_vendor_that_says_that_nothing_is_left_is_not_asked_on(asker: BillflowAsker, line: Line) -> None:
    later = str(int(dt.datetime.now(dt.UTC).timestamp()) + 1800)
    told = Answer.json(READING, 200, X_RateLimit_Remaining="0", X_RateLimit_Reset=later)
    first, second = asker.office.collect(*PAPERS[:2])
    line.befall("submit", told)
    asked = asker.ask()
    assert (asker.office.stands(first), asker.office.stands(second)[2]) == (ANSWERED, "rate_limited")
    assert (line.calls("submit"), asked.problems) == (1, [])


def test_a_gateway_that_takes_nothing_is_tried_again_and_then_left_alone(asker: BillflowAsker, line: Line) -> None:
    hashes = asker.office.collect(*PAPERS[:3])
    line.befall("submit", Answer(503), times=40)
    asked = asker.ask()
    assert asker.office.all_stand(hashes) == {("ask", "waiting", "vendor_unavailable")}
    assert line.calls("submit") <= 13
    assert asked.problems
    assert not any(asker.office.job(sha)["possible_double_charge"] for sha in hashes if asker.office.jobs(sha))


def test_a_refused_document_is_set_aside_uncharged(asker: BillflowAsker) -> None:
    bad, good = asker.office.collect(b"no PDF at all", PAPERS[0])
    asker.ask()
    assert asker.office.stands(bad) == ("done", "quarantined", "request_refused")
    assert (asker.office.stands(good), asker.charges()) == (ANSWERED, [good])


def test_a_vendor_that_answers_differently_is_left_alone(asker: BillflowAsker, line: Line) -> None:
    hashes = asker.office.collect(*PAPERS[:2])
    line.befall("submit", Answer(404))
    asker.ask()
    assert asker.office.all_stand(hashes) == {("ask", "waiting", "contract_changed")}
    assert line.calls("submit") == 1


def test_a_cap_is_never_exceeded_and_the_rest_waits(asker: BillflowAsker) -> None:
    asker.office.cap(day=2)
    asker.options = {"connections": 4}
    hashes = asker.office.collect(*PAPERS[:6])
    asked = asker.ask()
    assert len(asker.charges()) == 2
    waiting = [sha for sha in hashes if sha not in asker.charges()]
    assert asker.office.all_stand(waiting) == {("ask", "waiting", "cap_reached")}
    assert len(asked.remarks) == 1


def test_what_is_free_makes_room_under_the_cap(asker: BillflowAsker) -> None:
    asker.turn(source="cache")
    asker.office.cap(day=1)
    hashes = asker.office.collect(*PAPERS[:3])
    asker.ask()
    assert (asker.office.all_stand(hashes), asker.charges()) == ({ANSWERED}, [])


# Addresses of ours


def by_url(asker: BillflowAsker) -> BillflowAsker:
    asker.options = {"mint": minting("https://documents.example.org", SECRET)}
    return asker


def test_the_vendor_is_given_a_genuine_address_that_lives_for_some_minutes(asker: BillflowAsker, line: Line) -> None:
    (sha,) = by_url(asker).office.collect(PAPERS[0])
    line.befall("fetch", Answer.json(READING))
    asked = asker.ask()
    assert (asker.office.stands(sha), figures(asked)) == (ANSWERED, (1, 1, 1))
    url = urlsplit(json.loads(line.last("fetch").body)["file_url"])
    now = dt.datetime.now(dt.UTC)
    assert (url.hostname, sha in url.path) == ("documents.example.org", True)
    assert is_genuine(url.path, url.query, SECRET, now + dt.timedelta(minutes=5))
    assert not is_genuine(url.path, url.query, SECRET, now + dt.timedelta(minutes=30))


@pytest.mark.parametrize("code", ["FETCH_FAILED", "INVALID_URL"])
def test_what_cannot_be_fetched_is_uploaded(asker: BillflowAsker, line: Line, code: str) -> None:
    by_url(asker).turn(fail_code=f"{code}=1")
    (sha,) = asker.office.collect(PAPERS[0])
    asked = asker.ask()
    assert (line.calls("fetch"), line.calls("submit"), asker.charges()) == (1, 1, [sha])
    assert not asker.office.job(sha)["possible_double_charge"]
    assert (asker.office.stands(sha), figures(asked)) == (ANSWERED, (1, 1, 1))


def test_an_upload_after_an_address_waits_for_its_own_turn(asker: BillflowAsker) -> None:
    by_url(asker).turn(fail_code="FETCH_FAILED=1", rate_limit_per_minute=1)
    asker.counting = Counting((Window(1, 60),))
    (sha,) = asker.office.collect(PAPERS[0])
    asker.ask()
    assert asker.office.stands(sha) == ANSWERED
    assert "429" not in str(asker.office.sandbox.journal(asker.key)["answers"])


def test_an_upload_after_an_address_may_still_be_repeated_once(asker: BillflowAsker, line: Line) -> None:
    by_url(asker).turn(fail_code="FETCH_FAILED=1")
    (sha,) = asker.office.collect(PAPERS[0])
    line.befall("submit", LOST)
    asker.ask()
    assert (asker.office.stands(sha), asker.charges()) == (ANSWERED, [sha])
    assert asker.office.job(sha)["possible_double_charge"]


def test_a_lost_answer_about_an_address_is_asked_for_once_more(asker: BillflowAsker, line: Line) -> None:
    (sha,) = by_url(asker).office.collect(PAPERS[0])
    line.befall("fetch", Answer(500), Answer.json(READING))
    asker.ask()
    assert (asker.office.stands(sha), line.calls("fetch"), line.calls("submit")) == (ANSWERED, 2, 0)
    assert asker.office.job(sha)["possible_double_charge"]


@pytest.mark.parametrize(
    ("base_url", "secret"),
    [
        ("http://documents.example.org", SECRET),
        ("https://10.0.0.1", SECRET),
        ("https://documents.example.org", "short"),
    ],
)
def test_addresses_that_nobody_could_use_are_refused_before_anything_is_asked(base_url: str, secret: str) -> None:
    with pytest.raises(ConfigurationError):
        minting(base_url, secret)
