"""Builds the arrival of one mail on a server, fetched or not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from invoices.documents.containers.opened_container import ContainerPart, MailHeader, OpenedContainer
from invoices.documents.store_batch import StoreBatch
from invoices.ledger.mails import Arrival, MailMessage, MailOutcome
from invoices.model import compute_message_key
from invoices.settings.sources import MailboxSettings
from sources.arrivals import (
    MAIL_MEDIA_TYPE,
    ImapUid,
    Origin,
    add_quarantined_mail,
    build_initial_state,
    build_mail_arrival,
    build_whole_sighting,
)
from sources.authentication_results import summarise_authentication_results
from sources.mailbox.imap_responses import MessageSummary
from sources.mailbox.rules import MailFacts, RuleDecision, apply_rules, is_pattern_match

SOURCE_KIND = "mailbox"


@dataclass(frozen=True, slots=True)
class MailboxFolder:
    """A folder of a mailbox under its present UIDVALIDITY."""

    source_name: str
    settings: MailboxSettings
    name: str
    uidvalidity: int

    def build_origin(self, summary: MessageSummary) -> Origin:
        """Return the origin of a mail: its address below the account (RFC 5092)."""
        location = f"/{quote(self.name, safe='/')};UIDVALIDITY={self.uidvalidity}/;UID={summary.uid}"
        return Origin(self.source_name, SOURCE_KIND, location, summary.received_at)


def build_unfetched_arrival(
    folder: MailboxFolder, summary: MessageSummary, outcome: MailOutcome, reason: str, header: MailHeader | None = None
) -> Arrival:
    """Return the arrival of a mail that is not fetched, with the reason."""
    origin = folder.build_origin(summary)
    message = MailMessage(
        message_key=compute_message_key(folder.source_name, origin.location),
        source_name=folder.source_name,
        folder=folder.name,
        outcome=outcome,
        uidvalidity=folder.uidvalidity,
        uid=summary.uid,
        message_id=header.message_id if header else None,
        sender=header.sender if header else None,
        subject=header.subject if header else None,
        received_at=summary.received_at,
        byte_count=summary.size,
        reason=reason,
    )
    return Arrival([], message)


def build_fetched_arrival(
    folder: MailboxFolder,
    summary: MessageSummary,
    content: bytes,
    container: OpenedContainer,
    store_batch: StoreBatch,
    now: dt.datetime,
) -> Arrival:
    """Return the arrival of a mail that was fetched and opened, after applying the rules about file names.

    The mail itself is put into ``store_batch`` if it cannot be opened, or if it will be deleted on the server.
    """
    decision = _decide_with_file_names(folder.settings, summary, container, now)
    if not decision.is_taken:
        return build_unfetched_arrival(folder, summary, "skipped", decision.reason, container.header)
    origin, header = folder.build_origin(summary), container.header
    authentication_fields = header.authentication_results if header else ()
    filtered_container = _mark_unmatched_parts(container, decision.attachment_pattern)
    uid = ImapUid(folder.name, folder.uidvalidity, summary.uid)
    arrival = build_mail_arrival(
        origin,
        content,
        filtered_container,
        summarise_authentication_results(authentication_fields, folder.settings.authserv_ids),
        uid,
    )
    if container.reason_code:
        return add_quarantined_mail(arrival, origin, store_batch.put(content), container)
    return _add_pending_action(arrival, origin, content, store_batch, folder.settings.after)


def _decide_with_file_names(
    settings: MailboxSettings, summary: MessageSummary, container: OpenedContainer, now: dt.datetime
) -> RuleDecision:
    """Return the decision of the rules on an opened mail; one that cannot be opened is quarantined, never skipped."""
    if container.header is None or container.reason_code not in (None, "attachment_missing"):
        return RuleDecision(True)
    header, file_names = container.header, [part.file_name for part in container.parts if part.file_name]
    facts = MailFacts(header.sender, header.recipients, header.subject, summary.received_at, file_names)
    return apply_rules(settings, facts, now) or RuleDecision(True)


def _mark_unmatched_parts(container: OpenedContainer, pattern: str | None) -> OpenedContainer:
    """Return the container with every part skipped whose file name does not match ``pattern``."""
    if pattern is None:
        return container
    parts: Sequence[ContainerPart] = [
        part
        if part.skip_reason_code or is_pattern_match(part.file_name, pattern)
        else replace(part, skip_reason_code="unmatched")
        for part in container.parts
    ]
    return replace(container, parts=parts)


def _add_pending_action(
    arrival: Arrival, origin: Origin, content: bytes, store_batch: StoreBatch, post_action: str
) -> Arrival:
    """Return the arrival with its pending action; a mail to be deleted is also stored as a whole, beside its parts."""
    message = arrival.mail
    if message is None or message.outcome != "collected" or post_action == "keep":
        return arrival
    sightings = list(arrival.sightings)
    if post_action == "delete":
        initial_state = build_initial_state("container")
        sightings.append(
            build_whole_sighting(
                origin, store_batch.put(content), len(content), MAIL_MEDIA_TYPE, initial_state, message.message_key
            )
        )
    return Arrival(sightings, replace(message, action="pending"))
