"""What unwrapping finds: the parts of a mail, an archive or a signed file, and what each is by its own content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from invoices.model import NOT_INVOICE_REASONS, Flag

__all__ = ["NOT_INVOICE_REASONS", "ContainerContents", "ContainerPart", "Flag", "MailHeader", "OpenedContainer"]


@dataclass(frozen=True, slots=True)
class ContainerPart:
    """One thing that was inside; its bytes travel beside it.

    ``section`` is the part's number in the mail as IMAP counts it (RFC 3501 §6.4.5: "2", "2.1"); what was inside of a
    container has the container's section, a slash, and its place there from 1: "2/1". A file that is itself the
    container has the empty section.
    """

    section: str
    media_type: str  # by content
    file_name: str | None = None  # as the container gives it, decoded and at most 255 characters; untrusted
    declared_type: str | None = None  # what the container says it is; untrusted
    skip_reason_code: str | None = None  # a key of LEFT_OUT
    original_sender: str | None = None  # of the innermost forwarded mail that the part was in
    flags: Sequence[Flag] = ()


@dataclass(frozen=True, slots=True)
class MailHeader:
    """What a mail says of itself, decoded, bounded, and not to be believed."""

    message_id: str | None = None
    sender: str | None = None  # the address alone, lower case
    reply_to: str | None = None
    recipients: Sequence[str] = ()
    subject: str | None = None
    sent_at: str | None = None  # ISO 8601, UTC
    authentication_results: Sequence[str] = ()  # the header fields, topmost first (RFC 8601)


@dataclass(frozen=True, slots=True)
class OpenedContainer:
    """What was inside of one container, or why it cannot be opened (``reason_code`` as in ``documents.outcomes``)."""

    parts: Sequence[ContainerPart] = ()
    header: MailHeader | None = None  # of a mail
    skipped_body_count: int = 0  # texts of a mail that say no invoice, and so are not among the parts
    flags: Sequence[Flag] = ()
    reason_code: str | None = None
    reason: str | None = None
    part_hashes: Sequence[str] = ()  # SHA-256 of each part, once its bytes are kept
    byte_counts: Sequence[int] = ()  # and their lengths


ContainerContents = tuple[OpenedContainer, Sequence[bytes]]  # and the bytes of each part, in their order
