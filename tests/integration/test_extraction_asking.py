"""Asking several extraction APIs: in order, one after another about what fails, and never two while one still owes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest

from invoices.documents.store import DocumentStore
from invoices.extraction.choice import choose, why_not
from invoices.extraction.smartbills_com import LARGEST_BYTES
from invoices.ledger import Ledger
from invoices.ledger.documents import Pending
from invoices.settings import Settings
from sandbox.serving import Sandbox, start
from tests.integration.asking_office import BATCHES, BILLFLOW, SMARTBILLS, AskingOffice
from tests.integration.extraction_office import (
    ANSWERED,
    LONG_PAPER,
    LOST,
    MINUTE,
    PAPERS,
    Line,
    Office,
    figures,
    strangers,
)
from tests.integration.scripted_server import Answer, ScriptedServer

pytestmark = pytest.mark.unmeasured
NO_LIST = Answer(404)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with start(tmp_path_factory.mktemp("sandbox"), minute_seconds=MINUTE) as running:
        yield running


@pytest.fixture
def house(sandbox: Sandbox, ledger: Ledger, home: Settings) -> Iterator[AskingOffice]:
    """A house with accounts of its own at smartbills.com and BillflowAI, in this order."""
    office = Office(ledger, DocumentStore(home.documents_directory), sandbox)
    with ScriptedServer() as one, ScriptedServer() as other:
        yield AskingOffice(office, home, {SMARTBILLS: Line(one, sandbox), BILLFLOW: Line(other, sandbox)})


# Who is asked


def test_the_first_in_order_is_asked_and_nobody_else(house: AskingOffice) -> None:
    hashes = house.office.collect(*PAPERS[:3])
    asked = house.ask()
    assert (house.charges(SMARTBILLS), house.calls(BILLFLOW)) == (hashes, 0)
    assert (figures(asked[SMARTBILLS]), house.office.done) == ((3, 3, 3), 3)
    house.order = (BILLFLOW, SMARTBILLS)
    later = house.office.collect(PAPERS[3])
    house.ask()
    assert (house.charges(BILLFLOW), len(house.charges(SMARTBILLS))) == (later, 3)


def test_a_document_that_fails_at_one_is_asked_about_at_the_next(house: AskingOffice) -> None:
    failing, sound = house.office.collect(*PAPERS[:2])
    house.turn(SMARTBILLS, fail_ids=failing)
    asked = house.ask()
    assert house.office.all_stand([failing, sound]) == {ANSWERED}
    assert house.asked_whom(failing) == {SMARTBILLS: "failed", BILLFLOW: "answered"}
    assert (house.charges(SMARTBILLS), house.charges(BILLFLOW)) == ([failing, sound], [failing])
    assert (figures(asked[SMARTBILLS]), asked[SMARTBILLS].passed_on) == ((2, 2, 1), 1)
    assert (figures(asked[BILLFLOW]), house.office.done) == ((1, 1, 1), 2)


def test_three_are_asked_in_order(house: AskingOffice) -> None:
    house.order = (SMARTBILLS, BATCHES, BILLFLOW)
    (sha,) = house.office.collect(PAPERS[0])
    house.turn(SMARTBILLS, fail_ids=sha)
    house.turn(BATCHES, encrypted_files=f"{sha}.pdf")
    asked = house.ask()
    assert house.asked_whom(sha) == {SMARTBILLS: "failed", BATCHES: "failed", BILLFLOW: "answered"}
    assert [len(house.charges(name)) for name in house.order] == [1, 0, 1]
    assert [asked[name].passed_on for name in house.order] == [1, 1, 0]
    assert house.office.stands(sha) == ANSWERED


def test_what_nobody_can_read_is_set_aside_with_the_last_reason(house: AskingOffice) -> None:
    (sha,) = house.office.collect(*strangers(1))
    asked = house.ask()
    assert house.office.stands(sha) == ("done", "quarantined", "extraction_failed")
    assert "BillflowAI" in house.office.row(sha)["reason"]
    assert (asked[SMARTBILLS].passed_on, asked[BILLFLOW].set_aside) == (1, 1)
    assert house.office.done == 1
    calls = house.calls(SMARTBILLS), house.calls(BILLFLOW)
    house.ask()
    assert (house.calls(SMARTBILLS), house.calls(BILLFLOW)) == calls


def test_what_is_too_large_for_one_goes_to_another(house: AskingOffice) -> None:
    large = PAPERS[0] + b"\n%" + b"x" * LARGEST_BYTES
    house.turn(BILLFLOW, read_strangers=True)
    (sha,) = house.office.collect(large)
    house.ask()
    assert house.asked_whom(sha) == {BILLFLOW: "answered"}
    assert house.calls(SMARTBILLS) == 0


def test_what_is_of_no_type_that_anybody_takes_is_set_aside_unasked(house: AskingOffice) -> None:
    (sha,) = house.office.collect(b"<xml/>", media_type="application/xml")
    house.ask()
    assert house.office.stands(sha) == ("done", "review", "extractor_cannot_read")
    assert (house.calls(SMARTBILLS), house.calls(BILLFLOW), house.office.done) == (0, 0, 1)


def test_b40_what_is_too_large_for_all_goes_to_a_person_with_the_limit_and_is_sent_to_nobody(
    house: AskingOffice,
) -> None:
    (sha,) = house.office.collect(b"\x89PNG\r\n\x1a\n" + b"x" * (20 << 20), media_type="image/png")
    house.ask()
    assert house.office.stands(sha) == ("done", "review", "extractor_cannot_read")
    assert "smartbills_com takes image/png up to 10,485,760 bytes" in house.office.row(sha)["reason"]
    assert (house.calls(SMARTBILLS), house.calls(BILLFLOW)) == (0, 0)


@pytest.mark.parametrize(
    ("media_type", "limit"), [("image/png", 5 << 20), ("image/jpeg", 5 << 20), ("application/pdf", 150 << 20)]
)
def test_b40_the_vendors_own_limits_are_kept_before_any_upload(media_type: str, limit: int) -> None:
    first_seen = dt.datetime.now(dt.UTC)
    fits, large = (Pending("d" * 64, 1, media_type, first_seen, 1, size) for size in (limit, limit + 1))
    assert choose(fits, [], [BATCHES]) == BATCHES
    assert choose(large, [], [BATCHES]) is None
    assert f"up to {limit:,} bytes" in why_not(BATCHES, large)


def test_where_nobody_is_set_up_documents_wait_and_are_told_which_key_to_set(house: AskingOffice) -> None:
    house.without = {SMARTBILLS, BILLFLOW, BATCHES}
    (sha,) = house.office.collect(PAPERS[0])
    assert house.ask() == {}
    assert house.office.stands(sha) == ("ask", "waiting", "no_extractor")
    assert "__API_KEY" in house.office.row(sha)["reason"]


def test_a_second_run_with_nothing_new_changes_no_row(house: AskingOffice) -> None:
    house.without = {SMARTBILLS, BILLFLOW, BATCHES}
    (sha,) = house.office.collect(PAPERS[0])
    house.ask()
    before = house.office.row(sha)
    house.ask()
    assert house.office.row(sha) == before


# A vendor that is left alone


@pytest.mark.parametrize("batches", [1, 3])
def test_the_documents_of_a_refused_account_wait_for_it(house: AskingOffice, batches: int) -> None:
    hashes = house.office.collect(*PAPERS[:6])
    house.lines[SMARTBILLS].befall("submit", Answer(402), times=50)
    house.ask(batches=batches)
    assert house.office.all_stand(hashes) == {("ask", "waiting", "account_stopped")}
    assert (house.lines[SMARTBILLS].calls("submit"), house.calls(BILLFLOW)) == (1, 0)
    assert house.left_alone == {SMARTBILLS}


@pytest.mark.parametrize("batches", [1, 3])
def test_the_documents_of_a_refused_account_go_to_the_next_where_the_settings_say_so(
    house: AskingOffice, batches: int
) -> None:
    house.fall_back = "unavailable"
    hashes = house.office.collect(*PAPERS[:6])
    house.lines[SMARTBILLS].befall("submit", Answer(402), times=50)
    asked = house.ask(batches=batches)
    assert (house.office.all_stand(hashes), house.charges(BILLFLOW)) == ({ANSWERED}, hashes)
    assert (house.lines[SMARTBILLS].calls("submit"), house.charges(SMARTBILLS)) == (1, [])
    assert (figures(asked[BILLFLOW]), len(asked[SMARTBILLS].problems), house.office.done) == ((6, 6, 6), 1, 6)


@pytest.mark.parametrize("open_as", ["submitted", "unknown", "intended"])
def test_nobody_else_is_asked_while_one_still_owes_an_answer(house: AskingOffice, open_as: str) -> None:
    house.fall_back = "unavailable"
    (sha,) = house.office.collect(PAPERS[0])
    leave_open(house, sha, open_as)
    house.lines[SMARTBILLS].befall("look", Answer(401), times=9)
    house.lines[SMARTBILLS].befall("list", Answer(401), times=9)
    house.ask()
    assert house.office.stands(sha)[:2] == ("ask", "waiting")
    assert (list(house.asked_whom(sha)), house.calls(BILLFLOW)) == ([SMARTBILLS], 0)
    house.lines[SMARTBILLS].events.clear()
    house.ask()
    assert house.office.stands(sha) == ANSWERED
    assert (house.charges(SMARTBILLS), house.calls(BILLFLOW)) == ([sha], 0)


def test_where_all_are_left_alone_a_document_waits_for_the_one_it_is_for(house: AskingOffice) -> None:
    failing, other = house.office.collect(*PAPERS[:2])
    house.turn(SMARTBILLS, fail_ids=failing)
    house.lines[BILLFLOW].befall("submit", Answer(402), times=9)
    house.ask()
    assert house.office.stands(other) == ANSWERED
    assert house.office.stands(failing) == ("ask", "waiting", "account_stopped")
    assert "BillflowAI" in house.office.row(failing)["reason"]
    house.lines[BILLFLOW].events.clear()
    house.ask()
    assert (house.office.stands(failing), house.charges(BILLFLOW)) == (ANSWERED, [failing])
    assert house.charges(SMARTBILLS) == [failing, other]


@pytest.mark.parametrize("batches", [1, 2])
def test_what_another_worker_has_taken_over_is_neither_asked_about_nor_written_about(
    house: AskingOffice, batches: int
) -> None:
    first, second = house.office.collect(*PAPERS[:2])
    house.lines[SMARTBILLS].befall("submit", Answer(402), times=9)
    house.ask(batches=batches, taken_over=[second])
    assert house.office.stands(first) == ("ask", "waiting", "account_stopped")
    assert (house.office.stands(second), house.asked_whom(second)) == (("ask", "waiting", "no_text"), {})
    house.lines[SMARTBILLS].events.clear()
    house.ask(taken_over=[first, second])
    assert (house.charges(SMARTBILLS), house.office.done) == ([], 4)


# Taken out of the order


@pytest.mark.parametrize("open_as", ["submitted", "unknown"])
def test_one_taken_out_of_the_order_is_still_asked_for_what_it_owes(house: AskingOffice, open_as: str) -> None:
    (owed,) = house.office.collect(PAPERS[0])
    leave_open(house, owed, open_as)
    house.order = (BILLFLOW,)
    (new,) = house.office.collect(PAPERS[1])
    house.ask()
    assert house.office.all_stand([owed, new]) == {ANSWERED}
    assert (house.charges(SMARTBILLS), house.charges(BILLFLOW)) == ([owed], [new])


@pytest.mark.parametrize("order", [(BILLFLOW,), (SMARTBILLS, BILLFLOW)])
def test_where_the_key_of_one_that_owes_is_gone_the_document_waits_and_says_so(
    house: AskingOffice, order: tuple[str, ...]
) -> None:
    (owed,) = house.office.collect(PAPERS[0])
    leave_open(house, owed, "submitted")
    house.order, house.without = order, {SMARTBILLS}
    (new,) = house.office.collect(PAPERS[1])
    house.ask()
    assert house.office.stands(owed) == ("ask", "waiting", "no_extractor")
    assert "INVOICES_SMARTBILLS_COM__API_KEY" in house.office.row(owed)["reason"]
    assert (house.charges(BILLFLOW), house.office.stands(new)) == ([new], ANSWERED)
    house.without = set()
    house.ask()
    assert (house.office.stands(owed), house.charges(SMARTBILLS)) == (ANSWERED, [owed])


def test_where_one_that_owes_is_not_known_any_more_the_document_waits_and_says_so(house: AskingOffice) -> None:
    (owed,) = house.office.collect(PAPERS[0])
    leave_open(house, owed, "submitted")
    with house.office.ledger.transaction() as tx:
        tx.connection.exec_driver_sql("update extractions set extracted_by = 'of_a_later_version'")
    house.ask()
    assert house.office.stands(owed) == ("ask", "waiting", "no_extractor")
    assert "of_a_later_version" in house.office.row(owed)["reason"]
    assert house.calls(BILLFLOW) == 0


# Caps


@pytest.mark.parametrize("period", ["run", "day", "month"])
def test_a_cap_holds_over_batches_and_is_no_reason_to_ask_another(house: AskingOffice, period: str) -> None:
    house.fall_back = "unavailable"
    house.parts[SMARTBILLS] = {f"pages_per_{period}": 3}
    hashes = house.office.collect(*PAPERS[:6])
    asked = house.ask(batches=3)
    assert (house.charges(SMARTBILLS), house.calls(BILLFLOW)) == (hashes[:3], 0)
    assert house.office.all_stand(hashes[3:]) == {("ask", "waiting", "cap_reached")}
    assert asked[SMARTBILLS].remarks
    assert asked[SMARTBILLS].problems == []
    assert house.office.done == 6


def test_what_fails_at_one_meets_the_cap_of_the_next(house: AskingOffice) -> None:
    house.parts[BILLFLOW] = {"pages_per_day": 1}
    hashes = house.office.collect(*PAPERS[:3])
    house.turn(SMARTBILLS, fail_ids=",".join(hashes))
    house.ask()
    assert (len(house.charges(SMARTBILLS)), len(house.charges(BILLFLOW))) == (3, 1)
    assert sorted(house.office.stands(sha)[2] for sha in hashes) == ["answered", "cap_reached", "cap_reached"]


def test_what_was_asked_is_what_the_journals_say(house: AskingOffice) -> None:
    house.parts = {name: {"connections": 4} for name in house.parts}
    house.turn(SMARTBILLS, post_lost_response=2)
    house.turn(BILLFLOW, lost_response=1)
    sound = house.office.collect(*PAPERS[:9])
    (long,) = house.office.collect(LONG_PAPER, pages=2)
    unreadable = house.office.collect(*strangers(4))
    house.turn(SMARTBILLS, fail_ids=",".join(sound[:3]))
    asked = house.ask()
    assert (asked[SMARTBILLS].calls, asked[SMARTBILLS].pages) == (
        len(house.charges(SMARTBILLS)),
        house.pages(SMARTBILLS),
    )
    assert (asked[SMARTBILLS].answered, asked[SMARTBILLS].passed_on) == (7, 7)
    assert (figures(asked[BILLFLOW]), asked[BILLFLOW].set_aside) == ((3, house.pages(BILLFLOW), 3), 4)
    assert house.office.all_stand([*sound, long]) == {ANSWERED}
    assert house.office.all_stand(unreadable) == {("done", "quarantined", "extraction_failed")}
    assert house.office.done == 14


def leave_open(house: AskingOffice, sha: str, status: str) -> None:
    """Let a run at smartbills.com end with an open question about a document."""
    line = house.lines[SMARTBILLS]
    line.befall("look", Answer(401))
    line.befall("list", Answer(401))
    if status != "submitted":
        line.befall("submit", LOST)
    house.ask()
    line.events.clear()
    if status == "intended":
        with house.office.ledger.transaction() as tx:
            tx.connection.exec_driver_sql("update extractions set status = 'intended'")
    assert house.asked_whom(sha) == {SMARTBILLS: status}
