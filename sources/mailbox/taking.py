"""The mails of one folder taken: sizes and headers first, then bodies, opened while the next ones are fetched."""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from invoices.documents.landing import Landing
from invoices.documents.store import DocumentStore
from invoices.documents.unwrapping.parts import Header, Unwrapped
from invoices.documents.unwrapping.unwrapping import Unwrappers
from invoices.errors import InvoicesError, TransientError
from invoices.ledger.messages import Arrival, Outcome
from invoices.settings.intake import Mailbox
from sources.mailbox.account import MEGABYTE
from sources.mailbox.answers import HeaderOf
from sources.mailbox.arriving import Folder, opened, unopened
from sources.mailbox.connection import Session
from sources.mailbox.headers import as_mail, with_headers
from sources.mailbox.memory import Seen
from sources.mailbox.rules import Facts, comes_later, decide, fields_needed

PAGE_SIZE = 200  # mails in a page, and so in a transaction of whoever records them
_LOOKED_AT_TOGETHER = 200
_TRIES = 2
_REFUSED_IN_A_ROW = 3  # messages, after which it is not the messages
_GONE = "it was gone before it could be fetched"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A mail with its body."""

    told: HeaderOf
    content: bytes = field(repr=False)


@dataclass(slots=True)
class Taking:
    """The mails with these UIDs of an open folder; ``known`` and ``owed`` are those that are recorded already.

    After ``pages``, ``fetched`` says how many bodies came, and ``stopped_at`` at which UID the cap was reached.
    """

    source_name: str
    settings: Mailbox
    session: Session
    unwrappers: Unwrappers
    store: DocumentStore
    now: dt.datetime
    seen: Seen
    folder: str
    uidvalidity: int
    uids: Sequence[int]
    known: Mapping[int, Outcome]
    owed: Collection[int]
    allowed: int | None
    fetched: int = 0
    stopped_at: int | None = None
    _page: list[Arrival] = field(default_factory=list)
    _opening: deque[Fetched] = field(default_factory=deque)
    _is_through: bool = False
    _failure: InvoicesError | None = None

    def pages(self) -> Iterator[list[Arrival]]:
        """Yield the arrivals; their documents are durable. Raises as ``Session``, after what came before is yielded."""
        with self.store.landing() as landing:
            drawing = self._draw(landing)
            while not self._is_through:
                for unwrapped in self.unwrappers.unwrap_ordered(self._contents(drawing), landing):
                    self._add(self._opened(self._opening.popleft(), unwrapped, landing))
                    if len(self._page) >= PAGE_SIZE:
                        landing.settle()
                        yield from self._turned(PAGE_SIZE)
                landing.settle()
                yield from self._turned(PAGE_SIZE if not self._is_through else 1)
        if self._failure:
            raise self._failure

    def _turned(self, least: int) -> Iterator[list[Arrival]]:
        while len(self._page) >= least:
            page, self._page = self._page[:PAGE_SIZE], self._page[PAGE_SIZE:]
            yield page

    def _contents(self, drawing: Iterator[Fetched | None]) -> Iterator[bytes]:
        """Yield bodies until all are drawn, a failure ends it, or mails without a body have filled a page."""
        try:
            for fetched in drawing:
                if fetched is not None:
                    self._opening.append(fetched)
                    yield as_mail(fetched.content)
                elif len(self._page) >= PAGE_SIZE:
                    return
        except InvoicesError as error:
            self._failure = error
        self._is_through = True

    def _draw(self, landing: Landing) -> Iterator[Fetched | None]:
        """Yield what is fetched, and None after each group of UIDs; what needs no body goes onto the page."""
        uids = iter(self.uids)
        while self.stopped_at is None and (group := list(islice(uids, _LOOKED_AT_TOGETHER))):
            yield from self._bodies(self._wanted(group, landing))
            yield None

    def _wanted(self, group: Sequence[int], landing: Landing) -> list[HeaderOf]:
        """Return which of these are to be fetched; the others are told of."""
        fields = fields_needed(self.settings)
        found = list(self.session.headers(group, fields))
        self._tell_gone(set(group) - {told.uid for told in found})
        fitting = [told for told in found if self._is_small_enough(told)]
        pairs = with_headers(self.unwrappers, landing, fitting, fields)
        wanted = [told for told, header in pairs if not self._is_left(told, header)]
        if self.allowed is not None and len(wanted) > self.allowed - self.fetched:
            wanted, rest = wanted[: self.allowed - self.fetched], wanted[self.allowed - self.fetched :]
            self.stopped_at = rest[0].uid
        self.fetched += len(wanted)
        return wanted

    def _is_small_enough(self, told: HeaderOf) -> bool:
        if told.size <= self.settings.megabytes * MEGABYTE:
            return True
        reason = f"it has {told.size} bytes, more than the {self.settings.megabytes} MB that are taken"
        self._tell(unopened(self._where, told, "too_large", reason))
        return False

    def _is_left(self, told: HeaderOf, header: Header | None) -> bool:
        """Return whether the rules leave a mail, by its header; one that cannot be read is fetched and set aside."""
        if header is None:
            return False
        facts = Facts(header.sender, header.recipients, header.subject, told.received_at)
        decision = decide(self.settings, facts, self.now)
        if decision is None or decision.take:
            return False
        outcome: Outcome = "waiting" if comes_later(self.settings, facts, self.now) else "left"
        self._tell(unopened(self._where, told, outcome, decision.reason, header))
        return True

    def _bodies(self, wanted: Sequence[HeaderOf]) -> Iterator[Fetched]:
        """Give these with their bodies; one that the server does not give is told of, and harms no other."""
        missing = {told.uid: told for told in wanted}
        try:
            for uid, content in self.session.bodies(list(missing)):
                yield Fetched(missing.pop(uid), content)
        except TransientError as error:
            if self.session.is_over or error.retry_after is not None:
                raise
            yield from self._one_by_one(missing)
        self._tell_gone(set(missing))

    def _one_by_one(self, missing: dict[int, HeaderOf]) -> Iterator[Fetched]:
        refused = 0
        for uid in list(missing):
            try:
                content = self._body(uid)
            except TransientError as error:
                refused += 1
                self._tell(unopened(self._where, missing.pop(uid), "waiting", str(error)))
                if self.session.is_over or refused >= _REFUSED_IN_A_ROW:
                    raise
                continue
            refused = 0
            if content is not None:
                yield Fetched(missing.pop(uid), content)

    def _body(self, uid: int) -> bytes | None:
        """Return a body, asked for twice at most; None where it is gone."""
        for left in reversed(range(_TRIES)):
            try:
                return next((content for _, content in self.session.bodies([uid])), None)
            except TransientError:
                if not left or self.session.is_over:
                    raise
        return None

    def _opened(self, fetched: Fetched, unwrapped: Unwrapped, landing: Landing) -> Arrival:
        return opened(self._where, fetched.told, fetched.content, unwrapped, landing, self.now)

    @property
    def _where(self) -> Folder:
        return Folder(self.source_name, self.settings, self.folder, self.uidvalidity)

    def _tell_gone(self, uids: Collection[int]) -> None:
        """Tell of mails that are owed and not there any more; of others nothing was ever told."""
        for uid in sorted(set(uids) & set(self.owed)):
            self._tell(unopened(self._where, HeaderOf(uid, 0, None, frozenset(), b""), "left", _GONE))

    def _tell(self, arrival: Arrival) -> None:
        """Put a mail without a body onto the page, unless the very same is recorded."""
        message = arrival.message
        if message is None or message.uid is None:
            return
        is_owed = message.outcome in ("waiting", "too_large") and message.uid in self.owed
        if is_owed or self.known.get(message.uid) == message.outcome:
            self.seen.known += 1
        else:
            self._add(arrival)

    def _add(self, arrival: Arrival) -> None:
        self._page.append(arrival)
        if arrival.message is not None:
            self.seen.count(arrival.message.outcome)
