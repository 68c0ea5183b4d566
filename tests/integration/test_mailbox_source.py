"""The mailbox source over a real server: everything is taken, once, whatever happens on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from invoices.errors import ConfigurationError, TransientError
from sources.mailbox import Seen, account_of, open_session
from sources.paging import patiently
from tests.integration.mailbox_desk import Desk, Watching, invoice_mail, pdf_of

MEGABYTE = 1024 * 1024


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_every_attachment_is_in_the_store_with_where_it_came_from(desk: Desk) -> None:
    seen = desk.look()
    assert (seen.taken, seen.problems) == (3, [])
    assert desk.documents() == {sha256(pdf_of(number)): "collected" for number in (1, 2, 3)}
    ((location, sender, subject, name, section),) = desk.query(
        "select location, sender, subject, file_name, section from sightings where subject = 'Invoice 2'"
    )
    uidvalidity = desk.user.uidvalidity()
    assert location == f"/INBOX;UIDVALIDITY={uidvalidity}/;UID=2/;SECTION=2"
    assert (sender, subject, name, section) == ("shop@example.org", "Invoice 2", "invoice-2.pdf", "2")


def test_reading_never_marks_a_mail_as_seen(desk: Desk) -> None:
    desk.look()
    assert all(r"\Seen" not in flags for flags in desk.user.flags().values())


def test_where_nothing_is_new_one_examine_is_all_that_is_asked(desk: Desk) -> None:
    desk.look()
    with Watching(desk.user.port) as proxy:
        desk.settings = {"port": proxy.port}
        seen = desk.look()
    assert proxy.names() == ["EXAMINE"]
    assert desk.rows == []
    assert seen.known == 3


def test_one_new_mail_is_fetched_alone(desk: Desk) -> None:
    desk.look()
    desk.user.deliver(invoice_mail(4))
    with Watching(desk.user.port) as proxy:
        desk.settings = {"port": proxy.port}
        assert desk.look().taken == 1
    fetches = [command for command in proxy.commands if command.startswith(b"UID FETCH")]
    assert [command.split(b" ")[2] for command in fetches] == [b"4", b"4"]


def test_a_changed_uidvalidity_reads_again_and_takes_nothing_twice(desk: Desk) -> None:
    desk.look()
    before = desk.documents()
    desk.user.bump_uidvalidity()
    assert desk.look().taken == 3
    assert desk.documents() == before
    assert desk.query("select count(*) from messages") == [(6,)]


def test_a_mail_that_is_moved_away_and_back_is_no_second_document(desk: Desk) -> None:
    desk.settings = {"folders": ("INBOX", "Later")}
    desk.user.create_folder("Later")
    desk.look()
    before = desk.documents()
    for source, target in (("INBOX", "Later"), ("Later", "INBOX")):
        desk.user.server.doveadm("move", "-u", desk.user.username, target, "mailbox", source, "subject", "Invoice 2")
        assert desk.look().taken == 1
    assert desk.documents() == before


def test_a_copy_in_another_folder_is_seen_there_too_and_taken_once(desk: Desk) -> None:
    desk.user.create_folder("Rechnungen/Märkte")
    desk.user.deliver(invoice_mail(2), "Rechnungen/Märkte")
    desk.settings = {"folders": ("INBOX", "Rechnungen/Märkte")}
    desk.look()
    assert desk.outcomes("Rechnungen/Märkte") == {1: "taken"}
    assert len(desk.documents()) == 3
    assert len(desk.query("select * from sightings where subject = 'Invoice 2'")) == 2


def test_a_missing_folder_is_one_problem_and_the_others_are_looked_through(desk: Desk) -> None:
    desk.settings = {"folders": ("Nowhere", "INBOX", "Nobody")}
    seen = desk.look()
    assert seen.taken == 3
    assert list(seen.positions) == ["INBOX"]
    (problem,) = seen.problems
    assert "'Nowhere'" in problem
    assert "'Nobody'" in problem


def test_after_a_cut_in_mid_mailbox_the_rest_is_fetched_and_nothing_twice(desk: Desk) -> None:
    for number in range(4, 261):
        desk.user.deliver(invoice_mail(number, content=b"%%PDF-1.4 %d " % number + b"x" * 3000))
    with Watching(desk.user.port, cut_after=1_150_000) as proxy:
        desk.settings = {"port": proxy.port}
        with pytest.raises(TransientError):
            desk.look()
    first = {row["message"]["uid"] for row in desk.rows}
    assert 200 <= len(first) < 260
    desk.settings = {}
    desk.look()
    assert {row["message"]["uid"] for row in desk.rows} == set(range(1, 261)) - first
    assert len(desk.documents()) == 260


@pytest.mark.parametrize("command", ["EXAMINE", "UID SEARCH", "UID FETCH", "LOGOUT"])
def test_cut_at_any_command_a_later_look_misses_nothing(desk: Desk, command: str) -> None:
    with Watching(desk.user.port, cut_at=command.encode()) as proxy:
        desk.settings = {"port": proxy.port}
        if command == "LOGOUT":
            desk.look()
        else:
            with pytest.raises(TransientError):
                desk.look()
    desk.settings = {}
    desk.look()
    assert desk.outcomes() == dict.fromkeys((1, 2, 3), "taken")
    assert len(desk.documents()) == 3


def test_a_mail_that_is_too_large_is_told_once_and_its_body_never_fetched(desk: Desk) -> None:
    large(desk)
    with Watching(desk.user.port) as proxy:
        desk.settings = {"megabytes": 1, "port": proxy.port}
        seen = desk.look()
        assert (seen.taken, seen.too_large) == (3, 1)
        assert desk.outcomes()[4] == "too_large"
        assert len(seen.remarks) == 1
        assert "UID=4" in seen.remarks[0]
        assert [command.split(b" ")[2] for command in proxy.commands if b"BODY.PEEK[]" in command] == [b"1,2,3"]
        assert desk.look().too_large == 0
        assert desk.rows == []
    said = desk.query("select message_id, sender, subject from messages where uid = 4")
    assert said == [("<large@example.org>", "shop@example.org", "Invoice 4")]
    desk.settings = {"megabytes": 2}
    assert desk.look().taken == 1
    assert desk.outcomes()[4] == "taken"


def test_a_line_that_breaks_over_the_header_of_a_large_mail_keeps_no_other_from_us(desk: Desk) -> None:
    large(desk)
    seen = Seen()
    with Watching(desk.user.port, cut_at=b"UID FETCH 4 ") as proxy:
        desk.settings = {"megabytes": 1, "port": proxy.port}
        with pytest.raises(TransientError):
            desk.look(seen)
        desk.look(seen)
    assert desk.outcomes() == {1: "taken", 2: "taken", 3: "taken", 4: "too_large"}


def large(desk: Desk) -> None:
    """Deliver a fourth mail, of more than one megabyte."""
    content = b"%PDF-1.4 " + b"x" * MEGABYTE
    desk.user.deliver(invoice_mail(4, content=content, Message_ID="<large@example.org>"))


def test_a_mail_that_cannot_be_opened_is_itself_the_document(desk: Desk) -> None:
    broken = b"Subject: x\r\n" + b"X-Many: y\r\n" * 1500 + b"\r\nbody\r\n"
    desk.user.deliver(broken)
    assert desk.look().set_aside == 1
    assert desk.documents()[sha256(broken)] == "mail_limits"
    assert desk.query("select action, reason from messages where uid = 4")[0][0] == "none"


def test_a_mail_is_one_whatever_its_first_bytes_look_like(desk: Desk) -> None:
    desk.user.deliver(b"X-Only: y\r\n\r\n")
    desk.user.deliver(b"\r\nno header at all\r\n")
    desk.look()
    assert (desk.outcomes()[4], desk.outcomes()[5]) == ("nothing", "nothing")


def visit(desk: Desk, seen: Seen) -> None:
    """Look through the mailbox, and once more where that breaks off."""
    for _ in patiently(lambda: iter([desk.look(seen)]), sleep=lambda _seconds: None):
        pass


def test_a_mail_over_which_the_server_hangs_up_waits_and_harms_no_other(desk: Desk) -> None:
    desk.settings = {"mails_per_run": 1}
    desk.look()
    (file,) = [file for file in desk.user.place("INBOX").glob("new/*") if b"Invoice 2" in file.read_bytes()]
    file.chmod(0)
    desk.user.create_folder("More")
    desk.user.deliver(invoice_mail(4), "More")
    desk.settings = {"folders": ("INBOX", "More")}
    first, second = Seen(), Seen()
    with pytest.raises(TransientError):
        visit(desk, first)
    assert desk.outcomes() == {1: "taken", 2: "waiting"}
    visit(desk, second)
    assert desk.outcomes() == {1: "taken", 2: "waiting", 3: "taken"}
    assert desk.outcomes("More") == {1: "taken"}
    assert "'INBOX';UID=2" in second.problems[0]
    file.chmod(0o600)
    desk.look()
    assert desk.outcomes() == {1: "taken", 2: "taken", 3: "taken"}


def test_our_own_servers_findings_about_the_sender_are_noted(desk: Desk) -> None:
    for server in ("mx.example.com", "mx.evil.example"):
        result = f"{server}; dkim=pass (x) header.d=example.org; spf=fail smtp.mailfrom=example.org"
        desk.user.deliver(invoice_mail(7, Authentication_Results=result))
    desk.settings = {"authserv_ids": ("mx.example.com",)}
    desk.look()
    assert desk.query("select authentication from messages where uid > 3 order by uid") == [
        ("spf=fail dkim=pass",), ("unknown",)
    ]  # fmt: skip


def test_what_fails_for_a_moment_is_visited_once_more_after_a_pause() -> None:
    pauses: list[float] = []
    errors = [TransientError("busy", retry_after=900.0)]

    def visit_once() -> Iterator[str]:
        yield "some"
        if errors:
            raise errors.pop(0)

    assert list(patiently(visit_once, pauses.append)) == ["some", "some"]
    errors += [TransientError("a"), TransientError("b")]
    with pytest.raises(TransientError, match="b"):
        list(patiently(visit_once, pauses.append))
    assert pauses == [30.0, 2.0]


def test_wrong_settings_are_not_tried_again() -> None:
    def visit_once() -> Iterator[str]:
        yield "some"
        raise ConfigurationError("wrong")

    with pytest.raises(ConfigurationError):
        list(patiently(visit_once, lambda _seconds: pytest.fail("it waits")))


def test_when_a_row_comes_its_documents_are_in_the_store(desk: Desk) -> None:
    with open_session(account_of(desk.mailbox(), desk.place)) as session:
        for row in desk.source(session, Seen()):
            assert all(one["document_sha256"] in desk.store for one in row["sightings"])
            assert row["message_key"] == row["message"]["message_key"]
