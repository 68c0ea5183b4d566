"""The result of opening a mail, an archive or a signed file: its parts, each with its media type by content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from invoices.model import NOT_INVOICE_REASONS, Flag

__all__ = ["NOT_INVOICE_REASONS", "ContainerContents", "ContainerPart", "Flag", "MailHeader", "OpenedContainer"]


@dataclass(frozen=True, slots=True)
class ContainerPart:
    """One part of a container; its bytes are passed beside it.

    ``section`` is the part's number in the mail as IMAP counts it (RFC 3501 §6.4.5: "2", "2.1"); a part of a container
    inside has that container's section, a slash, and its number there from 1: "2/1". A file that is itself the
    container has the empty section.
    """

    section: str
    media_type: str  # by content
    file_name: str | None = None  # as stated, decoded, at most 255 characters; untrusted
    declared_type: str | None = None  # as stated; untrusted
    skip_reason_code: str | None = None  # a key of NOT_INVOICE_REASONS
    original_sender: str | None = None  # of the innermost forwarded mail around the part
    flags: Sequence[Flag] = ()


@dataclass(frozen=True, slots=True)
class MailHeader:
    """What a mail states about itself, decoded and bounded; untrusted."""

    message_id: str | None = None
    sender: str | None = None  # the address alone, lower case
    reply_to: str | None = None
    recipients: Sequence[str] = ()
    subject: str | None = None
    sent_at: str | None = None  # ISO 8601, UTC
    authentication_results: Sequence[str] = ()  # the header fields, topmost first (RFC 8601)


@dataclass(frozen=True, slots=True)
class OpenedContainer:
    """The parts of one container, or why it cannot be opened (``reason_code`` as in ``documents.outcomes``)."""

    parts: Sequence[ContainerPart] = ()
    header: MailHeader | None = None  # of a mail
    skipped_body_count: int = 0  # texts of a mail that are no invoice, and so are no parts
    flags: Sequence[Flag] = ()
    reason_code: str | None = None
    reason: str | None = None
    part_hashes: Sequence[str] = ()  # SHA-256 of each part, once its bytes are in a store batch
    byte_counts: Sequence[int] = ()  # of each part, as ``part_hashes``


ContainerContents = tuple[OpenedContainer, Sequence[bytes]]  # and the bytes of each part, in order
