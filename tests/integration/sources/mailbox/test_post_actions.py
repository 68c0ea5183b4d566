"""Actions on mails after their documents are stored, on a real server: only what is configured, on no other mail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from invoices.documents.containers.container_opener_pool import ContainerOpenerPool
from invoices.documents.store import DocumentStore
from invoices.errors import TransientError
from invoices.ledger import Ledger
from sources.mailbox import build_account, build_limits, open_session, run_post_action
from sources.mailbox.account import MEGABYTE
from tests.integration.sources.mailbox.mailbox_fixtures import MailboxHarness, build_invoice_mail
from tests.servers import dovecot_server
from tests.servers.dovecot_server import DovecotServer
from tests.servers.scripted_imap_server import DisconnectingProxy

ACL_CONFIGURATION = "mail_plugins = acl\nplugin {\n  acl = vfile\n}"
MAIL_WITHOUT_INVOICE = b"From: a@example.org\r\nSubject: Hello\r\n\r\nHow are you?\r\n"


@pytest.fixture(scope="module")
def server_with_acl(dovecot_program: Path) -> Iterator[DovecotServer]:
    """A server with access rights per folder (RFC 4314)."""
    with dovecot_server.run_server(dovecot_program, ACL_CONFIGURATION) as server:
        yield server


@pytest.fixture
def mailbox_harness(
    dovecot: DovecotServer, ledger: Ledger, opener_pool: ContainerOpenerPool, tmp_path: Path
) -> MailboxHarness:
    """A mailbox with two invoices and a mail without one."""
    return build_harness(dovecot, ledger, opener_pool, tmp_path)


def build_harness(
    server: DovecotServer, ledger: Ledger, opener_pool: ContainerOpenerPool, directory: Path
) -> MailboxHarness:
    """Return a mailbox with two invoices and, between them, a mail without one."""
    account = server.create_account()
    account.create_folder("Done")
    for mail in (build_invoice_mail(1), MAIL_WITHOUT_INVOICE, build_invoice_mail(3)):
        account.deliver_message(mail)
    return MailboxHarness(account, ledger, DocumentStore(directory / "store"), opener_pool, directory)


def list_actions_by_uid(mailbox_harness: MailboxHarness) -> dict[int, str]:
    return dict(mailbox_harness.query_ledger("select uid, action from messages"))


def list_flags(mailbox_harness: MailboxHarness) -> list[tuple[int, list[str]]]:
    return [(uid, sorted(flags - {r"\Recent"})) for uid, flags in mailbox_harness.account.list_flags_by_uid().items()]


def test_with_keep_no_mail_has_a_pending_action(mailbox_harness: MailboxHarness) -> None:
    mailbox_harness.scan_mailbox()
    assert list_actions_by_uid(mailbox_harness) == dict.fromkeys((1, 2, 3), "none")


@pytest.mark.parametrize(("after", "flag"), [("seen", r"\Seen"), ("flag", r"\Flagged")])
def test_only_mails_with_documents_are_marked(mailbox_harness: MailboxHarness, after: str, flag: str) -> None:
    mailbox_harness.settings = {"after": after}
    mailbox_harness.scan_mailbox()
    assert list_actions_by_uid(mailbox_harness) == {1: "pending", 2: "none", 3: "pending"}
    assert list_flags(mailbox_harness) == [(1, []), (2, []), (3, [])]
    assert mailbox_harness.apply_pending_actions() is None
    assert list_flags(mailbox_harness) == [(1, [flag]), (2, []), (3, [flag])]
    assert list_actions_by_uid(mailbox_harness) == {1: "done", 2: "none", 3: "done"}


@pytest.mark.parametrize("server", ["dovecot", "server_without_move"])
def test_mails_are_moved_with_and_without_the_move_command(
    server: str, ledger: Ledger, opener_pool: ContainerOpenerPool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    mailbox_harness = build_harness(request.getfixturevalue(server), ledger, opener_pool, tmp_path)
    first, _, last = mailbox_harness.account.list_messages()
    mailbox_harness.settings = {"after": "move:Done"}
    mailbox_harness.scan_mailbox()
    assert mailbox_harness.apply_pending_actions() is None
    assert mailbox_harness.account.list_uids() == [2]
    assert sorted(mailbox_harness.account.list_messages("Done")) == sorted([first, last])


def test_mails_that_cannot_be_moved_are_flagged_and_reported_once(
    server_without_uid_expunge: DovecotServer, ledger: Ledger, opener_pool: ContainerOpenerPool, tmp_path: Path
) -> None:
    mailbox_harness = build_harness(server_without_uid_expunge, ledger, opener_pool, tmp_path)
    mailbox_harness.settings = {"after": "move:Done"}
    mailbox_harness.scan_mailbox()
    assert "only flagged" in (mailbox_harness.apply_pending_actions() or "")
    assert list_flags(mailbox_harness) == [(1, [r"\Flagged"]), (2, []), (3, [r"\Flagged"])]
    assert mailbox_harness.apply_pending_actions() is None


def test_a_deleted_mail_is_stored_whole_with_its_documents(mailbox_harness: MailboxHarness) -> None:
    mailbox_harness.settings = {"after": "delete"}
    mails = mailbox_harness.account.list_messages()
    mailbox_harness.scan_mailbox()
    assert mailbox_harness.apply_pending_actions() is None
    assert mailbox_harness.account.list_messages() == [MAIL_WITHOUT_INVOICE]
    stored = [sha256 for sha256, code in mailbox_harness.list_reason_codes_by_document().items() if code == "container"]
    assert sorted(mailbox_harness.store.read(sha256) for sha256 in stored) == sorted({*mails} - {MAIL_WITHOUT_INVOICE})
    rows = mailbox_harness.query_ledger(
        "select count(*) from sightings where skip_reason_code = 'container' and message_key is not null"
    )
    assert rows == [(2,)]


def test_mails_that_cannot_be_deleted_one_by_one_are_only_marked(
    server_without_uid_expunge: DovecotServer, ledger: Ledger, opener_pool: ContainerOpenerPool, tmp_path: Path
) -> None:
    mailbox_harness = build_harness(server_without_uid_expunge, ledger, opener_pool, tmp_path)
    mailbox_harness.settings = {"after": "delete"}
    mailbox_harness.scan_mailbox()
    assert "only marked as deleted" in (mailbox_harness.apply_pending_actions() or "")
    assert list_flags(mailbox_harness) == [(1, [r"\Deleted"]), (2, []), (3, [r"\Deleted"])]


def test_a_missing_target_folder_is_a_problem_and_every_mail_stays(mailbox_harness: MailboxHarness) -> None:
    mailbox_harness.settings = {"after": "move:Nowhere"}
    mailbox_harness.scan_mailbox()
    assert "'Nowhere'" in (mailbox_harness.apply_pending_actions() or "")
    assert list_flags(mailbox_harness) == [(1, []), (2, []), (3, [])]
    assert list_actions_by_uid(mailbox_harness)[1] == "pending"


def test_a_read_only_folder_is_a_problem_and_nothing_changes(
    server_with_acl: DovecotServer, ledger: Ledger, opener_pool: ContainerOpenerPool, tmp_path: Path
) -> None:
    mailbox_harness = build_harness(server_with_acl, ledger, opener_pool, tmp_path)
    mailbox_harness.account.create_folder("Shown")
    mailbox_harness.account.deliver_message(build_invoice_mail(4), "Shown")
    (mailbox_harness.account.get_folder_path("Shown") / "dovecot-acl").write_text("owner lr\n")
    mailbox_harness.settings = {"after": "seen", "folders": ("Shown",)}
    assert mailbox_harness.scan_mailbox().collected == 1
    assert "read-only" in (mailbox_harness.apply_pending_actions("Shown") or "")
    assert all(r"\Seen" not in flags for flags in mailbox_harness.account.list_flags_by_uid("Shown").values())


def test_under_another_uidvalidity_nothing_is_done(mailbox_harness: MailboxHarness) -> None:
    before = mailbox_harness.account.get_uidvalidity()
    with open_session(
        build_account(mailbox_harness.build_settings(), mailbox_harness.directory),
        build_limits(mailbox_harness.build_settings()),
    ) as session:
        assert run_post_action(session, "delete", "INBOX", before + 1, [1, 3], pytest.fail) is None
    assert mailbox_harness.account.list_uids() == [1, 2, 3]


def test_an_action_that_was_done_but_not_recorded_is_repeated_safely(mailbox_harness: MailboxHarness) -> None:
    mailbox_harness.settings = {"after": "move:Done"}
    mailbox_harness.scan_mailbox()

    def raise_keyboard_interrupt(_uids: Sequence[int]) -> None:
        raise KeyboardInterrupt

    session_context = open_session(build_account(mailbox_harness.build_settings(), mailbox_harness.directory))
    with session_context as session, pytest.raises(KeyboardInterrupt):
        run_post_action(
            session, "move:Done", "INBOX", mailbox_harness.account.get_uidvalidity(), [1, 3], raise_keyboard_interrupt
        )
    assert list_actions_by_uid(mailbox_harness)[1] == "pending"
    assert mailbox_harness.apply_pending_actions() is None
    assert list_actions_by_uid(mailbox_harness) == {1: "done", 2: "none", 3: "done"}
    assert len(mailbox_harness.account.list_messages("Done")) == 2


def test_after_a_broken_connection_the_other_mails_stay_pending(mailbox_harness: MailboxHarness) -> None:
    for number in range(4, 203):
        mailbox_harness.account.deliver_message(build_invoice_mail(number))
    mailbox_harness.settings = {"after": "seen"}
    mailbox_harness.scan_mailbox()
    with DisconnectingProxy(
        mailbox_harness.account.port, lambda sent, _received: sent.count(b"UID STORE") > 1
    ) as proxy:
        mailbox_harness.settings["port"] = proxy.port
        with pytest.raises(TransientError):
            mailbox_harness.apply_pending_actions()
    done = [uid for uid, action in list_actions_by_uid(mailbox_harness).items() if action == "done"]
    assert len(done) == 100
    del mailbox_harness.settings["port"]
    assert mailbox_harness.apply_pending_actions() is None
    assert set(list_actions_by_uid(mailbox_harness).values()) == {"done", "none"}


def test_a_too_large_mail_is_not_changed(mailbox_harness: MailboxHarness) -> None:
    mailbox_harness.account.deliver_message(build_invoice_mail(4, content=b"%PDF-1.4 " + b"x" * MEGABYTE))
    mailbox_harness.settings = {"after": "delete", "megabytes": 1}
    mailbox_harness.scan_mailbox()
    mailbox_harness.apply_pending_actions()
    assert mailbox_harness.account.list_uids() == [2, 4]
