"""Asking smartbills.com after a lost answer or a kill: what arrived is found by its bytes, what may have is flagged."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from invoices.clients.smartbills_com import SmartBillsCom, SubmittedJob
from invoices.clients.transport import make_session
from invoices.documents.store import DocumentStore
from invoices.extraction.patience.budget import Window
from invoices.ledger import Ledger
from invoices.settings import Settings
from sandbox.serving import Sandbox, start
from tests.integration.extraction_office import (
    ANSWERED,
    LOST,
    MINUTE,
    PAPERS,
    Counting,
    Dead,
    Line,
    Office,
    Told,
    figures,
    hash_of,
)
from tests.integration.scripted_server import Answer, Drop, ScriptedServer
from tests.integration.smartbills_com_asker import SmartBillsAsker

pytestmark = pytest.mark.unmeasured
NO_LIST = Answer(200, b"<html>", {"Content-Type": "text/html"})
REFUSED = Answer.json({"error": {"code": "NO_CREDIT", "message": "pay"}}, 402)


class Dying(SmartBillsCom):
    """A client whose process dies, as often as ``deaths`` says, right before or right after a submission."""

    deaths: int = 0
    before: bool = False

    def submit(self, content: bytes, file_name: str, media_type: str) -> SubmittedJob:
        if type(self).deaths and self.before:
            type(self).deaths -= 1
            raise Dead
        submitted = super().submit(content, file_name, media_type)
        if type(self).deaths:
            type(self).deaths -= 1
            raise Dead
        return submitted


def dying(*, before: bool) -> type[SmartBillsCom]:
    """Return a client that dies once."""
    return type("DyingOnce", (Dying,), {"deaths": 1, "before": before})


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with start(tmp_path_factory.mktemp("sandbox"), minute_seconds=MINUTE) as running:
        yield running


@pytest.fixture
def asker(sandbox: Sandbox, ledger: Ledger, home: Settings) -> Iterator[SmartBillsAsker]:
    """Someone with an account of their own and no document yet."""
    with ScriptedServer() as server:
        yield SmartBillsAsker(Office(ledger, DocumentStore(home.documents_directory), sandbox), Line(server, sandbox))


def someone_else(asker: SmartBillsAsker) -> SmartBillsCom:
    """Return a client of another program with the same account."""
    return SmartBillsCom(asker.office.sandbox.smartbills_com["base_url"], asker.key, make_session())


def _oldest_first(body: bytes) -> bytes:
    return json.dumps({"data": json.loads(body)["data"][::-1]}).encode()


def flags(asker: SmartBillsAsker, *hashes: str) -> list[bool]:
    """Return which of the documents may have been charged twice."""
    return [bool(asker.office.job(sha)["possible_double_charge"]) for sha in hashes]


@pytest.mark.parametrize("knob", ["post_lost_response", "http_500_after_work"])
@pytest.mark.parametrize("envelope", ["bare", "wrapped"])
def test_a_submission_that_arrived_is_found_by_its_bytes_and_not_charged_again(
    asker: SmartBillsAsker, knob: str, envelope: str
) -> None:
    asker.turn(envelope=envelope, **{knob: 2})
    hashes = asker.office.collect(*PAPERS[:3])
    asked = asker.ask()
    assert asker.charges() == hashes
    assert (asker.office.all_stand(hashes), flags(asker, *hashes)) == ({ANSWERED}, [False] * 3)
    assert (figures(asked), asked.problems) == ((3, 3, 3), [])


def test_a_job_of_other_bytes_or_of_long_ago_is_not_taken_for_ours(asker: SmartBillsAsker) -> None:
    (sha,) = asker.office.collect(PAPERS[0])
    stranger = someone_else(asker)
    stranger.submit(PAPERS[1], "other.pdf", "application/pdf")
    old = stranger.submit(PAPERS[0], "old.pdf", "application/pdf")
    made = str(old.created_at)[:10].encode()
    asker.line.befall("list", Told(lambda body: body.replace(made, b"2020-01-01")))
    asker.line.befall("submit", Drop())
    asker.ask()
    assert asker.charges() == [hash_of(PAPERS[1]), sha, sha]
    assert asker.office.job(sha)["remote_id"] != old.id
    assert flags(asker, sha) == [True]


def test_a_job_that_another_document_holds_already_is_not_looked_into(asker: SmartBillsAsker) -> None:
    asker.turn(processing_polls=1)
    asker.office.collect(*PAPERS[:2])
    asker.line.befall("submit", None, LOST)
    asker.line.befall("list", Told(_oldest_first))
    asker.ask()
    assert (asker.line.calls("file"), len(asker.charges())) == (1, 2)


def test_a_job_that_cannot_be_looked_into_does_not_hide_the_one_that_arrived(asker: SmartBillsAsker) -> None:
    stranger = someone_else(asker)
    for paper in PAPERS[1:3]:
        stranger.submit(paper, "other.pdf", "application/pdf")
    (sha,) = asker.office.collect(PAPERS[0])
    asker.line.befall("submit", LOST)
    asker.line.befall("file", None, Answer(404))  # of those before it, the newest is listed first
    asker.line.befall("list", Told(_oldest_first))
    asker.ask()
    assert (asker.charges().count(sha), flags(asker, sha)) == (1, [False])


@pytest.mark.parametrize("unusable", [NO_LIST, Answer(404), Answer.json({"data": {"page": 1}})])
def test_with_an_unusable_list_the_submission_is_repeated_once_and_flagged(
    asker: SmartBillsAsker, unusable: Answer
) -> None:
    (sha,) = asker.office.collect(PAPERS[0])
    asker.line.befall("submit", LOST)
    asker.line.befall("list", unusable)
    asked = asker.ask()
    assert asker.charges() == [sha, sha]
    assert (flags(asker, sha), asker.office.stands(sha)) == ([True], ANSWERED)
    assert figures(asked) == (1, 1, 1)  # the other one is the possible double charge


def test_after_a_second_unknown_outcome_a_person_decides(asker: SmartBillsAsker) -> None:
    sha, other = asker.office.collect(*PAPERS[:2])
    asker.line.befall("submit", Drop(), Drop())
    asked = asker.ask()
    assert asker.office.stands(sha) == ("done", "quarantined", "outcome_unknown")
    assert (asker.office.stands(other), asker.charges()) == (ANSWERED, [other])
    assert any(sha[:12] in problem for problem in asked.problems)
    asker.ask()
    assert asker.line.calls("submit") == 3


def test_no_submission_is_repeated_where_the_settings_say_so(asker: SmartBillsAsker) -> None:
    asker.options = {"repeat_after_unknown": False}
    (sha,) = asker.office.collect(PAPERS[0])
    asker.line.befall("submit", Drop())
    asker.ask()
    assert asker.office.stands(sha) == ("done", "quarantined", "outcome_unknown")
    assert asker.line.calls("submit") == 1


def test_a_list_that_is_overloaded_is_asked_again_before_anything_is_repeated(asker: SmartBillsAsker) -> None:
    (sha,) = asker.office.collect(PAPERS[0])
    asker.line.befall("submit", LOST)
    asker.line.befall("list", Answer(503), times=2)
    asker.line.befall("file", Answer(200, b"%PDF", framing="close"))
    asker.ask()
    assert (asker.charges(), asker.office.stands(sha)) == ([sha], ANSWERED)


@pytest.mark.parametrize(("status", "code"), [(503, "vendor_unavailable"), (401, "account_stopped")])
def test_a_list_that_stays_away_leaves_the_document_waiting(asker: SmartBillsAsker, status: int, code: str) -> None:
    (sha,) = asker.office.collect(PAPERS[0])
    asker.line.befall("submit", LOST)
    asker.line.befall("list", Answer(status), times=50)
    asker.ask()
    assert asker.office.stands(sha) == ("ask", "waiting", code)
    assert (asker.charges(), asker.office.job(sha)["status"]) == ([sha], "unknown")
    asker.line.befall("list")
    asker.ask()
    assert (asker.charges(), asker.office.stands(sha)) == ([sha], ANSWERED)


def test_after_a_repeat_that_was_refused_it_is_as_unknown_as_before(asker: SmartBillsAsker) -> None:
    (sha,) = asker.office.collect(PAPERS[0])
    asker.line.befall("submit", LOST, REFUSED)
    asker.line.befall("list", NO_LIST)
    asker.ask()
    job = asker.office.job(sha)
    assert (job["status"], job["possible_double_charge"], job["pages_reserved"]) == ("unknown", False, 1)
    asker.ask()  # the list is back
    assert (asker.charges(), asker.office.stands(sha), flags(asker, sha)) == ([sha], ANSWERED, [False])


def test_no_more_than_one_repeat_ever_arrives(asker: SmartBillsAsker) -> None:
    (sha,) = asker.office.collect(PAPERS[0])
    asker.line.befall("submit", LOST, REFUSED, LOST)
    asker.line.befall("list", NO_LIST, times=9)
    asker.ask()
    asker.ask()
    assert asker.office.stands(sha) == ("done", "quarantined", "outcome_unknown")
    assert (asker.charges(), flags(asker, sha)) == ([sha, sha], [True])


def test_a_repeat_that_is_refused_for_good_counts_what_may_have_been_charged(asker: SmartBillsAsker) -> None:
    (sha,) = asker.office.collect(PAPERS[0])
    asker.line.befall("submit", LOST, Answer(422))
    asker.line.befall("list", NO_LIST)
    asker.ask()
    job = asker.office.job(sha)
    assert (job["status"], job["pages_charged"], job["possible_double_charge"]) == ("failed", 1, False)
    assert asker.charges() == [sha]


def test_a_document_that_the_store_lost_before_its_repeat_counts_what_may_have_been_charged(
    asker: SmartBillsAsker,
) -> None:
    (sha,) = asker.office.collect(PAPERS[0])
    asker.line.befall("submit", LOST)
    asker.line.befall("list", Answer(401))
    asker.ask()
    asker.office.store.path(sha).unlink()
    asker.line.befall("list", NO_LIST)
    asker.ask()
    job = asker.office.job(sha)
    assert asker.office.stands(sha) == ("done", "quarantined", "missing")
    assert (job["status"], job["pages_charged"], asker.charges()) == ("failed", 1, [sha])


# Killed and started again


def test_a_run_killed_before_the_vendor_was_reached_asks_once_more_and_flags_it(asker: SmartBillsAsker) -> None:
    (sha,) = asker.office.collect(PAPERS[0])
    asker.client = dying(before=True)
    with pytest.raises(Dead):
        asker.ask()
    assert asker.office.job(sha)["status"] == "intended"
    asker.ask()
    assert asker.charges() == [sha]
    assert flags(asker, sha) == [True]  # the list is undocumented: it may lack the job


def test_a_run_killed_after_the_vendor_was_reached_finds_its_job(asker: SmartBillsAsker) -> None:
    (sha,) = asker.office.collect(PAPERS[0])
    asker.client = dying(before=False)
    with pytest.raises(Dead):
        asker.ask()
    asked = asker.ask()
    assert (asker.charges(), flags(asker, sha), figures(asked)) == ([sha], [False], (1, 1, 1))


def test_a_submitted_job_is_looked_at_again_and_not_submitted_again(asker: SmartBillsAsker) -> None:
    hashes = asker.office.collect(*PAPERS[:2])
    asker.line.befall("look", Answer(401))
    asker.ask()
    assert {asker.office.job(sha)["status"] for sha in hashes} == {"submitted"}
    asked = asker.ask()
    assert (figures(asked), asker.charges()) == ((0, 0, 2), hashes)
    assert asker.office.all_stand(hashes) == {ANSWERED}


def test_a_run_killed_while_the_vendor_wanted_a_pause_has_nothing_to_recover(asker: SmartBillsAsker) -> None:
    def die(_seconds: float) -> None:
        raise Dead

    (sha,) = asker.office.collect(PAPERS[0])
    asker.line.befall("submit", Answer(429))
    asker.options = {"sleep": die}
    with pytest.raises(Dead):
        asker.ask()
    assert asker.office.job(sha)["status"] == "refused"
    asker.options = {}
    asker.ask()
    assert (asker.charges(), flags(asker, sha)) == ([sha], [False])


def test_a_run_killed_while_it_waits_for_its_turn_has_written_no_intent(asker: SmartBillsAsker) -> None:
    def die(_seconds: float) -> None:
        raise Dead

    first, second = asker.office.collect(*PAPERS[:2])
    asker.counting, asker.options = Counting([Window(1, 50)], scale=1), {"sleep": die}
    with pytest.raises(Dead):
        asker.ask()
    assert (asker.charges(), asker.office.jobs(second)) == ([first], [])
    asker.counting, asker.options = Counting(), {}
    asker.ask()
    assert (asker.charges(), flags(asker, first, second)) == ([first, second], [False, False])
