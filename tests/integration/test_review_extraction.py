"""What a review of paid extraction found, as tests: each of these was red when it was written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from invoices.clients.invoicedataextraction_com import FilesRefused, NotEnoughCredits, TaskError, TaskRefused
from invoices.documents.store import DocumentStore
from invoices.errors import ContractError, InvoicesError, TransientError
from invoices.extraction.desk import Desk
from invoices.extraction.invoicedataextraction_com import EXTRACTOR, VENDOR, configuration
from invoices.ledger import Ledger
from invoices.ledger.documents import settle
from invoices.ledger.extractions import Terms
from invoices.settings import Settings
from sandbox.serving import Sandbox
from tests.integration import extraction_office
from tests.integration.asking_office import BATCHES, BILLFLOW, AskingOffice
from tests.integration.batch_office import ANSWERED, Dead, Office

NOBODY = "http://127.0.0.1:9"  # the port of the discard service, at which nobody listens


@pytest.fixture
def house(batch_sandbox: Sandbox, ledger: Ledger, home: Settings) -> AskingOffice:
    """A house that prefers batches, then BillflowAI, and does not wait for who cannot be asked."""
    opened = AskingOffice(
        extraction_office.Office(ledger, DocumentStore(home.documents_directory), batch_sandbox), home, {}
    )
    opened.order, opened.fall_back = (BATCHES, BILLFLOW), "unavailable"
    return opened


def die_at(office: Office, name: str, *, after_it: bool = False) -> None:
    """Ask for lines, and be killed at the first call of this name, before it or after it has done its work."""

    def dies(found: Callable[..., object], *args: object, **named: object) -> object:
        if after_it:
            found(*args, **named)
        raise Dead(name)

    office.instead[name] = dies
    with pytest.raises(Dead):
        office.ask(structure="per_line_item")
    office.instead.clear()


# Settings that change while a question is open


def test_a_batch_that_was_submitted_is_answered_although_the_structure_was_changed_since(office: Office) -> None:
    hashes = office.collect(2)
    die_at(office, "extraction")
    office.ask(structure="per_invoice")
    assert office.stands(*hashes) == ANSWERED
    office.check_books(*hashes, was_killed=True)


def test_a_lost_submission_is_not_made_anew_because_the_structure_was_changed(office: Office) -> None:
    hashes = office.collect(2)
    die_at(office, "submit", after_it=True)
    office.ask(structure="per_invoice")
    assert len(office.extractions()) == 1
    assert office.stands(*hashes) == ANSWERED
    office.check_books(*hashes, was_killed=True)


def test_a_batch_that_was_only_uploaded_is_asked_about_although_the_structure_was_changed(office: Office) -> None:
    hashes = office.collect(2)
    die_at(office, "submit")
    office.ask(structure="per_invoice")
    assert len(office.extractions()) == 1
    assert office.stands(*hashes) == ANSWERED


# A refusal of the repeat says nothing about the submission that got no answer


def refusal(code: str, file_id: str) -> InvoicesError:
    """Return what the client raises when a submission is refused with this code over HTTP."""
    if code == "INSUFFICIENT_CREDITS":
        return NotEnoughCredits(code)
    if code == "FILE_LINK_UNREADABLE":
        files = FilesRefused(code, reason_code="content_refused")
        files.file_ids = (file_id,)
        return files
    task = TaskRefused(code)
    task.error = TaskError(code, message="the first one runs", retryable=True)
    return task


REFUSALS = ("INSUFFICIENT_CREDITS", "CONCURRENT_TASK_LIMIT", "SUBMISSION_STALLED", "FILE_LINK_UNREADABLE")


@pytest.mark.parametrize("is_killed", [False, True])
@pytest.mark.parametrize("code", REFUSALS)
def test_a_submission_that_may_have_arrived_is_looked_for_before_its_refused_repeat_counts(
    office: Office, code: str, *, is_killed: bool
) -> None:
    hashes, calls = office.collect(2), list[str]()

    def submit(found: Callable[..., str], *args: Any, **named: Any) -> str:
        calls.append("submit")
        if len(calls) == 2:
            raise refusal(code, hashes[0])
        answer = found(*args, **named)
        if len(calls) == 1:
            raise Dead(code) if is_killed else TransientError("the answer was lost")
        return answer

    office.instead["submit"] = submit
    if is_killed:
        with pytest.raises(Dead):
            office.ask()
    office.ask()
    office.ask()
    assert len(office.extractions()) == 1
    assert office.stands(*hashes) == ANSWERED
    office.check_books(*hashes, was_killed=True)


# One that cannot be asked


def test_documents_go_to_the_next_while_the_vendor_of_batches_cannot_be_reached(house: AskingOffice) -> None:
    hashes = house.office.collect(*extraction_office.PAPERS[:2])
    house.parts[BATCHES] = {"base_url": NOBODY}
    house.ask()
    assert house.office.all_stand(hashes) == {extraction_office.ANSWERED}
    assert house.charges(BILLFLOW) == hashes


def test_documents_that_the_vendor_surely_never_took_are_not_bound_to_it(house: AskingOffice) -> None:
    hashes = house.office.collect(*extraction_office.PAPERS[:2])
    house.turn(BATCHES, paused_until="further notice")
    house.ask()
    assert house.office.all_stand(hashes) == {extraction_office.ANSWERED}
    assert (house.charges(BATCHES), house.charges(BILLFLOW)) == ([], hashes)


def test_one_taken_out_of_the_order_is_not_paid_for_what_it_had_not_taken(house: AskingOffice) -> None:
    hashes = house.office.collect(*extraction_office.PAPERS[:2])
    house.fall_back = "failed"
    house.turn(BATCHES, paused_until="further notice")
    house.ask()
    house.turn(BATCHES, paused_until="")
    house.order = (BILLFLOW,)
    house.ask()
    assert (house.charges(BATCHES), house.charges(BILLFLOW)) == ([], hashes)


@pytest.mark.parametrize("order", [("smartbills_com",), ("smartbills_com", BILLFLOW)])
def test_a_document_that_everybody_has_put_off_waits(house: AskingOffice, order: tuple[str, ...]) -> None:
    house.order = order
    house.parts |= {name: {"base_url": NOBODY} for name in order}
    hashes = house.office.collect(extraction_office.PAPERS[0])
    house.ask()
    assert house.office.all_stand(hashes) == {("ask", "waiting", "vendor_unavailable")}


def test_a_document_that_failed_at_one_waits_while_the_next_is_down(house: AskingOffice) -> None:
    (sha256,) = house.office.collect(extraction_office.PAPERS[0])
    house.order, house.parts[BILLFLOW] = ("smartbills_com", BILLFLOW), {"base_url": NOBODY}
    house.turn("smartbills_com", fail_ids=sha256)
    house.ask()
    assert house.office.all_stand([sha256]) == {("ask", "waiting", "vendor_unavailable")}


# One that spoils it for the others


def test_a_batch_that_is_always_refused_as_input_does_not_keep_the_others_from_being_asked(office: Office) -> None:
    (bad,), good = office.collect(1), office.collect(3)

    def submit(found: Callable[..., str], submission: Any) -> str:
        if bad in submission.file_ids:
            raise ContractError("INVALID_INPUT")
        return found(submission)

    office.instead["submit"] = submit
    for _ in range(3):
        office.ask(batch_documents=1)
    assert office.stands(*good) == ANSWERED


def test_a_worker_that_has_lost_a_document_does_not_take_it_out_of_the_books(office: Office) -> None:
    (sha256,) = office.collect(1)
    office.ask()
    with office.ledger.transaction() as tx:
        settle(tx, sha256, stage="done", state="accepted", reason_code="accepted", reason="It is in the books.")
    terms = Terms(EXTRACTOR)
    late = Desk(office.ledger, office.store, "who slept", terms, VENDOR, configuration("per_line_item"))
    late.failed(sha256, "extraction_stuck", "It takes too long.")
    assert office.stands(sha256) == {("done", "accepted")}
