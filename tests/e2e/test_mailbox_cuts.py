"""A line that breaks at any command of a visit: the next visit misses nothing, and takes nothing twice.

Which test shows which row of the reliability tables:

- F-09: cut before and after each command, and within a message: ``test_cut_at_any_command…``, ``test_cut_within…``
- F-10: a line that falls silent: ``test_a_line_that_falls_silent…`` (nobody listens by IDLE here)
- F-11: a changed UIDVALIDITY: ``test_mailboxes.py``, through the command line
- F-12: a crash after a mail has landed, before and after it is moved: ``test_mailboxes.py`` and
  ``test_kill_sweep_mailbox.py``
- F-13: no MOVE: the cuts of ``COPY`` here; no UIDPLUS, read-only folders and flags that are not kept:
  ``integration/test_mailbox_connection.py``
- F-14: nothing new costs one EXAMINE: ``integration/test_mailbox_source.py``; 20,000 mails: ``make bench``
- F-15: a server that throttles: ``test_a_server_that_throttles…``; tokens: ``integration/test_mailbox_oauth.py``
- F-16: the same document in several mails and folders: ``test_mailboxes.py``; one Message-ID for two mails, or none:
  ``test_mails_with_one_message_id…``
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mail_house import entry, mail, message_ids, pdf_of
from mail_line import Cut, MailLine
from pydantic import SecretStr
from sqlalchemy import text

from flows import mailboxes
from flows.reconciling import reconcile
from flows.stages import collect
from flows.visiting import visiting
from invoices.house import House
from invoices.report import Report
from invoices.settings import Mailbox, Settings
from invoices.settings.all import Reading
from tests.integration import dovecot_server
from tests.integration.dovecot_server import Account, DovecotServer

WITHOUT_MOVE = "imap_capability = IMAP4rev1 LITERAL+ UIDPLUS ESEARCH"
READING = ("CAPABILITY", "AUTHENTICATE", "EXAMINE", "UID SEARCH", "UID FETCH", "UID FETCH", "SELECT", "UID SEARCH")
CHANGING = {
    "move:Done": ("UID MOVE",),
    "delete": ("UID STORE", "UID EXPUNGE"),
    "seen": ("UID STORE",),
    "copy": ("UID COPY", "UID STORE", "UID EXPUNGE"),  # move:Done, at a server without MOVE
}
BODIES = b"UID FETCH \0(BODY.PEEK[])"  # what is between does not matter
NUMBERS = itertools.count(1)


def nth(names: tuple[str, ...]) -> list[tuple[str, int]]:
    """Return each name with how often it came before and here."""
    return [(name, names[: place + 1].count(name)) for place, name in enumerate(names)]


def cuts() -> Iterator[tuple[str, Cut]]:
    """Yield every cut before and after a command, with what is done to mails."""
    yield "move:Done", Cut()
    for after, changing in CHANGING.items():
        commands = nth((*READING, *changing, "LOGOUT"))
        for name, number in commands if after == "move:Done" else commands[len(READING) : -1]:
            yield after, Cut(name, number, "before")
            yield after, Cut(name, number, "after")


@dataclass(slots=True)
class Desk:
    """One mailbox with three mails, and the house that visits it."""

    house: House
    user: Account
    after: str
    mails: list[bytes] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def source(self, **more: Any) -> Mailbox:
        """Return the settings of the mailbox."""
        after = "move:Done" if self.after == "copy" else self.after
        return Mailbox(
            **entry(self.user, f"cut-{self.user.port}-{self.user.username.split('@')[0]}", after=after) | more
        )

    def visit(self, **more: Any) -> Report:
        """Return what a visit reported; nobody waits for its pauses."""
        report, source = Report(), self.source(**more)
        with visiting(self.house, source, report):
            for batch in mailboxes.arrivals(self.house, source, report, sleep=self.pauses.append):
                collect.work(self.house, batch, report)
        return report

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return what the ledger answers about this mailbox, ``:me`` in the query."""
        with self.house.ledger.reading() as connection:
            return [tuple(row) for row in connection.execute(text(sql), {"me": self.source().name})]

    def safe(self) -> set[str]:
        """Return the Message-ID of each mail whose document the ledger knows and the store has."""
        known = self.rows(
            "select m.message_id, s.document_sha256 from sightings s join messages m using (message_key) "
            "where s.source_name = :me"
        )
        return {name for name, sha256 in known if sha256 in self.house.store}

    def compared(self) -> dict[str, Any]:
        """Return what reconcile finds in this mailbox."""
        settings = self.house.settings.model_copy(update={"mailboxes": (self.source(),)})
        with House(settings, vendors=lambda _closing: settings) as house:
            return reconcile(house)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house for all mailboxes; each is another source there."""
    rehearsed = Settings(home=tmp_path_factory.mktemp("house") / "home", reading=Reading(workers=1))
    key = rehearsed.smartbills_com.model_copy(update={"api_key": SecretStr("unused")})  # a rehearsal changes no mail
    settings = rehearsed.model_copy(update={"smartbills_com": key})
    with House(settings, vendors=lambda _closing: settings) as opened:
        yield opened


@pytest.fixture(scope="module")
def without_move(dovecot_program: Path) -> Iterator[DovecotServer]:
    """A server that does not know MOVE, as far as it says."""
    with dovecot_server.running(dovecot_program, WITHOUT_MOVE) as server:
        yield server


def desk(house: House, server: DovecotServer, after: str) -> Desk:
    made = Desk(house, server.account(), after)
    made.user.create_folder("Done")
    for number in itertools.islice(NUMBERS, 3):
        made.mails.append(mail(number))
        made.user.deliver(made.mails[-1])
    return made


def server_for(request: pytest.FixtureRequest, after: str) -> DovecotServer:
    found: DovecotServer = request.getfixturevalue("without_move" if after == "copy" else "dovecot")
    return found


def is_made_good(made: Desk) -> None:
    """Assert that another visit, over a sound line, leaves nothing to be done, and that nothing is lost or twice."""
    assert made.visit().problems == []
    wanted = message_ids(made.mails)
    assert sorted(made.safe()) == wanted
    each = 2 if made.after == "delete" else 1  # what is in the mail, and the mail itself
    acted = {"none"} if made.after == "keep" else {"done"}
    assert {row[0] for row in made.rows("select action from messages where source_name = :me")} == acted
    assert len(made.rows("select * from sightings where source_name = :me")) == each * len(wanted)
    left, done = message_ids(made.user.messages()), Counter(message_ids(made.user.messages("Done")))
    assert left == (wanted if made.after in ("seen", "keep") else [])
    assert sorted(done) == (wanted if made.after in ("move:Done", "copy") else [])
    assert max(done.values(), default=1) == 1 or made.after == "copy"  # COPY has no memory: it may come again
    found = made.compared()
    assert (found["missing"], found["twice"], found["sound"]) == (0, 0, True), found


@pytest.mark.parametrize("after", list(CHANGING))
def test_a_whole_visit_has_these_commands(house: House, request: pytest.FixtureRequest, after: str) -> None:
    made = desk(house, server_for(request, after), after)
    with MailLine(made.user.port) as line:
        assert made.visit(port=line.port).problems == []
    assert tuple(line.commands) == (*READING, *CHANGING[after], "LOGOUT")
    is_made_good(made)


@pytest.mark.parametrize(("after", "cut"), list(cuts()), ids=str)
def test_cut_at_any_command_the_next_visit_misses_nothing_and_repeats_nothing(
    house: House, request: pytest.FixtureRequest, after: str, cut: Cut
) -> None:
    made = desk(house, server_for(request, after), after)
    with MailLine(made.user.port, cut) as line:
        made.visit(port=line.port)
    assert line.connections == 1 + len(made.pauses) == (1 if cut.name == "LOGOUT" else 2)
    gone = set(message_ids(made.mails)) - set(message_ids(made.user.messages()))
    assert gone <= made.safe()
    is_made_good(made)


@pytest.mark.parametrize("offset", [0, 1, 300, 617, -1])
def test_cut_within_a_message_no_half_of_it_is_kept(house: House, dovecot: DovecotServer, offset: int) -> None:
    made = desk(house, dovecot, "delete")
    size = len(made.mails[0])
    before = set(stored(house))
    with MailLine(made.user.port, Cut("UID FETCH", 2, "within", offset % size)) as line:
        assert made.visit(port=line.port).problems != []
    assert set(stored(house)) == before
    is_made_good(made)
    for content in made.mails:
        assert hashlib.sha256(content).hexdigest() in house.store


def stored(house: House) -> list[str]:
    """Return the names of all files of the store, drafts too."""
    return [path.name for path in house.settings.documents_directory.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "cut",
    [Cut(is_silent=True), Cut("UID FETCH", 2, "within", 300, True), Cut("UID MOVE", 1, "after", 0, True)],
    ids=str,
)
def test_a_line_that_falls_silent_is_given_up_and_nothing_is_missed(
    house: House, dovecot: DovecotServer, cut: Cut
) -> None:
    made = desk(house, dovecot, "move:Done")
    with MailLine(made.user.port, cut) as line:
        problems = made.visit(port=line.port, timeout_seconds=0.4).problems
    assert all("in time" in problem for problem in problems)
    assert problems or cut.name == "UID MOVE"  # there the second session finds that it is done
    assert (line.connections, len(made.pauses)) == (2, 1)
    is_made_good(made)


class Throttle:
    """Answers the first so many commands that begin and end so as a server that has had enough."""

    def __init__(self, name: bytes, words: bytes, times: int) -> None:
        self._name, _, self._end = name.partition(b"\0")
        self._words, self.left = words, times

    def __call__(self, said: bytes) -> bytes | None:
        """Return the answer, or None where the server is to answer."""
        tag, _, command = said.partition(b" ")
        if not self.left or not (command.startswith(self._name) and command.rstrip().endswith(self._end)):
            return None
        self.left -= 1
        return tag + b" NO " + self._words + b"\r\n"


@pytest.mark.parametrize(
    "name", [b"AUTHENTICATE", b"EXAMINE", b"UID SEARCH", b"UID FETCH", BODIES, b"SELECT", b"UID MOVE"]
)
@pytest.mark.parametrize("words", [b"[LIMIT] slow down", b"[UNAVAILABLE] Suggested Backoff Time: 7000 milliseconds"])
def test_a_server_that_throttles_for_a_moment_is_waited_for_once(
    house: House, dovecot: DovecotServer, name: bytes, words: bytes
) -> None:
    made = desk(house, dovecot, "move:Done")
    with MailLine(made.user.port, instead=Throttle(name, words, 1)) as line:
        assert made.visit(port=line.port).problems == []
    assert made.pauses == [7.0 if b"Backoff" in words else 5.0]
    assert line.connections == 2
    is_made_good(made)


@pytest.mark.parametrize("name", [b"AUTHENTICATE", b"EXAMINE", BODIES, b"UID MOVE"])
def test_a_server_that_throttles_all_the_time_is_left_alone_until_the_next_run(
    house: House, dovecot: DovecotServer, name: bytes
) -> None:
    made = desk(house, dovecot, "move:Done")
    throttle = Throttle(name, b"[LIMIT] slow down", 1_000)
    with MailLine(made.user.port, instead=throttle) as line:
        (problem,) = made.visit(port=line.port).problems
    assert "[LIMIT]" in problem
    assert (line.connections, len(made.pauses)) == (2, 1)
    assert 1_000 - throttle.left <= 2
    is_made_good(made)


def test_mails_with_one_message_id_or_none_are_different_mails(house: House, dovecot: DovecotServer) -> None:
    made = desk(house, dovecot, "keep")
    first, second, third = made.mails
    name = message_ids([first])[0].encode()
    changed = [second.replace(message_ids([second])[0].encode(), name), third.replace(b"Message-ID:", b"X-Nothing:")]
    other = dovecot.account()
    for content in (first, *changed):
        other.deliver(content)
    made.user = other
    assert made.visit().problems == []
    seen = made.rows("select message_id, document_sha256 from sightings where source_name = :me order by location")
    known = [hashlib.sha256(pdf_of(number)).hexdigest() for number in numbers(made.mails)]
    assert seen == [(name.decode(), known[0]), (name.decode(), known[1]), (None, known[2])]


def numbers(mails: list[bytes]) -> list[int]:
    """Return the numbers that our mails were made with."""
    return [int(name.removeprefix("<mail-").partition("@")[0]) for one in mails for name in message_ids([one])]
