"""Asking invoicedataextraction.com beside others, and through storms: what is in another's hands stays there."""

from __future__ import annotations

import random
from typing import Any

import pytest

from invoices.ledger.claims import claim_these, let_go
from tests.integration.batch_office import ANSWERED, Dead, Office

ROUTES = ("balance", "session", "parts", "put", "complete", "submit", "status", "results")


def dying(call: str, office: Office) -> None:
    """Let the next run die just after its first call of this kind."""

    def die(found: Any, *args: Any) -> Any:
        found(*args)
        raise Dead

    office.instead[call] = die
    with pytest.raises(Dead):
        office.ask()
    office.instead.clear()


def test_a_batch_of_which_another_living_worker_holds_a_part_is_left_to_it(office: Office) -> None:
    hashes = office.collect(3)
    dying("open_session", office)
    office.living.add("another")
    with office.ledger.transaction() as tx:
        for name in office.holders():
            let_go(tx, name)
        assert claim_these(tx, "another", hashes[:1])
    asked = office.ask()
    assert (asked.calls, sum(office.client.counts.values())) == (0, 0)
    office.living.clear()
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    office.check_books(*hashes, was_killed=True)


def test_documents_outside_the_batch_of_another_worker_are_asked_about(office: Office) -> None:
    theirs = office.collect(2)
    dying("open_session", office)
    office.living.add("another")
    with office.ledger.transaction() as tx:
        for name in office.holders():
            let_go(tx, name)
        assert claim_these(tx, "another", theirs)
    ours = office.collect(2)
    office.ask()
    assert office.stands(*ours) == ANSWERED
    assert office.stands(*theirs).isdisjoint(ANSWERED)


def test_claims_that_are_lost_before_the_submission_leave_it_unmade(office: Office) -> None:
    hashes = office.collect(2)

    def lose(found: Any, *args: Any) -> Any:
        found(*args)
        with office.ledger.transaction() as tx:
            for name in office.holders():
                let_go(tx, name)

    office.instead["complete"] = lose
    asked = office.ask(connections=1)
    assert (asked.calls, office.client.counts["submit"], office.extractions()) == (0, 0, [])
    assert office.concluded == 2  # for this run
    office.instead.clear()
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    office.check_books(*hashes)


def test_documents_that_another_worker_takes_before_a_batch_is_formed_are_not_in_it(office: Office) -> None:
    theirs, *ours = office.collect(3)

    def lose_one(found: Any) -> Any:
        with office.ledger.transaction() as tx:
            for name in office.holders():
                let_go(tx, name)
                assert claim_these(tx, name, ours)
            assert claim_these(tx, "another", [theirs])
        return found()

    office.instead["balance"] = lose_one
    office.ask()
    assert office.stands(*ours) == ANSWERED
    assert office.stands(theirs) == {("ask", "needs_extraction")}
    assert office.jobs(theirs) == []


def test_what_another_worker_has_written_meanwhile_is_not_written_again(office: Office) -> None:
    first, second = office.collect(2)

    def also_elsewhere(found: Any, extraction_id: str) -> Any:
        desk = office.engine("another", office.steps).desk
        with office.ledger.transaction() as tx:
            desk.answered_in(tx, desk.extraction_id(first), first, {"by": "another"}, pages_charged=1)
        return found(extraction_id)

    office.instead["results"] = also_elsewhere
    asked = office.ask()
    assert (asked.answered, asked.pages, asked.problems) == (1, 1, [])
    assert office.job(first)["payload"] == '{"by": "another"}'
    assert office.stands(first, second) == ANSWERED


def test_documents_left_open_in_a_batch_that_is_over_are_asked_about_anew(office: Office) -> None:
    hashes = office.collect(2)
    dying("open_session", office)
    office.age(status="concluded")
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    office.check_books(*hashes, was_killed=True)


@pytest.mark.parametrize("seed", range(6))
def test_after_any_storm_every_document_is_answered_and_the_books_agree(office: Office, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  no secret
    hashes = office.collect(12)
    office.turn(
        processing_seconds=chance.choice([0, 0.2]),
        lost_response=[f"{route}={chance.randint(0, 2)}" for route in ROUTES],
        http_500_after_work=[f"{route}={chance.randint(0, 1)}" for route in ROUTES],
        task_fail_code=[f"SUBMISSION_STALLED={chance.randint(0, 2)}", f"INTERNAL_ERROR={chance.randint(0, 2)}"],
        complete_fail_n=chance.randint(0, 3),
        task_errors=chance.choice(["as_task", "as_http"]),
    )
    for _ in range(12):
        if office.stands(*hashes) == ANSWERED:
            break
        office.ask(batch_documents=4, connections=chance.choice([1, 3]))
    assert office.stands(*hashes) == ANSWERED
    assert len({charge["document_sha256"] for charge in office.journal()["charges"]}) == 12
    office.check_books(*hashes)


@pytest.mark.parametrize("seed", range(4))
def test_after_kills_in_a_storm_no_page_is_charged_twice(office: Office, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  no secret
    hashes = office.collect(6)
    office.turn(lost_response=[f"{route}=2" for route in ROUTES], task_fail_code="SUBMISSION_STALLED=1")
    for _ in range(25):
        if office.stands(*hashes) == ANSWERED:
            break
        try:
            office.ask(fatal=chance.randint(5, 60), batch_documents=3)
        except Dead:
            continue
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    office.check_books(*hashes, was_killed=True)
