"""Asking invoicedataextraction.com: each page is charged once, whatever is lost, killed or forgotten on the way."""

from __future__ import annotations

import datetime as dt
import threading
from pathlib import Path
from typing import Any

import pytest

from invoices.clients.invoicedataextraction_com import SessionGone, SubmissionExists
from invoices.errors import ContractError, TransientError
from sandbox.serving import Sandbox
from tests.integration.batch_office import ANSWERED, Dead, Office

LONG_AGO = dt.datetime.now(dt.UTC) - dt.timedelta(hours=21)
STEPS_TO_TRY = 60


@pytest.mark.parametrize("knob", ["lost_response", "http_500_after_work"])
@pytest.mark.parametrize(
    "route", ["balance", "session", "parts", "put", "complete", "submit", "status", "results"]
)  # fmt: skip
def test_an_answer_lost_after_the_work_is_asked_for_again_under_the_same_ids(
    office: Office, route: str, knob: str
) -> None:
    hashes = office.collect(2)
    office.turn(**{knob: f"{route}=2"})
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    assert len(office.extractions()) == 1
    assert len(office.journal()["sessions"]) == 1
    office.check_books(*hashes)


@pytest.mark.parametrize("route", ["output", "download"])
def test_an_output_lost_on_the_way_is_fetched_again(office: Office, route: str) -> None:
    hashes = office.collect(2)
    office.turn(missing_outputs="results", lost_response=f"{route}=2")
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    office.check_books(*hashes)


@pytest.mark.parametrize("connections", [1, 3])
def test_a_run_killed_between_any_two_steps_is_taken_up_by_the_next(
    tmp_path: Path, batch_sandbox: Sandbox, connections: int
) -> None:
    for fatal in range(1, STEPS_TO_TRY):
        office = Office(tmp_path / str(fatal), batch_sandbox)
        hashes = office.collect(2)
        try:
            office.ask(fatal=fatal, connections=connections)
            is_over = True
        except Dead:
            is_over = False
            office.ask(connections=connections)
        assert office.stands(*hashes) == ANSWERED, (fatal, office.steps.names)
        assert len(office.extractions()) == 1, (fatal, office.steps.names)
        office.check_books(*hashes, was_killed=True)
        office.ledger.close()
        if is_over:
            return
    raise AssertionError("the run has more steps than were tried")


def test_a_run_killed_when_half_of_the_answers_were_written_writes_the_other_half(office: Office) -> None:
    hashes = office.collect(201)  # 200 go into one transaction

    def die_in_second_piece(results: Any, extraction_id: str) -> Any:
        office.steps.fatal = office.steps.taken + 2  # the first piece is committed, the second is not
        return results(extraction_id)

    office.instead["results"] = die_in_second_piece
    with pytest.raises(Dead):
        office.ask(connections=4)
    assert len(office.stands(*hashes)) == 2
    office.instead.clear()
    asked = office.ask()
    assert office.stands(*hashes) == ANSWERED
    assert (asked.answered, asked.problems) == (1, [])  # rows of those answered before are no strangers
    assert len(office.extractions()) == 1
    office.check_books(*hashes, was_killed=True)


def test_rows_without_a_file_are_not_given_to_the_last_one_that_is_still_open(office: Office) -> None:
    hashes = office.collect(2)
    office.instead["results"] = _killed
    with pytest.raises(Dead):
        office.ask()
    _answer_first(office, hashes[0])
    office.instead["results"] = _without_files
    asked = office.ask()
    assert office.stands(hashes[1]) == ANSWERED  # its page was read; no row is known to be its
    assert '"rows": []' in office.job(hashes[1])["payload"]
    assert "no file at all" in asked.problems[0]


def _killed(_results: Any, _extraction_id: str) -> Any:
    raise Dead


def _without_files(results: Any, extraction_id: str) -> Any:
    told = results(extraction_id)
    rows = tuple({name: cell for name, cell in row.items() if name != "Source File"} for row in told.rows)
    return type(told)(told.extraction_id, told.columns, rows, None, True, None, ())


def _answer_first(office: Office, sha256: str) -> None:
    """Write the answer about one document, as a run would that is killed before the others."""
    desk = office.engine("killed", office.steps).desk
    with office.ledger.transaction() as tx:
        desk.answered_in(tx, desk.extraction_id(sha256), sha256, {}, pages_charged=1)


