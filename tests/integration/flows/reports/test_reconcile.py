"""Reconciliation: what a source lists and the ledger or the store lacks is named, and so is what came twice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from flows.cli.command_runner import load_command_settings
from flows.reports.doctor_sources import check_sources
from flows.reports.reconcile import format_reconciliation, reconcile_sources
from flows.runner import run_stages
from flows.stages import collect
from invoices.app import App
from invoices.errors import ConfigurationError
from invoices.run_report import RunReport
from invoices.settings import FolderSettings, MailboxSettings, Settings
from invoices.settings.settings import ReadingSettings
from tests.integration.sources.mailbox.mailbox_fixtures import build_invoice_mail, build_pdf
from tests.servers.dovecot_server import MailAccount


@pytest.fixture
def documents_folder(tmp_path: Path) -> Path:
    """A folder with two files."""
    directory = tmp_path / "scans"
    directory.mkdir()
    for number in (3, 4):
        (directory / f"{number}.pdf").write_bytes(build_pdf(number))
    return directory


@pytest.fixture
def collected_app(tmp_path: Path, account: MailAccount, documents_folder: Path) -> Iterator[App]:
    """An application that has collected all of it and marked the mails."""
    mailbox_settings = MailboxSettings(
        name="office", host=account.host, port=account.port, security="none", username=account.username,
        password=account.password, after="seen",
    )  # fmt: skip
    rehearsal_settings = Settings(
        home=tmp_path / "home",
        mailboxes=(mailbox_settings,),
        folders=(FolderSettings(name="scans", url=str(documents_folder), settle_seconds=0),),
        reading=ReadingSettings(workers=1),
    )
    vendor_settings = rehearsal_settings.smartbills_com.model_copy(
        update={"api_key": SecretStr("unused")}
    )  # a rehearsal marks no mail
    settings = rehearsal_settings.model_copy(update={"smartbills_com": vendor_settings})
    with App(settings, prepare_vendor_settings=lambda _exit_stack: settings) as app:
        run_stages(app, (collect,), RunReport())
        yield app


def reconcile_source(app: App, source: str) -> dict[str, Any]:
    """Return the comparison of one source."""
    return next(row for row in reconcile_sources(app)["sources"] if row["source"] == source)


def execute_sql(app: App, sql: str) -> None:
    with app.ledger.begin_transaction() as tx:
        tx.connection.execute(text(sql))


def get_stored_path(app: App, number: int) -> Path:
    return app.store.get_path(hashlib.sha256(build_pdf(number)).hexdigest())


def test_collected_sources_are_sound_and_progress_is_reported(collected_app: App) -> None:
    advances: list[int] = []
    reconciliation = reconcile_sources(collected_app, advances.append)
    assert (reconciliation["sound"], reconciliation["missing"], reconciliation["duplicated"], sum(advances)) == (
        True,
        0,
        0,
        4,
    )
    assert [(source_row["listed"], source_row["known"]) for source_row in reconciliation["sources"]] == [(2, 2), (2, 2)]
    assert format_reconciliation(reconciliation).splitlines()[-1] == "missing = 0, duplicated = 0"


def test_what_arrived_since_is_missing_and_named(
    collected_app: App, account: MailAccount, documents_folder: Path
) -> None:
    account.deliver_message(build_invoice_mail(5))
    (documents_folder / "6.pdf").write_bytes(build_pdf(6))
    (documents_folder / "3.pdf").write_bytes(build_pdf(7))
    assert reconcile_source(collected_app, "office")["missing"] == [f"INBOX UID 3 of {account.get_uidvalidity()}"]
    assert reconcile_source(collected_app, "scans")["missing"] == [
        f"{documents_folder}/3.pdf",
        f"{documents_folder}/6.pdf",
    ]
    assert "Next: collect what is missing" in format_reconciliation(reconcile_sources(collected_app))


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"half")])
def test_a_document_that_is_not_whole_in_the_store_is_missing_and_its_marked_mail_is_unsafe(
    collected_app: App, documents_folder: Path, damage: Any
) -> None:
    for number in (1, 3):
        get_stored_path(collected_app, number).chmod(0o600)
        damage(get_stored_path(collected_app, number))
    mails, files = reconcile_source(collected_app, "office"), reconcile_source(collected_app, "scans")
    assert [("UID=1/" in place, "not in the store" in place) for place in mails["missing"]] == [(True, True)]
    assert files["missing"] == [f"{documents_folder}/3.pdf (its document is not in the store)"]
    assert [("UID=1/" in place) for place in mails["unsafe"]] == [True]
    assert files["unsafe"] == []
    assert reconcile_sources(collected_app)["sound"] is False


def test_a_mail_with_an_unknown_document_is_missing(collected_app: App) -> None:
    execute_sql(collected_app, "delete from sightings where subject = 'Invoice 2'")
    (location,) = reconcile_source(collected_app, "office")["missing"]
    assert "UID 2 of" in location
    assert "0 of its 1 documents" in location


def test_a_mail_that_is_in_the_ledger_twice_is_reported(collected_app: App, account: MailAccount) -> None:
    execute_sql(collected_app, "update messages set uid = 1 where uid = 2")
    reconciliation = reconcile_source(collected_app, "office")
    assert reconciliation["duplicated"] == [f"INBOX UID 1 of {account.get_uidvalidity()}"]
    assert reconcile_sources(collected_app)["duplicated"] == 1


def test_a_part_of_a_mail_with_two_documents_is_reported(collected_app: App) -> None:
    execute_sql(
        collected_app,
        "update sightings set location = (select min(location) from sightings where source_name = 'office') "
        "where source_name = 'office'",
    )
    (location,) = reconcile_source(collected_app, "office")["duplicated"]
    assert location.endswith("/;UID=1/;SECTION=2")


def test_a_source_that_cannot_be_reached_is_a_problem_and_the_others_are_compared(collected_app: App) -> None:
    (mailbox,) = collected_app.settings.mailboxes
    unreachable_mailbox = mailbox.model_copy(update={"folders": ("Nowhere",)})
    settings = collected_app.settings.model_copy(update={"mailboxes": (unreachable_mailbox,)})
    with App(settings, prepare_vendor_settings=lambda _exit_stack: settings) as app:
        reconciliation = reconcile_sources(app)
    first, second = reconciliation["sources"]
    assert "'Nowhere'" in first["problem"]
    assert (second["problem"], second["known"], reconciliation["sound"]) == (None, 2, False)


def test_a_source_that_cannot_be_listed_makes_the_result_incomplete(collected_app: App, documents_folder: Path) -> None:
    documents_folder.rename(documents_folder.with_name("elsewhere"))
    reconciliation = reconcile_sources(collected_app)
    assert not reconciliation["sound"]
    assert "missing = 0, duplicated = 0; incomplete, because 'scans' could not be listed" in format_reconciliation(
        reconciliation
    )


def test_a_folder_that_holds_the_home_is_refused(tmp_path: Path) -> None:
    folder = FolderSettings(name="all", url=str(tmp_path), settle_seconds=0)
    settings = Settings(home=tmp_path / "home", folders=(folder,), reading=ReadingSettings(workers=1))
    with App(settings, prepare_vendor_settings=lambda _exit_stack: settings) as app:
        with pytest.raises(ConfigurationError, match="holds the home"):
            run_stages(app, (collect,), RunReport())
        assert "holds the home" in reconcile_sources(app)["sources"][0]["problem"]
    (_, _, message) = next(iter(check_sources(settings)))
    assert "holds the home" in message


def test_the_doctor_reports_a_missing_target_folder_for_moved_mails(account: MailAccount, tmp_path: Path) -> None:
    mailbox_settings = MailboxSettings(
        name="office", host=account.host, port=account.port, security="none", username=account.username,
        password=account.password, after="move:Booked",
    )  # fmt: skip
    settings = Settings(home=tmp_path / "home", mailboxes=(mailbox_settings,))
    assert [(ok, "'Booked', to which mails" in message) for _, ok, message in check_sources(settings)] == [
        (False, True)
    ]
    account.create_folder("Booked")
    assert [ok for _, ok, _ in check_sources(settings)] == [True]


def test_documents_of_an_inbox_option_are_compared_with_that_folder_only(
    tmp_path: Path, documents_folder: Path
) -> None:
    settings_file = tmp_path / "invoices.toml"
    settings_file.write_text(f'home = "{tmp_path}/home"\n[inbox]\nsettle_seconds = 0\n', encoding="utf-8")

    def reconcile_inbox(inbox: Path | None) -> dict[str, Any]:
        settings = load_command_settings(settings_file, inbox=inbox)
        with App(settings, prepare_vendor_settings=lambda _exit_stack: settings) as app:
            if inbox is not None:
                run_stages(app, (collect,), RunReport())
            reconciliation = reconcile_sources(app)
        return reconciliation

    compared_with_it = reconcile_inbox(documents_folder)
    assert (compared_with_it["sound"], compared_with_it["sources"][0]["known"]) == (True, 2)
    compared_with_inbox = reconcile_inbox(None)
    assert not compared_with_inbox["sound"]
    assert compared_with_inbox["sources"][0]["elsewhere"] == [str(documents_folder)]
    assert f"came from {str(documents_folder)!r}" in compared_with_inbox["sources"][0]["problem"]
    assert "--inbox" in format_reconciliation(compared_with_inbox)
