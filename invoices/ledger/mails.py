"""Mails: the outcome of each, the pending action for each, and the position in each folder."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, and_, false, func, insert, or_, select, text, true, update

from invoices.ledger.documents import iter_chunks
from invoices.ledger.ledger import Transaction
from invoices.ledger.sightings import Sighting, record_sightings
from invoices.ledger.tables import PENDING_MAIL_CONDITION, documents, mail_folders, messages, sightings

MailOutcome = Literal["collected", "no_documents", "skipped", "quarantined", "too_large", "waiting"]
MailAction = Literal["none", "pending", "done", "failed"]
_MAIL_UID_PATTERN = re.compile(r"(.{1,1000}) UID ([0-9]{1,10}) of ([0-9]{1,10})(?: \(\w+\))?", re.DOTALL)
_HEADER_COLUMNS = ("message_id", "sender", "reply_to", "subject", "received_at")


@dataclass(frozen=True, slots=True)
class MailMessage:
    """One mail in one place: an account's folder with its UIDVALIDITY and UID (RFC 9051 §2.3.1.1), or a file.

    ``outcome``: ``collected``; ``no_documents`` if no part could be an invoice; ``skipped`` by a rule; ``quarantined``
    as a whole; ``too_large`` to fetch; or ``waiting`` for a later run.
    """

    message_key: str
    source_name: str
    folder: str
    outcome: MailOutcome
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
    skipped_parts: str | None = None  # JSON: number of parts by reason code
    fingerprint: str | None = None
    action: MailAction = "none"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One item from a source: a mail with its documents, a file, or a file with the documents in it."""

    sightings: Sequence[Sighting]
    mail: MailMessage | None = None


@dataclass(frozen=True, slots=True)
class MailFolderPosition:
    """The position in a folder: every mail below ``uid_next`` is recorded; ``rules`` is a digest of the mail rules."""

    uidvalidity: int
    uid_next: int
    rules: str


def record_arrivals(tx: Transaction, arrivals: Sequence[Arrival]) -> int:
    """Record mails and sightings; return how many documents are new."""
    _record_mails(tx, {arrival.mail.message_key: arrival.mail for arrival in arrivals if arrival.mail is not None})
    return record_sightings(tx, [sighting for arrival in arrivals for sighting in arrival.sightings])


def _record_mails(tx: Transaction, mails_by_key: Mapping[str, MailMessage]) -> None:
    """Insert new mails and update known ones; an action that is done or has failed stays so."""
    known_rows = {row["message_key"]: row for row in list_mail_rows(tx.connection, mails_by_key)}
    new_rows = [
        _build_mail_row(mail) | {"seen_at": tx.timestamp, "revision": tx.revision}
        for key, mail in mails_by_key.items()
        if key not in known_rows
    ]
    if new_rows:
        tx.connection.execute(insert(messages), new_rows)
    for key, previous in known_rows.items():
        row = _build_mail_row(mails_by_key[key])
        if previous["action"] in ("done", "failed"):
            row["action"] = previous["action"]
        if row["content_sha256"] is None:  # not fetched: the recorded header fields still hold
            row |= {name: previous[name] for name in _HEADER_COLUMNS if row[name] is None}
        if any(previous[name] != value for name, value in row.items()):
            condition = messages.c.message_key == key
            tx.connection.execute(update(messages).where(condition).values(**row, revision=tx.revision))


def _build_mail_row(mail: MailMessage) -> dict[str, Any]:
    return {name: getattr(mail, name) for name in MailMessage.__slots__}


def find_folder_position(connection: Connection, source_name: str, folder: str) -> MailFolderPosition | None:
    """Return the position in a folder, or None if it was never scanned."""
    row = connection.execute(
        select(mail_folders.c.uidvalidity, mail_folders.c.uid_next, mail_folders.c.rules).where(
            mail_folders.c.source_name == source_name, mail_folders.c.folder == folder
        )
    ).first()
    return MailFolderPosition(*row) if row else None


