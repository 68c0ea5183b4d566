"""The plan: what a run would do, found out without doing it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from pydantic import SecretStr

from flows.opening import sample_inbox
from flows.planning import as_text, plan
from invoices.extraction.desk import Desk
from invoices.house import House
from invoices.ledger.documents import pending, settle
from invoices.ledger.extractions import Terms
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.settings import Inbox, Settings
from sandbox.serving import start


def opened(home: Path, **values: object) -> House:
    settings = Settings(home=home / "home", inbox=Inbox(path=sample_inbox(), settle_seconds=0))
    settings = settings.model_copy(update=values)
    return House(settings, vendors=lambda _closing: settings)


def everything_below(directory: Path) -> dict[str, str]:
    files = (path for path in sorted(directory.rglob("*")) if path.is_file() and "workers" not in path.parts)
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_samples_are_read_and_the_rest_would_go_to_the_first_in_order(tmp_path: Path) -> None:
    with opened(tmp_path) as house:
        planned = plan(house)
    assert planned["rehearsal"] is True
    assert planned["read"] == {"einvoice": 33, "needs_extraction": 12, "not_invoice": 4, "review": 6, "unreadable": 1}
    (ask,) = planned["ask"]
    assert (ask["extractor"], ask["documents"], ask["owed"], ask["minutes"]) == ("invoicedataextraction_com", 12, 0, 1)
    assert ask["pages"] >= 12
    assert planned["nobody"] == 0


def test_looking_twice_tells_the_same_and_writes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as house:
        first = plan(house)
        before = everything_below(tmp_path)
        assert plan(house) == first
        assert everything_below(tmp_path) == before


def test_without_any_extractor_the_documents_would_wait(tmp_path: Path) -> None:
    with opened(tmp_path, extractors=("einvoice",)) as house:
        planned = plan(house)
    assert (planned["ask"], planned["nobody"]) == ([], 12)
    assert "12  wait: no extractor" in as_text(planned)


def test_credits_are_asked_for_and_nothing_is_charged(tmp_path: Path) -> None:
    with start(tmp_path / "sandbox", knobs={"invoicedataextraction_com.credits": 7}) as served:
        part = Settings().invoicedataextraction_com.model_copy(
            update={
                "base_url": served.invoicedataextraction_com["base_url"],
                "api_key": SecretStr(served.invoicedataextraction_com["api_key"]),
                "pages_per_day": 5,
            }
        )
        with opened(tmp_path, invoicedataextraction_com=part) as house:
            (ask,) = plan(house)["ask"]
        assert (ask["credits_left"], ask["pages_left_under_caps"]) == (7, 5)
        assert ask["waits_for_cap"] >= 7
        journal = served.journal()
    assert journal["charges"] == []
    assert set(journal["requests"]) == {"GET /invoicedataextraction_com/v1/credits/balance"}


def test_the_cap_of_a_run_counts_as_well(tmp_path: Path) -> None:
    part = Settings().invoicedataextraction_com.model_copy(update={"pages_per_run": 2, "pages_per_day": 9})
    with opened(tmp_path, invoicedataextraction_com=part) as house:
        planned = plan(house)
    (ask,) = planned["ask"]
    assert (ask["pages_left_under_caps"], ask["waits_for_cap"]) == (2, 10)
    assert "10  of them wait: the caps leave 2 pages" in as_text(planned)


def test_an_account_that_does_not_answer_is_told_and_stops_no_plan(tmp_path: Path) -> None:
    part = Settings().invoicedataextraction_com.model_copy(
        update={"base_url": "http://127.0.0.1:9/v1", "api_key": SecretStr("sk_test_plan")}
    )
    with opened(tmp_path, invoicedataextraction_com=part) as house:
        (ask,) = plan(house)["ask"]
    assert str(ask["credits_left"]).startswith("not known: ")


@pytest.fixture
def asked_before(tmp_path: Path) -> House:
    house = opened(tmp_path, inbox=Inbox(path=tmp_path / "none", settle_seconds=0))
    sha256 = hashlib.sha256(b"%PDF-").hexdigest()
    with house.ledger.transaction() as tx:
        record_sighting(tx, Sighting("s", sha256, "application/pdf", 5, "inbox", "folder", "/a.pdf"))
        settle(tx, sha256, stage="ask", state="waiting", reason_code="submitted", reason="Submitted.", page_count=3)
    (document,) = house.claim_documents("ask", 10, 0)
    Desk(house.ledger, house.store, house.worker.name, Terms("smartbills_com"), "V", "1").intend(document)
    with house.ledger.reading() as connection:
        assert pending(connection, "ask", 10)
    return house


def test_what_was_asked_before_is_owed_by_whoever_was_asked_and_costs_nothing_more(asked_before: House) -> None:
    with asked_before:
        (ask,) = plan(asked_before)["ask"]
    assert (ask["extractor"], ask["documents"], ask["pages"], ask["owed"]) == ("smartbills_com", 0, 0, 1)
