"""Sightings: what sources showed, written page by page, and the documents that were new."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from invoices.ledger.documents import Settled, chunks, known_among, settle
from invoices.ledger.flags import record_flags
from invoices.ledger.ledger import Transaction, next_numbers
from invoices.ledger.tables import documents, messages, sightings
from invoices.model import Flag

_OF_THE_DOCUMENT = ("media_type", "byte_count", "settled", "flags")
_UNREAD = Settled("waiting", "collected", "Collected; not read yet.")


@dataclass(frozen=True, slots=True)
class Sighting:
    """One time a source showed a document; ``fingerprint`` tells cheaply whether the place still shows the same."""

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
    settled: Settled | None = None  # instead of being read, as long as no source shows the same bytes as a document
    flags: Sequence[Flag] = ()


def record_sighting(tx: Transaction, sighting: Sighting) -> bool:
    """Write one sighting; return whether its document is new."""
    return record_sightings(tx, [sighting]) == 1


def record_sightings(tx: Transaction, shown: Sequence[Sighting]) -> int:
    """Write sightings and the documents whose bytes are new; return how many are.

    A document that only came as something to be left out is read after all once it comes as a document.
    """
    known = _known(tx.connection, shown)
    fresh = {one.sighting_id: one for one in shown if one.sighting_id not in known}
    added = _record_documents(tx, fresh.values())
    _reopen(tx, {one.document_sha256 for one in fresh.values() if one.settled is None} - added)
    if fresh:
        rows = [_row(one) | {"seen_at": tx.at, "revision": tx.revision} for one in fresh.values()]
        tx.connection.execute(insert(sightings), rows)
    for one in shown:
        if one.flags:
            record_flags(tx, one.document_sha256, one.flags)
        if known.get(one.sighting_id, one.fingerprint) != one.fingerprint:  # touched: for readers nothing is different
            mine = sightings.c.sighting_id == one.sighting_id
            tx.connection.execute(update(sightings).where(mine).values(fingerprint=one.fingerprint))
    return len(added)


def _known(connection: Connection, shown: Iterable[Sighting]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for some in chunks(one.sighting_id for one in shown):
        rows = connection.execute(
            select(sightings.c.sighting_id, sightings.c.fingerprint).where(sightings.c.sighting_id.in_(some))
        )
        found |= {sighting: fingerprint for sighting, fingerprint in rows}  # noqa: C416  rows are no pairs to mypy
    return found


def _row(sighting: Sighting) -> dict[str, Any]:
    row = {name: getattr(sighting, name) for name in Sighting.__slots__ if name not in _OF_THE_DOCUMENT}
    is_left_out = sighting.settled is not None and sighting.settled.state == "not_invoice"
    return row | {"left_out": sighting.settled.reason_code if sighting.settled and is_left_out else None}


def _record_documents(tx: Transaction, shown: Iterable[Sighting]) -> set[str]:
    """Write the documents that are not there yet, in the order of the sightings; return their hashes."""
    first: dict[str, Sighting] = {}
    for one in shown:  # one that is a document wins over one that was left out
        if one.document_sha256 not in first or (first[one.document_sha256].settled and one.settled is None):
            first[one.document_sha256] = one
    for sha256 in known_among(tx.connection, first):
        del first[sha256]
    if first:
        number = next_numbers(tx, "documents", len(first))
        rows = [_document(tx, one, number + place) for place, one in enumerate(first.values())]
        tx.connection.execute(insert(documents), rows)
    return set(first)


def _document(tx: Transaction, sighting: Sighting, sequence: int) -> dict[str, Any]:
    stands = sighting.settled or _UNREAD
    return {
        "document_sha256": sighting.document_sha256, "sequence": sequence, "media_type": sighting.media_type,
        "byte_count": sighting.byte_count, "first_seen_at": tx.at, "stage": "done" if sighting.settled else "read",
        "state": stands.state, "reason_code": stands.reason_code, "reason": stands.reason, "changed_at": tx.at,
        "revision": tx.revision,
    }  # fmt: skip


def _reopen(tx: Transaction, shown: Iterable[str]) -> None:
    """Have documents read that every source has left out so far."""
    left_out: dict[str, bool] = {}
    for some in chunks(shown):
        for sha256, code in tx.connection.execute(
            select(sightings.c.document_sha256, sightings.c.left_out).where(sightings.c.document_sha256.in_(some))
        ):
            left_out[sha256] = left_out.get(sha256, True) and code is not None
    for sha256 in (sha256 for sha256, always in left_out.items() if always):
        settle(
            tx, sha256, stage="read", state=_UNREAD.state, reason_code=_UNREAD.reason_code, reason=_UNREAD.reason
        )  # fmt: skip


def texts_of_mails(connection: Connection, among: Iterable[str]) -> set[str]:
    """Return which of these documents came as the text of a mail, without a name."""
    found: set[str] = set()
    for some in chunks(among):
        rows = select(sightings.c.document_sha256).where(
            sightings.c.document_sha256.in_(some), sightings.c.message_key.is_not(None), sightings.c.left_out.is_(None),
            sightings.c.file_name.is_(None), sightings.c.declared_type.in_(("text/plain", "text/html")),
        )  # fmt: skip
        found.update(connection.scalars(rows))
    return found


def fingerprints(connection: Connection, source_name: str, locations: Iterable[str]) -> dict[str, set[str]]:
    """Return, for each of a source's files, the fingerprints that were taken there; nothing for unknown ones."""
    known: dict[str, set[str]] = {}
    for some in chunks(locations):
        for table, place in ((sightings, sightings.c.location), (messages, messages.c.folder)):
            rows = connection.execute(
                select(place, table.c.fingerprint).where(table.c.source_name == source_name, place.in_(some))
            )
            for location, fingerprint in rows:
                known.setdefault(location, set()).add(fingerprint)
    return known
