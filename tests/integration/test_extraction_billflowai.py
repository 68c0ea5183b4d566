"""Asking BillflowAI: one call for each document, and what it costs in our ledger and in the sandbox's journal."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from invoices.clients.billflowai import BillflowAi, Reading
from invoices.documents.store import DocumentStore
from invoices.ledger import Ledger
from invoices.ledger.spending import room
from invoices.settings import Settings
from sandbox.serving import Sandbox, start
from tests.integration.billflowai_asker import BillflowAsker
from tests.integration.extraction_office import (
    ANSWERED,
    LONG_PAPER,
    LOST,
    MINUTE,
    PAPERS,
    After,
    Dead,
    Line,
    Office,
    figures,
    strangers,
)
from tests.integration.scripted_server import Answer, Drop, ScriptedServer

pytestmark = pytest.mark.unmeasured
UNREADABLE = Answer.json({"error": {"code": "EXTRACTION_FAILED", "message": "too dark"}}, 422)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with start(tmp_path_factory.mktemp("sandbox"), minute_seconds=MINUTE) as running:
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


def cost(asker: BillflowAsker, sha: str) -> tuple[str, int, bool]:
    """Return a question's status, the pages that it cost by our ledger, and whether that may be twice as much."""
    job = asker.office.job(sha)
    return job["status"], job["pages_charged"], bool(job["possible_double_charge"])


def test_each_document_is_read_at_once_and_charged_once(asker: BillflowAsker) -> None:
    hashes = asker.office.collect(*PAPERS[:3])
    asked = asker.ask()
    assert asker.charges() == hashes
    assert asker.office.all_stand(hashes) == {ANSWERED}
    assert (figures(asked), asked.problems, asker.office.done) == ((3, 3, 3), [], 3)
    assert json.loads(asker.office.job(hashes[0])["payload"])["meta"]["source"] == "extracted"


def test_a_document_costs_one_however_many_pages_it_has(asker: BillflowAsker) -> None:
    asker.office.collect(LONG_PAPER, pages=2)
    assert figures(asker.ask()) == (1, 1, 1)


@pytest.mark.parametrize(("source", "pages"), [("extracted", 1), ("duplicate", 1), ("cache", 0), ("none", 1)])
def test_what_an_answer_costs_is_what_the_journal_says(asker: BillflowAsker, source: str, pages: int) -> None:
    asker.turn(source=source)
    (sha,) = asker.office.collect(PAPERS[0])
    asked = asker.ask()
    assert cost(asker, sha) == ("answered", pages, False)
    assert (figures(asked), len(asker.charges())) == ((1, pages, 1), pages)


def test_several_connections_side_by_side_leave_an_exact_journal(office: Office) -> None:
    asker = BillflowAsker(office, None)
    asker.turn(latency_ms=80)
    asker.options = {"connections": 4}
    hashes = office.collect(*strangers(24))
    asked = asker.ask()
    assert sorted(asker.charges()) == sorted(hashes)
    assert (figures(asked), office.done, asker.requests()) == ((24, 24, 24), 24, 24)


@pytest.mark.parametrize("lost", ["lost_response", "http_500_after_work"])
def test_several_connections_lose_answers_and_none_is_asked_for_a_third_time(office: Office, lost: str) -> None:
    asker = BillflowAsker(office, None)
    asker.turn(latency_ms=40, **{lost: 5})
    asker.options = {"connections": 4}
    hashes = office.collect(*strangers(12))
    asked = asker.ask()
    assert office.all_stand(hashes) == {ANSWERED}
    assert (asker.requests(), figures(asked)) == (17, (12, 12, 12))
    assert sum(cost(asker, sha)[2] for sha in hashes) == 5
    assert len(asker.charges()) == (12 if lost == "lost_response" else 17)


# Lost answers


def test_a_lost_answer_is_asked_for_once_more_and_found_in_the_vendors_memory(asker: BillflowAsker) -> None:
    asker.turn(lost_response=1)
    (sha,) = asker.office.collect(PAPERS[0])
    asked = asker.ask()
    assert asker.office.stands(sha) == ANSWERED
    assert cost(asker, sha) == ("answered", 1, True)  # the cache is free, but what it holds was charged
    assert (figures(asked), asker.charges()) == ((1, 1, 1), [sha])


def test_work_that_could_not_be_stored_is_asked_for_once_more_and_charged_twice_at_most(asker: BillflowAsker) -> None:
    asker.turn(http_500_after_work=1)
    (sha,) = asker.office.collect(PAPERS[0])
    asker.ask()
    assert (cost(asker, sha), asker.charges()) == (("answered", 1, True), [sha, sha])
    assert spent(asker) == 2


