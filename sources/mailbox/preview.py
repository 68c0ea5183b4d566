"""What a look through a mailbox would do, by sizes and headers alone: nothing is fetched whole, nothing is changed."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from invoices.documents.store import DocumentStore
from invoices.documents.unwrapping.parts import Header
from invoices.documents.unwrapping.unwrapping import Unwrappers
from invoices.errors import ConfigurationError
from invoices.settings.intake import Mailbox
from sources.mailbox.account import MEGABYTE
from sources.mailbox.answers import HeaderOf
from sources.mailbox.connection import Session
from sources.mailbox.headers import with_headers
from sources.mailbox.rules import Facts, decide, fields_needed

LOOKED_AT = 500  # mails of a folder, the newest


@dataclass(frozen=True, slots=True)
class FolderPreview:
    """A folder that is configured: how many mails it has, and of the newest which rule does what with how many.

    The keys of ``decisions`` are such as ``rule 2 leaves it``, ``no rule fits, so it is taken`` or ``too large``.
    """

    name: str
    mails: int
    looked_at: int
    decisions: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Preview:
    """A mailbox: what is configured and there, what is configured and missing, and what else could be configured."""

    folders: Sequence[FolderPreview]
    missing: Sequence[str]
    others: Sequence[str]


def preview(
    session: Session, mailbox: Mailbox, unwrappers: Unwrappers, store: DocumentStore, now: dt.datetime
) -> Preview:
    """Return what a look through the mailbox would find; headers are read by ``unwrappers``.

    Raises as ``Session`` does, but not about a folder that is missing.
    """
    found: list[FolderPreview] = []
    missing: list[str] = []
    for name in mailbox.folders:
        try:
            found.append(_folder(session, mailbox, name, unwrappers, store, now))
        except ConfigurationError:
            if session.is_over:
                raise
            missing.append(name)
    others = [folder.name for folder in session.folders() if folder.is_selectable]
    return Preview(found, missing, [name for name in others if name not in mailbox.folders])


def _folder(
    session: Session, mailbox: Mailbox, name: str, unwrappers: Unwrappers, store: DocumentStore, now: dt.datetime
) -> FolderPreview:
    state = session.examine(name)
    newest = session.uids(1)[-LOOKED_AT:]
    fields = fields_needed(mailbox)
    told = list(session.headers(newest, fields))
    with store.landing() as landing:  # headers bring nothing into it
        pairs = with_headers(unwrappers, landing, told, fields)
        counts = Counter(_decision(mailbox, one, header, now) for one, header in pairs)
    return FolderPreview(name, state.exists, len(told), dict(sorted(counts.items())))


def _decision(mailbox: Mailbox, told: HeaderOf, header: Header | None, now: dt.datetime) -> str:
    if told.size > mailbox.megabytes * MEGABYTE:
        return "too large"
    if header is None:
        return "cannot be read, so it is taken and set aside"
    facts = Facts(header.sender, header.recipients, header.subject, told.received_at)
    decision = decide(mailbox, facts, now)
    if decision is None:
        return "taken or left by the names of the files in it"
    if decision.rule is None:
        return "no rule fits, so it is " + ("taken" if decision.take else "left")
    return f"rule {decision.rule} {'takes' if decision.take else 'leaves'} it"
