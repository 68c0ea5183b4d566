"""A house and its sources: rehearsals change nothing at them, and a name stands for one account for ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from flows.reconciling import reconcile
from flows.stages import collect
from invoices.house import House
from invoices.report import Report
from invoices.settings import Folder, Mailbox, Settings
from invoices.settings.all import Reading
from tests.integration.dovecot_server import Account, DovecotServer
from tests.integration.mailbox_desk import invoice_mail


def real(settings: Settings) -> Settings:
    """Return the settings of a house that keeps real books; nobody is called."""
    key = settings.smartbills_com.model_copy(update={"api_key": SecretStr("unused")})
    return settings.model_copy(update={"smartbills_com": key})


def mailbox(user: Account, after: str = "keep") -> Mailbox:
    """Return the settings of a user's mailbox."""
    return Mailbox(
        name="ap", host=user.host, port=user.port, security="none", username=user.username,
        password=SecretStr(user.password), after=after,
    )  # fmt: skip


@pytest.fixture
def user(dovecot: DovecotServer) -> Account:
    """A mailbox with two mails."""
    made = dovecot.account()
    for number in (1, 2):
        made.deliver(invoice_mail(number))
    return made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The settings of a house that rehearses."""
    return Settings(home=tmp_path / "home", reading=Reading(workers=1))


def collected(settings: Settings) -> Report:
    """Collect in a house of these settings, and return the report."""
    report = Report()
    with House(settings, vendors=lambda _closing: settings) as house:
        for batch in collect.pending(house, report):
            collect.work(house, batch, report)
    return report


@pytest.mark.parametrize("after", ["delete", "flag", "seen"])
def test_a_rehearsal_changes_nothing_in_a_mailbox(user: Account, settings: Settings, after: str) -> None:
    rehearsed = settings.model_copy(update={"mailboxes": (mailbox(user, after),)})
    report = collected(rehearsed)
    assert report.new_documents == (4 if after == "delete" else 2)
    assert [flags - {r"\Recent"} for flags in user.flags().values()] == [frozenset(), frozenset()]
    assert "rehearsal" in str(report.remarks)


def test_real_books_do_what_is_said_to_the_mails(user: Account, settings: Settings) -> None:
    collected(real(settings.model_copy(update={"mailboxes": (mailbox(user, "delete"),)})))
    assert user.messages() == []


def test_a_mail_that_was_to_be_moved_and_is_not_kept_whole_is_not_deleted(user: Account, settings: Settings) -> None:
    for after in ("move:Nowhere", "delete"):
        collected(real(settings.model_copy(update={"mailboxes": (mailbox(user, after),)})))
        assert len(user.messages()) == 2
    user.create_folder("Nowhere")
    collected(real(settings.model_copy(update={"mailboxes": (mailbox(user, "move:Nowhere"),)})))
    assert (len(user.messages()), len(user.messages("Nowhere"))) == (0, 2)


def test_a_rehearsal_moves_no_file(tmp_path: Path, settings: Settings) -> None:
    place = tmp_path / "scans"
    place.mkdir()
    place.joinpath("invoice.pdf").write_bytes(b"%PDF-1.4")
    folder = Folder(name="scans", url=str(place), after="move:done", settle_seconds=0)
    report = collected(settings.model_copy(update={"folders": (folder,)}))
    assert [file.name for file in place.iterdir()] == ["invoice.pdf"]
    assert "rehearsal" in str(report.remarks)


@pytest.fixture
def other(dovecot: DovecotServer) -> Iterator[Account]:
    """Another user's mailbox, with one mail."""
    made = dovecot.account()
    made.deliver(invoice_mail(3))
    return made


def test_a_name_that_was_another_account_is_refused_as_its_uids_mean_other_mails(
    user: Account, other: Account, settings: Settings, tmp_path: Path
) -> None:
    folder = Folder(name="scans", url=str(tmp_path), settle_seconds=0, pattern=("*.pdf",))
    both = settings.model_copy(update={"folders": (folder,)})
    collected(both.model_copy(update={"mailboxes": (mailbox(user),)}))
    changed = both.model_copy(update={"mailboxes": (mailbox(other),)})
    assert "another name" in str(collected(changed).problems)
    with House(changed, vendors=lambda _closing: changed) as house:
        compared = reconcile(house)
    assert not compared["sound"]
    assert "another name" in compared["sources"][0]["problem"]


def test_a_name_whose_account_never_let_us_in_is_free(user: Account, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    folder = Folder(name="scans", url=str(tmp_path / "scans"), settle_seconds=0)
    both = settings.model_copy(update={"folders": (folder,)})
    wrong = mailbox(user).model_copy(update={"username": "nobody@example.org"})
    assert collected(both.model_copy(update={"mailboxes": (wrong,)})).problems
    assert collected(both.model_copy(update={"mailboxes": (mailbox(user),)})).problems == []
