"""Claims: several workers share what waits, nobody takes what another has in hand, and a lease ends."""

from __future__ import annotations

import datetime as dt
import hashlib
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invoices.ledger import Ledger
from invoices.ledger.claims import LEASE, claim, claim_these, holders, holds, let_go, renew
from invoices.ledger.documents import settle
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.model import sighting_id

SHARE = """
import sys
from invoices.ledger import Ledger
from invoices.ledger.claims import claim

ledger, me = Ledger(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
mine, after = [], 0
while True:
    with ledger.transaction() as tx:
        found = claim(tx, me, "read", 3, after=after)
    if not found:
        break
    mine += [document.sequence for document in found]
    after = found[-1].sequence
print(*mine)
ledger.close()
"""


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)

    def __call__(self) -> dt.datetime:
        return self.at


@pytest.fixture
def clock() -> Clock:
    """The time by which leases end."""
    return Clock()


@pytest.fixture
def ledger(ledger_url: str, clock: Clock) -> Iterator[Ledger]:
    """An empty ledger, on SQLite and on PostgreSQL."""
    opened = Ledger(ledger_url, now=clock)
    yield opened
    opened.close()


def sha(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def collect(ledger: Ledger, names: str) -> None:
    with ledger.transaction() as tx:
        for name in names:
            place = f"/in/{name}"
            record_sighting(
                tx, Sighting(sighting_id("inbox", place, sha(name)), sha(name), "t", 1, "inbox", "folder", place)
            )


def take(ledger: Ledger, holder: str, limit: int = 10, after: int = 0) -> str:
    """Return the names of the documents that are now the holder's."""
    names = {sha(name): name for name in "abcdefghij"}
    with ledger.transaction() as tx:
        found = claim(tx, holder, "read", limit, after=after)
    return "".join(names[document.document_sha256] for document in found)


def take_these(ledger: Ledger, holder: str, names: str) -> bool:
    with ledger.transaction() as tx:
        return claim_these(tx, holder, [sha(name) for name in names])


def has(ledger: Ledger, holder: str, names: str) -> str:
    """Return which of these the holder has in hand."""
    with ledger.transaction() as tx:
        return "".join(name for name in names if holds(tx, holder, sha(name)))


def test_two_workers_share_what_waits_in_the_order_of_arrival(ledger: Ledger) -> None:
    collect(ledger, "abcde")
    assert take(ledger, "one", 2) == "ab"
    assert take(ledger, "two", 2) == "cd"
    assert take(ledger, "one", 2, after=2) == "e"
    assert take(ledger, "two", 2, after=4) == ""
    assert (has(ledger, "one", "abcde"), has(ledger, "two", "abcde")) == ("abe", "cd")


def test_a_worker_gets_what_it_has_in_hand_again(ledger: Ledger) -> None:
    collect(ledger, "ab")
    assert take(ledger, "one") == take(ledger, "one") == "ab"


def test_what_is_done_is_not_taken(ledger: Ledger) -> None:
    collect(ledger, "ab")
    with ledger.transaction() as tx:
        settle(tx, sha("a"), stage="done", state="review", reason_code="r", reason="R")
    assert take(ledger, "one") == "b"


def test_a_lease_ends_and_its_holder_sees_that(ledger: Ledger, clock: Clock) -> None:
    collect(ledger, "ab")
    take(ledger, "one")
    clock.at += LEASE
    assert has(ledger, "one", "ab") == ""
    assert take(ledger, "two", 1) == "a"
    assert has(ledger, "one", "a") == ""
    assert has(ledger, "two", "a") == "a"


def test_a_renewed_lease_lasts_and_one_that_is_over_is_not_renewed(ledger: Ledger, clock: Clock) -> None:
    collect(ledger, "ab")
    take(ledger, "one", 1)
    clock.at += LEASE / 2
    with ledger.transaction() as tx:
        assert renew(tx, "one") == 1
    clock.at += LEASE / 2
    assert has(ledger, "one", "a") == "a"
    clock.at += LEASE
    with ledger.transaction() as tx:
        assert renew(tx, "one") == 0
    assert take(ledger, "two", 1) == "a"


def test_letting_go_gives_back_ones_own_only(ledger: Ledger) -> None:
    collect(ledger, "abc")
    take(ledger, "one", 2)
    take(ledger, "two")
    with ledger.transaction() as tx:
        let_go(tx, "one")
        assert holders(tx.connection) == ["two"]
    assert take(ledger, "two") == "abc"


def test_all_or_none_are_claimed(ledger: Ledger, clock: Clock) -> None:
    collect(ledger, "abc")
    take(ledger, "one", 1)
    assert not take_these(ledger, "two", "cba")
    assert has(ledger, "two", "abc") == ""
    assert take_these(ledger, "one", "aab")
    assert has(ledger, "one", "abc") == "ab"
    clock.at += LEASE
    assert take_these(ledger, "two", "cba")
    assert take_these(ledger, "two", "")


def test_more_documents_are_claimed_than_one_statement_holds(ledger: Ledger) -> None:
    names = [f"n{number}" for number in range(1201)]
    with ledger.transaction() as tx:
        assert claim_these(tx, "one", [sha(name) for name in names])
        assert all(holds(tx, "one", sha(name)) for name in names[::100])
        assert not claim_these(tx, "two", [sha(name) for name in names[-2:]])


steps = st.lists(
    st.tuples(
        st.sampled_from(["take", "these", "renew", "let go", "wait"]), st.sampled_from("xyz"),
        st.text(alphabet="abcde", max_size=3), st.integers(1, 5),
    ),
    max_size=10,
)  # fmt: skip


@given(steps)
@settings(max_examples=15)
def test_nothing_is_ever_in_two_hands(
    tmp_path_factory: pytest.TempPathFactory, plan: list[tuple[str, str, str, int]]
) -> None:
    clock, minute = Clock(), dt.timedelta(minutes=1)
    ledger = Ledger(f"sqlite:///{tmp_path_factory.mktemp('claims')}/ledger.sqlite", now=clock)
    collect(ledger, "abcde")
    for action, holder, names, number in plan:
        before = {name: who for who in "xyz" for name in has(ledger, who, "abcde")}
        if action == "take":
            taken = take(ledger, holder, number)
            assert all(before.get(name, holder) == holder for name in taken)
        elif action == "these":
            free = all(before.get(name, holder) == holder for name in names)
            assert take_these(ledger, holder, names) == free
        elif action == "wait":
            clock.at += 4 * number * minute
        else:
            with ledger.transaction() as tx:
                renew(tx, holder) if action == "renew" else let_go(tx, holder)
        held = [has(ledger, who, "abcde") for who in "xyz"]
        assert len("".join(held)) == len(set("".join(held)))
    ledger.close()


def test_processes_that_take_at_the_same_time_take_each_document_once(ledger_url: str) -> None:
    ledger = Ledger(ledger_url)
    with ledger.transaction() as tx:
        for number in range(60):
            place = f"/in/{number}"
            record_sighting(
                tx, Sighting(sighting_id("inbox", place, sha(place)), sha(place), "t", 1, "inbox", "folder", place)
            )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", SHARE, ledger_url, f"worker-{number}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(3)
    ]  # fmt: skip
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    taken = [[int(number) for number in worker.communicate(timeout=120)[0].split()] for worker in workers]
    assert sorted(number for mine in taken for number in mine) == list(range(1, 61))
    ledger.close()
