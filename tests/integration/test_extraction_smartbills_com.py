"""Asking smartbills.com: what is answered, what is refused, and what each costs in the journal of the sandbox."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from invoices.documents.store import DocumentStore
from invoices.extraction.smartbills_com import LARGEST_BYTES
from invoices.ledger import Ledger
from invoices.settings import Settings
from sandbox.serving import Sandbox, start
from tests.integration.extraction_office import (
    ANSWERED,
    IMAGES,
    LONG_PAPER,
    MINUTE,
    PAPERS,
    Line,
    Office,
    Told,
    figures,
    strangers,
)
from tests.integration.scripted_server import Answer, ScriptedServer, Seen
from tests.integration.smartbills_com_asker import SmartBillsAsker

pytestmark = pytest.mark.unmeasured


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with start(tmp_path_factory.mktemp("sandbox"), minute_seconds=MINUTE) as running:
        yield running


@pytest.fixture
def asker(sandbox: Sandbox, ledger: Ledger, home: Settings) -> Iterator[SmartBillsAsker]:
    """Someone with an account of their own and no document yet."""
    with ScriptedServer() as server:
        yield SmartBillsAsker(Office(ledger, DocumentStore(home.documents_directory), sandbox), Line(server, sandbox))


def test_each_document_is_charged_once_and_its_answer_waits_to_be_judged(asker: SmartBillsAsker) -> None:
    hashes = asker.office.collect(*PAPERS[:3])
    asked = asker.ask()
    assert asker.charges() == hashes  # in the order of arrival
    assert asker.office.all_stand(hashes) == {ANSWERED}
    assert (figures(asked), asked.problems, asker.office.done) == ((3, 3, 3), [], 3)
    assert {asker.office.job(sha)["status"] for sha in hashes} == {"answered"}


def test_pages_and_images_are_counted_as_the_vendor_charges_them(asker: SmartBillsAsker) -> None:
    asker.office.collect(LONG_PAPER, pages=2)
    asker.office.collect(IMAGES[0], media_type="image/png")
    asked = asker.ask()
    assert (asked.calls, asked.pages) == (len(asker.charges()), asker.pages()) == (2, 3)


def test_the_intent_is_in_the_ledger_before_the_request_leaves(asker: SmartBillsAsker) -> None:
    (sha,) = asker.office.collect(PAPERS[0])
    seen: list[tuple[str, list[str]]] = []

    def look(_seen: Seen) -> None:  # while the vendor has not been reached
        seen.append((asker.office.job(sha)["status"], asker.charges()))

    asker.line.whenever("submit", look)
    asker.ask()
    assert (seen, asker.charges()) == ([("intended", [])], [sha])


@pytest.mark.parametrize("envelope", ["bare", "wrapped"])
def test_decimals_in_an_answer_stay_exact_text(asker: SmartBillsAsker, envelope: str) -> None:
    asker.turn(envelope=envelope)
    (sha,) = asker.office.collect(PAPERS[0])
    asker.ask()
    payload = json.loads(asker.office.job(sha)["payload"])
    assert "." in payload["total_amount"]
    assert payload["total_amount"].replace(".", "").isdigit()


def test_half_a_character_in_an_answer_does_not_stop_the_run(asker: SmartBillsAsker) -> None:
    hashes = asker.office.collect(*PAPERS[:2])
    asker.line.befall("look", Told(lambda body: body.replace(b'"currency":"', b'"half":"Caf\\u00e9 \\ud83e","c":"')))
    asker.ask()
    assert asker.office.all_stand(hashes) == {ANSWERED}
    assert "Caf\u00e9 \ufffd" in [json.loads(asker.office.job(sha)["payload"]).get("half") for sha in hashes]


@pytest.mark.parametrize("data", [b"null", b"{}"])
def test_a_completed_job_without_data_is_an_empty_answer(asker: SmartBillsAsker, data: bytes) -> None:
    (sha,) = asker.office.collect(PAPERS[0])
    asker.line.befall(
        "look", Told(lambda body: body.partition(b'"extracted_data":')[0] + b'"extracted_data":%b}' % data)
    )
    asker.ask()
    assert (asker.office.stands(sha), asker.office.job(sha)["payload"]) == (ANSWERED, "{}")


@pytest.mark.parametrize("word", ["processing", "QUEUED", "\u5b8c\u4e86", "Completed "])
def test_words_that_nobody_knows_mean_not_yet(asker: SmartBillsAsker, word: str) -> None:
    asker.turn(processing_polls=2, unknown_status=word)
    (sha,) = asker.office.collect(PAPERS[0])
    asker.ask()
    assert asker.office.stands(sha) == ANSWERED
    assert (asker.line.calls("look"), len(asker.charges())) == (3, 1)


def test_nothing_is_asked_where_nothing_waits(asker: SmartBillsAsker) -> None:
    assert figures(asker.ask()) == (0, 0, 0)
    assert asker.office.sandbox.journal(asker.key)["requests"] == {}


def test_several_connections_side_by_side_leave_an_exact_journal(asker: SmartBillsAsker) -> None:
    asker.turn(processing_seconds=0.2)
    asker.options = {"connections": 4}
    hashes = asker.office.collect(*PAPERS[:12])
    asked = asker.ask()
    assert sorted(asker.charges()) == sorted(hashes)
    assert (figures(asked), asker.office.done) == ((12, 12, 12), 12)


# What the vendor does not take


def test_a_kind_of_file_that_the_vendor_does_not_read_costs_nothing(asker: SmartBillsAsker) -> None:
    (sha,) = asker.office.collect(b"<xml/>", media_type="application/xml")
    asked = asker.ask()
    assert asker.office.stands(sha) == ("done", "review", "extractor_cannot_read")
    assert (asker.charges(), asked.set_aside, asker.office.done) == ([], 1, 1)
    assert asker.office.jobs(sha) == []


def test_a_file_beyond_the_limit_is_not_even_submitted(asker: SmartBillsAsker) -> None:
    (large,) = asker.office.collect(b"%PDF-" + b"x" * LARGEST_BYTES)
    asker.ask()
    assert asker.office.stands(large) == ("done", "review", "extractor_cannot_read")
    assert asker.line.calls("submit") == 0


def test_a_document_that_the_store_lost_or_that_was_altered_harms_no_other(asker: SmartBillsAsker) -> None:
    lost, altered, sound = asker.office.collect(*PAPERS[:3])
    asker.office.store.path(lost).unlink()
    asker.office.store.path(altered).write_bytes(b"something else")
    asker.ask()
    assert asker.office.stands(lost) == ("done", "quarantined", "missing")
    assert asker.office.stands(altered) == ("done", "quarantined", "altered")
    assert (asker.office.stands(sound), asker.charges()) == (ANSWERED, [sound])


@pytest.mark.parametrize("envelope", ["bare", "wrapped"])
def test_a_refused_document_is_set_aside_uncharged_and_the_next_one_asked(
    asker: SmartBillsAsker, envelope: str
) -> None:
    asker.turn(envelope=envelope)
    bad, good = asker.office.collect(b"no PDF at all", PAPERS[0])
    asked = asker.ask()
    assert asker.office.stands(bad) == ("done", "quarantined", "request_refused")
    assert (asker.office.stands(good), asker.charges()) == (ANSWERED, [good])
    assert (figures(asked), asked.set_aside, asker.office.job(bad)["pages_charged"]) == ((1, 1, 1), 1, 0)


def test_a_false_success_is_a_refusal(asker: SmartBillsAsker) -> None:
    (sha,) = asker.office.collect(PAPERS[0])
    told = {"success": False, "data": None, "error": {"code": "TOO_BLURRED", "message": "Cannot be read."}}
    asker.line.befall("submit", Answer.json(told))
    asker.ask()
    assert asker.office.stands(sha) == ("done", "quarantined", "request_refused")
    assert "TOO_BLURRED" in asker.office.row(sha)["reason"]
    assert asker.charges() == []


def test_a_failed_job_is_set_aside_with_the_vendors_words_and_its_cost(asker: SmartBillsAsker) -> None:
    first, second = asker.office.collect(*strangers(1), PAPERS[0])
    asker.turn(fail_ids=second)
    asked = asker.ask()
    assert asker.office.all_stand([first, second]) == {("done", "quarantined", "extraction_failed")}
    assert "rehearsal" in asker.office.row(first)["reason"]
    assert (figures(asked), asked.set_aside, len(asker.charges())) == ((2, 2, 0), 2, 2)


def test_a_second_run_with_nothing_new_writes_and_asks_nothing(asker: SmartBillsAsker) -> None:
    (sha,) = asker.office.collect(PAPERS[0])
    asker.ask()
    before = asker.office.row(sha)
    asker.ask()
    assert asker.office.row(sha) == before
    assert asker.line.calls("submit") == 1
