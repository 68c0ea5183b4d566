"""Mails: which were seen, what was taken from each, what is owed to each, and how far each folder is."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, and_, false, func, insert, or_, select, text, true, update

from invoices.ledger.documents import chunks
from invoices.ledger.ledger import Transaction
from invoices.ledger.sightings import Sighting, record_sightings
from invoices.ledger.tables import IS_OWED, documents, mail_folders, messages, sightings

Outcome = Literal["taken", "nothing", "left", "set_aside", "too_large", "waiting"]
Action = Literal["none", "due", "done", "failed"]
_PLACE = re.compile(r"(.{1,1000}) UID ([0-9]{1,10}) of ([0-9]{1,10})(?: \(\w+\))?", re.DOTALL)
_SAID = ("message_id", "sender", "reply_to", "subject", "received_at")


@dataclass(frozen=True, slots=True)
class Message:
    """One mail in one place: an account's folder with its UIDVALIDITY and UID (RFC 9051 §2.3.1.1), or a file.

    ``outcome``: ``taken``, ``nothing`` that could be an invoice, ``left`` by a rule, ``set_aside`` as a whole,
    ``too_large`` to be fetched, or ``waiting`` for a later run.
    """

    message_key: str
    source_name: str
    folder: str
    outcome: Outcome
    uidvalidity: int | None = None
    uid: int | None = None
    content_sha256: str | None = None
    message_id: str | None = None
    sender: str | None = None
    reply_to: str | None = None
    subject: str | None = None
    received_at: dt.datetime | None = None
    byte_count: int | None = None
    authentication: str | None = None
    reason: str | None = None
    document_count: int = 0
    left_out: str | None = None  # JSON: how many parts by reason code
    fingerprint: str | None = None
    action: Action = "none"


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a source shows in one piece: a mail with what was in it, or a file, or what was in a file."""

    sightings: Sequence[Sighting]
    message: Message | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """How far a folder is: every mail below ``uid_next`` is known, taken or left by the rules of that digest."""

    uidvalidity: int
    uid_next: int
    rules: str


def record_arrivals(tx: Transaction, arrivals: Sequence[Arrival]) -> int:
    """Write mails and sightings, all or nothing; return how many documents are new."""
    _record_messages(tx, {one.message.message_key: one.message for one in arrivals if one.message is not None})
    return record_sightings(tx, [sighting for one in arrivals for sighting in one.sightings])


def _record_messages(tx: Transaction, shown: Mapping[str, Message]) -> None:
    """Write mails; of those that are known, what has been found out since. What was done to them stays done."""
    known = {row["message_key"]: row for row in message_rows(tx.connection, shown)}
    fresh = [_row(one) | {"seen_at": tx.at, "revision": tx.revision} for key, one in shown.items() if key not in known]
    if fresh:
        tx.connection.execute(insert(messages), fresh)
    for key, before in known.items():
        row = _row(shown[key])
        if before["action"] in ("done", "failed"):
            row["action"] = before["action"]
        if row["content_sha256"] is None:  # not fetched: what it said of itself before still holds
            row |= {name: before[name] for name in _SAID if row[name] is None}
        if any(before[name] != value for name, value in row.items()):
            mine = messages.c.message_key == key
            tx.connection.execute(update(messages).where(mine).values(**row, revision=tx.revision))


def _row(message: Message) -> dict[str, Any]:
    return {name: getattr(message, name) for name in Message.__slots__}


def position(connection: Connection, source_name: str, folder: str) -> Position | None:
    """Return how far a folder is, or None if it was never looked through."""
    row = connection.execute(
        select(mail_folders.c.uidvalidity, mail_folders.c.uid_next, mail_folders.c.rules).where(
            mail_folders.c.source_name == source_name, mail_folders.c.folder == folder
        )
    ).first()
    return Position(*row) if row else None


def set_position(tx: Transaction, source_name: str, folder: str, reached: Position) -> None:
    """Write how far a folder is; writes nothing if that is what stands there.

    Where its UIDs are others now, nothing is owed any more to the mails under the old ones: they have new ones.
    """
    before = position(tx.connection, source_name, folder)
    if before == reached:
        return
    if before is not None and before.uidvalidity != reached.uidvalidity:
        due = due_uids(tx.connection, source_name, folder, before.uidvalidity)
        record_action(tx, source_name, folder, before.uidvalidity, due, "none")
    values = {"uidvalidity": reached.uidvalidity, "uid_next": reached.uid_next, "rules": reached.rules}
    mine = (mail_folders.c.source_name == source_name, mail_folders.c.folder == folder)
    if tx.connection.execute(update(mail_folders).where(*mine).values(**values)).rowcount == 0:
        tx.connection.execute(insert(mail_folders).values(source_name=source_name, folder=folder, **values))


def known_uids(
    connection: Connection, source_name: str, folder: str, uidvalidity: int, first: int = 1
) -> dict[int, Outcome]:
    """Return the outcome of every mail of a folder, from the UID ``first`` on, that the ledger knows, by UID."""
    rows = connection.execute(
        select(messages.c.uid, messages.c.outcome).where(
            messages.c.source_name == source_name, messages.c.folder == folder, messages.c.uidvalidity == uidvalidity,
            messages.c.uid >= first,
        )
    )  # fmt: skip
    return {row.uid: row.outcome for row in rows}


