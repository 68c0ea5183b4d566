"""Builds arrivals from opened containers: a mail or a file, with a sighting for each part in it."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from invoices.documents.containers.opened_container import ContainerPart, MailHeader, OpenedContainer
from invoices.documents.outcomes import REASON_CODES, sanitise_for_display
from invoices.ledger.documents import DocumentState, InitialState
from invoices.ledger.mails import Arrival, MailMessage, MailOutcome
from invoices.ledger.sightings import Sighting
from invoices.model import NOT_INVOICE_REASONS, Flag, compute_message_key, compute_sighting_id
from invoices.model.locations import MAX_SECTION_BYTES, build_part_location, truncate_with_hash

MAIL_MEDIA_TYPE = "message/rfc822"
MAX_FILE_NAME_CHARS = 255
STATE_BY_OUTCOME: dict[str, DocumentState] = {
    "unreadable": "quarantined",
    "not_invoice": "not_invoice",
    "review": "review",
}


@dataclass(frozen=True, slots=True)
class ImapUid:
    """A mail on an IMAP server (RFC 9051 §2.3.1.1)."""

    folder: str
    uidvalidity: int
    number: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something was found: the source, its kind, and the location in it.

    In a mailbox, ``location`` is ``/<folder>;UIDVALIDITY=<n>/;UID=<n>`` (RFC 5092, below the account); in a folder, the
    path.
    """

    source_name: str
    source_kind: str
    location: str
    received_at: dt.datetime | None = None
    fingerprint: str | None = None
    entity: str | None = None
    cost_centre: str | None = None

    def build_part_location(self, section: str) -> str:
        """Return the location of a part; without a section, the location itself."""
        return build_part_location(self.location, section) if section else self.location


def build_part_sightings(origin: Origin, container: OpenedContainer, message_key: str | None = None) -> list[Sighting]:
    """Return a sighting for each part; ``message_key`` is the key of the mail that contains them."""
    parts = zip(container.parts, container.part_hashes, container.byte_counts, strict=True)
    return [_build_sighting(origin, container.header, part, sha256, size, message_key) for part, sha256, size in parts]


def build_whole_sighting(
    origin: Origin,
    sha256: str,
    size: int,
    media_type: str,
    initial_state: InitialState | None = None,
    message_key: str | None = None,
) -> Sighting:
    """Return the sighting of a file or mail as a whole: one that is not opened, or that is stored beside its parts."""
    return _build_sighting(origin, None, ContainerPart("", media_type), sha256, size, message_key, initial_state)


def build_initial_state(reason_code: str, reason: str | None = None) -> InitialState:
    """Return the state of a document that its source has classified; without ``reason``, the text of the code."""
    outcome, meaning = REASON_CODES.get(reason_code) or ("not_invoice", NOT_INVOICE_REASONS[reason_code])
    return InitialState(STATE_BY_OUTCOME[outcome], reason_code, sanitise_for_display(reason or meaning, 300))


def count_skipped_parts(container: OpenedContainer) -> dict[str, int]:
    """Return by reason code how many parts are not invoices; the texts of a mail count as ``body``."""
    counts = Counter(part.skip_reason_code for part in container.parts if part.skip_reason_code)
    return dict(sorted(counts.items())) | (
        {"body": container.skipped_body_count} if container.skipped_body_count else {}
    )


def build_mail_arrival(
    origin: Origin, content: bytes, container: OpenedContainer, authentication: str, uid: ImapUid | None = None
) -> Arrival:
    """Return the arrival of a mail that was fetched and opened: its header fields, and a sighting for each part.

    If the mail cannot be opened, the caller stores ``content`` and adds its sighting with ``add_quarantined_mail``.
    """
    key = compute_message_key(origin.source_name, origin.location)
    header, skipped_counts = container.header, count_skipped_parts(container)
    sightings = build_part_sightings(origin, container, key)
    if container.flags:  # the flags of a mail are copied to the documents in it
        mail_flags = [*container.flags]
        sightings = [
            sighting if sighting.settled else replace(sighting, flags=[*mail_flags, *sighting.flags])
            for sighting in sightings
        ]
    document_count = sum(sighting.settled is None for sighting in sightings)
    outcome: MailOutcome = "quarantined" if container.reason_code else "collected" if document_count else "no_documents"
    message = MailMessage(
        message_key=key,
        source_name=origin.source_name,
        folder=uid.folder if uid else origin.location,
        uidvalidity=uid.uidvalidity if uid else None,
        uid=uid.number if uid else None,
        outcome=outcome,
        content_sha256=hashlib.sha256(content).hexdigest(),
        message_id=header.message_id if header else None,
        sender=header.sender if header else None,
        reply_to=header.reply_to if header else None,
        subject=header.subject if header else None,
        received_at=origin.received_at,
        byte_count=len(content),
        authentication=authentication,
        reason=container.reason,
        document_count=document_count,
        skipped_parts=json.dumps(skipped_counts) if skipped_counts else None,
        fingerprint=origin.fingerprint,
    )
    return Arrival(sightings, message)


