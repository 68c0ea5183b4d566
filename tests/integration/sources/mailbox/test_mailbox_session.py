"""A session with a real IMAP server: login, reading, changes, and what it never does."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from invoices.errors import AccountError, ConfigurationError, DocumentError, TransientError
from sources.mailbox.account import Account, ImapLimits, Security
from sources.mailbox.mailbox_session import open_session
from tests.servers import dovecot_server
from tests.servers.dovecot_server import DovecotServer
from tests.servers.dovecot_server import MailAccount as User

HEADER_TEMPLATE = b"From: shop@example.org\r\nSubject: Invoice %d\r\n\r\n"
MAIL_TEMPLATE = HEADER_TEMPLATE + b"Hello.\r\n"
NARROW_CONFIGURATION = """
imap_capability = IMAP4rev1 LITERAL+ UIDPLUS UNSELECT
mail_max_userip_connections = 1
mail_plugins = acl
plugin {
  acl = vfile
}
"""


@pytest.fixture
def mail_user(dovecot: DovecotServer) -> User:
    """A user with three mails, the second of which is marked as seen."""
    return create_user_with_mails(dovecot)


@pytest.fixture(scope="module")
def restricted_server(dovecot_program: Path) -> Iterator[DovecotServer]:
    """A server without MOVE, with rights per folder, that allows one connection per user."""
    with dovecot_server.run_server(dovecot_program, NARROW_CONFIGURATION) as server:
        yield server


def create_user_with_mails(server: DovecotServer) -> User:
    user = server.create_account()
    for number, flags in enumerate(["", "S", ""], 1):
        user.deliver_message(MAIL_TEMPLATE % number, flags=flags)
    return user


def build_account(user: User, security: Security = "tls") -> Account:
    port = user.tls_port if security == "tls" else user.port
    return Account("office", user.host, port, user.username, security, user.password, ca_file=user.server.ca_file)


@pytest.mark.parametrize("security", ["tls", "starttls", "none"])
def test_a_session_reads_every_message_unchanged(mail_user: User, security: Security) -> None:
    with open_session(build_account(mail_user, security)) as session:
        state = session.open_folder_read_only("INBOX")
        assert (state.message_count, state.uidvalidity, state.uid_next) == (3, mail_user.get_uidvalidity(), 4)
        assert dict(session.fetch_bodies(session.list_all_uids())) == {
            number: MAIL_TEMPLATE % number for number in (1, 2, 3)
        }


def test_a_summary_has_size_time_flags_and_header_without_the_body(mail_user: User) -> None:
    with open_session(build_account(mail_user)) as session:
        session.open_folder_read_only("INBOX")
        fetched_headers = list(session.fetch_message_summaries([1, 2, 99]))
    assert [(header.uid, header.size, header.header_bytes) for header in fetched_headers] == [
        (n, len(MAIL_TEMPLATE % n), HEADER_TEMPLATE % n) for n in (1, 2)
    ]
    assert fetched_headers[1].flags >= {r"\Seen"}
    assert r"\Seen" not in fetched_headers[0].flags
    assert fetched_headers[0].received_at is not None
    assert fetched_headers[0].received_at.tzinfo is dt.UTC


def test_a_header_is_cut_at_its_limit(mail_user: User) -> None:
    mail_user.deliver_message(b"Subject: x\r\nX-Long: " + b"y" * 500 + b"\r\n\r\nbody\r\n")
    with open_session(build_account(mail_user), ImapLimits(max_header_bytes=100)) as session:
        session.open_folder_read_only("INBOX")
        (header,) = session.fetch_message_summaries([4])
    assert len(header.header_bytes) == 100
    assert header.size > 500


def test_reading_changes_no_flags(mail_user: User) -> None:
    with open_session(build_account(mail_user)) as session:
        session.open_folder_read_write("INBOX")
        assert (
            len(list(session.fetch_message_summaries(session.list_all_uids())))
            == len(list(session.fetch_bodies(session.list_all_uids())))
            == 3
        )
    assert [sorted(flags - {r"\Recent"}) for flags in mail_user.list_flags_by_uid().values()] == [[], [r"\Seen"], []]


def test_bodies_are_fetched_in_batches_each_one_once(mail_user: User) -> None:
    with open_session(build_account(mail_user), ImapLimits(max_batch_bytes=1)) as session:
        session.open_folder_read_only("INBOX")
        assert [uid for uid, _ in session.fetch_bodies([1, 2, 3])] == [1, 2, 3]


def test_a_message_deleted_meanwhile_is_left_out(mail_user: User) -> None:
    with open_session(build_account(mail_user)) as session, open_session(build_account(mail_user)) as other:
        session.open_folder_read_only("INBOX")
        other.open_folder_read_write("INBOX")
        assert other.delete_messages([2])
        assert [uid for uid, _ in session.fetch_bodies([1, 2, 3])] == [1, 3]


def test_a_message_larger_than_allowed_is_not_fetched(mail_user: User) -> None:
    with open_session(build_account(mail_user), ImapLimits(max_message_bytes=10)) as session:
        session.open_folder_read_only("INBOX")
        with pytest.raises(DocumentError, match="message 1 has") as refused:
            next(session.fetch_bodies([1]))
    assert refused.value.reason_code == "too_large"


@pytest.mark.parametrize(("first", "expected"), [(1, [1, 2, 3]), (3, [3]), (4, []), (900, [])])
def test_uids_are_listed_from_the_first_one_on(mail_user: User, first: int, expected: list[int]) -> None:
    with open_session(build_account(mail_user)) as session:
        session.open_folder_read_only("INBOX")
        assert "ESEARCH" in session.capabilities
        assert session.list_uids(first) == expected


def test_a_server_without_esearch_lists_the_same(server_without_uid_expunge: DovecotServer) -> None:
    with open_session(build_account(create_user_with_mails(server_without_uid_expunge))) as session:
        session.open_folder_read_only("INBOX")
        assert "ESEARCH" not in session.capabilities
        assert (session.list_uids(1), session.list_uids(3), session.list_uids(4)) == ([1, 2, 3], [3], [])


def test_an_empty_folder_has_no_uids(dovecot: DovecotServer) -> None:
    with open_session(build_account(dovecot.create_account())) as session:
        session.open_folder_read_only("INBOX")
        assert session.list_all_uids() == []


def test_folders_are_listed_with_delimiter_and_special_use(mail_user: User) -> None:
    for name in ("Trash", "Rechnungen/Märkte", 'a "b" \\c & d', "2026"):
        mail_user.create_folder(name)
    with open_session(build_account(mail_user)) as session:
        folder_by_name = {folder.name: folder for folder in session.list_folders()}
        assert {"INBOX", "Trash", "Rechnungen/Märkte", 'a "b" \\c & d', "2026"} <= set(folder_by_name)
        assert folder_by_name["Trash"].special_use == r"\Trash"
        assert folder_by_name["INBOX"].delimiter == "/"
        assert not folder_by_name["Rechnungen"].is_selectable
        assert folder_by_name["2026"].is_selectable
        assert all(
            session.open_folder_read_only(name).message_count == 0
            for name in ("Rechnungen/Märkte", 'a "b" \\c & d', "2026")
        )


def test_flags_are_set_on_the_given_messages_only(mail_user: User) -> None:
    with open_session(build_account(mail_user)) as session:
        session.open_folder_read_write("INBOX")
        session.mark_seen([1])
        session.set_flag([3], "$Invoice")
        session.set_flag([3])
    assert mail_user.list_flags_by_uid() == {1: {r"\Seen"}, 2: {r"\Seen"}, 3: {"$Invoice", r"\Flagged"}}


def test_a_moved_message_is_only_in_the_other_folder(mail_user: User) -> None:
    mail_user.create_folder("Done")
    with open_session(build_account(mail_user)) as session:
        session.open_folder_read_write("INBOX")
        assert "MOVE" in session.capabilities
        assert session.move_messages([2], "Done")
    assert mail_user.list_uids() == [1, 3]
    assert mail_user.list_messages("Done") == [MAIL_TEMPLATE % 2]


def test_without_move_only_the_moved_message_is_expunged(restricted_server: DovecotServer) -> None:
    user = create_user_with_mails(restricted_server)
    user.create_folder("Done")
    user.deliver_message(MAIL_TEMPLATE % 4, flags="T")  # marked as deleted by somebody else, who may still undo it
    with open_session(build_account(user)) as session:
        session.open_folder_read_write("INBOX")
        assert "MOVE" not in session.capabilities
        assert session.move_messages([2], "Done")
    assert user.list_uids() == [1, 3, 4]
    assert user.list_messages("Done") == [MAIL_TEMPLATE % 2]


def test_without_move_and_uid_expunge_messages_are_only_flagged(
    server_without_uid_expunge: DovecotServer,
) -> None:
    user = create_user_with_mails(server_without_uid_expunge)
    user.create_folder("Done")
    with open_session(build_account(user)) as session:
        session.open_folder_read_write("INBOX")
        assert not session.move_messages([1], "Done")
        assert not session.delete_messages([2])
    assert user.list_messages("Done") == []
    assert user.list_uids() == [1, 2, 3]
    assert user.list_flags_by_uid()[1] >= {r"\Flagged"}
    assert user.list_flags_by_uid()[2] >= {r"\Deleted"}


def test_only_the_given_messages_are_deleted(mail_user: User) -> None:
    mail_user.deliver_message(MAIL_TEMPLATE % 4, flags="T")
    with open_session(build_account(mail_user)) as session:
        session.open_folder_read_write("INBOX")
        assert session.delete_messages([1])
    assert mail_user.list_uids() == [2, 3, 4]


def test_a_missing_folder_is_a_configuration_error(mail_user: User) -> None:
    with open_session(build_account(mail_user)) as session:
        with pytest.raises(
            ConfigurationError, match=r"mailbox 'office' .* EXAMINE 'Nowhere'.*check that the folder exists"
        ):
            session.open_folder_read_only("Nowhere")
        session.open_folder_read_write("INBOX")
        with pytest.raises(ConfigurationError, match="MOVE to 'Nowhere'"):
            session.move_messages([1], "Nowhere")
    assert mail_user.list_uids() == [1, 2, 3]


def test_nothing_is_changed_in_a_folder_opened_for_reading(mail_user: User) -> None:
    with open_session(build_account(mail_user)) as session:
        session.open_folder_read_only("INBOX")
        for change in (
            session.mark_seen,
            session.set_flag,
            session.delete_messages,
            lambda uids: session.move_messages(uids, "INBOX"),
        ):
            with pytest.raises(ConfigurationError, match="'INBOX' is read-only"):
                change([1])


def test_a_read_only_mailbox_is_reported_when_it_is_opened(restricted_server: DovecotServer) -> None:
    user = create_user_with_mails(restricted_server)
    (user.maildir / "dovecot-acl").write_text("owner lr\n")
    with open_session(build_account(user)) as session:
        assert session.open_folder_read_write("INBOX").is_read_only
        assert session.list_all_uids() == [1, 2, 3]
        with pytest.raises(ConfigurationError, match="read-only"):
            session.mark_seen([1])


def test_a_changed_uidvalidity_is_reported(mail_user: User) -> None:
    before = mail_user.get_uidvalidity()
    after = mail_user.reset_uidvalidity()
    with open_session(build_account(mail_user)) as session:
        assert session.open_folder_read_only("INBOX").uidvalidity == after != before


@pytest.mark.parametrize("security", ["tls", "none"])
def test_a_wrong_password_is_an_account_error(mail_user: User, security: Security) -> None:
    wrong_account = replace(build_account(mail_user, security), password="wrong-password")
    message = get_refusal_message(wrong_account, AccountError)
    assert "mailbox 'office'" in message
    assert "AUTHENTICATIONFAILED" in message
    assert "check the username and the password" in message
    assert "wrong-password" not in message


def test_a_password_may_contain_any_character(dovecot: DovecotServer) -> None:
    with open_session(build_account(dovecot.create_account(password='ä "b" \\ {5} ¿'))) as session:
        assert session.list_folders()


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_an_unknown_certificate_gets_no_password(mail_user: User, security: Security) -> None:
    message = get_refusal_message(replace(build_account(mail_user, security), ca_file=None), ConfigurationError)
    assert "cannot be verified" in message
    assert "set ca_file to the certificate of its authority" in message
    assert mail_user.username not in mail_user.server.log


def test_a_certificate_for_another_name_gets_no_password(mail_user: User) -> None:
    assert "cannot be verified" in get_refusal_message(
        replace(build_account(mail_user), host="localhost"), ConfigurationError
    )
    assert mail_user.username not in mail_user.server.log


def test_tls_on_a_port_without_it_is_explained(mail_user: User) -> None:
    assert "143: 'starttls'" in get_refusal_message(
        replace(build_account(mail_user), port=mail_user.port), ConfigurationError
    )


def test_too_many_connections_are_a_transient_error(restricted_server: DovecotServer) -> None:
    account = build_account(restricted_server.create_account())
    with open_session(account):
        assert "Maximum number of connections" in get_refusal_message(account, TransientError)


def get_refusal_message(account: Account, error_type: type[Exception]) -> str:
    """Return the message of the error with which opening a session fails."""
    with pytest.raises(error_type) as error_info, open_session(account):
        pass
    return str(error_info.value)
