"""Every folder of a mailbox looked through over one session: what is to be fetched in each, and how far it then is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from invoices.documents.store import DocumentStore
from invoices.documents.unwrapping.unwrapping import Unwrappers
from invoices.errors import ConfigurationError
from invoices.ledger.messages import Arrival, Outcome, Position
from invoices.settings.intake import Mailbox
from sources.mailbox.account import MEGABYTE
from sources.mailbox.answers import FolderState
from sources.mailbox.connection import Session
from sources.mailbox.memory import Memory, Seen
from sources.mailbox.rules import digest
from sources.mailbox.taking import PAGE_SIZE, Taking

LOOK_BACK = 100  # UIDs that are listed again: of mails that come together, a lower one may be shown later

__all__ = ["PAGE_SIZE", "Look"]


@dataclass(slots=True)
class Look:
    """One look through a mailbox, as ``source.mailbox`` describes it."""

    source_name: str
    settings: Mailbox
    session: Session
    unwrappers: Unwrappers
    store: DocumentStore
    memory: Memory
    seen: Seen
    now: Callable[[], dt.datetime]

    def pages(self) -> Iterator[list[Arrival]]:
        """Yield the arrivals of all folders, and write down how far each folder is."""
        missing: list[str] = []
        for folder in self.settings.folders:
            try:
                plan = self._plan(folder)
            except ConfigurationError as error:
                if self.session.is_over:
                    raise
                missing.append(str(error))
                continue
            yield from self._taken(plan)
        if missing:
            self.seen.problems.append("; ".join(missing))

    def _taken(self, plan: Plan) -> Iterator[list[Arrival]]:
        """Yield what a folder brings, oldest first."""
        self.seen.known += max(plan.state.exists - len(plan.uids), 0)
        taking = Taking(
            self.source_name, self.settings, self.session, self.unwrappers, self.store, self.now(), self.seen,
            plan.state.name, plan.state.uidvalidity, self._asked_for(plan), plan.known, plan.owed,
        )  # fmt: skip
        if taking.uids:
            yield from taking.pages()
        self.seen.positions[plan.state.name] = plan.reached(taking.stopped_at)

    def _asked_for(self, plan: Plan) -> list[int]:
        refused = self.seen.refused.get(plan.state.name, set())
        return [uid for uid in plan.uids if uid not in refused]

    def _plan(self, folder: str) -> Plan:
        """Return what is to be looked at in a folder; EXAMINE is all that it costs where nothing is new."""
        state, rules = self.session.examine(folder), digest(self.settings)
        before = self.memory.position(folder)
        if before is not None and before.uidvalidity != state.uidvalidity:
            before = None
        owed = self.memory.owed_uids(folder, state.uidvalidity, self.settings.megabytes * MEGABYTE)
        plan = Plan(state, rules, before, owed=frozenset(owed))
        if plan.is_new or not plan.has_same_rules:
            first = plan.listed_from if plan.has_same_rules else 1
            plan.known = self.memory.known_uids(folder, state.uidvalidity, first)
            self._list(plan)
        return plan

    def _list(self, plan: Plan) -> None:
        """Ask what is new. What a server says that cannot be is told, and nothing is taken for done because of it."""
        listed = self.session.uids(plan.listed_from) if plan.is_new else []
        plan.new = [uid for uid in listed if uid not in plan.known]
        name, state = plan.state.name, plan.state
        if plan.is_new and plan.listed_from == 1 and len(listed) < state.exists:
            plan.is_short = True
            told = f"the folder {name!r} has {state.exists} mails, and the server lists {len(listed)} of them"
            self.seen.problems.append(told)
        if state.uid_next is not None and state.uid_next < plan.first:
            self.seen.problems.append(
                f"the next UID of the folder {name!r} went back to {state.uid_next}, with the same UIDVALIDITY: new "
                "mails may bear known UIDs. Give this mailbox another name: all is read again, and known by its content"
            )


@dataclass(slots=True)
class Plan:
    """What is to be looked at in an open folder, by UID; ``before`` is how far it was, with these very UIDs."""

    state: FolderState
    rules: str
    before: Position | None
    owed: Collection[int]
    known: Mapping[int, Outcome] = field(default_factory=dict)
    new: Sequence[int] = ()
    is_short: bool = False  # the server has listed fewer mails than it says there are

    @property
    def first(self) -> int:
        """The first UID that may be new."""
        return self.before.uid_next if self.before else 1

    @property
    def listed_from(self) -> int:
        """The first UID to be listed."""
        following = self.first if self.state.uid_next is None else min(self.first, self.state.uid_next)
        return max(following - LOOK_BACK, 1)

    @property
    def has_same_rules(self) -> bool:
        """Whether all that was left so far would be left again."""
        return self.before is not None and self.before.rules == self.rules

    @property
    def is_new(self) -> bool:
        """Whether there may be mails that nobody has looked at."""
        return self.before is None or self.state.uid_next is None or self.state.uid_next != self.first

    @property
    def uids(self) -> list[int]:
        """The mails to look at, ascending; of known ones those that are owed, and those that other rules left."""
        return sorted({*self.new, *self.owed, *self._left()})

    def reached(self, stopped_at: int | None) -> Position:
        """Return how far the folder is, once all that is to be looked at was, or what comes before ``stopped_at``.

        That is past the last mail which was listed: no promise of a next UID is believed.
        """
        end = max([self.first, *(uid + 1 for uid in (*self.new, *self.known))]) if not self.is_short else self.first
        rules = self.rules
        if stopped_at is not None:
            end = max(self.first, min(end, stopped_at))
            if any(uid >= stopped_at for uid in self._left()):
                rules = self.before.rules if self.before else ""
        return Position(self.state.uidvalidity, end, rules)

    def _left(self) -> list[int]:
        return [] if self.has_same_rules else [uid for uid, outcome in self.known.items() if outcome == "left"]
