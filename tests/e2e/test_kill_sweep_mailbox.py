"""Killed anywhere while a mailbox is collected, a second run ends like an undisturbed one: nothing lost, nothing twice.

``invoices collect`` is killed (SIGKILL) before, after or in the middle of its Nth call that changes a file below its
home or the ledger, or that sends to or receives from the IMAP server: so also between what the server has done and what
the ledger knows of it. Every home has the same mailbox, byte by byte, with the same UIDs. KILL_POINTS=60 sweeps that
many points.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import pytest

from tests.e2e.fork_client import ForkServer
from tests.e2e.kill_injection import KillPoint, SweepScope
from tests.e2e.kill_sweep import FAILURE_MARK, run_kill_sweep
from tests.e2e.mail_app import (
    MailApp,
    Row,
    build_mailbox_entry,
    build_varied_mails,
    parse_message_ids,
    start_fork_servers,
)
from tests.servers.dovecot_server import DovecotServer, MailAccount
from tests.sweep_size import IS_SOAK, choose_point_count

pytestmark = [
    pytest.mark.sweep,
    pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD is Linux"),
]

COLLECT = "collect"
WEIGHT_BY_SCOPE = {
    SweepScope(COLLECT, counts_sockets=True): 6,
    SweepScope(COLLECT, "ledger.sqlite"): 4,
    SweepScope(COLLECT): 2,
}
PARALLEL_FORKS = 2 if IS_SOAK else 1
COMPARED_TABLES = ("documents", "sightings", "messages", "mail_folders", "findings")
IGNORED_COLUMN_PATTERN = re.compile(r".*_at|revision|sequence")
SETTLE_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class SweepEnvironment:
    """The mailbox as it is before anything was collected, and the processes to fork from."""

    directory: Path
    server: DovecotServer
    template: MailAccount
    fork_servers: SimpleQueue[ForkServer]

    @contextmanager
    def open_mail_app(self, name: str) -> Iterator[tuple[MailApp, MailAccount]]:
        """Provide a home with a mailbox of its own."""
        account = self.server.create_account()
        shutil.rmtree(account.maildir)
        shutil.copytree(self.template.maildir, account.maildir)
        self.server.assign_to_server_user(account.maildir.parent)
        fork_server = self.fork_servers.get()
        try:
            mail_app = MailApp(self.directory / name, fork_server)
            mail_app.write_config(build_mailbox_entry(account, after="move:Done"))
            yield mail_app, account
        finally:
            self.fork_servers.put(fork_server)


def test_killed_anywhere_a_second_collect_ends_like_an_undisturbed_one(
    tmp_path: Path, dovecot: DovecotServer, record_property: Callable[[str, object], None]
) -> None:
    with start_fork_servers(tmp_path, PARALLEL_FORKS) as fork_servers:
        environment = SweepEnvironment(tmp_path, dovecot, fill_mailbox(dovecot), SimpleQueue())
        for fork_server in fork_servers:
            environment.fork_servers.put(fork_server)
        expected = run_undisturbed(environment)
        result = run_kill_sweep(
            WEIGHT_BY_SCOPE, 2, choose_point_count(4, 60), lambda scope: count_calls(environment, scope),
            lambda _number, point: run_kill_point(environment, expected, point), parallel=PARALLEL_FORKS,
        )  # fmt: skip
    record_property("figures", result.format_figures())
    result.assert_repaired(min_killed_share=0.9)


def fill_mailbox(server: DovecotServer) -> MailAccount:
    """Return a mailbox with a dozen mails that all have their UIDs."""
    account = server.create_account()
    account.create_folder("Done")
    for content in build_varied_mails():
        account.deliver_message(content)
    assert account.list_uids() == list(range(1, 13))
    return account


def run_undisturbed(environment: SweepEnvironment) -> dict[str, list[Row]]:
    """Return what an undisturbed collect comes to, after a second one that finds nothing new."""
    with environment.open_mail_app("undisturbed") as (mail_app, account):
        mail_app.run_collect()
        expected = read_compared_tables(mail_app)
        mail_app.run_collect()
        assert read_compared_tables(mail_app) == expected
        mail_app.run_reconcile()
        assert Counter(row["outcome"] for row in expected["messages"]) == {"collected": 10, "no_documents": 2}
        assert len(account.list_messages("Done")) == 10
        return expected


def read_compared_tables(mail_app: MailApp) -> dict[str, list[Row]]:
    """Return the rows that are compared, with instants and what only counts left aside."""
    tables = mail_app.read_ledger_tables()
    return {
        name: [
            {column: row[column] for column in row if not IGNORED_COLUMN_PATTERN.fullmatch(column)}
            for row in tables[name]
        ]
        for name in COMPARED_TABLES
    }


def count_calls(environment: SweepEnvironment, scope: SweepScope) -> int:
    """Return how many calls there are in reach, by an undisturbed collect."""
    with environment.open_mail_app(f"counted-{scope}") as (mail_app, _):
        result = mail_app.run_command(COLLECT, point=KillPoint(scope))
        assert result.exit_status == 0, result.stdout
        return mail_app.build_command(COLLECT).read_call_count()


def run_kill_point(environment: SweepEnvironment, expected: dict[str, list[Row]], point: KillPoint) -> str:
    """Return ``killed`` or ``not reached`` when the home ended like an undisturbed one, else what is wrong."""
    with environment.open_mail_app(str(point)) as (mail_app, account):
        result = mail_app.run_command(COLLECT, point=point)
        try:
            assert result.exit_status in (0, -9), f"it ended with {result.exit_status}: {result.stdout[-500:]}"
            assert_each_mail_once_on_server(account)
            assert_moved_mails_are_stored(mail_app, account)
            mail_app.run_collect()
            assert_ledger_matches(mail_app, expected)
            mail_app.run_reconcile()
            assert_each_mail_once_on_server(account)
            assert parse_message_ids(account.list_messages("Done")) == list_moved_message_ids(expected)
        except AssertionError as error:
            return f"{FAILURE_MARK}{point}: {error}"
    shutil.rmtree(mail_app.directory)
    return "killed" if result.exit_status == -9 else "not reached"


def assert_each_mail_once_on_server(account: MailAccount) -> None:
    """Assert that every mail is on the server once; what a killed client has begun may take the server a moment."""
    expected, deadline = parse_message_ids(build_varied_mails()), time.monotonic() + SETTLE_TIMEOUT_SECONDS
    while (actual := list_message_ids_on_server(account)) != expected and time.monotonic() < deadline:
        assert set(expected) <= set(actual), f"lost on the server: {set(expected) - set(actual)!r}"
    assert actual == expected, f"on the server {Counter(actual) - Counter(expected)!r} too often"


def assert_moved_mails_are_stored(mail_app: MailApp, account: MailAccount) -> None:
    """Assert that of each mail which was moved the ledger knows all documents, and the store has them."""
    moved_ids = parse_message_ids(account.list_messages("Done"))
    if not moved_ids:
        return  # there may be no ledger yet
    messages = {row["message_id"]: row for row in mail_app.query_ledger("select * from messages")}
    sightings = mail_app.query_ledger(
        "select message_key, document_sha256 from sightings where skip_reason_code is null"
    )
    for name in moved_ids:
        mail_sightings = [row for row in sightings if row["message_key"] == messages[name]["message_key"]]
        assert len(mail_sightings) == messages[name]["document_count"] > 0, name
        assert all(mail_app.is_stored(row["document_sha256"]) for row in mail_sightings), name


def list_message_ids_on_server(account: MailAccount) -> list[str]:
    """Return the Message-ID of every mail in all folders, sorted."""
    output = account.server.run_doveadm("-f", "tab", "fetch", "-u", account.username, "hdr.message-id", "all")
    return sorted(line.strip() for line in output.splitlines()[1:] if line.strip())


def assert_ledger_matches(mail_app: MailApp, expected: dict[str, list[Row]]) -> None:
    """Assert that the ledger says the same, row for row, and that the store has every document."""
    mail_app.list_documents()
    actual = read_compared_tables(mail_app)
    for name in COMPARED_TABLES:
        missing = [row for row in expected[name] if row not in actual[name]]
        surplus = [row for row in actual[name] if row not in expected[name]]
        assert not missing and not surplus, f"{name} lacks {missing[:2]!r} and has {surplus[:2]!r}"  # noqa: PT018  one sentence
        assert len(actual[name]) == len(expected[name])


def list_moved_message_ids(expected: dict[str, list[Row]]) -> list[str]:
    """Return the Message-ID of every mail that is to be in Done."""
    return sorted(row["message_id"] for row in expected["messages"] if row["outcome"] == "collected")