def _killed_at(office: Office, call: str, documents: int = 2) -> list[str]:
    """Return documents that a run was killed with just after this call."""
    hashes = office.collect(documents)

    def die_after(found: Any, *args: Any) -> Any:
        found(*args)
        raise Dead

    office.instead[call] = die_after
    with pytest.raises(Dead):
        office.ask()
    office.instead.clear()
    return hashes


def test_an_upload_of_long_ago_is_made_again_in_a_new_session(office: Office) -> None:
    hashes = _killed_at(office, "complete")
    office.age(opened_at=LONG_AGO)
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    assert [one["id"][-2:] for one in office.journal()["sessions"]] == [":1", ":2"]
    office.check_books(*hashes, was_killed=True)


def test_a_submission_of_long_ago_is_found_in_the_list_and_adopted(office: Office) -> None:
    hashes = _killed_at(office, "submit")
    office.age(opened_at=LONG_AGO)
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    assert office.client.counts["submit"] == 0
    assert len(office.journal()["sessions"]) == 1
    office.check_books(*hashes, was_killed=True)


def test_a_submission_of_long_ago_that_never_arrived_is_made_from_a_new_session(office: Office) -> None:
    office.instead["submit"] = _killed
    hashes = office.collect(2)
    with pytest.raises(Dead):
        office.ask()
    office.instead.clear()
    office.age(opened_at=LONG_AGO)
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    assert (len(office.journal()["sessions"]), len(office.extractions())) == (2, 1)
    office.check_books(*hashes, was_killed=True)


def test_a_submission_that_the_list_does_not_show_yet_is_not_made_twice(office: Office) -> None:
    hashes = _killed_at(office, "submit")
    office.age(opened_at=LONG_AGO)
    office.instead["extractions"] = lambda _found, **_named: iter(())
    office.ask()  # uploads anew, submits under the same id, and is told of the one that exists
    assert office.stands(*hashes) == ANSWERED
    assert len(office.extractions()) == 1
    office.check_books(*hashes, was_killed=True)


@pytest.mark.parametrize("error", [TransientError, ContractError])
def test_a_list_that_cannot_be_had_leaves_a_submission_of_long_ago_to_a_later_run(
    office: Office, error: type[Exception]
) -> None:
    hashes = _killed_at(office, "submit")
    office.age(opened_at=LONG_AGO)

    def fails(_found: Any, **_named: Any) -> Any:
        raise error("no list")

    office.instead["extractions"] = fails
    office.ask()
    assert office.stands(*hashes) == {("ask", "vendor_unavailable")}
    assert office.client.counts["submit"] == 0
    office.instead.clear()
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    office.check_books(*hashes, was_killed=True)


def test_a_submission_id_that_the_vendor_knows_is_adopted(office: Office) -> None:
    hashes = office.collect(2)

    def exists(found: Any, submission: Any) -> Any:
        error = SubmissionExists("409")
        error.extraction_id = found(submission)
        raise error

    office.instead["submit"] = exists
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    office.check_books(*hashes)


def test_an_upload_session_that_belongs_to_other_files_is_left_for_a_new_one(office: Office) -> None:
    hashes = _killed_at(office, "open_session", documents=3)
    (office.store.path(hashes[0])).unlink()
    office.ask()
    assert office.stands(*hashes[1:]) == ANSWERED
    assert office.stands(hashes[0]) != ANSWERED
    office.check_books(*hashes[1:], was_killed=True)


def test_several_uploads_that_see_their_session_gone_open_one_new_session(office: Office) -> None:
    hashes = office.collect(4)
    seen: list[str] = []
    together = threading.Barrier(4)

    def gone(found: Any, session_id: str, *args: Any) -> Any:
        if session_id.endswith(":1"):
            seen.append(session_id)
            together.wait(10)
            raise SessionGone("409")
        return found(session_id, *args)

    office.instead["part_urls"] = gone
    office.ask(connections=5)
    assert len(seen) == 4
    assert [one["id"][-2:] for one in office.journal()["sessions"]] == [":1", ":2"]
    assert office.stands(*hashes) == ANSWERED
