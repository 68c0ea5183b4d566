"""How what was unwrapped becomes arrivals: a mail or a file with a sighting for each thing in it."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from invoices.documents.outcomes import REASONS, shown
from invoices.documents.unwrapping.parts import Header, Part, Unwrapped
from invoices.ledger.documents import Settled, State
from invoices.ledger.messages import Arrival, Message, Outcome
from invoices.ledger.sightings import Sighting
from invoices.model import LEFT_OUT, Flag, message_key, sighting_id

MAIL = "message/rfc822"
LONGEST_NAME = 255
LONGEST_SECTION = 80
LONGEST_PLACE = 1500  # bytes; an index of PostgreSQL takes no more than 2,704
LONGEST_LOCATION = 2400  # bytes, with the section
STATES: dict[str, State] = {"unreadable": "quarantined", "not_invoice": "not_invoice", "review": "review"}


@dataclass(frozen=True, slots=True)
class Uid:
    """A mail on an IMAP server (RFC 9051 §2.3.1.1)."""

    folder: str
    uidvalidity: int
    number: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was seen: the source, what kind it is, and the location in it."""

    source_name: str
    source_kind: str
    location: (
        str  # of a mailbox: /<folder>;UIDVALIDITY=<n>/;UID=<n> (RFC 5092, below the account); of a folder: the path
    )
    received_at: dt.datetime | None = None
    fingerprint: str | None = None
    entity: str | None = None
    cost_centre: str | None = None

    def of(self, section: str) -> str:
        """Return the location of a part."""
        return bounded(f"{self.location}/;SECTION={section}", LONGEST_LOCATION) if section else self.location


def bounded(text: str, most: int = LONGEST_PLACE) -> str:
    """Return a text of at most so many bytes: of a longer one its beginning, and a hash of the whole."""
    encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) <= most:
        return text
    digest = hashlib.sha256(encoded).hexdigest()
    return f"{encoded[: most - len(digest) - 3].decode('utf-8', 'ignore')}…{digest}"


def sightings_of(place: Place, unwrapped: Unwrapped, message: str | None = None) -> list[Sighting]:
    """Return a sighting for each part; ``message`` is the key of the mail that they were in."""
    parts = zip(unwrapped.parts, unwrapped.hashes, unwrapped.byte_counts, strict=True)
    return [_sighting(place, unwrapped.header, part, sha256, size, message) for part, sha256, size in parts]


def whole(
    place: Place, sha256: str, size: int, media_type: str, settled: Settled | None = None, message: str | None = None
) -> Sighting:
    """Return the sighting of a thing that is not opened, or that is kept beside what was in it."""
    return _sighting(place, None, Part("", media_type), sha256, size, message, settled)


def settled_for(reason_code: str, reason: str | None = None) -> Settled:
    """Return where a document stands whose source knows what it is."""
    outcome, meaning = REASONS.get(reason_code) or ("not_invoice", LEFT_OUT[reason_code])
    return Settled(STATES[outcome], reason_code, shown(reason or meaning, 300))


def left_out_counts(unwrapped: Unwrapped) -> dict[str, int]:
    """Return how many parts are no invoices by rule, by reason code; the texts of a mail count as ``body``."""
    counts = Counter(part.left_out for part in unwrapped.parts if part.left_out)
    return dict(sorted(counts.items())) | ({"body": unwrapped.bodies} if unwrapped.bodies else {})