def set_folder_position(tx: Transaction, source_name: str, folder: str, new_position: MailFolderPosition) -> None:
    """Record the position in a folder, if it has changed.

    A new UIDVALIDITY gives every mail a new UID, so pending actions under the old UIDs are cancelled.
    """
    previous = find_folder_position(tx.connection, source_name, folder)
    if previous == new_position:
        return
    if previous is not None and previous.uidvalidity != new_position.uidvalidity:
        pending_uids = list_uids_with_pending_action(tx.connection, source_name, folder, previous.uidvalidity)
        record_mail_action(tx, source_name, folder, previous.uidvalidity, pending_uids, "none")
    values = {"uidvalidity": new_position.uidvalidity, "uid_next": new_position.uid_next, "rules": new_position.rules}
    conditions = (mail_folders.c.source_name == source_name, mail_folders.c.folder == folder)
    if tx.connection.execute(update(mail_folders).where(*conditions).values(**values)).rowcount == 0:
        tx.connection.execute(insert(mail_folders).values(source_name=source_name, folder=folder, **values))


def list_mail_outcomes_by_uid(
    connection: Connection, source_name: str, folder: str, uidvalidity: int, first_uid: int = 1
) -> dict[int, MailOutcome]:
    """Return, by UID, the outcome of every recorded mail of a folder from ``first_uid`` on."""
    rows = connection.execute(
        select(messages.c.uid, messages.c.outcome).where(
            messages.c.source_name == source_name, messages.c.folder == folder, messages.c.uidvalidity == uidvalidity,
            messages.c.uid >= first_uid,
        )
    )  # fmt: skip
    return {row.uid: row.outcome for row in rows}


def list_uids_to_fetch(
    connection: Connection, source_name: str, folder: str, uidvalidity: int, max_bytes: int
) -> list[int]:
    """Return the UIDs of mails still to fetch: waiting or too large so far, and of at most ``max_bytes``."""
    rows = connection.scalars(
        select(messages.c.uid)
        .where(
            text(f"({PENDING_MAIL_CONDITION})"), messages.c.source_name == source_name, messages.c.folder == folder,
            messages.c.uidvalidity == uidvalidity,
            or_(messages.c.outcome == "waiting", messages.c.outcome == "too_large"), messages.c.byte_count <= max_bytes,
        )
        .order_by(messages.c.uid)
    )  # fmt: skip
    return [uid for uid in rows if uid is not None]


def list_uids_with_pending_action(
    connection: Connection, source_name: str, folder: str, uidvalidity: int, *, stored_only: bool = False
) -> list[int]:
    """Return the UIDs of mails whose documents are stored and that are still to be marked, moved or deleted.

    With ``stored_only``, only mails that are stored as a whole, so that they may be deleted from the server.
    """
    is_stored = messages.c.content_sha256.in_(select(documents.c.document_sha256)) if stored_only else true()
    rows = connection.scalars(
        select(messages.c.uid)
        .where(
            text(f"({PENDING_MAIL_CONDITION})"), messages.c.action == "pending", messages.c.source_name == source_name,
            messages.c.folder == folder, messages.c.uidvalidity == uidvalidity, is_stored,
        )
        .order_by(messages.c.uid)
    )  # fmt: skip
    return [uid for uid in rows if uid is not None]


def record_mail_action(
    tx: Transaction, source_name: str, folder: str, uidvalidity: int, uids: Iterable[int], action: MailAction
) -> None:
    """Record whether mails were marked, moved or deleted on the server, or whether this failed for good."""
    for chunk in iter_chunks(uids):
        tx.connection.execute(
            update(messages)
            .where(
                messages.c.source_name == source_name, messages.c.folder == folder,
                messages.c.uidvalidity == uidvalidity, messages.c.uid.in_(chunk),
            )
            .values(action=action, acted_at=None if action == "none" else tx.timestamp, revision=tx.revision)
        )  # fmt: skip


