"""A session with a real IMAP server: how it opens, what it reads, what it changes, and what it never does."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from invoices.errors import AccountError, ConfigurationError, DocumentError, TransientError
from sources.mailbox.account import Account, Limits, Security
from sources.mailbox.connection import open_session
from tests.integration import dovecot_server
from tests.integration.dovecot_server import Account as User
from tests.integration.dovecot_server import DovecotServer

HEADER = b"From: shop@example.org\r\nSubject: Invoice %d\r\n\r\n"
MAIL = HEADER + b"Hello.\r\n"
NARROW = """
imap_capability = IMAP4rev1 LITERAL+ UIDPLUS UNSELECT
mail_max_userip_connections = 1
mail_plugins = acl
plugin {
  acl = vfile
}
"""
WITH_NEITHER = "imap_capability = IMAP4rev1 LITERAL+"


@pytest.fixture
def user(dovecot: DovecotServer) -> User:
    """A user with three mails, the second of which is read."""
    return with_mails(dovecot)


@pytest.fixture(scope="module")
def poor_server(dovecot_program: Path) -> Iterator[DovecotServer]:
    """A server that can neither MOVE, nor expunge by UID, nor ESEARCH, as far as it says."""
    with dovecot_server.running(dovecot_program, WITH_NEITHER) as server:
        yield server


@pytest.fixture(scope="module")
def narrow_server(dovecot_program: Path) -> Iterator[DovecotServer]:
    """A server without MOVE, with rights per folder, that takes one connection of each user."""
    with dovecot_server.running(dovecot_program, NARROW) as server:
        yield server


def with_mails(server: DovecotServer) -> User:
    user = server.account()
    for number, flags in enumerate(["", "S", ""], 1):
        user.deliver(MAIL % number, flags=flags)
    return user


def account_of(user: User, security: Security = "tls") -> Account:
    port = user.tls_port if security == "tls" else user.port
    return Account("office", user.host, port, user.username, security, user.password, ca_file=user.server.ca_file)


@pytest.mark.parametrize("security", ["tls", "starttls", "none"])
def test_a_session_reads_what_the_server_has_byte_by_byte(user: User, security: Security) -> None:
    with open_session(account_of(user, security)) as session:
        state = session.examine("INBOX")
        assert (state.exists, state.uidvalidity, state.uid_next) == (3, user.uidvalidity(), 4)
        assert dict(session.bodies(session.all_uids())) == {number: MAIL % number for number in (1, 2, 3)}


def test_a_header_tells_size_time_and_flags_without_the_body(user: User) -> None:
    with open_session(account_of(user)) as session:
        session.examine("INBOX")
        found = list(session.headers([1, 2, 99]))
    assert [(each.uid, each.size, each.header) for each in found] == [(n, len(MAIL % n), HEADER % n) for n in (1, 2)]
    assert found[1].flags >= {r"\Seen"}
    assert r"\Seen" not in found[0].flags
    assert found[0].received_at is not None
    assert found[0].received_at.tzinfo is dt.UTC


def test_a_header_is_cut_where_it_is_longer_than_allowed(user: User) -> None:
    user.deliver(b"Subject: x\r\nX-Long: " + b"y" * 500 + b"\r\n\r\nbody\r\n")
    with open_session(account_of(user), Limits(largest_header=100)) as session:
        session.examine("INBOX")
        (header,) = session.headers([4])
    assert len(header.header) == 100
    assert header.size > 500


def test_reading_leaves_no_trace(user: User) -> None:
    with open_session(account_of(user)) as session:
        session.select("INBOX")
        assert len(list(session.headers(session.all_uids()))) == len(list(session.bodies(session.all_uids()))) == 3
    assert [sorted(flags - {r"\Recent"}) for flags in user.flags().values()] == [[], [r"\Seen"], []]


def test_bodies_come_in_parts_and_each_one_once(user: User) -> None:
    with open_session(account_of(user), Limits(at_once=1)) as session:
        session.examine("INBOX")
        assert [uid for uid, _ in session.bodies([1, 2, 3])] == [1, 2, 3]


def test_a_message_that_is_gone_meanwhile_is_left_out(user: User) -> None:
    with open_session(account_of(user)) as session, open_session(account_of(user)) as other:
        session.examine("INBOX")
        other.select("INBOX")
        assert other.delete([2])
        assert [uid for uid, _ in session.bodies([1, 2, 3])] == [1, 3]


def test_a_message_larger_than_allowed_is_not_fetched(user: User) -> None:
    with open_session(account_of(user), Limits(largest_message=10)) as session:
        session.examine("INBOX")
        with pytest.raises(DocumentError, match="message 1 has") as refused:
            next(session.bodies([1]))
    assert refused.value.reason_code == "too_large"


@pytest.mark.parametrize(("first", "expected"), [(1, [1, 2, 3]), (3, [3]), (4, []), (900, [])])
def test_uids_from_one_on_are_those_and_no_earlier_one(user: User, first: int, expected: list[int]) -> None:
    with open_session(account_of(user)) as session:
        session.examine("INBOX")
        assert "ESEARCH" in session.capabilities
        assert session.uids(first) == expected


def test_a_server_without_esearch_lists_the_same(poor_server: DovecotServer) -> None:
    with open_session(account_of(with_mails(poor_server))) as session:
        session.examine("INBOX")
        assert "ESEARCH" not in session.capabilities
        assert (session.uids(1), session.uids(3), session.uids(4)) == ([1, 2, 3], [3], [])


def test_an_empty_folder_has_no_uids(dovecot: DovecotServer) -> None:
    with open_session(account_of(dovecot.account())) as session:
        session.examine("INBOX")
        assert session.all_uids() == []


def test_folders_are_told_with_their_delimiter_and_use(user: User) -> None:
    for name in ("Trash", "Rechnungen/Märkte", 'a "b" \\c & d', "2026"):
        user.create_folder(name)
    with open_session(account_of(user)) as session:
        found = {folder.name: folder for folder in session.folders()}
        assert {"INBOX", "Trash", "Rechnungen/Märkte", 'a "b" \\c & d', "2026"} <= set(found)
        assert found["Trash"].special_use == r"\Trash"
        assert found["INBOX"].delimiter == "/"
        assert not found["Rechnungen"].is_selectable
        assert found["2026"].is_selectable
        assert all(session.examine(name).exists == 0 for name in ("Rechnungen/Märkte", 'a "b" \\c & d', "2026"))


def test_marks_are_set_where_they_are_wanted_and_nowhere_else(user: User) -> None:
    with open_session(account_of(user)) as session:
        session.select("INBOX")
        session.mark_seen([1])
        session.flag([3], "$Invoice")
        session.flag([3])
    assert user.flags() == {1: {r"\Seen"}, 2: {r"\Seen"}, 3: {"$Invoice", r"\Flagged"}}


def test_a_moved_message_is_in_the_other_folder_alone(user: User) -> None:
    user.create_folder("Done")
    with open_session(account_of(user)) as session:
        session.select("INBOX")
        assert "MOVE" in session.capabilities
        assert session.move([2], "Done")
    assert user.uids() == [1, 3]
    assert user.messages("Done") == [MAIL % 2]


def test_without_move_only_the_moved_message_is_expunged(narrow_server: DovecotServer) -> None:
    user = with_mails(narrow_server)
    user.create_folder("Done")
    user.deliver(MAIL % 4, flags="T")  # somebody else has marked it as deleted, and may yet change his mind
    with open_session(account_of(user)) as session:
        session.select("INBOX")
        assert "MOVE" not in session.capabilities
        assert session.move([2], "Done")
    assert user.uids() == [1, 3, 4]
    assert user.messages("Done") == [MAIL % 2]


def test_a_server_that_can_neither_move_nor_expunge_by_uid_flags_only(poor_server: DovecotServer) -> None:
    user = with_mails(poor_server)
    user.create_folder("Done")
    with open_session(account_of(user)) as session:
        session.select("INBOX")
        assert not session.move([1], "Done")
        assert not session.delete([2])
    assert user.messages("Done") == []
    assert user.uids() == [1, 2, 3]
    assert user.flags()[1] >= {r"\Flagged"}
    assert user.flags()[2] >= {r"\Deleted"}


def test_deleting_takes_the_named_messages_alone(user: User) -> None:
    user.deliver(MAIL % 4, flags="T")
    with open_session(account_of(user)) as session:
        session.select("INBOX")
        assert session.delete([1])
    assert user.uids() == [2, 3, 4]


def test_a_missing_folder_is_a_matter_of_the_settings(user: User) -> None:
    with open_session(account_of(user)) as session:
        with pytest.raises(ConfigurationError, match=r"mailbox 'office' .* EXAMINE 'Nowhere'.*check the folders"):
            session.examine("Nowhere")
        session.select("INBOX")
        with pytest.raises(ConfigurationError, match="MOVE to 'Nowhere'"):
            session.move([1], "Nowhere")
    assert user.uids() == [1, 2, 3]


def test_nothing_is_changed_in_a_folder_opened_for_reading(user: User) -> None:
    with open_session(account_of(user)) as session:
        session.examine("INBOX")
        for change in (session.mark_seen, session.flag, session.delete, lambda uids: session.move(uids, "INBOX")):
            with pytest.raises(ConfigurationError, match="'INBOX' is read-only"):
                change([1])


def test_a_mailbox_that_may_only_be_read_says_so_once_it_is_opened(narrow_server: DovecotServer) -> None:
    user = with_mails(narrow_server)
    (user.maildir / "dovecot-acl").write_text("owner lr\n")
    with open_session(account_of(user)) as session:
        assert session.select("INBOX").is_read_only
        assert session.all_uids() == [1, 2, 3]
        with pytest.raises(ConfigurationError, match="read-only"):
            session.mark_seen([1])


def test_a_changed_uidvalidity_is_seen(user: User) -> None:
    before = user.uidvalidity()
    after = user.bump_uidvalidity()
    with open_session(account_of(user)) as session:
        assert session.examine("INBOX").uidvalidity == after != before


@pytest.mark.parametrize("security", ["tls", "none"])
def test_a_wrong_password_is_a_matter_of_the_settings(user: User, security: Security) -> None:
    wrong = replace(account_of(user, security), password="wrong-password")
    told = refused(wrong, AccountError)
    assert "mailbox 'office'" in told
    assert "AUTHENTICATIONFAILED" in told
    assert "check the username and the password" in told
    assert "wrong-password" not in told


def test_a_password_may_have_any_letter(dovecot: DovecotServer) -> None:
    with open_session(account_of(dovecot.account(password='ä "b" \\ {5} ¿'))) as session:
        assert session.folders()


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_an_unknown_certificate_gets_no_password(user: User, security: Security) -> None:
    told = refused(replace(account_of(user, security), ca_file=None), ConfigurationError)
    assert "cannot be verified" in told
    assert "name its authority in ca_file" in told
    assert user.username not in user.server.log


def test_a_certificate_for_another_name_gets_no_password(user: User) -> None:
    assert "cannot be verified" in refused(replace(account_of(user), host="localhost"), ConfigurationError)
    assert user.username not in user.server.log


def test_tls_at_a_port_that_does_not_speak_it_is_told(user: User) -> None:
    assert "143: 'starttls'" in refused(replace(account_of(user), port=user.port), ConfigurationError)


def test_too_many_connections_are_tried_later(narrow_server: DovecotServer) -> None:
    account = account_of(narrow_server.account())
    with open_session(account):
        assert "Maximum number of connections" in refused(account, TransientError)


def refused(account: Account, kind: type[Exception]) -> str:
    """Return the words with which no session is opened."""
    with pytest.raises(kind) as error, open_session(account):
        pass
    return str(error.value)
