"""Sightings: each time a source shows a document, recorded page by page together with the new documents."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from invoices.ledger.documents import InitialState, filter_known_hashes, iter_chunks, set_document_state
from invoices.ledger.flags import record_flags
from invoices.ledger.ledger import Transaction, reserve_sequence_numbers
from invoices.ledger.tables import documents, messages, sightings
from invoices.model import Flag

_DOCUMENT_FIELDS = ("media_type", "byte_count", "settled", "flags")
SUPPORTING_DOCUMENT_CODE = "supporting_document"
STORE_SOURCE_KIND = "store"  # of a sighting that says nothing about the origin, after the ledger was restored
_COLLECTED_STATE = InitialState("waiting", "collected", "Collected; not read yet.")


@dataclass(frozen=True, slots=True)
class Sighting:
    """One document at one location of a source.

    ``fingerprint`` shows without reading whether the location still has the same content. ``settled`` is the state that
    the document gets instead of being read, as long as no source shows the same bytes without one. ``embedded_in`` is
    the SHA-256 of the e-invoice that the document came out of.
    """

    sighting_id: str
    document_sha256: str
    media_type: str
    byte_count: int
    source_name: str
    source_kind: str
    location: str
    file_name: str | None = None
    sender: str | None = None
    subject: str | None = None
    message_id: str | None = None
    received_at: dt.datetime | None = None
    fingerprint: str | None = None
    message_key: str | None = None
    section: str | None = None
    declared_type: str | None = None
    original_sender: str | None = None
    entity: str | None = None
    cost_centre: str | None = None
    embedded_in: str | None = None
    settled: InitialState | None = None
    flags: Sequence[Flag] = ()

    @property
    def skip_reason_code(self) -> str | None:
        """The reason for which the source skips the document, or None."""
        if self.settled and self.settled.state == "not_invoice":
            return self.settled.reason_code
        return SUPPORTING_DOCUMENT_CODE if self.embedded_in else None


def record_sighting(tx: Transaction, sighting: Sighting) -> bool:
    """Record one sighting; return whether its document is new."""
    return record_sightings(tx, [sighting]) == 1


def record_sightings(tx: Transaction, incoming: Sequence[Sighting]) -> int:
    """Record sightings and the documents whose bytes are new; return the number of new documents.

    A document that every source has skipped so far is read once a source shows it without skipping it.
    """
    known_fingerprints = _list_known_fingerprints(tx.connection, incoming)
    new_sightings = {
        sighting.sighting_id: sighting for sighting in incoming if sighting.sighting_id not in known_fingerprints
    }
    added_hashes = _record_new_documents(tx, new_sightings.values())
    shown_hashes = {
        sighting.document_sha256
        for sighting in new_sightings.values()
        if sighting.settled is None and sighting.embedded_in is None
    }
    _reopen_skipped_documents(tx, shown_hashes - added_hashes)
    if new_sightings:
        rows = [
            {name: getattr(sighting, name) for name in Sighting.__slots__ if name not in _DOCUMENT_FIELDS}
            | {"skip_reason_code": sighting.skip_reason_code, "seen_at": tx.timestamp, "revision": tx.revision}
            for sighting in new_sightings.values()
        ]
        tx.connection.execute(insert(sightings), rows)
    for sighting in incoming:
        if sighting.flags:
            record_flags(tx, sighting.document_sha256, sighting.flags)
        if known_fingerprints.get(sighting.sighting_id, sighting.fingerprint) != sighting.fingerprint:
            condition = sightings.c.sighting_id == sighting.sighting_id  # no new revision: readers see no difference
            tx.connection.execute(update(sightings).where(condition).values(fingerprint=sighting.fingerprint))
    return len(added_hashes)


def find_first_received_at(connection: Connection, document_sha256: str) -> dt.datetime | None:
    """Return when the first mail with the document was received; None if it was ever seen without such a time."""
    rows = list(
        connection.scalars(select(sightings.c.received_at).where(sightings.c.document_sha256 == document_sha256))
    )
    times = [received_at for received_at in rows if received_at is not None]
    return min(times) if times and len(times) == len(rows) else None


def _list_known_fingerprints(connection: Connection, incoming: Iterable[Sighting]) -> dict[str, str | None]:
    known_fingerprints: dict[str, str | None] = {}
    for chunk in iter_chunks(sighting.sighting_id for sighting in incoming):
        rows = connection.execute(
            select(sightings.c.sighting_id, sightings.c.fingerprint).where(sightings.c.sighting_id.in_(chunk))
        )
        known_fingerprints |= {known_id: fingerprint for known_id, fingerprint in rows}  # noqa: C416  rows are no pairs to mypy
    return known_fingerprints


def _record_new_documents(tx: Transaction, incoming: Iterable[Sighting]) -> set[str]:
    """Insert the documents that are new, in the order of the sightings; return their hashes."""
    sightings_by_hash: dict[str, Sighting] = {}
    for sighting in incoming:  # a sighting without an initial state wins over one that has it
        if sighting.document_sha256 not in sightings_by_hash or (
            sightings_by_hash[sighting.document_sha256].settled and sighting.settled is None
        ):
            sightings_by_hash[sighting.document_sha256] = sighting
    for sha256 in filter_known_hashes(tx.connection, sightings_by_hash):
        del sightings_by_hash[sha256]
    if sightings_by_hash:
        first_sequence = reserve_sequence_numbers(tx, "documents", len(sightings_by_hash))
        rows = [
            _build_document_row(tx, sighting, first_sequence + offset)
            for offset, sighting in enumerate(sightings_by_hash.values())
        ]
        tx.connection.execute(insert(documents), rows)
    return set(sightings_by_hash)


def _build_document_row(tx: Transaction, sighting: Sighting, sequence: int) -> dict[str, Any]:
    initial_state = sighting.settled or _COLLECTED_STATE
    return {
        "document_sha256": sighting.document_sha256, "sequence": sequence, "media_type": sighting.media_type,
        "byte_count": sighting.byte_count, "first_seen_at": tx.timestamp,
        "stage": "done" if sighting.settled else "extract_local", "state": initial_state.state,
        "reason_code": initial_state.reason_code, "reason": initial_state.reason, "changed_at": tx.timestamp,
        "revision": tx.revision,
    }  # fmt: skip


def _reopen_skipped_documents(tx: Transaction, document_hashes: Iterable[str]) -> None:
    """Send those of the documents to be read that every source has skipped so far."""
    skipped_everywhere: dict[str, bool] = {}
    for chunk in iter_chunks(document_hashes):
        columns = (sightings.c.document_sha256, sightings.c.skip_reason_code)
        for sha256, skip_reason in tx.connection.execute(select(*columns).where(columns[0].in_(chunk))):
            skipped_everywhere[sha256] = skipped_everywhere.get(sha256, True) and skip_reason is not None
    for sha256, is_skipped in skipped_everywhere.items():
        if is_skipped and _is_not_invoice(tx.connection, sha256):
            set_document_state(
                tx, sha256, stage="extract_local", state=_COLLECTED_STATE.state,
                reason_code=_COLLECTED_STATE.reason_code, reason=_COLLECTED_STATE.reason,
            )  # fmt: skip


def _is_not_invoice(connection: Connection, document_sha256: str) -> bool:
    query = select(documents.c.state).where(documents.c.document_sha256 == document_sha256)
    return connection.scalar(query) == "not_invoice"


def find_containing_einvoices(connection: Connection, document_hashes: Iterable[str]) -> dict[str, str]:
    """Return for each document that was only seen inside e-invoices the SHA-256 of one of them.

    That it was found in the store, after the ledger was restored, does not count.
    """
    containing_hashes: dict[str, str] = {}
    columns = (
        sightings.c.document_sha256, sightings.c.embedded_in, sightings.c.skip_reason_code, sightings.c.source_kind
    )  # fmt: skip
    for chunk in iter_chunks(document_hashes):
        rows = connection.execute(select(*columns).where(columns[0].in_(chunk)).order_by(columns[1])).all()
        shown_hashes = {sha256 for sha256, _, skip, kind in rows if skip is None and kind != STORE_SOURCE_KIND}
        for sha256, containing_sha256, _, _ in rows:
            if containing_sha256 is not None and sha256 not in shown_hashes:
                containing_hashes.setdefault(sha256, containing_sha256)
    return containing_hashes


def count_embedding_levels(connection: Connection, document_sha256: str, limit: int) -> int:
    """Return how many e-invoices a document is inside of, one within the other; at most ``limit``."""
    levels, current_sha256 = 0, document_sha256
    while levels < limit:
        query = select(func.min(sightings.c.embedded_in)).where(sightings.c.document_sha256 == current_sha256)
        containing_sha256 = connection.scalar(query)
        if containing_sha256 is None:
            break
        levels, current_sha256 = levels + 1, containing_sha256
    return levels


def filter_mail_body_documents(connection: Connection, document_hashes: Iterable[str]) -> set[str]:
    """Return those of the documents that are the text of a mail, without a file name."""
    body_hashes: set[str] = set()
    for chunk in iter_chunks(document_hashes):
        query = select(sightings.c.document_sha256).where(
            sightings.c.document_sha256.in_(chunk), sightings.c.message_key.is_not(None),
            sightings.c.skip_reason_code.is_(None), sightings.c.file_name.is_(None),
            sightings.c.declared_type.in_(("text/plain", "text/html")),
        )  # fmt: skip
        body_hashes.update(connection.scalars(query))
    return body_hashes


def list_fingerprints_by_location(
    connection: Connection, source_name: str, locations: Iterable[str]
) -> dict[str, set[str]]:
    """Return the recorded fingerprints by location; an unknown location has no entry."""
    fingerprints_by_location: dict[str, set[str]] = {}
    for chunk in iter_chunks(locations):
        for table, location_column in ((sightings, sightings.c.location), (messages, messages.c.folder)):
            rows = connection.execute(
                select(location_column, table.c.fingerprint).where(
                    table.c.source_name == source_name, location_column.in_(chunk)
                )
            )
            for location, fingerprint in rows:
                fingerprints_by_location.setdefault(location, set()).add(fingerprint)
    return fingerprints_by_location
