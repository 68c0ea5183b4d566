"""Claims: several workers share the pending documents, no worker gets the claims of another, and leases expire."""

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
from invoices.ledger.claims import (
    LEASE_DURATION,
    claim_all_or_none,
    claim_pending_documents,
    extend_leases,
    holds_claim,
    list_claim_holders,
    release_claims,
)
from invoices.ledger.documents import set_document_state
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.model import compute_sighting_id

SHARE_DOCUMENTS_SCRIPT = """
import sys
from invoices.ledger import Ledger
from invoices.ledger.claims import claim_pending_documents

ledger, worker_name = Ledger(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
sequences, after_sequence = [], 0
while True:
    with ledger.begin_transaction() as tx:
        documents = claim_pending_documents(tx, worker_name, "extract_local", 3, after_sequence=after_sequence)
    if not documents:
        break
    sequences += [document.sequence for document in documents]
    after_sequence = documents[-1].sequence
print(*sequences)
ledger.close()
"""


class ManualClock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)

    def __call__(self) -> dt.datetime:
        return self.now


@pytest.fixture
def clock() -> ManualClock:
    """The clock of the ledger, by which leases expire."""
    return ManualClock()


@pytest.fixture
def ledger(ledger_url: str, clock: ManualClock) -> Iterator[Ledger]:
    """An empty ledger, on SQLite and on PostgreSQL."""
    new_ledger = Ledger(ledger_url, now=clock)
    yield new_ledger
    new_ledger.close()