def owed_uids(connection: Connection, source_name: str, folder: str, uidvalidity: int, largest: int) -> list[int]:
    """Return the UIDs of mails that are still to be fetched: waiting ones, and too large ones of up to ``largest``."""
    rows = connection.scalars(
        select(messages.c.uid)
        .where(
            text(f"({IS_OWED})"), messages.c.source_name == source_name, messages.c.folder == folder,
            messages.c.uidvalidity == uidvalidity,
            or_(messages.c.outcome == "waiting", messages.c.outcome == "too_large"), messages.c.byte_count <= largest,
        )
        .order_by(messages.c.uid)
    )  # fmt: skip
    return [uid for uid in rows if uid is not None]


def due_uids(
    connection: Connection, source_name: str, folder: str, uidvalidity: int, *, kept_whole: bool = False
) -> list[int]:
    """Return the UIDs of mails whose documents are safe and that are still to be marked, moved or deleted.

    With ``kept_whole`` only those that are documents themselves, so that they may go from the server.
    """
    is_kept = messages.c.content_sha256.in_(select(documents.c.document_sha256)) if kept_whole else true()
    rows = connection.scalars(
        select(messages.c.uid)
        .where(
            text(f"({IS_OWED})"), messages.c.action == "due", messages.c.source_name == source_name,
            messages.c.folder == folder, messages.c.uidvalidity == uidvalidity, is_kept,
        )
        .order_by(messages.c.uid)
    )  # fmt: skip
    return [uid for uid in rows if uid is not None]


def record_action(
    tx: Transaction, source_name: str, folder: str, uidvalidity: int, uids: Iterable[int], action: Action
) -> None:
    """Write that mails were marked, moved or deleted on the server, or that this failed for good."""
    for some in chunks(uids):
        tx.connection.execute(
            update(messages)
            .where(
                messages.c.source_name == source_name, messages.c.folder == folder,
                messages.c.uidvalidity == uidvalidity, messages.c.uid.in_(some),
            )
            .values(action=action, acted_at=None if action == "none" else tx.at, revision=tx.revision)
        )  # fmt: skip


def message_rows(connection: Connection, keys: Iterable[str]) -> list[Mapping[str, Any]]:
    """Return the mails with these keys."""
    found: list[Mapping[str, Any]] = []
    for some in chunks(keys):
        rows = connection.execute(select(messages).where(messages.c.message_key.in_(some))).mappings()
        found += [dict(row) for row in rows]
    return found


def messages_named(connection: Connection, name: str) -> list[Mapping[str, Any]]:
    """Return up to ten mails of that name.

    A name is a Message-ID, with or without angle brackets; the path or the name of the file that a mail was in; or
    ``<folder> UID <n> of <UIDVALIDITY>``, as ``invoices reconcile`` calls a mail of an account.
    """
    bare = name.strip("<>")
    said = messages.c.message_id.in_((bare, f"<{bare}>"))
    mine = or_(said, _in_file(name), _under_uid(name)) if name else false()
    rows = connection.execute(select(messages).where(mine).order_by(messages.c.seen_at).limit(10)).mappings()
    return [dict(row) for row in rows]


def _in_file(name: str) -> ColumnElement[bool]:
    """Return whether a mail was in a file of that path or name; a mail in a Maildir has its flags after its name."""
    folder, kept = messages.c.folder, name.rpartition("/")[2].partition(":2,")[0]
    above = name.rpartition("/")[0].rpartition("/")[0]
    delivered = folder == f"{above}/;UNIQUE={kept}" if above else folder.endswith(f"/;UNIQUE={kept}", autoescape=True)
    return and_(messages.c.uid.is_(None), or_(folder == name, folder.endswith(f"/{name}", autoescape=True), delivered))


def _under_uid(name: str) -> ColumnElement[bool]:
    found = _PLACE.fullmatch(name)
    if found is None:
        return false()
    folder, uid, uidvalidity = found.groups()
    return and_(messages.c.folder == folder, messages.c.uid == int(uid), messages.c.uidvalidity == int(uidvalidity))


def documents_of_mails(connection: Connection, keys: Iterable[str]) -> list[str]:
    """Return the documents of these mails, those too that fit no rule, and the archives that they were in."""
    found: dict[str, None] = {}
    for some in chunks(keys):
        left_out = sightings.c.left_out
        shown = or_(left_out.is_(None), left_out.in_(("unmatched", "container")))
        rows = select(sightings.c.document_sha256).where(sightings.c.message_key.in_(some), shown)
        found |= dict.fromkeys(connection.scalars(rows.order_by(sightings.c.seen_at, sightings.c.location)))
    return list(found)


def waiting_mails(connection: Connection) -> dict[str, int]:
    """Return how many mails were told and not taken yet: too large, or waiting; without those whose UIDs are gone."""
    is_same = (mail_folders.c.source_name == messages.c.source_name) & (mail_folders.c.folder == messages.c.folder)
    rows = connection.execute(
        select(messages.c.outcome, func.count())
        .select_from(messages.outerjoin(mail_folders, is_same))
        .where(
            text(f"({IS_OWED})"), messages.c.outcome.in_(("too_large", "waiting")),
            or_(mail_folders.c.uidvalidity.is_(None), mail_folders.c.uidvalidity == messages.c.uidvalidity),
        )
        .group_by(messages.c.outcome)
    )  # fmt: skip
    return {"too_large": 0, "waiting": 0} | {outcome: count for outcome, count in rows}  # noqa: C416  rows are no pairs to mypy
