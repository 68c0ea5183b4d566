"""Documents in the ledger: sightings, order of arrival, the queue of each stage, and writing only what changes."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import NoResultFound, StatementError

from invoices.errors import ConfigurationError
from invoices.ledger import Ledger, Transaction
from invoices.ledger.changes import get_latest_revision
from invoices.ledger.documents import (
    DocumentState,
    Stage,
    count_documents_by_state,
    count_pending_documents,
    find_document_row,
    list_document_hashes_by_name,
    list_document_hashes_by_prefix,
    list_pending_documents,
    list_sighting_rows,
    set_document_state,
)
from invoices.ledger.ledger import get_counter_value, raise_counter_value, reserve_sequence_numbers
from invoices.ledger.sightings import Sighting, list_fingerprints_by_location, record_sighting
from invoices.ledger.tables import notes, sightings
from invoices.model import compute_sighting_id


def build_sighting(content: str, location: str | None = None, **values: object) -> Sighting:
    document = hashlib.sha256(content.encode()).hexdigest()
    path = location or f"/in/{content}.pdf"
    default_sighting = Sighting(
        sighting_id=compute_sighting_id("inbox", path, document), document_sha256=document,
        media_type="application/pdf", byte_count=len(content), source_name="inbox", source_kind="folder", location=path,
        file_name=path.rpartition("/")[2], fingerprint=f"f-{content}",
    )  # fmt: skip
    return replace(default_sighting, **values)  # type: ignore[arg-type]


def record_sightings(ledger: Ledger, *sightings: Sighting) -> list[bool]:
    with ledger.begin_transaction() as tx:
        return [record_sighting(tx, new_sighting) for new_sighting in sightings]


def set_state(
    tx: Transaction,
    document_sighting: Sighting,
    stage: Stage,
    state: DocumentState = "waiting",
    reason: str = "Because.",
) -> bool:
    return set_document_state(
        tx, document_sighting.document_sha256, stage=stage, state=state, reason_code="some_reason", reason=reason
    )


def read_revision(ledger: Ledger) -> int:
    with ledger.open_snapshot() as connection:
        return get_latest_revision(connection)


def test_a_new_document_waits_for_local_extraction(ledger: Ledger) -> None:
    new_sighting = build_sighting("a")
    assert record_sightings(ledger, new_sighting) == [True]
    with ledger.open_snapshot() as connection:
        row = find_document_row(connection, new_sighting.document_sha256)
        assert row is not None
        assert (row["stage"], row["state"], row["sequence"], row["byte_count"]) == ("extract_local", "waiting", 1, 1)
        assert row["first_seen_at"].utcoffset() == dt.timedelta(0)
        assert find_document_row(connection, "0" * 64) is None


def test_recording_the_same_sighting_again_writes_no_row(ledger: Ledger) -> None:
    new_sighting = build_sighting("a")
    record_sightings(ledger, new_sighting)
    before = read_revision(ledger)
    assert record_sightings(ledger, new_sighting, new_sighting) == [False, False]
    assert read_revision(ledger) == before
    with ledger.open_snapshot() as connection:
        assert len(list_sighting_rows(connection, new_sighting.document_sha256)) == 1


def test_a_touched_file_gets_its_new_fingerprint_without_a_new_revision(ledger: Ledger) -> None:
    new_sighting = build_sighting("a")
    record_sightings(ledger, new_sighting)
    before = read_revision(ledger)
    record_sightings(ledger, replace(new_sighting, fingerprint="touched"))
    assert read_revision(ledger) == before
    with ledger.open_snapshot() as connection:
        assert list_fingerprints_by_location(connection, "inbox", [new_sighting.location, "/in/other"]) == {
            new_sighting.location: {"touched"}
        }
        assert list_fingerprints_by_location(connection, "mail", [new_sighting.location]) == {}


def test_the_same_bytes_at_two_locations_are_one_document_with_two_sightings(ledger: Ledger) -> None:
    first, second = build_sighting("a"), build_sighting("a", "/in/copy of a.pdf")
    assert record_sightings(ledger, first, second) == [True, False]
    with ledger.open_snapshot() as connection:
        places = [row["location"] for row in list_sighting_rows(connection, first.document_sha256)]
        assert sorted(places) == ["/in/a.pdf", "/in/copy of a.pdf"]
        assert list_document_hashes_by_name(connection, "copy of a.pdf") == [first.document_sha256]
        assert list_document_hashes_by_name(connection, "/in/a.pdf") == [first.document_sha256]
        assert list_document_hashes_by_name(connection, "b.pdf") == []


def test_other_bytes_at_the_same_location_are_another_document(ledger: Ledger) -> None:
    assert record_sightings(ledger, build_sighting("a", "/in/x"), build_sighting("b", "/in/x")) == [True, True]
    with ledger.open_snapshot() as connection:
        assert list_fingerprints_by_location(connection, "inbox", ["/in/x"]) == {"/in/x": {"f-a", "f-b"}}
        assert len(list_document_hashes_by_name(connection, "/in/x")) == 2


def test_documents_are_listed_in_order_of_arrival_from_a_given_sequence_on(ledger: Ledger) -> None:
    names = ["m", "c", "z", "a"]
    record_sightings(ledger, *map(build_sighting, names))
    with ledger.open_snapshot() as connection:
        pending_documents = list_pending_documents(connection, "extract_local", 10)
        assert [p.document_sha256 for p in pending_documents] == [
            build_sighting(name).document_sha256 for name in names
        ]
        assert [p.sequence for p in pending_documents] == [1, 2, 3, 4]
        assert list_pending_documents(connection, "extract_local", 2, after_sequence=1) == pending_documents[1:3]
        assert count_pending_documents(connection, "extract_local") == 4


def test_a_document_is_in_the_queue_of_one_stage_only(ledger: Ledger) -> None:
    a, b = build_sighting("a"), build_sighting("b")
    record_sightings(ledger, a, b)
    with ledger.begin_transaction() as tx:
        set_state(tx, a, "extract_remote")
        set_state(tx, b, "done", "quarantined")
    with ledger.open_snapshot() as connection:
        queued = {
            stage: count_pending_documents(connection, stage)
            for stage in ("extract_local", "extract_remote", "validate")
        }
        assert queued == {"extract_local": 0, "extract_remote": 1, "validate": 0}
        assert count_documents_by_state(connection) == {
            ("waiting", "some_reason"): 1,
            ("quarantined", "some_reason"): 1,
        }


def test_setting_the_state_that_a_document_already_has_writes_nothing(ledger: Ledger) -> None:
    new_sighting = build_sighting("a")
    record_sightings(ledger, new_sighting)
    with ledger.begin_transaction() as tx:
        assert set_state(tx, new_sighting, "extract_remote")
    before = read_revision(ledger)
    with ledger.begin_transaction() as tx:
        assert not set_state(tx, new_sighting, "extract_remote")
        assert not set_document_state(
            tx, new_sighting.document_sha256, stage="extract_remote", state="waiting", reason_code="some_reason",
            reason="Because.", media_type="application/pdf",
        )  # fmt: skip
    assert read_revision(ledger) == before
    with ledger.begin_transaction() as tx:
        assert set_state(tx, new_sighting, "extract_remote", reason="Another reason.")
    assert read_revision(ledger) > before


def test_setting_the_state_keeps_the_page_count_unless_another_is_given(ledger: Ledger) -> None:
    new_sighting = build_sighting("a")
    record_sightings(ledger, new_sighting)
    with ledger.begin_transaction() as tx:
        set_document_state(
            tx, new_sighting.document_sha256, stage="extract_remote", state="waiting", reason_code="r", reason="R",
            media_type="image/png", page_count=3,
        )  # fmt: skip
        set_state(tx, new_sighting, "validate")
    with ledger.open_snapshot() as connection:
        row = find_document_row(connection, new_sighting.document_sha256)
        assert row is not None
        assert (row["page_count"], row["media_type"], row["stage"]) == (3, "image/png", "validate")


def test_the_state_of_a_document_without_sighting_cannot_be_set(ledger: Ledger) -> None:
    with pytest.raises(NoResultFound), ledger.begin_transaction() as tx:
        set_state(tx, build_sighting("a"), "extract_remote")


def test_a_document_is_found_by_a_literal_prefix_of_its_hash(ledger: Ledger) -> None:
    record_sightings(ledger, *(build_sighting(str(number)) for number in range(30)))
    expected = build_sighting("7").document_sha256
    with ledger.open_snapshot() as connection:
        assert list_document_hashes_by_prefix(connection, expected[:12].upper()) == [expected]
        assert list_document_hashes_by_prefix(connection, "%") == list_document_hashes_by_prefix(connection, "_") == []
        assert len(list_document_hashes_by_prefix(connection, "")) == 10


def test_an_error_inside_a_transaction_rolls_all_of_it_back(ledger: Ledger) -> None:
    def record_and_fail() -> None:
        with ledger.begin_transaction() as tx:
            record_sighting(tx, build_sighting("a"))
            raise KeyError("the disk is on fire")

    with pytest.raises(KeyError):
        record_and_fail()
    with ledger.open_snapshot() as connection:
        assert count_pending_documents(connection, "extract_local") == 0
        assert get_counter_value(connection, "documents") == get_counter_value(connection, "revision") == 0


def test_a_naive_instant_is_refused(ledger: Ledger) -> None:
    naive = dt.datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001  that is the point
    with pytest.raises(StatementError, match="naive instant"):
        record_sightings(ledger, build_sighting("a", received_at=naive))


def test_an_instant_is_read_back_as_the_same_moment_in_utc(ledger: Ledger) -> None:
    there = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=45)))
    record_sightings(ledger, build_sighting("a", received_at=there))
    with ledger.open_snapshot() as connection:
        stored = connection.scalar(select(sightings.c.received_at))
    assert stored == there
    assert stored.utcoffset() == dt.timedelta(0)


def test_a_ledger_with_a_naive_clock_writes_nothing(ledger_url: str) -> None:
    ledger = Ledger(ledger_url, now=lambda: dt.datetime(2026, 1, 1))  # noqa: DTZ001  that is the point
    with pytest.raises(StatementError, match="naive instant"):
        record_sightings(ledger, build_sighting("a"))
    ledger.close()


def test_counters_continue_from_their_last_value(ledger: Ledger) -> None:
    with ledger.begin_transaction() as tx:
        assert [reserve_sequence_numbers(tx, "batches", 1) for _ in range(3)] == [1, 2, 3]
        raise_counter_value(tx, "mark", 7)
        raise_counter_value(tx, "mark", 5)
    with ledger.open_snapshot() as connection:
        assert (
            get_counter_value(connection, "batches"),
            get_counter_value(connection, "mark"),
            get_counter_value(connection, "never"),
        ) == (3, 7, 0)


def test_the_first_value_of_a_note_stays(ledger: Ledger) -> None:
    assert ledger.get_or_record_note("mode", "real") == "real"
    assert ledger.get_or_record_note("mode", "rehearsal") == "real"


def test_a_reopened_ledger_has_everything(ledger_url: str) -> None:
    first = Ledger(ledger_url)
    record_sightings(first, build_sighting("a"))
    first.close()
    again = Ledger(ledger_url)
    assert record_sightings(again, build_sighting("a"), build_sighting("b")) == [False, True]
    again.close()


def test_a_ledger_of_a_later_version_is_refused(ledger_url: str) -> None:
    ledger = Ledger(ledger_url)
    with ledger.begin_transaction() as tx:
        tx.connection.execute(update(notes).where(notes.c.name == "schema_version").values(value="99"))
        tx.connection.execute(text("UPDATE alembic_version SET version_num = '99'"))
        tx.connection.execute(insert(notes).values(name="mark", value="still here"))
    ledger.close()
    with pytest.raises(ConfigurationError, match=r"schema version '99'.*newer program"):
        Ledger(ledger_url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:sesame@db/x",  # its driver is not installed, or no server answers
        "postgresql://me:sesame@db:port/x",
        "postgresql://me:ses/ame@db/x",
        "postgresql://me:0/sesame@db/x",
        "postgres+nothing://me:sesame@db/x",
        "sesame",
    ],
)
def test_an_unusable_url_is_a_configuration_error_without_the_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Ledger(url)
    message = f"{caught.value} {caught.value.__cause__}"
    assert "ledger" in message
    assert not any(secret in message for secret in ("sesame@", ":sesame", "'ses'", "/ame", "'ame"))


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_file_that_is_no_ledger_is_a_configuration_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(content)
    with pytest.raises(ConfigurationError, match="ledger"):
        Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
    assert (tmp_path / "ledger.sqlite").read_bytes() == content


def test_an_impossible_path_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "ledger.sqlite"):
        with pytest.raises(ConfigurationError, match="ledger"):
            Ledger(f"sqlite:///{path}")


def test_a_database_error_quotes_no_written_value(ledger: Ledger) -> None:
    with pytest.raises(StatementError) as caught, ledger.begin_transaction() as tx:
        tx.connection.execute(insert(notes), [{"name": "x", "value": "DE89 3704"}, {"name": "x", "value": "DE89 3704"}])
    assert "DE89" not in str(caught.value)