def add_quarantined_mail(arrival: Arrival, origin: Origin, sha256: str, container: OpenedContainer) -> Arrival:
    """Return the arrival with a sighting of the whole mail, which is quarantined as a document."""
    size = (arrival.mail.byte_count if arrival.mail else None) or 0
    reason_code = container.reason_code or "damaged_mail"
    key = arrival.mail.message_key if arrival.mail else None
    mail_sighting = build_whole_sighting(
        origin, sha256, size, MAIL_MEDIA_TYPE, build_initial_state(reason_code, container.reason), key
    )
    return replace(arrival, sightings=[*arrival.sightings, mail_sighting])


def remove_texts(arrival: Arrival) -> Arrival:
    """Return the arrival without the texts that a sender has chosen, for example names and subjects."""
    message = arrival.mail
    if message is not None:
        message = replace(message, message_id=None, sender=None, reply_to=None, subject=None)
    sightings = [
        replace(
            sighting, file_name=None, sender=None, subject=None, message_id=None, declared_type=None,
            original_sender=None, flags=(),
        )
        for sighting in arrival.sightings
    ]  # fmt: skip
    return Arrival(sightings, message)


def to_row(arrival: Arrival) -> dict[str, Any]:
    """Return an arrival as plain values for dlt.

    Values are copied field by field: ``dataclasses.asdict`` copies plain values deeply, and would cost more than all
    other work on a mail.
    """
    message = arrival.mail
    return {
        "sightings": [_to_sighting_row(sighting) for sighting in arrival.sightings],
        "message": {name: getattr(message, name) for name in MailMessage.__slots__} if message else None,
    }


def _to_sighting_row(sighting: Sighting) -> dict[str, Any]:
    row = {name: getattr(sighting, name) for name in Sighting.__slots__}
    row["settled"] = asdict(sighting.settled) if sighting.settled else None
    row["flags"] = [asdict(flag) for flag in sighting.flags]
    return row


def from_row(row: Mapping[str, Any]) -> Arrival:
    """Return the arrival that ``to_row`` converted."""
    sightings = [
        Sighting(**{
            **sighting_row,
            "settled": InitialState(**sighting_row["settled"]) if sighting_row["settled"] else None,
            "flags": [Flag(**flag) for flag in sighting_row["flags"]],
        })
        for sighting_row in row["sightings"]
    ]  # fmt: skip
    return Arrival(sightings, MailMessage(**row["message"]) if row["message"] else None)


def _build_sighting(
    origin: Origin,
    header: MailHeader | None,
    part: ContainerPart,
    sha256: str,
    size: int,
    message_key: str | None = None,
    initial_state: InitialState | None = None,
) -> Sighting:
    location = origin.build_part_location(part.section)
    if part.skip_reason_code and initial_state is None:
        initial_state = build_initial_state(part.skip_reason_code)
    return Sighting(
        sighting_id=compute_sighting_id(origin.source_name, location, sha256),
        document_sha256=sha256,
        media_type=part.media_type,
        byte_count=size,
        source_name=origin.source_name,
        source_kind=origin.source_kind,
        location=location,
        file_name=part.file_name[:MAX_FILE_NAME_CHARS] if part.file_name else None,
        sender=header.sender if header else None,
        subject=header.subject if header else None,
        message_id=header.message_id if header else None,
        received_at=origin.received_at,
        fingerprint=origin.fingerprint,
        message_key=message_key,
        section=truncate_with_hash(part.section, MAX_SECTION_BYTES) or None,
        declared_type=part.declared_type[:120] if part.declared_type else None,
        original_sender=part.original_sender,
        entity=origin.entity,
        cost_centre=origin.cost_centre,
        settled=initial_state,
        flags=list(part.flags),
    )
