"""The ledger of documents: sightings, order of arrival, the queue of each stage, and writing only what changes."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import NoResultFound, StatementError

from invoices.errors import ConfigurationError
from invoices.ledger import Ledger, Transaction
from invoices.ledger.changes import latest_revision
from invoices.ledger.documents import (
    Stage,
    State,
    count_by_state,
    document_row,
    documents_at,
    find_documents,
    pending,
    pending_count,
    settle,
    sighting_rows,
)
from invoices.ledger.ledger import counter, next_numbers, set_counter
from invoices.ledger.sightings import Sighting, fingerprints, record_sighting
from invoices.ledger.tables import notes, sightings
from invoices.model import sighting_id


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An empty ledger, on SQLite and on PostgreSQL."""
    opened = Ledger(ledger_url)
    yield opened
    opened.close()


def sighting(content: str, location: str | None = None, **values: object) -> Sighting:
    document = hashlib.sha256(content.encode()).hexdigest()
    place = location or f"/in/{content}.pdf"
    made = Sighting(
        sighting_id=sighting_id("inbox", place, document), document_sha256=document, media_type="application/pdf",
        byte_count=len(content), source_name="inbox", source_kind="folder", location=place,
        file_name=place.rpartition("/")[2], fingerprint=f"f-{content}",
    )  # fmt: skip
    return replace(made, **values)  # type: ignore[arg-type]


def record(ledger: Ledger, *seen: Sighting) -> list[bool]:
    with ledger.transaction() as tx:
        return [record_sighting(tx, one) for one in seen]


def move(tx: Transaction, seen: Sighting, stage: Stage, state: State = "waiting", reason: str = "Because.") -> bool:
    return settle(tx, seen.document_sha256, stage=stage, state=state, reason_code="told", reason=reason)


def revision(ledger: Ledger) -> int:
    with ledger.reading() as connection:
        return latest_revision(connection)


def test_a_new_document_waits_to_be_read(ledger: Ledger) -> None:
    seen = sighting("a")
    assert record(ledger, seen) == [True]
    with ledger.reading() as connection:
        row = document_row(connection, seen.document_sha256)
        assert row is not None
        assert (row["stage"], row["state"], row["sequence"], row["byte_count"]) == ("read", "waiting", 1, 1)
        assert row["first_seen_at"].utcoffset() == dt.timedelta(0)
        assert document_row(connection, "0" * 64) is None


def test_the_same_sighting_again_writes_no_row(ledger: Ledger) -> None:
    seen = sighting("a")
    record(ledger, seen)
    before = revision(ledger)
    assert record(ledger, seen, seen) == [False, False]
    assert revision(ledger) == before
    with ledger.reading() as connection:
        assert len(sighting_rows(connection, seen.document_sha256)) == 1


def test_a_touched_file_gets_its_new_fingerprint_and_changes_nothing_that_readers_see(ledger: Ledger) -> None:
    seen = sighting("a")
    record(ledger, seen)
    before = revision(ledger)
    record(ledger, replace(seen, fingerprint="touched"))
    assert revision(ledger) == before
    with ledger.reading() as connection:
        assert fingerprints(connection, "inbox", [seen.location, "/in/other"]) == {seen.location: {"touched"}}
        assert fingerprints(connection, "mail", [seen.location]) == {}


def test_the_same_bytes_elsewhere_are_one_document_with_two_sightings(ledger: Ledger) -> None:
    first, second = sighting("a"), sighting("a", "/in/copy of a.pdf")
    assert record(ledger, first, second) == [True, False]
    with ledger.reading() as connection:
        places = [row["location"] for row in sighting_rows(connection, first.document_sha256)]
        assert sorted(places) == ["/in/a.pdf", "/in/copy of a.pdf"]
        assert documents_at(connection, "copy of a.pdf") == [first.document_sha256]
        assert documents_at(connection, "/in/a.pdf") == [first.document_sha256]
        assert documents_at(connection, "b.pdf") == []


