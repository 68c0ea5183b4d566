"""Killed anywhere while a mailbox is collected, a second run ends like an undisturbed one: nothing lost, nothing twice.

``invoices collect`` is killed (SIGKILL) before, after or in the middle of its Nth call that changes a file below its
home or the ledger, or that sends to or receives from the IMAP server: so also between what the server has done and what
the ledger knows of it. Every house has the same mailbox, byte by byte, with the same UIDs. KILL_POINTS=60 sweeps that
many points.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import pytest
from killing import Fork, Point, Reach, spread
from mail_house import MailHouse, Row, command_lines, entry, mails_of_all_kinds, message_ids

from tests.integration.dovecot_server import Account, DovecotServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.unmeasured,
    pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD is Linux"),
]

COLLECT = "collect"
SHARES = {Reach(COLLECT, sockets=True): 6, Reach(COLLECT, "ledger.sqlite"): 4, Reach(COLLECT): 2}
PARALLEL = 2
COMPARED = ("documents", "sightings", "messages", "mail_folders", "findings")
ASIDE = re.compile(r".*_at|revision|sequence")
SETTLED_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class World:
    """The mailbox as it is before anything was collected, and the processes to fork from."""

    place: Path
    server: DovecotServer
    template: Account
    forks: SimpleQueue[Fork]

    @contextmanager
    def house(self, name: str) -> Iterator[tuple[MailHouse, Account]]:
        """Give a house with a mailbox of its own."""
        account = self.server.account()
        shutil.rmtree(account.maildir)
        shutil.copytree(self.template.maildir, account.maildir)
        self.server.hand_over(account.maildir.parent)
        fork = self.forks.get()
        try:
            house = MailHouse(self.place / name, fork)
            house.set_up(entry(account, after="move:Done"))
            yield house, account
        finally:
            self.forks.put(fork)


def test_killed_anywhere_a_second_collect_ends_like_an_undisturbed_one(tmp_path: Path, dovecot: DovecotServer) -> None:
    wanted = int(os.environ.get("KILL_POINTS", sum(SHARES.values())))
    shares = {reach: max(1, round(share * wanted / sum(SHARES.values()))) for reach, share in SHARES.items()}
    with command_lines(tmp_path, PARALLEL) as forks, ThreadPoolExecutor(PARALLEL) as threads:
        world = World(tmp_path, dovecot, filled(dovecot), SimpleQueue())
        for fork in forks:
            world.forks.put(fork)
        truth = undisturbed(world)
        calls = dict(zip(SHARES, threads.map(lambda reach: counted(world, reach), SHARES), strict=True))
        points = [point for reach in SHARES for point in spread(reach, calls[reach], shares[reach])]
        outcomes = list(threads.map(lambda point: swept(world, truth, point), points))
    report = Counter(outcome for outcome in outcomes if outcome in ("killed", "not reached"))
    failures = [outcome for outcome in outcomes if outcome not in report]
    counts = ", ".join(f"{reach} {count}" for reach, count in calls.items())
    print(f"\ncalls: {counts}; points: {dict(report)}, failed {len(failures)}")  # noqa: T201  figures for a person
    assert not failures, f"{len(failures)} of {len(points)} points:\n" + "\n".join(failures[:10])
    assert report["killed"] >= len(points) * 9 // 10, report


def filled(server: DovecotServer) -> Account:
    """Return a mailbox with a dozen mails that all have their UIDs."""
    account = server.account()
    account.create_folder("Done")
    for content in mails_of_all_kinds():
        account.deliver(content)
    assert account.uids() == list(range(1, 13))
    return account


def undisturbed(world: World) -> dict[str, list[Row]]:
    """Return what an undisturbed collect comes to, after a second one that finds nothing new."""
    with world.house("undisturbed") as (house, account):
        house.collected()
        truth = ledger(house)
        house.collected()
        assert ledger(house) == truth
        house.reconciled()
        assert Counter(row["outcome"] for row in truth["messages"]) == {"taken": 10, "nothing": 2}
        assert len(account.messages("Done")) == 10
        return truth


def ledger(house: MailHouse) -> dict[str, list[Row]]:
    """Return the rows that are compared, with instants and what only counts left aside."""
    found = house.tables()
    return {
        name: [{column: row[column] for column in row if not ASIDE.fullmatch(column)} for row in found[name]]
        for name in COMPARED
    }


def counted(world: World, reach: Reach) -> int:
    """Return how many calls there are in reach, by an undisturbed collect."""
    with world.house(f"counted-{reach}") as (house, _):
        ran = house.run(COLLECT, point=Point(reach))
        assert ran.status == 0, ran.out
        return house.command(COLLECT).calls()


def swept(world: World, truth: dict[str, list[Row]], point: Point) -> str:
    """Return ``killed`` or ``not reached`` when the house ended like an undisturbed one, else what is wrong."""
    with world.house(str(point)) as (house, account):
        ran = house.run(COLLECT, point=point)
        try:
            assert ran.status in (0, -9), f"it ended with {ran.status}: {ran.out[-500:]}"
            is_each_somewhere(account)
            is_moved_only_when_safe(house, account)
            house.collected()
            is_like(house, truth)
            house.reconciled()
            is_each_somewhere(account)
            assert message_ids(account.messages("Done")) == done(truth)
        except AssertionError as error:
            return f"{point}: {error}"
    shutil.rmtree(house.place)
    return "killed" if ran.status == -9 else "not reached"


def is_each_somewhere(account: Account) -> None:
    """Assert that every mail is on the server once; what a killed client has begun may take the server a moment."""
    wanted, deadline = message_ids(mails_of_all_kinds()), time.monotonic() + SETTLED_SECONDS
    while (found := on_server(account)) != wanted and time.monotonic() < deadline:
        assert set(wanted) <= set(found), f"lost on the server: {set(wanted) - set(found)!r}"
    assert found == wanted, f"on the server {Counter(found) - Counter(wanted)!r} too often"


def is_moved_only_when_safe(house: MailHouse, account: Account) -> None:
    """Assert that of each mail which was moved the ledger knows all documents, and the store has them."""
    moved = message_ids(account.messages("Done"))
    if not moved:
        return  # there may be no ledger yet
    known = {row["message_id"]: row for row in house.rows("select * from messages")}
    shown = house.rows("select message_key, document_sha256 from sightings where left_out is null")
    for name in moved:
        safe = [row for row in shown if row["message_key"] == known[name]["message_key"]]
        assert len(safe) == known[name]["document_count"] > 0, name
        assert all(house.keeps(row["document_sha256"]) for row in safe), name


def on_server(account: Account) -> list[str]:
    """Return the Message-ID of every mail in all folders, sorted."""
    told = account.server.doveadm("-f", "tab", "fetch", "-u", account.username, "hdr.message-id", "all")
    return sorted(line.strip() for line in told.splitlines()[1:] if line.strip())


def is_like(house: MailHouse, truth: dict[str, list[Row]]) -> None:
    """Assert that the ledger says the same, row for row, and that the store has every document."""
    house.documents()
    found = ledger(house)
    for name in COMPARED:
        missing = [row for row in truth[name] if row not in found[name]]
        surplus = [row for row in found[name] if row not in truth[name]]
        assert not missing and not surplus, f"{name} lacks {missing[:2]!r} and has {surplus[:2]!r}"  # noqa: PT018  one sentence
        assert len(found[name]) == len(truth[name])


def done(truth: dict[str, list[Row]]) -> list[str]:
    """Return the Message-ID of every mail that is to be in Done."""
    return sorted(row["message_id"] for row in truth["messages"] if row["outcome"] == "taken")
