"""Every folder of a mailbox looked through over one session: what is to be fetched in each, and how far it then is."""

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
from sources.mailbox.fetch import PAGE_SIZE, FolderFetch
from sources.mailbox.imap_responses import FolderState
from sources.mailbox.mailbox_session import MailboxSession
from sources.mailbox.rules import compute_rules_digest
from sources.mailbox.scan_state import MailboxHistory, ScanState

UID_OVERLAP = 100  # UIDs that are listed again: of mails that come together, a lower one may be shown later

__all__ = ["PAGE_SIZE", "MailboxScan"]


@dataclass(slots=True)
class MailboxScan:
    """One look through a mailbox, as ``source.mailbox`` describes it."""

    source_name: str
    settings: MailboxSettings
    session: MailboxSession
    opener_pool: ContainerOpenerPool
    store: DocumentStore
    history: MailboxHistory
    scan_state: ScanState
    clock: Callable[[], dt.datetime]

    def fetch_pages(self) -> Iterator[list[Arrival]]:
        """Yield the arrivals of all folders, and write down how far each folder is."""
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
        """Yield what a folder brings, oldest first."""
        self.scan_state.known_count += max(plan.state.message_count - len(plan.uids_to_check), 0)
        folder_fetch = FolderFetch(
            self.source_name, self.settings, self.session, self.opener_pool, self.store, self.clock(), self.scan_state,
            plan.state.name, plan.state.uidvalidity, self._list_uids_not_refused(plan), plan.known_outcomes, plan.retry_uids,
        )  # fmt: skip
        if folder_fetch.uids:
            yield from folder_fetch.fetch_pages()
        self.scan_state.positions[plan.state.name] = plan.build_position(folder_fetch.stopped_at_uid)

    def _list_uids_not_refused(self, plan: FolderPlan) -> list[int]:
        refused_uids = self.scan_state.refused_uids.get(plan.state.name, set())
        return [uid for uid in plan.uids_to_check if uid not in refused_uids]

    def _plan_folder(self, folder: str) -> FolderPlan:
        """Return what is to be looked at in a folder; EXAMINE is all that it costs where nothing is new."""
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
        """Ask what is new. What a server says that cannot be is told, and nothing is taken for done because of it."""
        listed_uids = self.session.list_uids(plan.first_listed_uid) if plan.may_have_new_mails else []
        plan.new_uids = [uid for uid in listed_uids if uid not in plan.known_outcomes]
        name, state = plan.state.name, plan.state
        if plan.may_have_new_mails and plan.first_listed_uid == 1 and len(listed_uids) < state.message_count:
            plan.is_listing_short = True
            problem = (
                f"the folder {name!r} has {state.message_count} mails, and the server lists {len(listed_uids)} of them"
            )
            self.scan_state.problems.append(problem)
        if state.uid_next is not None and state.uid_next < plan.first_new_uid:
            self.scan_state.problems.append(
                f"the next UID of the folder {name!r} went back to {state.uid_next}, with the same UIDVALIDITY: new "
                "mails may bear known UIDs. Give this mailbox another name: all is read again, and known by its content"
            )


@dataclass(slots=True)
class FolderPlan:
    """What is to be looked at in an open folder, by UID; ``before`` is how far it was, with these very UIDs."""

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
        """Whether all that was left so far would be left again."""
        return self.last_position is not None and self.last_position.rules == self.rules_digest

    @property
    def may_have_new_mails(self) -> bool:
        """Whether there may be mails that nobody has looked at."""
        return self.last_position is None or self.state.uid_next is None or self.state.uid_next != self.first_new_uid

    @property
    def uids_to_check(self) -> list[int]:
        """The mails to look at, ascending; of known ones those that are owed, and those that other rules left."""
        return sorted({*self.new_uids, *self.retry_uids, *self._list_skipped_uids()})

    def build_position(self, stopped_at_uid: int | None) -> MailFolderPosition:
        """Return how far the folder is, once all that is to be looked at was, or what comes before ``stopped_at``.

        That is past the last mail which was listed: no promise of a next UID is believed.
        """
        next_uid = (
            max([self.first_new_uid, *(uid + 1 for uid in (*self.new_uids, *self.known_outcomes))])
            if not self.is_listing_short
            else self.first_new_uid
        )
        rules_digest = self.rules_digest
        if stopped_at_uid is not None:
            next_uid = max(self.first_new_uid, min(next_uid, stopped_at_uid))
            if any(uid >= stopped_at_uid for uid in self._list_skipped_uids()):
                rules_digest = self.last_position.rules if self.last_position else ""
        return MailFolderPosition(self.state.uidvalidity, next_uid, rules_digest)

    def _list_skipped_uids(self) -> list[int]:
        return (
            [] if self.has_same_rules else [uid for uid, outcome in self.known_outcomes.items() if outcome == "skipped"]
        )
