"""The preview of a mailbox: what a scan would collect and skip, from headers alone, with nothing changed."""

from __future__ import annotations

import datetime as dt
import stat
from pathlib import Path

import pytest

from invoices.documents.containers.container_opener_pool import ContainerOpenerPool
from invoices.documents.store import DocumentStore
from invoices.errors import ConfigurationError
from invoices.settings.sources import MailboxSettings, OAuthSettings
from sources.mailbox import build_account, build_limits, fetch_mailbox_preview, open_session
from tests.integration.sources.mailbox.mailbox_fixtures import build_invoice_mail
from tests.servers.dovecot_server import DovecotServer, MailAccount

NOW = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)


@pytest.fixture
def mail_user(dovecot: DovecotServer) -> MailAccount:
    """A user with three mails, the last of which is large."""
    user = dovecot.create_account()
    user.deliver_message(build_invoice_mail(1))
    user.deliver_message(build_invoice_mail(2, From="news@market.example"))
    user.deliver_message(build_invoice_mail(3, content=b"%PDF-1.4 " + b"x" * 1024 * 1024))
    user.create_folder("Archive")
    return user


def build_settings(user: MailAccount, **overrides: object) -> MailboxSettings:
    login = {"username": user.username, "password": user.password, "security": "none"}
    return MailboxSettings(**{"name": "m", "host": user.host, "port": user.port, **login, **overrides})


def test_a_preview_counts_what_each_rule_decides_and_changes_nothing(mail_user: MailAccount, tmp_path: Path) -> None:
    rules = ({"take": False, "sender": "*@market.example"}, {"subject": "Invoice*"})
    settings = build_settings(mail_user, rules=rules, megabytes=1, folders=("INBOX", "Nowhere"))
    store = DocumentStore(tmp_path / "store")
    with (
        open_session(build_account(settings, tmp_path), build_limits(settings)) as session,
        ContainerOpenerPool(1) as opener_pool,
    ):
        mailbox_preview = fetch_mailbox_preview(session, settings, opener_pool, store, NOW)
    (inbox,) = mailbox_preview.folders
    assert (inbox.name, inbox.mail_count, inbox.checked_count) == ("INBOX", 3, 3)
    assert inbox.decision_counts == {"rule 1 skips it": 1, "rule 2 collects it": 1, "too large": 1}
    assert mailbox_preview.missing_folders == ["Nowhere"]
    assert list(mailbox_preview.other_folders) == ["Archive"]
    assert all(r"\Seen" not in flags for flags in mail_user.list_flags_by_uid().values())
    assert list(store.get_path("0" * 64).parents[1].rglob("*")) == [store.get_path("0" * 64).parents[1] / "incoming"]


def test_a_preview_names_mails_that_depend_on_their_file_names(mail_user: MailAccount, tmp_path: Path) -> None:
    settings = build_settings(mail_user, rules=({"sender": "shop@*", "attachment": "*.pdf"},), otherwise="leave")
    store = DocumentStore(tmp_path / "store")
    with (
        open_session(build_account(settings, tmp_path), build_limits(settings)) as session,
        ContainerOpenerPool(1) as opener_pool,
    ):
        (inbox,) = fetch_mailbox_preview(session, settings, opener_pool, store, NOW).folders
    assert inbox.decision_counts == {
        "no rule matches, so it is skipped": 1,
        "depends on the file names in it": 2,
    }


def test_an_account_has_the_password_from_its_file_and_does_not_show_it(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("sesame\n")
    file.chmod(stat.S_IRUSR)
    settings = MailboxSettings(name="m", host="imap.example.com", username="u", password_file=file, timeout_seconds=20)
    account = build_account(settings, tmp_path)
    assert (account.password, account.port, account.security, account.token_provider) == ("sesame", 993, "tls", None)
    assert "sesame" not in repr(account)
    assert build_limits(settings).read_seconds == 20
    assert build_limits(settings).max_message_bytes == 50 * 1024 * 1024


def test_an_account_with_oauth_has_a_token_and_no_password(tmp_path: Path) -> None:
    oauth = OAuthSettings(provider="google", client_id="c", refresh_token="r")
    account = build_account(MailboxSettings(name="m", host="imap.gmail.com", username="u", oauth=oauth), tmp_path)
    assert account.password is None
    assert repr(account.token_provider) == "OAuthTokenProvider('m')"


def test_a_secret_that_everybody_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("sesame\n")
    file.chmod(0o644)
    assert get_refusal_message(file) == f"everybody may read {str(file)!r}; try: chmod 600 {file}"


def test_an_unusable_password_file_is_explained(tmp_path: Path) -> None:
    empty, folder = tmp_path / "empty", tmp_path / "folder"
    empty.touch(mode=0o600)
    folder.mkdir()
    assert get_refusal_message(empty) == f"the file {str(empty)!r} is empty"
    assert get_refusal_message(folder) == f"the file {str(folder)!r} is a folder"
    assert (
        get_refusal_message(tmp_path / "gone") == f"cannot read {str(tmp_path / 'gone')!r}: No such file or directory"
    )


def get_refusal_message(file: Path) -> str:
    """Return the error about a password file, without its beginning."""
    with pytest.raises(ConfigurationError) as error_info:
        build_account(MailboxSettings(name="m", host="h.example", username="u", password_file=file), file.parent)
    return str(error_info.value).removeprefix("the password of mailbox 'm': ")
