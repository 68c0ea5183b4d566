"""What is done to mails once their documents are safe, on a real server: no more than was meant, and no other mail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from invoices.documents.store import DocumentStore
from invoices.documents.unwrapping.unwrapping import Unwrappers
from invoices.errors import TransientError
from invoices.ledger import Ledger
from sources.mailbox import account_of, act, limits_of, open_session
from sources.mailbox.account import MEGABYTE
from tests.integration import dovecot_server
from tests.integration.dovecot_server import DovecotServer
from tests.integration.mailbox_desk import Desk, invoice_mail
from tests.integration.scripted_imap import CuttingProxy

WITHOUT_MOVE = "imap_capability = IMAP4rev1 LITERAL+ UIDPLUS UNSELECT"
WITH_NEITHER = "imap_capability = IMAP4rev1 LITERAL+"
WITH_RIGHTS = "mail_plugins = acl\nplugin {\n  acl = vfile\n}"
NO_INVOICE = b"From: a@example.org\r\nSubject: Hello\r\n\r\nHow are you?\r\n"


@pytest.fixture(scope="module")
def unwrappers() -> Iterator[Unwrappers]:
    """The process that opens mails."""
    with Unwrappers(1) as opened:
        yield opened


@pytest.fixture(scope="module")
def poor_server(dovecot_program: Path) -> Iterator[DovecotServer]:
    """A server that can neither MOVE nor expunge by UID."""
    with dovecot_server.running(dovecot_program, WITH_NEITHER) as server:
        yield server


@pytest.fixture(scope="module")
def older_server(dovecot_program: Path) -> Iterator[DovecotServer]:
    """A server that can expunge by UID, but not MOVE."""
    with dovecot_server.running(dovecot_program, WITHOUT_MOVE) as server:
        yield server


@pytest.fixture(scope="module")
def guarded_server(dovecot_program: Path) -> Iterator[DovecotServer]:
    """A server that knows rights to folders (RFC 4314)."""
    with dovecot_server.running(dovecot_program, WITH_RIGHTS) as server:
        yield server


@pytest.fixture
def desk(dovecot: DovecotServer, ledger: Ledger, unwrappers: Unwrappers, tmp_path: Path) -> Desk:
    return desk_at(dovecot, ledger, unwrappers, tmp_path)


def desk_at(server: DovecotServer, ledger: Ledger, unwrappers: Unwrappers, place: Path) -> Desk:
    """Return a mailbox with two invoices, and a mail between them that is none."""
    user = server.account()
    user.create_folder("Done")
    for mail in (invoice_mail(1), NO_INVOICE, invoice_mail(3)):
        user.deliver(mail)
    return Desk(user, ledger, DocumentStore(place / "store"), unwrappers, place)


def actions(desk: Desk) -> dict[int, str]:
    return dict(desk.query("select uid, action from messages"))


def flags(desk: Desk) -> list[tuple[int, list[str]]]:
    return [(uid, sorted(flags - {r"\Recent"})) for uid, flags in desk.user.flags().items()]


def test_what_is_kept_is_not_touched(desk: Desk) -> None:
    desk.look()
    assert actions(desk) == dict.fromkeys((1, 2, 3), "none")


@pytest.mark.parametrize(("after", "flag"), [("seen", r"\Seen"), ("flag", r"\Flagged")])
def test_mails_that_brought_a_document_are_marked_and_no_others(desk: Desk, after: str, flag: str) -> None:
    desk.settings = {"after": after}
    desk.look()
    assert actions(desk) == {1: "due", 2: "none", 3: "due"}
    assert flags(desk) == [(1, []), (2, []), (3, [])]
    assert desk.act() is None
    assert flags(desk) == [(1, [flag]), (2, []), (3, [flag])]
    assert actions(desk) == {1: "done", 2: "none", 3: "done"}


@pytest.mark.parametrize("server", ["dovecot", "older_server"])
def test_mails_are_moved_with_and_without_the_command_for_it(
    server: str, ledger: Ledger, unwrappers: Unwrappers, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    desk = desk_at(request.getfixturevalue(server), ledger, unwrappers, tmp_path)
    first, _, last = desk.user.messages()
    desk.settings = {"after": "move:Done"}
    desk.look()
    assert desk.act() is None
    assert desk.user.uids() == [2]
    assert sorted(desk.user.messages("Done")) == sorted([first, last])


def test_where_mails_cannot_be_moved_they_are_flagged_and_that_is_told_once(
    poor_server: DovecotServer, ledger: Ledger, unwrappers: Unwrappers, tmp_path: Path
) -> None:
    desk = desk_at(poor_server, ledger, unwrappers, tmp_path)
    desk.settings = {"after": "move:Done"}
    desk.look()
    assert "only flagged" in (desk.act() or "")
    assert flags(desk) == [(1, [r"\Flagged"]), (2, []), (3, [r"\Flagged"])]
    assert desk.act() is None


def test_what_is_deleted_is_kept_whole_with_all_that_was_in_it(desk: Desk) -> None:
    desk.settings = {"after": "delete"}
    whole = desk.user.messages()
    desk.look()
    assert desk.act() is None
    assert desk.user.messages() == [NO_INVOICE]
    kept = [sha256 for sha256, code in desk.documents().items() if code == "container"]
    assert sorted(desk.store.read(sha256) for sha256 in kept) == sorted({*whole} - {NO_INVOICE})
    rows = desk.query("select count(*) from sightings where left_out = 'container' and message_key is not null")
    assert rows == [(2,)]


def test_where_mails_cannot_be_deleted_one_by_one_they_are_marked_only(
    poor_server: DovecotServer, ledger: Ledger, unwrappers: Unwrappers, tmp_path: Path
) -> None:
    desk = desk_at(poor_server, ledger, unwrappers, tmp_path)
    desk.settings = {"after": "delete"}
    desk.look()
    assert "only marked as deleted" in (desk.act() or "")
    assert flags(desk) == [(1, [r"\Deleted"]), (2, []), (3, [r"\Deleted"])]


def test_a_missing_target_folder_is_a_problem_and_every_mail_stays(desk: Desk) -> None:
    desk.settings = {"after": "move:Nowhere"}
    desk.look()
    assert "'Nowhere'" in (desk.act() or "")
    assert flags(desk) == [(1, []), (2, []), (3, [])]
    assert actions(desk)[1] == "due"


def test_a_folder_that_may_only_be_read_is_a_problem_and_nothing_changes(
    guarded_server: DovecotServer, ledger: Ledger, unwrappers: Unwrappers, tmp_path: Path
) -> None:
    desk = desk_at(guarded_server, ledger, unwrappers, tmp_path)
    desk.user.create_folder("Shown")
    desk.user.deliver(invoice_mail(4), "Shown")
    (desk.user.place("Shown") / "dovecot-acl").write_text("owner lr\n")
    desk.settings = {"after": "seen", "folders": ("Shown",)}
    assert desk.look().taken == 1
    assert "read-only" in (desk.act("Shown") or "")
    assert all(r"\Seen" not in flags for flags in desk.user.flags("Shown").values())


def test_under_another_uidvalidity_nothing_is_done(desk: Desk) -> None:
    before = desk.user.uidvalidity()
    with open_session(account_of(desk.mailbox(), desk.place), limits_of(desk.mailbox())) as session:
        assert act(session, "delete", "INBOX", before + 1, [1, 3], pytest.fail) is None
    assert desk.user.uids() == [1, 2, 3]


def test_what_was_done_and_not_written_down_is_done_again_without_harm(desk: Desk) -> None:
    desk.settings = {"after": "move:Done"}
    desk.look()

    def dies(_uids: Sequence[int]) -> None:
        raise KeyboardInterrupt

    session_of = open_session(account_of(desk.mailbox(), desk.place))
    with session_of as session, pytest.raises(KeyboardInterrupt):
        act(session, "move:Done", "INBOX", desk.user.uidvalidity(), [1, 3], dies)
    assert actions(desk)[1] == "due"
    assert desk.act() is None
    assert actions(desk) == {1: "done", 2: "none", 3: "done"}
    assert len(desk.user.messages("Done")) == 2


def test_a_line_that_breaks_between_chunks_leaves_the_rest_due(desk: Desk) -> None:
    for number in range(4, 203):
        desk.user.deliver(invoice_mail(number))
    desk.settings = {"after": "seen"}
    desk.look()
    with CuttingProxy(desk.user.port, lambda sent, _received: sent.count(b"UID STORE") > 1) as proxy:
        desk.settings["port"] = proxy.port
        with pytest.raises(TransientError):
            desk.act()
    done = [uid for uid, action in actions(desk).items() if action == "done"]
    assert len(done) == 100
    del desk.settings["port"]
    assert desk.act() is None
    assert set(actions(desk).values()) == {"done", "none"}


def test_a_mail_that_is_too_large_is_left_as_it_is(desk: Desk) -> None:
    desk.user.deliver(invoice_mail(4, content=b"%PDF-1.4 " + b"x" * MEGABYTE))
    desk.settings = {"after": "delete", "megabytes": 1}
    desk.look()
    desk.act()
    assert desk.user.uids() == [2, 4]