def test_after_a_second_lost_answer_a_person_decides(asker: BillflowAsker) -> None:
    asker.turn(http_500_after_work=5)
    sha, other = asker.office.collect(*PAPERS[:2])
    asked = asker.ask()
    assert asker.office.all_stand([sha, other]) == {("done", "quarantined", "outcome_unknown")}
    assert (asker.charges().count(sha), asker.charges().count(other)) == (2, 2)
    assert any(sha[:12] in problem for problem in asked.problems)
    assert spent(asker) == 4
    asker.ask()
    assert len(asker.charges()) == 4


def test_no_answer_is_asked_for_again_where_the_settings_say_so(asker: BillflowAsker) -> None:
    asker.options = {"repeat_after_unknown": False}
    asker.turn(lost_response=1)
    (sha,) = asker.office.collect(PAPERS[0])
    asker.ask()
    assert asker.office.stands(sha) == ("done", "quarantined", "outcome_unknown")
    assert (asker.requests(), cost(asker, sha)[0]) == (1, "unknown")


def test_after_a_repeat_that_was_refused_the_first_call_is_as_unknown_as_before(
    asker: BillflowAsker, line: Line
) -> None:
    (sha,) = asker.office.collect(PAPERS[0])
    line.befall("submit", LOST, Answer.json({"error": {"code": "QUOTA_EXCEEDED", "message": "used up"}}, 402))
    asker.ask()
    assert cost(asker, sha) == ("unknown", 0, False)
    assert (spent(asker), asker.office.stands(sha)) == (1, ("ask", "waiting", "account_stopped"))
    asker.ask()
    assert (cost(asker, sha), asker.charges()) == (("answered", 1, True), [sha])


def test_a_repeat_that_is_refused_for_good_counts_what_may_have_been_charged(asker: BillflowAsker, line: Line) -> None:
    (sha,) = asker.office.collect(PAPERS[0])
    line.befall("submit", LOST, UNREADABLE, UNREADABLE)
    asker.ask()
    assert (cost(asker, sha), asker.charges()) == (("failed", 1, False), [sha])
    assert asker.office.stands(sha) == ("done", "quarantined", "extraction_failed")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"<html>", {"Content-Type": "text/html"}),
        Answer(200, b'{"total": NaN}', {"Content-Type": "application/json"}),
        Answer(200, b'{"total": 1, "total": 2}', {"Content-Type": "application/json"}),
        Answer.json({}),
        Answer.json({"total": [1]}),
        Answer(200, b'{"total": 1}', claims=500, cut_after=8),
        Answer(504),
        Drop(reset=True),
    ],
    ids=repr,
)
def test_an_answer_that_is_none_is_asked_for_once_more(asker: BillflowAsker, line: Line, answer: Answer | Drop) -> None:
    (sha,) = asker.office.collect(PAPERS[0])
    line.befall("submit", After(answer))
    asked = asker.ask()
    assert (asker.office.stands(sha), cost(asker, sha)) == (ANSWERED, ("answered", 1, True))
    assert (figures(asked), asker.charges()) == ((1, 1, 1), [sha])


class Dying(BillflowAi):
    """A client whose process dies while it waits for its first answer."""

    has_died = False

    def extract_file(self, content: bytes, file_name: str, media_type: str, invoice_kind: str = "expense") -> Reading:
        reading = super().extract_file(content, file_name, media_type, invoice_kind)
        if not type(self).has_died:
            type(self).has_died = True
            raise Dead
        return reading


def test_a_run_killed_between_intent_and_answer_asks_once_more_and_flags_it(asker: BillflowAsker) -> None:
    (sha,) = asker.office.collect(PAPERS[0])
    asker.client = type("DyingOnce", (Dying,), {})
    with pytest.raises(Dead):
        asker.ask()
    assert asker.office.job(sha)["status"] == "intended"
    asker.ask()
    assert (cost(asker, sha), asker.charges()) == (("answered", 1, True), [sha])
    asker.ask()
    assert asker.requests() == 2


def spent(asker: BillflowAsker) -> int:
    """Return what counts against the caps of today."""
    asker.office.cap(day=100)
    with asker.office.ledger.reading() as connection:
        left = room(connection, "billflowai", asker.office.caps, asker.office.ledger.now(), None)
    return 100 - (left or 0)
