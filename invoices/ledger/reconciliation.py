"""Queries about one source, to compare the ledger with the source's own listing."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, func, select

from invoices.ledger.tables import documents, messages, sightings


def list_locations_collected_twice(connection: Connection, source_name: str) -> list[str]:
    """Return the locations of a source that were collected more than once.

    These are mails with more than one row for the same folder, UIDVALIDITY and UID, and mail parts with two different
    documents: a mail never changes (RFC 9051 §2.3.1.1).
    """
    uid_columns = (messages.c.folder, messages.c.uidvalidity, messages.c.uid)
    mail_rows = connection.execute(
        select(*uid_columns)
        .where(messages.c.source_name == source_name, messages.c.uid.is_not(None))
        .group_by(*uid_columns)
        .having(func.count() > 1)
    )
    part_locations = connection.scalars(
        select(sightings.c.location)
        .join(messages, messages.c.message_key == sightings.c.message_key)
        .where(sightings.c.source_name == source_name, messages.c.uid.is_not(None))
        .group_by(sightings.c.location)
        .having(func.count() > 1)
    )
    return [f"{folder} UID {uid} of {uidvalidity}" for folder, uidvalidity, uid in mail_rows] + list(part_locations)


def iter_sighted_documents(connection: Connection, source_name: str) -> Iterator[tuple[str, str, int]]:
    """Yield location, document SHA-256 and size in bytes for every sighting of a source."""
    rows = connection.execute(
        select(sightings.c.location, sightings.c.document_sha256, documents.c.byte_count)
        .join(documents, documents.c.document_sha256 == sightings.c.document_sha256)
        .where(sightings.c.source_name == source_name)
    )
    yield from ((location, sha256, byte_count) for location, sha256, byte_count in rows)


def list_incomplete_mails(connection: Connection, source_name: str) -> list[str]:
    """Return a description of each mail of which the ledger has fewer documents than were found in it."""
    sighting_count = func.count(sightings.c.sighting_id).filter(sightings.c.skip_reason_code.is_(None))
    mail_rows = connection.execute(
        select(messages.c.folder, messages.c.uidvalidity, messages.c.uid, messages.c.document_count, sighting_count)
        .outerjoin(sightings, sightings.c.message_key == messages.c.message_key)
        .where(messages.c.source_name == source_name, messages.c.document_count > 0)
        .group_by(messages.c.message_key)
        .having(sighting_count < messages.c.document_count)
    )
    return [
        f"{f'{folder} UID {uid} of {uidvalidity}' if uid else folder}"
        f" (the ledger has {known_count} of its {document_count} documents)"
        for folder, uidvalidity, uid, document_count, known_count in mail_rows
    ]


def iter_locations_with_completed_action(connection: Connection, source_name: str) -> Iterator[str]:
    """Yield the location of every document from a mail that was marked, moved or deleted on the server."""
    yield from connection.scalars(
        select(sightings.c.location)
        .join(messages, messages.c.message_key == sightings.c.message_key)
        .where(messages.c.source_name == source_name, messages.c.action == "done")
    )