def test_other_bytes_in_the_same_place_are_another_document(ledger: Ledger) -> None:
    assert record(ledger, sighting("a", "/in/x"), sighting("b", "/in/x")) == [True, True]
    with ledger.reading() as connection:
        assert fingerprints(connection, "inbox", ["/in/x"]) == {"/in/x": {"f-a", "f-b"}}
        assert len(documents_at(connection, "/in/x")) == 2


def test_documents_come_in_the_order_of_arrival_and_from_where_one_left_off(ledger: Ledger) -> None:
    names = ["m", "c", "z", "a"]
    record(ledger, *map(sighting, names))
    with ledger.reading() as connection:
        found = pending(connection, "read", 10)
        assert [p.document_sha256 for p in found] == [sighting(name).document_sha256 for name in names]
        assert [p.sequence for p in found] == [1, 2, 3, 4]
        assert pending(connection, "read", 2, after=1) == found[1:3]
        assert pending_count(connection, "read") == 4


def test_a_document_is_in_the_queue_of_one_stage_only(ledger: Ledger) -> None:
    a, b = sighting("a"), sighting("b")
    record(ledger, a, b)
    with ledger.transaction() as tx:
        move(tx, a, "ask")
        move(tx, b, "done", "quarantined")
    with ledger.reading() as connection:
        queued = {stage: pending_count(connection, stage) for stage in ("read", "ask", "judge")}
        assert queued == {"read": 0, "ask": 1, "judge": 0}
        assert count_by_state(connection) == {("waiting", "told"): 1, ("quarantined", "told"): 1}


def test_settling_where_a_document_stands_already_writes_nothing(ledger: Ledger) -> None:
    seen = sighting("a")
    record(ledger, seen)
    with ledger.transaction() as tx:
        assert move(tx, seen, "ask")
    before = revision(ledger)
    with ledger.transaction() as tx:
        assert not move(tx, seen, "ask")
        assert not settle(
            tx, seen.document_sha256, stage="ask", state="waiting", reason_code="told", reason="Because.",
            media_type="application/pdf",
        )  # fmt: skip
    assert revision(ledger) == before
    with ledger.transaction() as tx:
        assert move(tx, seen, "ask", reason="Another reason.")
    assert revision(ledger) > before


def test_settling_keeps_the_page_count_unless_told_another(ledger: Ledger) -> None:
    seen = sighting("a")
    record(ledger, seen)
    with ledger.transaction() as tx:
        settle(
            tx, seen.document_sha256, stage="ask", state="waiting", reason_code="r", reason="R", media_type="image/png",
            page_count=3,
        )  # fmt: skip
        move(tx, seen, "judge")
    with ledger.reading() as connection:
        row = document_row(connection, seen.document_sha256)
        assert row is not None
        assert (row["page_count"], row["media_type"], row["stage"]) == (3, "image/png", "judge")


def test_a_document_nobody_saw_cannot_be_settled(ledger: Ledger) -> None:
    with pytest.raises(NoResultFound), ledger.transaction() as tx:
        move(tx, sighting("a"), "ask")


def test_a_document_is_found_by_the_beginning_of_its_hash_taken_literally(ledger: Ledger) -> None:
    record(ledger, *(sighting(str(number)) for number in range(30)))
    wanted = sighting("7").document_sha256
    with ledger.reading() as connection:
        assert find_documents(connection, wanted[:12].upper()) == [wanted]
        assert find_documents(connection, "%") == find_documents(connection, "_") == []
        assert len(find_documents(connection, "")) == 10


def test_what_is_raised_inside_a_transaction_undoes_all_of_it(ledger: Ledger) -> None:
    def failing() -> None:
        with ledger.transaction() as tx:
            record_sighting(tx, sighting("a"))
            raise KeyError("the disk is on fire")

    with pytest.raises(KeyError):
        failing()
    with ledger.reading() as connection:
        assert pending_count(connection, "read") == 0
        assert counter(connection, "documents") == counter(connection, "revision") == 0


