"""A connection that breaks at any command of a visit: the next visit misses nothing and collects nothing twice.

Which tests cover which row of the reliability tables:

- F-09: a disconnect before and after each command, and within a message: ``test_after_a_disconnect…``
- F-10: a connection that becomes silent: ``test_a_silent_connection…`` (IDLE is not used)
- F-11: a changed UIDVALIDITY: ``test_mailboxes.py``, through the command line
- F-12: a crash after a mail is stored, before and after it is moved: ``test_mailboxes.py`` and
  ``test_kill_sweep_mailbox.py``
- F-13: no MOVE: the disconnects at ``COPY`` here; no UIDPLUS, read-only folders and flags that are not stored:
  ``integration/sources/mailbox/test_mailbox_session.py``
- F-14: without new mails the only command is EXAMINE: ``integration/sources/mailbox/test_source.py``; 20,000 mails:
  ``make bench``
- F-15: a server that throttles: ``test_a_server_that_throttles…``; tokens:
  ``integration/sources/mailbox/test_oauth.py``
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
from pydantic import SecretStr
from sqlalchemy import text

from flows import mailboxes
from flows.reports.reconcile import reconcile_sources
from flows.source_visits import track_source_visit
from flows.stages import collect
from invoices.app import App
from invoices.run_report import RunReport
from invoices.settings import MailboxSettings, Settings
from invoices.settings.settings import ReadingSettings
from tests.e2e.mail_app import build_mail, build_mailbox_entry, build_pdf, parse_message_ids
from tests.servers import dovecot_server
from tests.servers.dovecot_server import DovecotServer, MailAccount
from tests.servers.imap_fault_proxy import ConnectionCut, ImapFaultProxy
from tests.sweep_size import spread

WITHOUT_MOVE = "imap_capability = IMAP4rev1 LITERAL+ UIDPLUS ESEARCH"
READ_COMMANDS = (
    "CAPABILITY",
    "AUTHENTICATE",
    "EXAMINE",
    "UID SEARCH",
    "UID FETCH",
    "UID FETCH",
    "SELECT",
    "UID SEARCH",
)
CHANGE_COMMANDS = {
    "move:Done": ("UID MOVE",),
    "delete": ("UID STORE", "UID EXPUNGE"),
    "seen": ("UID STORE",),
    "copy": ("UID COPY", "UID STORE", "UID EXPUNGE"),  # move:Done, at a server without MOVE
}
FETCH_BODY_COMMAND = b"UID FETCH \0(BODY.PEEK[])"  # with any text in place of the zero byte
NUMBERS = itertools.count(1)


def list_occurrences(names: tuple[str, ...]) -> list[tuple[str, int]]:
    """Return each name with its number among equal names."""
    return [(name, names[: position + 1].count(name)) for position, name in enumerate(names)]


def generate_cuts() -> Iterator[tuple[str, ConnectionCut]]:
    """Yield each action with every cut before and after one of its commands."""
    yield "move:Done", ConnectionCut()
    for action, change_commands in CHANGE_COMMANDS.items():
        commands = list_occurrences((*READ_COMMANDS, *change_commands, "LOGOUT"))
        for name, occurrence in commands if action == "move:Done" else commands[len(READ_COMMANDS) : -1]:
            yield action, ConnectionCut(name, occurrence, "before")
            yield action, ConnectionCut(name, occurrence, "after")


@dataclass(slots=True)
class MailboxScenario:
    """One mailbox with three mails, and the application that collects it."""

    app: App
    account: MailAccount
    action: str
    mails: list[bytes] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def build_settings(self, **overrides: Any) -> MailboxSettings:
        """Return the settings of the mailbox."""
        action = "move:Done" if self.action == "copy" else self.action
        return MailboxSettings(
            **build_mailbox_entry(
                self.account, f"cut-{self.account.port}-{self.account.username.split('@')[0]}", after=action
            )
            | overrides
        )

    def collect_mailbox(self, **overrides: Any) -> RunReport:
        """Visit the mailbox without real pauses, and return the report."""
        report, source = RunReport(), self.build_settings(**overrides)
        with track_source_visit(self.app, source, report):
            for batch in mailboxes.collect_mailbox_arrivals(self.app, source, report, sleep=self.pauses.append):
                collect.process_batch(self.app, batch, report)
        return report

    def query_ledger(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query on the ledger; ``:me`` in it is the name of this mailbox."""
        with self.app.ledger.open_snapshot() as connection:
            return [tuple(row) for row in connection.execute(text(sql), {"me": self.build_settings().name})]

    def list_stored_message_ids(self) -> set[str]:
        """Return the Message-IDs of the mails whose documents are in the ledger and in the store."""
        stored_documents = self.query_ledger(
            "select m.message_id, s.document_sha256 from sightings s join messages m using (message_key) "
            "where s.source_name = :me"
        )
        return {name for name, sha256 in stored_documents if sha256 in self.app.store}

    def run_reconcile(self) -> dict[str, Any]:
        """Return the report of reconcile on this mailbox."""
        settings = self.app.settings.model_copy(update={"mailboxes": (self.build_settings(),)})
        with App(settings, prepare_vendor_settings=lambda _closing: settings) as app:
            return reconcile_sources(app)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An application for all mailboxes, each of which is another source."""
    rehearsal_settings = Settings(home=tmp_path_factory.mktemp("app") / "home", reading=ReadingSettings(workers=1))
    # A rehearsal changes no mail; a real key makes it a real run.
    vendor_settings = rehearsal_settings.smartbills_com.model_copy(update={"api_key": SecretStr("unused")})
    settings = rehearsal_settings.model_copy(update={"smartbills_com": vendor_settings})
    with App(settings, prepare_vendor_settings=lambda _closing: settings) as new_app:
        yield new_app


@pytest.fixture(scope="module")
def server_without_move(dovecot_program: Path) -> Iterator[DovecotServer]:
    """A server that does not offer MOVE."""
    with dovecot_server.run_server(dovecot_program, WITHOUT_MOVE) as server:
        yield server


def build_scenario(app: App, server: DovecotServer, action: str) -> MailboxScenario:
    scenario = MailboxScenario(app, server.create_account(), action)
    scenario.account.create_folder("Done")
    for number in itertools.islice(NUMBERS, 3):
        scenario.mails.append(build_mail(number))
        scenario.account.deliver_message(scenario.mails[-1])
    return scenario


def get_server(request: pytest.FixtureRequest, action: str) -> DovecotServer:
    server: DovecotServer = request.getfixturevalue("server_without_move" if action == "copy" else "dovecot")
    return server


def assert_mailbox_complete(scenario: MailboxScenario) -> None:
    """Assert that after another visit, without a proxy, everything is done, and nothing is lost or duplicated."""
    assert scenario.collect_mailbox().problems == []
    expected = parse_message_ids(scenario.mails)
    assert sorted(scenario.list_stored_message_ids()) == expected
    sightings_per_mail = 2 if scenario.action == "delete" else 1  # the attachment, and the mail itself
    expected_actions = {"none"} if scenario.action == "keep" else {"done"}
    actions = scenario.query_ledger("select distinct action from messages where source_name = :me")
    assert {action for (action,) in actions} == expected_actions
    sightings = scenario.query_ledger("select * from sightings where source_name = :me")
    assert len(sightings) == sightings_per_mail * len(expected)
    remaining = parse_message_ids(scenario.account.list_messages())
    moved_counts = Counter(parse_message_ids(scenario.account.list_messages("Done")))
    assert remaining == (expected if scenario.action in ("seen", "keep") else [])
    assert sorted(moved_counts) == (expected if scenario.action in ("move:Done", "copy") else [])
    assert max(moved_counts.values(), default=1) == 1 or scenario.action == "copy"  # COPY may be repeated
    reconciliation = scenario.run_reconcile()
    figures = (reconciliation["missing"], reconciliation["duplicated"], reconciliation["sound"])
    assert figures == (0, 0, True), reconciliation


@pytest.mark.parametrize("after", list(CHANGE_COMMANDS))
def test_an_undisturbed_visit_has_exactly_these_commands(app: App, request: pytest.FixtureRequest, after: str) -> None:
    scenario = build_scenario(app, get_server(request, after), after)
    with ImapFaultProxy(scenario.account.port) as proxy:
        assert scenario.collect_mailbox(port=proxy.port).problems == []
    assert tuple(proxy.command_names) == (*READ_COMMANDS, *CHANGE_COMMANDS[after], "LOGOUT")
    assert_mailbox_complete(scenario)


@pytest.mark.sweep
@pytest.mark.parametrize(("after", "cut"), spread(list(generate_cuts()), 12), ids=str)
def test_after_a_disconnect_at_any_command_the_next_visit_misses_nothing_and_repeats_nothing(
    app: App, request: pytest.FixtureRequest, after: str, cut: ConnectionCut
) -> None:
    scenario = build_scenario(app, get_server(request, after), after)
    with ImapFaultProxy(scenario.account.port, cut) as proxy:
        scenario.collect_mailbox(port=proxy.port)
    assert proxy.connection_count == 1 + len(scenario.pauses) == (1 if cut.command_name == "LOGOUT" else 2)
    removed = set(parse_message_ids(scenario.mails)) - set(parse_message_ids(scenario.account.list_messages()))
    assert removed <= scenario.list_stored_message_ids()
    assert_mailbox_complete(scenario)


@pytest.mark.parametrize("offset", [0, 1, 300, 617, -1])
def test_after_a_disconnect_within_a_message_no_part_of_it_is_stored(
    app: App, dovecot: DovecotServer, offset: int
) -> None:
    scenario = build_scenario(app, dovecot, "delete")
    size = len(scenario.mails[0])
    before = set(list_stored_files(app))
    with ImapFaultProxy(scenario.account.port, ConnectionCut("UID FETCH", 2, "within", offset % size)) as proxy:
        assert scenario.collect_mailbox(port=proxy.port).problems != []
    assert set(list_stored_files(app)) == before
    assert_mailbox_complete(scenario)
    for content in scenario.mails:
        assert hashlib.sha256(content).hexdigest() in app.store


def list_stored_files(app: App) -> list[str]:
    """Return the names of all files in the store, including drafts."""
    return [path.name for path in app.settings.documents_directory.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "cut",
    [
        ConnectionCut(is_silent=True),
        ConnectionCut("UID FETCH", 2, "within", 300, True),
        ConnectionCut("UID MOVE", 1, "after", 0, True),
    ],
    ids=str,
)
def test_a_silent_connection_is_closed_and_nothing_is_missed(
    app: App, dovecot: DovecotServer, cut: ConnectionCut
) -> None:
    scenario = build_scenario(app, dovecot, "move:Done")
    with ImapFaultProxy(scenario.account.port, cut) as proxy:
        problems = scenario.collect_mailbox(port=proxy.port, timeout_seconds=0.4).problems
    assert all("in time" in problem for problem in problems)
    assert problems or cut.command_name == "UID MOVE"  # then the second session finds that it is done
    assert (proxy.connection_count, len(scenario.pauses)) == (2, 1)
    assert_mailbox_complete(scenario)


class ThrottleCommands:
    """Answers the first ``times`` matching commands like a server that throttles; ``name`` is ``<start>\\0<end>``."""

    def __init__(self, name: bytes, response_text: bytes, times: int) -> None:
        self._name, _, self._end = name.partition(b"\0")
        self._response_text, self.remaining = response_text, times

    def __call__(self, command_line: bytes) -> bytes | None:
        """Return the response, or None if the server shall answer."""
        tag, _, command = command_line.partition(b" ")
        if not self.remaining or not (command.startswith(self._name) and command.rstrip().endswith(self._end)):
            return None
        self.remaining -= 1
        return tag + b" NO " + self._response_text + b"\r\n"


@pytest.mark.parametrize(
    "name", [b"AUTHENTICATE", b"EXAMINE", b"UID SEARCH", b"UID FETCH", FETCH_BODY_COMMAND, b"SELECT", b"UID MOVE"]
)
@pytest.mark.parametrize(
    "response_text", [b"[LIMIT] slow down", b"[UNAVAILABLE] Suggested Backoff Time: 7000 milliseconds"]
)
def test_a_server_that_throttles_once_gets_one_pause(
    app: App, dovecot: DovecotServer, name: bytes, response_text: bytes
) -> None:
    scenario = build_scenario(app, dovecot, "move:Done")
    with ImapFaultProxy(scenario.account.port, override=ThrottleCommands(name, response_text, 1)) as proxy:
        assert scenario.collect_mailbox(port=proxy.port).problems == []
    assert scenario.pauses == [7.0 if b"Backoff" in response_text else 5.0]
    assert proxy.connection_count == 2
    assert_mailbox_complete(scenario)


@pytest.mark.parametrize("name", [b"AUTHENTICATE", b"EXAMINE", FETCH_BODY_COMMAND, b"UID MOVE"])
def test_a_server_that_throttles_all_the_time_waits_for_the_next_run(
    app: App, dovecot: DovecotServer, name: bytes
) -> None:
    scenario = build_scenario(app, dovecot, "move:Done")
    throttle = ThrottleCommands(name, b"[LIMIT] slow down", 1_000)
    with ImapFaultProxy(scenario.account.port, override=throttle) as proxy:
        (problem,) = scenario.collect_mailbox(port=proxy.port).problems
    assert "[LIMIT]" in problem
    assert (proxy.connection_count, len(scenario.pauses)) == (2, 1)
    assert 1_000 - throttle.remaining <= 2
    assert_mailbox_complete(scenario)


def test_mails_with_one_message_id_or_none_are_different_mails(app: App, dovecot: DovecotServer) -> None:
    scenario = build_scenario(app, dovecot, "keep")
    first, second, third = scenario.mails
    name = parse_message_ids([first])[0].encode()
    changed_mails = [
        second.replace(parse_message_ids([second])[0].encode(), name),
        third.replace(b"Message-ID:", b"X-Nothing:"),
    ]
    second_account = dovecot.create_account()
    for content in (first, *changed_mails):
        second_account.deliver_message(content)
    scenario.account = second_account
    assert scenario.collect_mailbox().problems == []
    sighting_rows = scenario.query_ledger(
        "select message_id, document_sha256 from sightings where source_name = :me order by location"
    )
    expected_hashes = [hashlib.sha256(build_pdf(number)).hexdigest() for number in list_mail_numbers(scenario.mails)]
    assert sighting_rows == [
        (name.decode(), expected_hashes[0]),
        (name.decode(), expected_hashes[1]),
        (None, expected_hashes[2]),
    ]


def list_mail_numbers(mails: list[bytes]) -> list[int]:
    """Return the numbers that the mails were built with."""
    return [int(name.removeprefix("<mail-").partition("@")[0]) for mail in mails for name in parse_message_ids([mail])]