def list_mail_rows(connection: Connection, message_keys: Iterable[str]) -> list[Mapping[str, Any]]:
    """Return the ledger's rows of the mails with these keys."""
    mail_rows: list[Mapping[str, Any]] = []
    for chunk in iter_chunks(message_keys):
        rows = connection.execute(select(messages).where(messages.c.message_key.in_(chunk))).mappings()
        mail_rows += [dict(row) for row in rows]
    return mail_rows


def list_mails_by_name(connection: Connection, name: str) -> list[Mapping[str, Any]]:
    """Return up to ten mails with this name, the earliest first.

    ``name`` is a Message-ID, with or without angle brackets; the path or name of the file that contained the mail; or
    ``<folder> UID <n> of <UIDVALIDITY>``, as ``invoices reconcile`` shows a mail of an account.
    """
    bare_id = name.strip("<>")
    has_message_id = messages.c.message_id.in_((bare_id, f"<{bare_id}>"))
    condition = (
        or_(has_message_id, _build_mail_file_condition(name), _build_mail_uid_condition(name)) if name else false()
    )
    rows = connection.execute(select(messages).where(condition).order_by(messages.c.seen_at).limit(10)).mappings()
    return [dict(row) for row in rows]


def _build_mail_file_condition(name: str) -> ColumnElement[bool]:
    """Return the SQL condition for mails in a file of this path or name; a Maildir file has flags after its name."""
    folder, unique_name = messages.c.folder, name.rpartition("/")[2].partition(":2,")[0]
    maildir = name.rpartition("/")[0].rpartition("/")[0]
    is_in_maildir = (
        folder == f"{maildir}/;UNIQUE={unique_name}"
        if maildir
        else folder.endswith(f"/;UNIQUE={unique_name}", autoescape=True)
    )
    return and_(
        messages.c.uid.is_(None), or_(folder == name, folder.endswith(f"/{name}", autoescape=True), is_in_maildir)
    )


def _build_mail_uid_condition(name: str) -> ColumnElement[bool]:
    match = _MAIL_UID_PATTERN.fullmatch(name)
    if match is None:
        return false()
    folder, uid, uidvalidity = match.groups()
    return and_(messages.c.folder == folder, messages.c.uid == int(uid), messages.c.uidvalidity == int(uidvalidity))


def list_document_hashes_of_mails(connection: Connection, message_keys: Iterable[str]) -> list[str]:
    """Return the hashes of the documents of these mails, with unmatched ones and the archives that contained them."""
    document_hashes: dict[str, None] = {}
    for chunk in iter_chunks(message_keys):
        skip_reason = sightings.c.skip_reason_code
        is_listed = or_(skip_reason.is_(None), skip_reason.in_(("unmatched", "container")))
        query = select(sightings.c.document_sha256).where(sightings.c.message_key.in_(chunk), is_listed)
        document_hashes |= dict.fromkeys(connection.scalars(query.order_by(sightings.c.seen_at, sightings.c.location)))
    return list(document_hashes)


def count_uncollected_mails(connection: Connection) -> dict[str, int]:
    """Return how many mails are ``too_large`` or ``waiting``, without those whose UIDVALIDITY has changed."""
    same_folder = (mail_folders.c.source_name == messages.c.source_name) & (mail_folders.c.folder == messages.c.folder)
    rows = connection.execute(
        select(messages.c.outcome, func.count())
        .select_from(messages.outerjoin(mail_folders, same_folder))
        .where(
            text(f"({PENDING_MAIL_CONDITION})"), messages.c.outcome.in_(("too_large", "waiting")),
            or_(mail_folders.c.uidvalidity.is_(None), mail_folders.c.uidvalidity == messages.c.uidvalidity),
        )
        .group_by(messages.c.outcome)
    )  # fmt: skip
    return {"too_large": 0, "waiting": 0} | {outcome: count for outcome, count in rows}  # noqa: C416  rows are no pairs to mypy