def test_a_naive_instant_is_refused(ledger: Ledger) -> None:
    naive = dt.datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001  that is the point
    with pytest.raises(StatementError, match="naive instant"):
        record(ledger, sighting("a", received_at=naive))


def test_an_instant_comes_back_as_the_same_moment_in_utc(ledger: Ledger) -> None:
    there = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=45)))
    record(ledger, sighting("a", received_at=there))
    with ledger.reading() as connection:
        kept = connection.scalar(select(sightings.c.received_at))
    assert kept == there
    assert kept.utcoffset() == dt.timedelta(0)


def test_a_ledger_with_a_naive_clock_writes_nothing(ledger_url: str) -> None:
    ledger = Ledger(ledger_url, now=lambda: dt.datetime(2026, 1, 1))  # noqa: DTZ001  that is the point
    with pytest.raises(StatementError, match="naive instant"):
        record(ledger, sighting("a"))
    ledger.close()


def test_counters_go_on_where_they_stopped(ledger: Ledger) -> None:
    with ledger.transaction() as tx:
        assert [next_numbers(tx, "batches", 1) for _ in range(3)] == [1, 2, 3]
        set_counter(tx, "mark", 7)
        set_counter(tx, "mark", 5)
    with ledger.reading() as connection:
        assert (counter(connection, "batches"), counter(connection, "mark"), counter(connection, "never")) == (3, 5, 0)


def test_what_was_remembered_first_stays(ledger: Ledger) -> None:
    assert ledger.remember("mode", "real") == "real"
    assert ledger.remember("mode", "rehearsal") == "real"


def test_everything_is_there_after_opening_it_again(ledger_url: str) -> None:
    first = Ledger(ledger_url)
    record(first, sighting("a"))
    first.close()
    again = Ledger(ledger_url)
    assert record(again, sighting("a"), sighting("b")) == [False, True]
    again.close()


def test_a_ledger_of_a_later_version_is_left_alone(ledger_url: str) -> None:
    ledger = Ledger(ledger_url)
    with ledger.transaction() as tx:
        tx.connection.execute(update(notes).where(notes.c.name == "schema_version").values(value="99"))
        tx.connection.execute(insert(notes).values(name="mark", value="still here"))
    ledger.close()
    with pytest.raises(ConfigurationError, match=r"schema version '99'.*newer program"):
        Ledger(ledger_url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:sesame@db/x",  # its driver is not installed, or nobody answers
        "postgresql://me:sesame@db:port/x",
        "postgresql://me:ses/ame@db/x",
        "postgresql://me:0/sesame@db/x",
        "postgres+nothing://me:sesame@db/x",
        "sesame",
    ],
)
def test_a_url_that_does_not_work_is_a_configuration_error_that_tells_no_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Ledger(url)
    said = f"{caught.value} {caught.value.__cause__}"
    assert "ledger" in said
    assert not any(secret in said for secret in ("sesame@", ":sesame", "'ses'", "/ame", "'ame"))


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_file_that_is_no_ledger_is_a_configuration_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(content)
    with pytest.raises(ConfigurationError, match="ledger"):
        Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
    assert (tmp_path / "ledger.sqlite").read_bytes() == content


def test_a_place_that_cannot_be_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "file" / "ledger.sqlite"):
        with pytest.raises(ConfigurationError, match="ledger"):
            Ledger(f"sqlite:///{place}")


def test_an_error_of_the_database_quotes_no_value_that_was_written(ledger: Ledger) -> None:
    with pytest.raises(StatementError) as caught, ledger.transaction() as tx:
        tx.connection.execute(insert(notes), [{"name": "x", "value": "DE89 3704"}, {"name": "x", "value": "DE89 3704"}])
    assert "DE89" not in str(caught.value)
