"""Answers of smartbills.com that are none: each harms its own job at most, none is looped for, none paid for twice."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator

import pytest

from invoices.documents.store import DocumentStore
from invoices.ledger import Ledger
from invoices.settings import Settings
from sandbox.serving import Sandbox, start
from tests.integration.extraction_office import ANSWERED, MINUTE, PAPERS, After, Event, Line, Office, figures
from tests.integration.scripted_server import Answer, ScriptedServer, Seen
from tests.integration.smartbills_com_asker import SmartBillsAsker

pytestmark = pytest.mark.unmeasured
JSON = {"Content-Type": "application/json"}
WAITS = ("ask", "waiting", "contract_changed")
LOST = ("done", "quarantined", "extraction_lost")
OVERDUE = {"deadline_minutes": 1e-6}


def _packed(body: bytes) -> bytes:
    return gzip.compress(body + b" " * 20_000_000, 1)


ODD: dict[str, Callable[[bytes], Answer]] = {
    "a number that is none": lambda body: Answer(200, body.replace(b'"id"', b'"x":NaN,"id"'), JSON),
    "a number beyond all": lambda body: Answer(200, body.replace(b'"id"', b'"x":1e400,"id"'), JSON),
    "a key twice": lambda body: Answer(200, body.replace(b'"id"', b'"status":"completed","id"'), JSON),
    "a byte order mark": lambda body: Answer(200, b"\xef\xbb\xbf" + body, JSON),
    "another encoding": lambda body: Answer(200, body.decode().encode("utf-16"), JSON),
    "a login page": lambda _: Answer(200, b"<html>log in</html>", {"Content-Type": "text/html"}),
    "a page that says it is JSON": lambda _: Answer(200, b"<html>log in</html>", JSON),
    "a bomb": lambda body: Answer(200, _packed(body), {**JSON, "Content-Encoding": "gzip"}),
    "half of it": lambda body: Answer(200, body[: len(body) // 2], JSON),
    "a deep hole": lambda _: Answer(200, b"[" * 100_000, JSON),
    "nothing": lambda _: Answer(200, b"", JSON),
    "about another job": lambda body: Answer(200, body.replace(b"inv_", b"inv_9"), JSON),
    "no status": lambda body: Answer(200, body.replace(b'"status"', b'"state"'), JSON),
    "a list": lambda body: Answer(200, b"[%b]" % body, JSON),
    "data that is no object": lambda body: Answer(
        200, body.replace(b'"extracted_data":', b'"extracted_data":[],"d":'), JSON
    ),
    "a false success": lambda _: Answer.json({"success": False, "data": None, "error": {"code": "X", "message": "no"}}),
    "a job nobody knows": lambda _: Answer.json({"error": {"code": "NOT_FOUND", "message": "no"}}, 404),
}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with start(tmp_path_factory.mktemp("sandbox"), minute_seconds=MINUTE) as running:
        yield running


@pytest.fixture
def asker(sandbox: Sandbox, ledger: Ledger, home: Settings) -> Iterator[SmartBillsAsker]:
    """Someone with an account of their own and no document yet."""
    with ScriptedServer() as server:
        yield SmartBillsAsker(Office(ledger, DocumentStore(home.documents_directory), sandbox), Line(server, sandbox))


class Poison:
    """Spoils every look at the job of one document, or the first ones alone."""

    def __init__(self, asker: SmartBillsAsker, sha: str, answer: Callable[[bytes], Answer], times: int = 1_000) -> None:
        self._asker, self._sha, self._answer, self.left = asker, sha, answer, times
        self.looks = 0
        asker.line.whenever("look", self)

    def __call__(self, seen: Seen) -> Event:
        remote_id = self._asker.office.job(self._sha)["remote_id"]
        if not seen.path.endswith(remote_id) or self.left == 0:
            return None
        self.left, self.looks = self.left - 1, self.looks + 1
        body = {"id": remote_id, "status": "completed", "extracted_data": {"total_amount": 1}}
        return self._answer(json.dumps(body).encode())


def _submitted(asker: SmartBillsAsker, *papers: bytes) -> list[str]:
    """Let a run submit papers and be turned away once it looks at the last of them; return their hashes."""
    hashes, looked = asker.office.collect(*papers), set[str]()

    def turned_away(seen: Seen) -> Event:
        looked.add(seen.path)
        return Answer(401) if len(looked) == len(papers) else None

    asker.turn(processing_seconds=3_600)
    asker.line.whenever("look", turned_away)
    asker.ask()
    asker.turn(processing_seconds=0)
    return hashes


@pytest.mark.parametrize("answer", ODD.values(), ids=ODD.keys())
def test_an_odd_answer_is_asked_for_again_and_nothing_is_paid_twice(
    asker: SmartBillsAsker, answer: Callable[[bytes], Answer]
) -> None:
    (sha,) = asker.office.collect(PAPERS[0])
    poison = Poison(asker, sha, answer, times=2)
    asked = asker.ask()
    assert asker.office.stands(sha) == ANSWERED
    assert (poison.looks, asker.charges(), figures(asked), asked.problems) == (2, [sha], (1, 1, 1), [])


def test_one_answer_that_stays_odd_goes_to_a_person_with_its_question_left_open(asker: SmartBillsAsker) -> None:
    asker.turn(processing_polls=1)
    odd, *others = asker.office.collect(*PAPERS[:8])
    poison = Poison(asker, odd, ODD["a number that is none"])
    asked = asker.ask()
    assert asker.office.stands(odd) == LOST
    assert (poison.looks, asker.office.job(odd)["status"]) == (5, "submitted")
    assert asker.office.all_stand(others) == {ANSWERED}
    assert (figures(asked), asked.set_aside, len(asked.problems)) == ((8, 8, 7), 1, 1)
    assert odd[:12] in asked.problems[0]


def test_one_job_that_the_vendor_forgot_fails_and_is_not_asked_about_again(asker: SmartBillsAsker) -> None:
    asker.turn(processing_polls=1)
    forgotten, *others = asker.office.collect(*PAPERS[:4])
    Poison(asker, forgotten, ODD["a job nobody knows"])
    asked = asker.ask()
    assert (asker.office.stands(forgotten), asker.office.job(forgotten)["status"]) == (LOST, "failed")
    assert asker.office.job(forgotten)["pages_charged"] == 1
    assert asker.office.all_stand(others) == {ANSWERED}
    assert (figures(asked), len(asker.charges())) == ((4, 4, 3), 4)


def test_a_vendor_that_is_not_understood_at_all_is_left_alone_and_nothing_is_thrown_away(
    asker: SmartBillsAsker,
) -> None:
    hashes = asker.office.collect(*PAPERS[:2])
    asker.line.whenever("look", lambda _: ODD["a login page"](b""))
    asked = asker.ask()
    assert asker.office.all_stand(hashes) == {WAITS}
    assert (asker.line.calls("look"), len(asked.problems)) == (5, 1)
    asker.line.rules.clear()
    asker.ask()
    assert (asker.office.all_stand(hashes), asker.charges()) == ({ANSWERED}, hashes)


def test_old_jobs_that_stay_odd_stop_no_vendor_and_no_new_document(asker: SmartBillsAsker) -> None:
    old = _submitted(asker, *PAPERS[:6])
    looks = asker.line.calls("look")
    ids = [asker.office.job(sha)["remote_id"] for sha in old]
    asker.line.whenever("look", lambda seen: ODD["nothing"](b"") if seen.path.endswith(tuple(ids)) else None)
    (new,) = asker.office.collect(PAPERS[6])
    asker.options = OVERDUE
    asker.ask()
    assert asker.stopped is None
    assert asker.office.all_stand(old) == {LOST}
    assert asker.line.calls("look") == looks + 6 * 5 + 1
    assert (asker.office.stands(new), len(asker.charges())) == (ANSWERED, 7)


def test_an_old_job_is_not_given_up_for_a_single_odd_answer(asker: SmartBillsAsker) -> None:
    (sha,) = asker.office.collect(PAPERS[0])
    asker.options = OVERDUE
    Poison(asker, sha, ODD["a login page"], times=4)
    asker.ask()
    assert asker.office.stands(sha) == ANSWERED


@pytest.mark.parametrize("word", ["processing", "paused"])
def test_a_job_that_never_ends_is_given_up_at_the_deadline(asker: SmartBillsAsker, word: str) -> None:
    asker.turn(processing_seconds=3_600, unknown_status=word)
    asker.options = {"deadline_minutes": 1}
    (sha,) = asker.office.collect(PAPERS[0])
    asker.ask()
    assert asker.office.stands(sha) == ("done", "quarantined", "extraction_stuck")
    assert repr(word) in asker.office.row(sha)["reason"]
    assert (asker.charges(), asker.office.job(sha)["pages_charged"]) == ([sha], 1)


# Jobs that cannot be looked at


@pytest.mark.parametrize("silence", [Answer(500), Answer(200, b'{"id"', JSON, framing="close")])
def test_a_job_that_makes_the_vendor_fail_waits_and_harms_no_other(asker: SmartBillsAsker, silence: Answer) -> None:
    failing, *others = asker.office.collect(*PAPERS[:4])
    Poison(asker, failing, lambda _: silence)
    asked = asker.ask()
    assert asker.stopped is None
    assert asker.office.stands(failing) == ("ask", "waiting", "vendor_unavailable")
    assert (asker.office.all_stand(others), len(asked.problems)) == ({ANSWERED}, 1)
    asker.line.rules.clear()
    asker.ask()
    assert (asker.office.stands(failing), len(asker.charges())) == (ANSWERED, 4)


def test_a_job_that_makes_the_vendor_fail_goes_to_a_person_when_its_time_is_over(asker: SmartBillsAsker) -> None:
    failing, *others = asker.office.collect(*PAPERS[:4])
    Poison(asker, failing, lambda _: Answer(500))
    asker.options = OVERDUE
    asker.ask()
    assert (asker.office.stands(failing), asker.office.job(failing)["status"]) == (LOST, "submitted")
    assert asker.office.all_stand(others) == {ANSWERED}


@pytest.mark.parametrize("count", [1, 3])
def test_a_vendor_that_is_down_puts_no_old_job_before_a_person(asker: SmartBillsAsker, count: int) -> None:
    hashes = _submitted(asker, *PAPERS[:count])
    asker.line.whenever("look", lambda _: Answer(500))
    asker.options = OVERDUE
    asker.ask()
    assert asker.office.all_stand(hashes) == {("ask", "waiting", "vendor_unavailable")}


def test_an_answer_that_drips_is_cut_and_asked_for_again(asker: SmartBillsAsker) -> None:
    asker.call_seconds = 0.5
    (sha,) = asker.office.collect(PAPERS[0])
    Poison(asker, sha, lambda body: Answer(200, body, JSON, drip=0.1), times=1)
    asker.ask()
    assert (asker.office.stands(sha), asker.charges()) == (ANSWERED, [sha])


def test_a_submission_whose_answer_drips_is_looked_up(asker: SmartBillsAsker) -> None:
    asker.call_seconds = 0.5
    (sha,) = asker.office.collect(PAPERS[0])
    asker.line.befall("submit", After(Answer(200, b" " * 100, JSON, drip=0.1, drips_headers=True)))
    asker.ask()
    assert (asker.office.stands(sha), asker.charges()) == (ANSWERED, [sha])


@pytest.mark.parametrize("body", [b"{}", b"null", b'{"id":""}', b'{"id":5}', b'{"id":"a/b"}', b"<html>"])
def test_a_submission_whose_answer_is_odd_is_looked_up(asker: SmartBillsAsker, body: bytes) -> None:
    (sha,) = asker.office.collect(PAPERS[0])
    asker.line.befall("submit", After(Answer(200, body, JSON)))
    asker.ask()
    assert (asker.office.stands(sha), asker.charges()) == (ANSWERED, [sha])
    assert not asker.office.job(sha)["possible_double_charge"]
