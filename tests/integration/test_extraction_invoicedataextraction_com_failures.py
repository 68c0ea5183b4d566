"""Asking invoicedataextraction.com: a failed task is made again, parks the vendor, or costs a document its place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from invoices.clients.invoicedataextraction_com import Extraction, FilesRefused, TaskRefused
from tests.integration.batch_office import ANSWERED, Office

CHANNELS = ["as_task", "as_http"]


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("code", ["CONCURRENT_TASK_LIMIT", "SUBMISSION_STALLED"])
def test_a_failure_of_the_moment_is_made_again_under_a_new_id(office: Office, code: str, channel: str) -> None:
    hashes = office.collect(2)
    office.turn(task_fail_code=f"{code}=2", task_errors=channel)
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    made = office.extractions()
    assert [one["status"] for one in made] == ["failed"] * (2 if channel == "as_task" else 0) + ["completed"]
    assert len({one["submission_id"] for one in made}) == len(made)
    assert len(office.journal()["sessions"]) == 1  # the uploads serve every generation
    office.check_books(*hashes)


def test_an_internal_error_of_a_task_is_made_again_under_a_new_id(office: Office) -> None:
    hashes = office.collect(2)
    office.turn(task_fail_code="INTERNAL_ERROR=1")
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    assert len(office.extractions()) == 2
    office.check_books(*hashes)


@pytest.mark.parametrize("code", ["CONCURRENT_TASK_LIMIT", "SUBMISSION_STALLED", "INTERNAL_ERROR"])
def test_a_failure_of_the_moment_that_does_not_end_waits_for_a_later_run(office: Office, code: str) -> None:
    hashes = office.collect(2)
    office.turn(task_fail_code=code)
    asked = office.ask()
    assert len(office.extractions()) == 4  # the first, and three more
    assert office.stands(*hashes) == {("ask", "vendor_unavailable")}
    assert code in asked.problems[0]
    office.turn(task_fail_code="")
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    office.check_books(*hashes)


def test_a_document_that_breaks_every_task_is_found_in_the_end_and_costs_the_others_nothing(office: Office) -> None:
    hashes = office.collect(2)
    office.turn(task_fail_code="INTERNAL_ERROR")
    for _ in range(3):
        office.ask()
    assert office.batches()[0].generation > 8
    assert office.stands(*hashes) == {("ask", "vendor_unavailable")}
    assert len(office.batches()) == 3  # the whole, and each half
    office.turn(task_fail_code="")
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    office.check_books(*hashes)


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_lack_of_credits_stops_new_submissions_and_keeps_all_documents(office: Office, channel: str) -> None:
    hashes = office.collect(4)
    office.turn(task_fail_code="INSUFFICIENT_CREDITS=1", task_errors=channel)
    asked = office.ask(batch_documents=2)
    assert office.stopped is not None
    assert (office.stopped.reason_code, office.stopped.is_problem) == ("account_stopped", True)
    assert "INSUFFICIENT_CREDITS" in asked.problems[0]
    assert ("ask", "account_stopped") in office.stands(*hashes) <= {("ask", "account_stopped"), *ANSWERED}
    assert {office.job(sha)["status"] for sha in hashes if office.jobs(sha)} <= {"refused", "answered"}
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    office.check_books(*hashes)


def test_a_lack_of_credits_at_the_session_keeps_all_documents(office: Office) -> None:
    hashes = office.collect(3)

    def optimistic(found: Any) -> Any:
        balance = found()
        return type(balance)(balance.credits_balance + 100, balance.credits_reserved)

    office.turn(credits=2)
    office.instead["balance"] = optimistic
    office.ask()
    assert office.stands(*hashes) == {("ask", "account_stopped")}
    assert (office.charges().total(), office.spent()) == (0, {0})
    office.turn(credits=3)
    office.ask()
    assert office.stands(*hashes) == ANSWERED


def test_what_the_vendor_has_is_still_taken_when_credits_end(office: Office) -> None:
    hashes = office.collect(4)
    office.turn(processing_seconds=0.5)
    first: list[Any] = []

    def second_lacks(found: Any, submission: Any) -> Any:
        first.append(submission)
        if len(first) == 2:
            office.turn(task_fail_code="INSUFFICIENT_CREDITS", task_errors="as_http")
        return found(submission)

    office.instead["submit"] = second_lacks
    asked = office.ask(batch_documents=2)
    assert asked.answered == 2
    assert office.stands(*hashes) == {("ask", "account_stopped"), *ANSWERED}
    office.check_books(*[sha for sha in hashes if office.stands(sha) == ANSWERED])


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("code", ["ENCRYPTED_FILE", "FILE_PAGE_LIMIT_EXCEEDED"])
def test_only_the_files_that_are_named_go_and_the_others_are_asked_again(
    office: Office, code: str, channel: str
) -> None:
    bad, *good = office.collect(4)
    office.turn(task_errors=channel)
    if code == "ENCRYPTED_FILE":
        office.turn(encrypted_files=bad)
    else:  # this stand-in would blame all of them
        office.turn(task_fail_code=f"{code}=1")
        office.instead["extraction"] = office.instead["submit"] = _blaming(bad)
    office.ask()
    assert office.stands(*good) == ANSWERED
    assert office.stands(bad) == {("done", "encrypted" if code == "ENCRYPTED_FILE" else "too_many_pages")}
    assert office.job(bad)["status"] == "failed"
    office.check_charges_once()


def _blaming(sha256: str) -> Any:
    """Return a call in whose failure only this file is blamed."""

    def call(found: Any, *args: Any) -> Any:
        try:
            told = found(*args)
        except TaskRefused as refused:
            refused.error = replace(refused.error, file_names=(f"{sha256}.pdf",))
            raise
        is_failed = isinstance(told, Extraction) and told.error is not None
        return replace(told, error=replace(told.error, file_names=(f"{sha256}.pdf",))) if is_failed else told

    return call


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_batch_in_which_no_culprit_is_named_is_halved_until_it_is_alone(office: Office, channel: str) -> None:
    hashes = office.collect(5)
    bad = hashes[3]
    office.instead["submit"] = _blank(bad, channel, office)
    office.ask()
    assert office.stands(*[sha for sha in hashes if sha != bad]) == ANSWERED
    assert office.stands(bad) == {("done", "no_pages")}
    office.check_charges_once()


def _blank(sha256: str, channel: str, office: Office) -> Any:
    """Return a submission that fails for a blank document, without saying which one that is."""

    def submit(found: Any, submission: Any) -> Any:
        is_bad = sha256 in submission.file_ids
        office.turn(task_fail_code="NO_PAGES_FOUND=1" if is_bad else "", task_errors=channel)
        return found(submission)

    return submit


def test_a_single_document_without_pages_goes_to_the_next_extractor_where_there_is_one(office: Office) -> None:
    (only,) = office.collect(1)
    office.has_other = lambda _: True
    office.turn(task_fail_code="NO_PAGES_FOUND")
    asked = office.ask()
    assert asked.passed_on == 1
    assert office.stands(only) == {("ask", "next_extractor")}
    assert office.pages_charged(only) == 0


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("code", ["PROMPT_REJECTED", "PROMPT_UNCLEAR"])
def test_a_prompt_that_is_not_taken_stops_everything_and_costs_no_document_its_place(
    office: Office, code: str, channel: str
) -> None:
    hashes = office.collect(4)
    office.turn(task_fail_code=code, task_errors=channel)
    asked = office.ask(batch_documents=2, connections=1)
    assert office.stands(*hashes) == {("ask", "contract_changed")}
    assert len(office.extractions()) <= 2  # those that were submitted before the first was looked at
    assert code in asked.problems[0]
    office.turn(task_fail_code="")
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    office.check_books(*hashes)


def test_a_file_that_the_session_refuses_goes_and_the_others_are_asked(office: Office) -> None:
    bad, *good = office.collect(3)

    def refuses(found: Any, session_id: str, files: Any) -> Any:
        if any(file.file_id == bad for file in files):
            error = FilesRefused("400 FILE_TOO_LARGE", reason_code="document_too_large")
            error.file_ids = (bad,)
            raise error
        return found(session_id, files)

    office.instead["open_session"] = refuses
    office.ask()
    assert office.stands(*good) == ANSWERED
    assert office.stands(bad) == {("done", "document_too_large")}


def test_a_pause_of_submissions_parks_what_is_not_submitted_and_a_later_run_goes_on(office: Office) -> None:
    hashes = office.collect(3)
    office.turn(paused_until="further notice")
    asked = office.ask()
    assert office.stopped is not None
    assert (office.stopped.reason_code, asked.problems) == ("vendor_unavailable", [])
    assert office.client.counts["submit"] == 1
    assert "takes no submissions now" in office.reason(hashes[0])
    office.turn(paused_until="")
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    assert len(office.journal()["sessions"]) == 1
    office.check_books(*hashes)


def test_the_vendor_is_asked_to_run_no_more_at_once_than_it_has_slots_for(office: Office) -> None:
    hashes = office.collect(8)
    office.turn(concurrency_limit=2, processing_seconds=0.6)
    office.ask(batch_documents=1, connections=3)
    assert office.stands(*hashes) == ANSWERED
    office.check_books(*hashes)


def test_an_unknown_failure_costs_the_document_its_place_and_not_the_run(office: Office) -> None:
    (only,) = office.collect(1)
    office.turn(task_fail_code="VALIDATION_FAILED")
    office.ask()
    assert office.stands(only) == {("done", "extraction_failed")}
    assert "VALIDATION_FAILED" in office.reason(only)
