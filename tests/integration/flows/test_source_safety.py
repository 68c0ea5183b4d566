"""Safety of sources: a rehearsal changes nothing at them, and a source name stands for one account forever."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from flows.reports.reconcile import reconcile_sources
from flows.stages import collect
from invoices.app import App
from invoices.run_report import RunReport
from invoices.settings import FolderSettings, MailboxSettings, Settings
from invoices.settings.settings import ReadingSettings
from tests.integration.sources.mailbox.mailbox_fixtures import build_invoice_mail
from tests.servers.dovecot_server import DovecotServer, MailAccount


def build_real_settings(rehearsal_settings: Settings) -> Settings:
    """Return the settings with a vendor key, so that they are for real runs; no vendor is called."""
    vendor_settings = rehearsal_settings.smartbills_com.model_copy(update={"api_key": SecretStr("unused")})
    return rehearsal_settings.model_copy(update={"smartbills_com": vendor_settings})


def build_mailbox_settings(account: MailAccount, after: str = "keep") -> MailboxSettings:
    """Return the settings of a user's mailbox."""
    return MailboxSettings(
        name="ap", host=account.host, port=account.port, security="none", username=account.username,
        password=SecretStr(account.password), after=after,
    )  # fmt: skip


@pytest.fixture
def rehearsal_settings(tmp_path: Path) -> Settings:
    """The settings of a rehearsal."""
    return Settings(home=tmp_path / "home", reading=ReadingSettings(workers=1))


def run_collect(app_settings: Settings) -> RunReport:
    """Collect with these settings, and return the report."""
    report = RunReport()
    with App(app_settings, prepare_vendor_settings=lambda _exit_stack: app_settings) as app:
        for batch in collect.iter_pending_batches(app, report):
            collect.process_batch(app, batch, report)
    return report


@pytest.mark.parametrize("after", ["delete", "flag", "seen"])
def test_a_rehearsal_changes_nothing_in_a_mailbox(
    account: MailAccount, rehearsal_settings: Settings, after: str
) -> None:
    settings = rehearsal_settings.model_copy(update={"mailboxes": (build_mailbox_settings(account, after),)})
    report = run_collect(settings)
    assert report.new_documents == (4 if after == "delete" else 2)
    assert [flags - {r"\Recent"} for flags in account.list_flags_by_uid().values()] == [frozenset(), frozenset()]
    assert "rehearsal" in str(report.remarks)


def test_a_real_run_applies_the_configured_action_to_the_mails(
    account: MailAccount, rehearsal_settings: Settings
) -> None:
    run_collect(
        build_real_settings(
            rehearsal_settings.model_copy(update={"mailboxes": (build_mailbox_settings(account, "delete"),)})
        )
    )
    assert account.list_messages() == []


def test_a_mail_collected_for_moving_is_not_deleted_because_it_is_not_stored_whole(
    account: MailAccount, rehearsal_settings: Settings
) -> None:
    for after in ("move:Nowhere", "delete"):
        run_collect(
            build_real_settings(
                rehearsal_settings.model_copy(update={"mailboxes": (build_mailbox_settings(account, after),)})
            )
        )
        assert len(account.list_messages()) == 2
    account.create_folder("Nowhere")
    run_collect(
        build_real_settings(
            rehearsal_settings.model_copy(update={"mailboxes": (build_mailbox_settings(account, "move:Nowhere"),)})
        )
    )
    assert (len(account.list_messages()), len(account.list_messages("Nowhere"))) == (0, 2)


def test_a_rehearsal_moves_no_file(tmp_path: Path, rehearsal_settings: Settings) -> None:
    path = tmp_path / "scans"
    path.mkdir()
    path.joinpath("invoice.pdf").write_bytes(b"%PDF-1.4")
    folder = FolderSettings(name="scans", url=str(path), after="move:done", settle_seconds=0)
    report = run_collect(rehearsal_settings.model_copy(update={"folders": (folder,)}))
    assert [file.name for file in path.iterdir()] == ["invoice.pdf"]
    assert "rehearsal" in str(report.remarks)


@pytest.fixture
def other_account(dovecot: DovecotServer) -> MailAccount:
    """Another user's mailbox, with one mail."""
    new_account = dovecot.create_account()
    new_account.deliver_message(build_invoice_mail(3))
    return new_account


def test_a_source_name_of_another_account_is_refused_because_its_uids_are_other_mails(
    account: MailAccount, other_account: MailAccount, rehearsal_settings: Settings, tmp_path: Path
) -> None:
    folder = FolderSettings(name="scans", url=str(tmp_path), settle_seconds=0, pattern=("*.pdf",))
    settings = rehearsal_settings.model_copy(update={"folders": (folder,)})
    run_collect(settings.model_copy(update={"mailboxes": (build_mailbox_settings(account),)}))
    changed = settings.model_copy(update={"mailboxes": (build_mailbox_settings(other_account),)})
    assert "another name" in str(run_collect(changed).problems)
    with App(changed, prepare_vendor_settings=lambda _exit_stack: changed) as app:
        reconciliation = reconcile_sources(app)
    assert not reconciliation["sound"]
    assert "another name" in reconciliation["sources"][0]["problem"]


def test_a_source_name_can_change_accounts_until_a_login_succeeds(
    account: MailAccount, rehearsal_settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "scans").mkdir()
    folder = FolderSettings(name="scans", url=str(tmp_path / "scans"), settle_seconds=0)
    settings = rehearsal_settings.model_copy(update={"folders": (folder,)})
    refused = build_mailbox_settings(account).model_copy(update={"username": "nobody@example.org"})
    assert run_collect(settings.model_copy(update={"mailboxes": (refused,)})).problems
    assert run_collect(settings.model_copy(update={"mailboxes": (build_mailbox_settings(account),)})).problems == []
