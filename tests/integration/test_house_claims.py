"""What a house has in hand: leases that are renewed while it works, and nothing left behind."""

from __future__ import annotations

import datetime as dt
import hashlib
import threading
import time

from sqlalchemy import select, update

from invoices.house import House
from invoices.ledger.claims import holders
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.ledger.tables import claims
from invoices.settings import Settings


def with_documents(house: House, count: int) -> None:
    with house.ledger.transaction() as tx:
        for number in range(count):
            sha256 = hashlib.sha256(str(number).encode()).hexdigest()
            place = f"/{number}.pdf"
            record_sighting(tx, Sighting(sha256[:32], sha256, "application/pdf", 1, "inbox", "folder", place))


def lease_ends(house: House) -> dt.datetime:
    with house.ledger.reading() as connection:
        until = connection.scalar(select(claims.c.until))
    assert until is not None
    return until


def test_a_lease_is_renewed_for_as_long_as_the_work_takes(house: House) -> None:
    with_documents(house, 1)
    with house.keeping_claims(every=0.01):
        assert len(house.claim_documents("read", 10, 0)) == 1
        soon = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)
        with house.ledger.transaction() as tx:
            tx.connection.execute(update(claims).values(until=soon))
        patience = time.monotonic() + 30
        while lease_ends(house) <= soon and time.monotonic() < patience:
            time.sleep(0.01)
        assert lease_ends(house) > soon


def test_nothing_is_in_hand_after_the_work(house: House) -> None:
    with_documents(house, 2)
    with house.keeping_claims():
        assert len(house.claim_documents("read", 10, 0)) == 2
    with house.ledger.reading() as connection:
        assert holders(connection) == []
    assert "leases" not in {thread.name for thread in threading.enumerate()}


def test_two_houses_on_one_ledger_share_the_documents(house: House, home: Settings) -> None:
    with_documents(house, 3)
    with House(home, vendors=lambda _closing: home) as other, house.keeping_claims(), other.keeping_claims():
        mine = {document.document_sha256 for document in house.claim_documents("read", 2, 0)}
        theirs = {document.document_sha256 for document in other.claim_documents("read", 10, 0)}
    assert (len(mine), len(theirs), mine & theirs) == (2, 1, set())


def test_where_nothing_waits_nothing_is_written(house: House, home: Settings) -> None:
    with house.keeping_claims():
        assert house.claim_documents("ask", 10, 0) == []
    assert not (home.home / "workers").exists()
