"""Scans all folders of a mailbox over one session: plans what to fetch in each, and how far each is afterwards."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from invoices.documents.containers.container_opener_pool import ContainerOpenerPool
from invoices.documents.store import DocumentStore
from invoices.errors import ConfigurationError
from invoices.ledger.mails import Arrival, MailFolderPosition, MailOutcome
from invoices.settings.sources import MailboxSettings
from sources.mailbox.account import MEGABYTE
from sources.mailbox.fetch import FolderFetch
from sources.mailbox.imap_responses import FolderState
from sources.mailbox.mailbox_session import MailboxSession
from sources.mailbox.rules import compute_rules_digest
from sources.mailbox.scan_state import MailboxHistory, ScanState

UID_OVERLAP = 100  # UIDs that are listed again: of mails that arrive at the same time, a lower one may appear later


@dataclass(slots=True)
class MailboxScan:
    """One scan of a mailbox, as ``source.build_mailbox_source`` describes it."""

    source_name: str
    settings: MailboxSettings
    session: MailboxSession
    opener_pool: ContainerOpenerPool
    store: DocumentStore
    history: MailboxHistory
    scan_state: ScanState
    clock: Callable[[], dt.datetime]

    def fetch_pages(self) -> Iterator[list[Arrival]]:
        """Yield the arrivals of all folders, and record in ``scan_state`` how far each folder is."""
        missing_folders: list[str] = []
        for folder in self.settings.folders:
            try:
                plan = self._plan_folder(folder)
            except ConfigurationError as error:
                if self.session.is_closed:
                    raise
                missing_folders.append(str(error))
                continue
            yield from self._fetch_folder_pages(plan)
        if missing_folders:
            self.scan_state.problems.append("; ".join(missing_folders))

    def _fetch_folder_pages(self, plan: FolderPlan) -> Iterator[list[Arrival]]:
        """Yield the arrivals of a folder, oldest first."""
        name, uids_to_check = plan.state.name, plan.uids_to_check
        self.scan_state.known_count += max(plan.state.message_count - len(uids_to_check), 0)
        refused_uids = self.scan_state.refused_uids.get(name, set())
        folder_fetch = FolderFetch(
            source_name=self.source_name,
            settings=self.settings,
            session=self.session,
            opener_pool=self.opener_pool,
            store=self.store,
            now=self.clock(),
            scan_state=self.scan_state,
            folder_name=name,
            uidvalidity=plan.state.uidvalidity,
            uids=[uid for uid in uids_to_check if uid not in refused_uids],
            known_outcomes=plan.known_outcomes,
            retry_uids=plan.retry_uids,
        )
        if folder_fetch.uids:
            yield from folder_fetch.fetch_pages()
        self.scan_state.positions[name] = plan.build_position(folder_fetch.stopped_at_uid)

    def _plan_folder(self, folder: str) -> FolderPlan:
        """Open a folder and return what to check in it; if nothing is new, the only command is EXAMINE."""
        state, rules_digest = self.session.open_folder_read_only(folder), compute_rules_digest(self.settings)
        last_position = self.history.find_position(folder)
        if last_position is not None and last_position.uidvalidity != state.uidvalidity:
            last_position = None
        retry_uids = self.history.list_uids_to_fetch(folder, state.uidvalidity, self.settings.megabytes * MEGABYTE)
        plan = FolderPlan(state, rules_digest, last_position, retry_uids=frozenset(retry_uids))
        if plan.may_have_new_mails or not plan.has_same_rules:
            first_uid = plan.first_listed_uid if plan.has_same_rules else 1
            plan.known_outcomes = self.history.list_known_outcomes(folder, state.uidvalidity, first_uid)
            self._list_new_uids(plan)
        return plan

    def _list_new_uids(self, plan: FolderPlan) -> None:
        """List the new UIDs of a folder. An inconsistent response becomes a problem, and never counts as the end."""
        listed_uids = self.session.list_uids(plan.first_listed_uid) if plan.may_have_new_mails else []
        plan.new_uids = [uid for uid in listed_uids if uid not in plan.known_outcomes]
        name, state = plan.state.name, plan.state
        if plan.may_have_new_mails and plan.first_listed_uid == 1 and len(listed_uids) < state.message_count:
            plan.is_listing_short = True
            problem = (
                f"the folder {name!r} has {state.message_count} mails, but the server lists only {len(listed_uids)}; "
                "the next run lists them again"
            )
            self.scan_state.problems.append(problem)
        if state.uid_next is not None and state.uid_next < plan.first_new_uid:
            self.scan_state.problems.append(
                f"the next UID of the folder {name!r} went back to {state.uid_next} under the same UIDVALIDITY, so new "
                "mails may have known UIDs: give this mailbox another name, then all mails are fetched again and known "
                "documents are recognised by content"
            )


@dataclass(slots=True)
class FolderPlan:
    """What to check in an open folder, by UID; ``last_position`` is how far it was under the same UIDVALIDITY."""

    state: FolderState
    rules_digest: str
    last_position: MailFolderPosition | None
    retry_uids: Collection[int]
    known_outcomes: Mapping[int, MailOutcome] = field(default_factory=dict)
    new_uids: Sequence[int] = ()
    is_listing_short: bool = False  # the server has listed fewer mails than it says there are

    @property
    def first_new_uid(self) -> int:
        """The first UID that may be new."""
        return self.last_position.uid_next if self.last_position else 1

    @property
    def first_listed_uid(self) -> int:
        """The first UID to be listed."""
        next_uid = self.first_new_uid if self.state.uid_next is None else min(self.first_new_uid, self.state.uid_next)
        return max(next_uid - UID_OVERLAP, 1)

    @property
    def has_same_rules(self) -> bool:
        """Whether the rules are the same as in the last scan, so that skipped mails need no second check."""
        return self.last_position is not None and self.last_position.rules == self.rules_digest

    @property
    def may_have_new_mails(self) -> bool:
        """Whether there may be mails that were never checked."""
        return self.last_position is None or self.state.uid_next is None or self.state.uid_next != self.first_new_uid

    @property
    def uids_to_check(self) -> list[int]:
        """The mails to check, ascending: new ones, those to fetch again, and those that other rules skipped."""
        return sorted({*self.new_uids, *self.retry_uids, *self._list_skipped_uids()})

    def build_position(self, stopped_at_uid: int | None) -> MailFolderPosition:
        """Return how far the folder is after all mails to check were fetched, or those before ``stopped_at_uid``.

        The next UID is the one after the last listed mail; the next UID that the server announces is not trusted.
        """
        next_uid, rules_digest = self.first_new_uid, self.rules_digest
        if not self.is_listing_short:
            next_uid = max([next_uid, *(uid + 1 for uid in (*self.new_uids, *self.known_outcomes))])
        if stopped_at_uid is not None:
            next_uid = max(self.first_new_uid, min(next_uid, stopped_at_uid))
            if any(uid >= stopped_at_uid for uid in self._list_skipped_uids()):
                rules_digest = self.last_position.rules if self.last_position else ""
        return MailFolderPosition(self.state.uidvalidity, next_uid, rules_digest)

    def _list_skipped_uids(self) -> list[int]:
        if self.has_same_rules:
            return []
        return [uid for uid, outcome in self.known_outcomes.items() if outcome == "skipped"]
