"""Previews a scan of a mailbox from sizes and headers alone; no mail is fetched as a whole, nothing is changed."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from invoices.documents.containers.container_opener_pool import ContainerOpenerPool
from invoices.documents.containers.opened_container import MailHeader
from invoices.documents.store import DocumentStore
from invoices.errors import ConfigurationError
from invoices.settings.sources import MailboxSettings
from sources.mailbox.account import MEGABYTE
from sources.mailbox.headers import parse_mail_headers
from sources.mailbox.imap_responses import MessageSummary
from sources.mailbox.mailbox_session import MailboxSession
from sources.mailbox.rules import MailFacts, apply_rules, list_required_header_fields

MAX_PREVIEWED_MAILS = 500  # per folder, the newest


@dataclass(frozen=True, slots=True)
class FolderPreview:
    """A configured folder: the number of its mails, and how the rules decide on the newest of them.

    The keys of ``decision_counts`` are texts such as ``rule 2 skips it``, ``no rule matches, so it is collected`` or
    ``too large``.
    """

    name: str
    mail_count: int
    checked_count: int
    decision_counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class MailboxPreview:
    """A mailbox: its configured folders, the configured folders that do not exist, and the other folders it has."""

    folders: Sequence[FolderPreview]
    missing_folders: Sequence[str]
    other_folders: Sequence[str]


def fetch_mailbox_preview(
    session: MailboxSession,
    mailbox: MailboxSettings,
    opener_pool: ContainerOpenerPool,
    store: DocumentStore,
    now: dt.datetime,
) -> MailboxPreview:
    """Return what a scan of the mailbox would do now; ``opener_pool`` parses the headers.

    Raises as ``MailboxSession`` does, but not for a missing folder.
    """
    folder_previews: list[FolderPreview] = []
    missing_folders: list[str] = []
    for name in mailbox.folders:
        try:
            folder_previews.append(_fetch_folder_preview(session, mailbox, name, opener_pool, store, now))
        except ConfigurationError:
            if session.is_closed:
                raise
            missing_folders.append(name)
    selectable_names = [folder.name for folder in session.list_folders() if folder.is_selectable]
    return MailboxPreview(
        folder_previews, missing_folders, [name for name in selectable_names if name not in mailbox.folders]
    )


def _fetch_folder_preview(
    session: MailboxSession,
    mailbox: MailboxSettings,
    name: str,
    opener_pool: ContainerOpenerPool,
    store: DocumentStore,
    now: dt.datetime,
) -> FolderPreview:
    state = session.open_folder_read_only(name)
    newest_uids = session.list_uids(1)[-MAX_PREVIEWED_MAILS:]
    fields = list_required_header_fields(mailbox)
    summaries = list(session.fetch_message_summaries(newest_uids, fields))
    with store.open_batch() as store_batch:  # parsing headers puts nothing into it
        summaries_with_headers = parse_mail_headers(opener_pool, store_batch, summaries, fields)
        decision_counts = Counter(
            _describe_decision(mailbox, summary, header, now) for summary, header in summaries_with_headers
        )
    return FolderPreview(name, state.message_count, len(summaries), dict(sorted(decision_counts.items())))


def _describe_decision(
    mailbox: MailboxSettings, summary: MessageSummary, header: MailHeader | None, now: dt.datetime
) -> str:
    if summary.size > mailbox.megabytes * MEGABYTE:
        return "too large"
    if header is None:
        return "its header cannot be read, so it is quarantined"
    facts = MailFacts(header.sender, header.recipients, header.subject, summary.received_at)
    decision = apply_rules(mailbox, facts, now)
    if decision is None:
        return "depends on the file names in it"
    if decision.rule_number is None:
        return "no rule matches, so it is " + ("collected" if decision.is_taken else "skipped")
    return decision.reason
