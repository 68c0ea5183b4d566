"""Reconciling: what a source lists and the ledger does not know, or the store does not have, is named."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from flows.checking_sources import check_sources
from flows.driving import drive
from flows.reconciling import as_text, reconcile
from flows.stages import collect
from invoices.errors import ConfigurationError
from invoices.house import House
from invoices.report import Report
from invoices.settings import Folder, Mailbox, Settings
from invoices.settings.all import Reading
from tests.integration.dovecot_server import Account, DovecotServer
from tests.integration.mailbox_desk import invoice_mail, pdf_of


@pytest.fixture
def user(dovecot: DovecotServer) -> Account:
    """A mailbox with two mails."""
    account = dovecot.account()
    for number in (1, 2):
        account.deliver(invoice_mail(number))
    return account


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    """A folder with two files."""
    place = tmp_path / "papers"
    place.mkdir()
    for number in (3, 4):
        (place / f"{number}.pdf").write_bytes(pdf_of(number))
    return place


@pytest.fixture
def office(tmp_path: Path, user: Account, papers: Path) -> Iterator[House]:
    """A house that has taken all of it, and has marked the mails."""
    office = Mailbox(
        name="office", host=user.host, port=user.port, security="none", username=user.username,
        password=user.password, after="seen",
    )  # fmt: skip
    rehearsed = Settings(
        home=tmp_path / "home",
        mailboxes=(office,),
        folders=(Folder(name="papers", url=str(papers), settle_seconds=0),),
        reading=Reading(workers=1),
    )
    key = rehearsed.smartbills_com.model_copy(update={"api_key": SecretStr("unused")})  # a rehearsal marks no mail
    settings = rehearsed.model_copy(update={"smartbills_com": key})
    with House(settings, vendors=lambda _closing: settings) as house:
        drive(house, (collect,), Report())
        yield house


def compared(house: House, source: str) -> dict[str, Any]:
    """Return what is found in one source."""
    return next(one for one in reconcile(house)["sources"] if one["source"] == source)


def spoil(house: House, sql: str) -> None:
    with house.ledger.transaction() as tx:
        tx.connection.execute(text(sql))


def paper(house: House, number: int) -> Path:
    return house.store.path(hashlib.sha256(pdf_of(number)).hexdigest())


def test_what_was_taken_is_sound_and_ticked(office: House) -> None:
    ticks: list[int] = []
    found = reconcile(office, ticks.append)
    assert (found["sound"], found["missing"], found["twice"], sum(ticks)) == (True, 0, 0, 4)
    assert [(one["listed"], one["known"]) for one in found["sources"]] == [(2, 2), (2, 2)]
    assert as_text(found).splitlines()[-1] == "missing = 0, twice = 0"


def test_what_came_since_is_missing_and_named(office: House, user: Account, papers: Path) -> None:
    user.deliver(invoice_mail(5))
    (papers / "6.pdf").write_bytes(pdf_of(6))
    (papers / "3.pdf").write_bytes(pdf_of(7))
    assert compared(office, "office")["missing"] == [f"INBOX UID 3 of {user.uidvalidity()}"]
    assert compared(office, "papers")["missing"] == [f"{papers}/3.pdf", f"{papers}/6.pdf"]
    assert "Next: take what is missing" in as_text(reconcile(office))


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"half")])
def test_a_document_that_the_store_does_not_have_whole_is_missing_and_its_mail_was_marked_too_early(
    office: House, papers: Path, damage: Any
) -> None:
    for number in (1, 3):
        paper(office, number).chmod(0o600)
        damage(paper(office, number))
    mails, files = compared(office, "office"), compared(office, "papers")
    assert [("UID=1/" in place, "not in the store" in place) for place in mails["missing"]] == [(True, True)]
    assert files["missing"] == [f"{papers}/3.pdf (its document is not in the store)"]
    assert [("UID=1/" in place) for place in mails["unsafe"]] == [True]
    assert files["unsafe"] == []
    assert reconcile(office)["sound"] is False


def test_a_mail_of_which_a_document_is_not_known_is_missing(office: House) -> None:
    spoil(office, "delete from sightings where subject = 'Invoice 2'")
    (place,) = compared(office, "office")["missing"]
    assert "UID 2 of" in place
    assert "0 of its 1 documents" in place


def test_a_mail_that_stands_in_the_ledger_twice_is_told(office: House, user: Account) -> None:
    spoil(office, "update messages set uid = 1 where uid = 2")
    found = compared(office, "office")
    assert found["twice"] == [f"INBOX UID 1 of {user.uidvalidity()}"]
    assert reconcile(office)["twice"] == 1


def test_a_part_of_a_mail_that_came_as_two_documents_is_told(office: House) -> None:
    spoil(office, "update sightings set location = (select min(location) from sightings where source_name = 'office')"
          " where source_name = 'office'")  # fmt: skip
    (place,) = compared(office, "office")["twice"]
    assert place.endswith("/;UID=1/;SECTION=2")


def test_a_source_that_cannot_be_reached_is_a_problem_and_the_others_are_compared(office: House) -> None:
    (mailbox,) = office.settings.mailboxes
    locked = mailbox.model_copy(update={"folders": ("Nowhere",)})
    settings = office.settings.model_copy(update={"mailboxes": (locked,)})
    with House(settings, vendors=lambda _closing: settings) as house:
        found = reconcile(house)
    first, second = found["sources"]
    assert "'Nowhere'" in first["problem"]
    assert (second["problem"], second["known"], found["sound"]) == (None, 2, False)


def test_what_cannot_be_asked_is_not_proven(office: House, papers: Path) -> None:
    papers.rename(papers.with_name("elsewhere"))
    compared = reconcile(office)
    assert not compared["sound"]
    assert "missing = 0, twice = 0; not proven for 'papers'" in as_text(compared)


def test_a_folder_that_holds_the_home_is_refused(tmp_path: Path) -> None:
    folder = Folder(name="all", url=str(tmp_path), settle_seconds=0)
    settings = Settings(home=tmp_path / "home", folders=(folder,), reading=Reading(workers=1))
    with House(settings, vendors=lambda _closing: settings) as house:
        with pytest.raises(ConfigurationError, match="holds the home"):
            drive(house, (collect,), Report())
        assert "holds the home" in reconcile(house)["sources"][0]["problem"]
    (_, _, told) = next(iter(check_sources(settings)))
    assert "holds the home" in told


def test_the_doctor_misses_the_folder_to_which_mails_are_to_be_moved(user: Account, tmp_path: Path) -> None:
    moving = Mailbox(
        name="office", host=user.host, port=user.port, security="none", username=user.username,
        password=user.password, after="move:Booked",
    )  # fmt: skip
    settings = Settings(home=tmp_path / "home", mailboxes=(moving,))
    assert [(ok, "'Booked', to which mails" in told) for _, ok, told in check_sources(settings)] == [(False, True)]
    user.create_folder("Booked")
    assert [ok for _, ok, _ in check_sources(settings)] == [True]
