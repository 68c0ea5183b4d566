"""A look ahead: what would be taken and left, by headers alone, with nothing changed."""

from __future__ import annotations

import datetime as dt
import stat
from pathlib import Path

import pytest

from invoices.documents.store import DocumentStore
from invoices.documents.unwrapping.unwrapping import Unwrappers
from invoices.errors import ConfigurationError
from invoices.settings.intake import Mailbox, OAuth
from sources.mailbox import account_of, limits_of, open_session, preview
from tests.integration.dovecot_server import Account, DovecotServer
from tests.integration.mailbox_desk import invoice_mail

NOW = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)


@pytest.fixture
def user(dovecot: DovecotServer) -> Account:
    """A user with three mails, the last of which is large."""
    user = dovecot.account()
    user.deliver(invoice_mail(1))
    user.deliver(invoice_mail(2, From="news@market.example"))
    user.deliver(invoice_mail(3, content=b"%PDF-1.4 " + b"x" * 1024 * 1024))
    user.create_folder("Archive")
    return user


def settings_of(user: Account, **settings: object) -> Mailbox:
    login = {"username": user.username, "password": user.password, "security": "none"}
    return Mailbox(**{"name": "m", "host": user.host, "port": user.port, **login, **settings})


def test_a_preview_counts_what_each_rule_decides_and_changes_nothing(user: Account, tmp_path: Path) -> None:
    rules = ({"take": False, "sender": "*@market.example"}, {"subject": "Invoice*"})
    settings = settings_of(user, rules=rules, megabytes=1, folders=("INBOX", "Nowhere"))
    store = DocumentStore(tmp_path / "store")
    with open_session(account_of(settings, tmp_path), limits_of(settings)) as session, Unwrappers(1) as unwrappers:
        found = preview(session, settings, unwrappers, store, NOW)
    (inbox,) = found.folders
    assert (inbox.name, inbox.mails, inbox.looked_at) == ("INBOX", 3, 3)
    assert inbox.decisions == {"rule 1 leaves it": 1, "rule 2 takes it": 1, "too large": 1}
    assert found.missing == ["Nowhere"]
    assert list(found.others) == ["Archive"]
    assert all(r"\Seen" not in flags for flags in user.flags().values())
    assert list(store.path("0" * 64).parents[1].rglob("*")) == [store.path("0" * 64).parents[1] / "incoming"]


def test_a_preview_says_what_needs_a_look_into_the_mail(user: Account, tmp_path: Path) -> None:
    settings = settings_of(user, rules=({"sender": "shop@*", "attachment": "*.pdf"},), otherwise="leave")
    store = DocumentStore(tmp_path / "store")
    with open_session(account_of(settings, tmp_path), limits_of(settings)) as session, Unwrappers(1) as unwrappers:
        (inbox,) = preview(session, settings, unwrappers, store, NOW).folders
    assert inbox.decisions == {"no rule fits, so it is left": 1, "taken or left by the names of the files in it": 2}


def test_an_account_has_the_password_of_its_file_and_shows_it_to_nobody(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("sesame\n")
    file.chmod(stat.S_IRUSR)
    settings = Mailbox(name="m", host="imap.example.com", username="u", password_file=file, timeout_seconds=20)
    account = account_of(settings, tmp_path)
    assert (account.password, account.port, account.security, account.token) == ("sesame", 993, "tls", None)
    assert "sesame" not in repr(account)
    assert limits_of(settings).silence == 20
    assert limits_of(settings).largest_message == 50 * 1024 * 1024


def test_an_account_with_oauth_has_a_token_and_no_password(tmp_path: Path) -> None:
    oauth = OAuth(provider="google", client_id="c", refresh_token="r")
    account = account_of(Mailbox(name="m", host="imap.gmail.com", username="u", oauth=oauth), tmp_path)
    assert account.password is None
    assert repr(account.token) == "RefreshedToken('m')"


def test_a_secret_that_everybody_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("sesame\n")
    file.chmod(0o644)
    assert refused(file) == f"everybody may read {str(file)!r}; try: chmod 600 {file}"


def test_a_password_file_that_is_none_is_told_in_words(tmp_path: Path) -> None:
    empty, folder = tmp_path / "empty", tmp_path / "folder"
    empty.touch(mode=0o600)
    folder.mkdir()
    assert refused(empty) == f"the file {str(empty)!r} is empty"
    assert refused(folder) == f"the file {str(folder)!r} is a folder"
    assert refused(tmp_path / "gone") == f"cannot read {str(tmp_path / 'gone')!r}: No such file or directory"


def refused(file: Path) -> str:
    """Return what is said of a password file, after whose it is."""
    with pytest.raises(ConfigurationError) as raised:
        account_of(Mailbox(name="m", host="h.example", username="u", password_file=file), file.parent)
    return str(raised.value).removeprefix("the password of mailbox 'm': ")