def mail(place: Place, content: bytes, unwrapped: Unwrapped, authentication: str, uid: Uid | None = None) -> Arrival:
    """Return the arrival of a mail that was fetched and opened: what it says of itself, and what was in it.

    Of one that cannot be opened as a whole the caller keeps the bytes and adds ``whole`` (see ``keeping``).
    """
    key, header, counts = message_key(place.source_name, place.location), unwrapped.header, left_out_counts(unwrapped)
    sightings = sightings_of(place, unwrapped, key)
    if unwrapped.flags:  # what is odd about a mail is told of the documents that it brought
        odd = [*unwrapped.flags]
        sightings = [one if one.settled else replace(one, flags=[*odd, *one.flags]) for one in sightings]
    documents = sum(one.settled is None for one in sightings)
    outcome: Outcome = "set_aside" if unwrapped.reason_code else "taken" if documents else "nothing"
    message = Message(
        message_key=key,
        source_name=place.source_name,
        folder=uid.folder if uid else place.location,
        uidvalidity=uid.uidvalidity if uid else None,
        uid=uid.number if uid else None,
        outcome=outcome,
        content_sha256=hashlib.sha256(content).hexdigest(),
        message_id=header.message_id if header else None,
        sender=header.sender if header else None,
        reply_to=header.reply_to if header else None,
        subject=header.subject if header else None,
        received_at=place.received_at,
        byte_count=len(content),
        authentication=authentication,
        reason=unwrapped.reason,
        document_count=documents,
        left_out=json.dumps(counts) if counts else None,
        fingerprint=place.fingerprint,
    )
    return Arrival(sightings, message)


def keeping(arrival: Arrival, place: Place, sha256: str, unwrapped: Unwrapped) -> Arrival:
    """Return the arrival of a mail that is set aside as a whole: the mail itself is the document."""
    size = (arrival.message.byte_count if arrival.message else None) or 0
    code = unwrapped.reason_code or "damaged_mail"
    key = arrival.message.message_key if arrival.message else None
    kept = whole(place, sha256, size, MAIL, settled_for(code, unwrapped.reason), key)
    return replace(arrival, sightings=[*arrival.sightings, kept])


def as_row(arrival: Arrival) -> dict[str, Any]:
    """Return an arrival as plain values, as dlt takes them.

    Field by field: ``dataclasses.asdict`` copies what is plain already, and costs more than all else we do to a mail.
    """
    message = arrival.message
    return {
        "sightings": [_sighting_row(one) for one in arrival.sightings],
        "message": {name: getattr(message, name) for name in Message.__slots__} if message else None,
    }


def _sighting_row(sighting: Sighting) -> dict[str, Any]:
    row = {name: getattr(sighting, name) for name in Sighting.__slots__}
    row["settled"] = asdict(sighting.settled) if sighting.settled else None
    row["flags"] = [asdict(flag) for flag in sighting.flags]
    return row


def from_row(row: Mapping[str, Any]) -> Arrival:
    """Return the arrival that ``as_row`` was given."""
    sightings = [
        Sighting(**{
            **one,
            "settled": Settled(**one["settled"]) if one["settled"] else None,
            "flags": [Flag(**flag) for flag in one["flags"]],
        })
        for one in row["sightings"]
    ]  # fmt: skip
    return Arrival(sightings, Message(**row["message"]) if row["message"] else None)


def _sighting(
    place: Place,
    header: Header | None,
    part: Part,
    sha256: str,
    size: int,
    message: str | None = None,
    settled: Settled | None = None,
) -> Sighting:
    location = place.of(part.section)
    if part.left_out and settled is None:
        settled = settled_for(part.left_out)
    return Sighting(
        sighting_id=sighting_id(place.source_name, location, sha256),
        document_sha256=sha256,
        media_type=part.media_type,
        byte_count=size,
        source_name=place.source_name,
        source_kind=place.source_kind,
        location=location,
        file_name=part.file_name[:LONGEST_NAME] if part.file_name else None,
        sender=header.sender if header else None,
        subject=header.subject if header else None,
        message_id=header.message_id if header else None,
        received_at=place.received_at,
        fingerprint=place.fingerprint,
        message_key=message,
        section=bounded(part.section, LONGEST_SECTION) or None,
        declared_type=part.declared_type[:120] if part.declared_type else None,
        original_sender=part.original_sender,
        entity=place.entity,
        cost_centre=place.cost_centre,
        settled=settled,
        flags=list(part.flags),
    )
