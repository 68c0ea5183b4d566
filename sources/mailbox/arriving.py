"""What becomes of one mail on a server, as an arrival."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from invoices.documents.landing import Landing
from invoices.documents.unwrapping.parts import Header, Part, Unwrapped
from invoices.ledger.messages import Arrival, Message, Outcome
from invoices.model import message_key
from invoices.settings.intake import Mailbox
from sources.arriving import MAIL, Place, Uid, keeping, mail, settled_for, whole
from sources.authentication import authentication
from sources.mailbox.answers import HeaderOf
from sources.mailbox.rules import Decision, Facts, decide, matches

SOURCE_KIND = "mailbox"


@dataclass(frozen=True, slots=True)
class Folder:
    """Where mails are: a folder of a mailbox, with the UIDs that it has at this time."""

    source_name: str
    settings: Mailbox
    name: str
    uidvalidity: int

    def place(self, told: HeaderOf) -> Place:
        """Return the place of a mail: its address below the account (RFC 5092)."""
        location = f"/{quote(self.name, safe='/')};UIDVALIDITY={self.uidvalidity}/;UID={told.uid}"
        return Place(self.source_name, SOURCE_KIND, location, told.received_at)


def unopened(where: Folder, told: HeaderOf, outcome: Outcome, reason: str, header: Header | None = None) -> Arrival:
    """Return the arrival of a mail that is not fetched, and why it is not."""
    place = where.place(told)
    message = Message(
        message_key=message_key(where.source_name, place.location),
        source_name=where.source_name,
        folder=where.name,
        outcome=outcome,
        uidvalidity=where.uidvalidity,
        uid=told.uid,
        message_id=header.message_id if header else None,
        sender=header.sender if header else None,
        subject=header.subject if header else None,
        received_at=told.received_at,
        byte_count=told.size,
        reason=reason,
    )
    return Arrival([], message)


def opened(
    where: Folder, told: HeaderOf, content: bytes, unwrapped: Unwrapped, landing: Landing, now: dt.datetime
) -> Arrival:
    """Return the arrival of a mail that was fetched and opened, after the rules about names have had their say.

    The mail itself is put into the landing where it cannot be opened, and where it is to be deleted afterwards.
    """
    decision = _decision(where.settings, told, unwrapped, now)
    if not decision.take:
        return unopened(where, told, "left", decision.reason, unwrapped.header)
    place, header = where.place(told), unwrapped.header
    results = header.authentication_results if header else ()
    found = _narrowed(unwrapped, decision.attachment)
    uid = Uid(where.name, where.uidvalidity, told.uid)
    arrival = mail(place, content, found, authentication(results, where.settings.authserv_ids), uid)
    if unwrapped.reason_code:
        return keeping(arrival, place, landing.put(content), unwrapped)
    return _owing(arrival, place, content, landing, where.settings.after)


def _decision(settings: Mailbox, told: HeaderOf, unwrapped: Unwrapped, now: dt.datetime) -> Decision:
    """Return what the rules say now that the mail is open; whatever could not be opened is set aside, never left."""
    if unwrapped.reason_code or unwrapped.header is None:
        return Decision(True)
    header, names = unwrapped.header, [part.file_name for part in unwrapped.parts if part.file_name]
    facts = Facts(header.sender, header.recipients, header.subject, told.received_at, names)
    return decide(settings, facts, now) or Decision(True)


def _narrowed(unwrapped: Unwrapped, pattern: str | None) -> Unwrapped:
    """Return what was found with only those parts as documents whose names fit."""
    if pattern is None:
        return unwrapped
    parts: Sequence[Part] = [
        part if part.left_out or matches(part.file_name, pattern) else replace(part, left_out="unmatched")
        for part in unwrapped.parts
    ]
    return replace(unwrapped, parts=parts)


def _owing(arrival: Arrival, place: Place, content: bytes, landing: Landing, after: str) -> Arrival:
    """Return the arrival with what is owed to the mail; one that is to be deleted is kept whole beside its parts."""
    message = arrival.message
    if message is None or message.outcome != "taken" or after == "keep":
        return arrival
    sightings = list(arrival.sightings)
    if after == "delete":
        settled = settled_for("container")
        sightings.append(whole(place, landing.put(content), len(content), MAIL, settled, message.message_key))
    return Arrival(sightings, replace(message, action="due"))