def hash_name(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def add_documents(ledger: Ledger, names: str) -> None:
    with ledger.begin_transaction() as tx:
        for name in names:
            path = f"/in/{name}"
            sighting_id = compute_sighting_id("inbox", path, hash_name(name))
            record_sighting(tx, Sighting(sighting_id, hash_name(name), "t", 1, "inbox", "folder", path))


def claim_documents(ledger: Ledger, holder: str, limit: int = 10, after: int = 0) -> str:
    """Claim documents; return their names."""
    names = {hash_name(name): name for name in "abcdefghij"}
    with ledger.begin_transaction() as tx:
        documents = claim_pending_documents(tx, holder, "extract_local", limit, after_sequence=after)
    return "".join(names[document.document_sha256] for document in documents)


def try_claim_all(ledger: Ledger, holder: str, names: str) -> bool:
    with ledger.begin_transaction() as tx:
        return claim_all_or_none(tx, holder, [hash_name(name) for name in names])


def list_claimed(ledger: Ledger, holder: str, names: str) -> str:
    """Return those of the names that the holder has claimed."""
    with ledger.begin_transaction() as tx:
        return "".join(name for name in names if holds_claim(tx, holder, hash_name(name)))


def test_two_workers_share_the_pending_documents_in_order_of_arrival(ledger: Ledger) -> None:
    add_documents(ledger, "abcde")
    assert claim_documents(ledger, "one", 2) == "ab"
    assert claim_documents(ledger, "two", 2) == "cd"
    assert claim_documents(ledger, "one", 2, after=2) == "e"
    assert claim_documents(ledger, "two", 2, after=4) == ""
    assert (list_claimed(ledger, "one", "abcde"), list_claimed(ledger, "two", "abcde")) == ("abe", "cd")


def test_a_worker_gets_its_own_claims_again(ledger: Ledger) -> None:
    add_documents(ledger, "ab")
    assert claim_documents(ledger, "one") == claim_documents(ledger, "one") == "ab"


def test_a_document_that_is_done_is_not_claimed(ledger: Ledger) -> None:
    add_documents(ledger, "ab")
    with ledger.begin_transaction() as tx:
        set_document_state(tx, hash_name("a"), stage="done", state="review", reason_code="r", reason="R")
    assert claim_documents(ledger, "one") == "b"


def test_a_lease_expires_and_its_holder_detects_that(ledger: Ledger, clock: ManualClock) -> None:
    add_documents(ledger, "ab")
    claim_documents(ledger, "one")
    clock.now += LEASE_DURATION
    assert list_claimed(ledger, "one", "ab") == ""
    assert claim_documents(ledger, "two", 1) == "a"
    assert list_claimed(ledger, "one", "a") == ""
    assert list_claimed(ledger, "two", "a") == "a"


def test_a_claim_from_a_clock_that_was_days_ahead_blocks_nobody(ledger: Ledger, clock: ManualClock) -> None:
    add_documents(ledger, "a")
    claim_documents(ledger, "one")
    clock.now -= dt.timedelta(days=3)
    assert claim_documents(ledger, "two", 1) == "a"
    assert list_claimed(ledger, "one", "a") == ""


def test_a_renewed_lease_lasts_and_an_expired_one_is_not_renewed(ledger: Ledger, clock: ManualClock) -> None:
    add_documents(ledger, "ab")
    claim_documents(ledger, "one", 1)
    clock.now += LEASE_DURATION / 2
    with ledger.begin_transaction() as tx:
        assert extend_leases(tx, "one") == 1
    clock.now += LEASE_DURATION / 2
    assert list_claimed(ledger, "one", "a") == "a"
    clock.now += LEASE_DURATION
    with ledger.begin_transaction() as tx:
        assert extend_leases(tx, "one") == 0
    assert claim_documents(ledger, "two", 1) == "a"


def test_releasing_claims_releases_only_ones_own(ledger: Ledger) -> None:
    add_documents(ledger, "abc")
    claim_documents(ledger, "one", 2)
    claim_documents(ledger, "two")
    with ledger.begin_transaction() as tx:
        release_claims(tx, "one")
        assert list_claim_holders(tx.connection) == ["two"]
    assert claim_documents(ledger, "two") == "abc"


def test_either_all_documents_are_claimed_or_none(ledger: Ledger, clock: ManualClock) -> None:
    add_documents(ledger, "abc")
    claim_documents(ledger, "one", 1)
    assert not try_claim_all(ledger, "two", "cba")
    assert list_claimed(ledger, "two", "abc") == ""
    assert try_claim_all(ledger, "one", "aab")
    assert list_claimed(ledger, "one", "abc") == "ab"
    clock.now += LEASE_DURATION
    assert try_claim_all(ledger, "two", "cba")
    assert try_claim_all(ledger, "two", "")


def test_more_documents_can_be_claimed_than_fit_into_one_statement(ledger: Ledger) -> None:
    names = [f"n{number}" for number in range(1201)]
    with ledger.begin_transaction() as tx:
        assert claim_all_or_none(tx, "one", [hash_name(name) for name in names])
        assert all(holds_claim(tx, "one", hash_name(name)) for name in names[::100])
        assert not claim_all_or_none(tx, "two", [hash_name(name) for name in names[-2:]])


steps = st.lists(
    st.tuples(
        st.sampled_from(["claim", "claim all", "renew", "release", "wait"]), st.sampled_from("xyz"),
        st.text(alphabet="abcde", max_size=3), st.integers(1, 5),
    ),
    max_size=10,
)  # fmt: skip


@given(steps)
@settings(max_examples=15)
def test_no_document_is_ever_claimed_by_two_workers(
    tmp_path_factory: pytest.TempPathFactory, plan: list[tuple[str, str, str, int]]
) -> None:
    clock, minute = ManualClock(), dt.timedelta(minutes=1)
    ledger = Ledger(f"sqlite:///{tmp_path_factory.mktemp('claims')}/ledger.sqlite", now=clock)
    add_documents(ledger, "abcde")
    for action, holder, names, number in plan:
        before = {name: who for who in "xyz" for name in list_claimed(ledger, who, "abcde")}
        if action == "claim":
            claimed_names = claim_documents(ledger, holder, number)
            assert all(before.get(name, holder) == holder for name in claimed_names)
        elif action == "claim all":
            free = all(before.get(name, holder) == holder for name in names)
            assert try_claim_all(ledger, holder, names) == free
        elif action == "wait":
            clock.now += 4 * number * minute
        else:
            with ledger.begin_transaction() as tx:
                extend_leases(tx, holder) if action == "renew" else release_claims(tx, holder)
        held = [list_claimed(ledger, who, "abcde") for who in "xyz"]
        assert len("".join(held)) == len(set("".join(held)))
    ledger.close()


def test_processes_that_claim_at_the_same_time_claim_each_document_once(ledger_url: str) -> None:
    ledger = Ledger(ledger_url)
    with ledger.begin_transaction() as tx:
        for number in range(60):
            path = f"/in/{number}"
            sighting_id = compute_sighting_id("inbox", path, hash_name(path))
            record_sighting(tx, Sighting(sighting_id, hash_name(path), "t", 1, "inbox", "folder", path))
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", SHARE_DOCUMENTS_SCRIPT, ledger_url, f"worker-{number}"],
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
    sequences = [[int(number) for number in worker.communicate(timeout=120)[0].split()] for worker in workers]
    assert sorted(number for documents in sequences for number in documents) == list(range(1, 61))
    ledger.close()
