"""The mails of one folder taken: sizes and headers first, then bodies, opened while the next ones are fetched."""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

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
from sources.mailbox.rules import TOLD, Facts, comes_later, decide, fields_needed

PAGE_SIZE = 200  # mails in a page, and so in a transaction of whoever records them
_LOOKED_AT_TOGETHER = 200
_TRIES = 2
_REFUSED_IN_A_ROW = 3  # messages, after which it is not the messages
_GONE = "it was gone before it could be fetched"
_NOT_GIVEN = "the server lists it, and gives nothing of it"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A mail with its body."""

    told: HeaderOf
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unwanted:
    """A mail that is not fetched, and why; its header where that was read already."""

    told: HeaderOf
    outcome: Outcome
    reason: str
    header: Header | None = None


@dataclass(slots=True)
class Taking:
    """The mails with these UIDs of an open folder; ``known`` and ``owed`` are those that are recorded already.

    After ``pages``, ``stopped_at`` is the first UID that was not looked at, because ``mails_per_run`` was reached.
    Mails over which a line broke before, or that the server would not give, come last and one at a time: some servers
    hang up over a mail that they cannot read, and it must not keep the others from us.
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
    stopped_at: int | None = None
    _page: list[Arrival] = field(default_factory=list)
    _opening: deque[Fetched] = field(default_factory=deque)
    _is_through: bool = False
    _is_full: bool = False
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
        uids = deque(sorted(self.uids, key=lambda uid: (uid in self._delicate, uid)))
        while uids and not self._is_full:
            group = [uids.popleft() for _ in range(min(len(uids), _LOOKED_AT_TOGETHER))]
            wanted = self._wanted(group, landing)
            wanted, rest = self._allowed(wanted)
            self._stop_at({*rest, *uids} if rest else ())
            yield from self._bodies([told for told in wanted if told.uid not in self._delicate])
            yield from self._one_by_one({told.uid: told for told in wanted if told.uid in self._delicate})
            yield None

    @property
    def _delicate(self) -> Collection[int]:
        return self.seen.suspects.get(self.folder, set()) | set(self.owed)

    def _allowed(self, wanted: list[HeaderOf]) -> tuple[list[HeaderOf], list[int]]:
        """Return what may be fetched in this run, and the UIDs of the rest."""
        most = self.settings.mails_per_run
        number = len(wanted) if most is None else min(max(most - self.seen.fetched, 0), len(wanted))
        self.seen.fetched += number
        return wanted[:number], [told.uid for told in wanted[number:]]

    def _stop_at(self, not_looked_at: Collection[int]) -> None:
        """Stop after this group; what is owed stays owed wherever we stop."""
        self._is_full = bool(not_looked_at)
        self.stopped_at = min(set(not_looked_at) - set(self.owed), default=None)

    def _wanted(self, group: Sequence[int], landing: Landing) -> list[HeaderOf]:
        """Return which of these are to be fetched; the others are told of."""
        fields = fields_needed(self.settings)
        found = list(self.session.headers(group, fields))
        self._tell_missing(set(group) - {told.uid for told in found})
        unwanted = [one for told in found if (one := self._too_large(told))]
        too_large, wanted = {one.told.uid for one in unwanted}, []
        fitting = [told for told in found if told.uid not in too_large]
        for told, header in with_headers(self.unwrappers, landing, fitting, fields):
            left = self._left(told, header, is_read=bool(fields))
            if left is None:
                wanted.append(told)
            else:
                unwanted.append(left)
        self._tell_unwanted(unwanted, landing)
        return wanted

    def _too_large(self, told: HeaderOf) -> Unwanted | None:
        if told.size <= self.settings.megabytes * MEGABYTE:
            return None
        return Unwanted(
            told, "too_large", f"it has {told.size} bytes, more than the {self.settings.megabytes} MB that are taken"
        )

    def _left(self, told: HeaderOf, header: Header | None, *, is_read: bool) -> Unwanted | None:
        """Return why the rules leave a mail, by its header; one that cannot be read is fetched and set aside."""
        if header is None:
            return None
        facts = Facts(header.sender, header.recipients, header.subject, told.received_at)
        decision = decide(self.settings, facts, self.now)
        if decision is None or decision.take:
            return None
        outcome: Outcome = "waiting" if comes_later(self.settings, facts, self.now) else "left"
        return Unwanted(told, outcome, decision.reason, header if is_read else None)

    def _tell_unwanted(self, unwanted: Sequence[Unwanted], landing: Landing) -> None:
        """Put what is not fetched onto the page, with sender, subject and Message-ID, unless that is recorded."""
        new = [one for one in unwanted if not self._is_told(one.told.uid, one.outcome)]
        self.seen.known += len(unwanted) - len(new)
        headers = self._headers([one.told.uid for one in new if one.header is None], landing)
        for one in new:
            header = one.header or headers.get(one.told.uid)
            self._add(unopened(self._where, one.told, one.outcome, one.reason, header))
            if one.outcome == "too_large":
                self.seen.remarks.append(f"the mail {self.folder!r};UID={one.told.uid} is not taken: {one.reason}")

    def _headers(self, uids: Collection[int], landing: Landing) -> dict[int, Header | None]:
        """Return what mails say of themselves that are not fetched; nothing of those that the server does not give."""
        asked = sorted(set(uids) - set(self._delicate))
        try:
            found = list(self.session.headers(asked, TOLD)) if asked else []
        except TransientError as error:
            if self.session.is_over:
                self.seen.suspects.setdefault(self.folder, set()).update(asked)
            if self.session.is_over or error.retry_after is not None:
                raise
            return {}
        return {told.uid: header for told, header in with_headers(self.unwrappers, landing, found, TOLD)}

    def _bodies(self, wanted: Sequence[HeaderOf]) -> Iterator[Fetched]:
        """Give these with their bodies; where the server gives one of them not, each is asked for by itself."""
        missing = {told.uid: told for told in wanted}
        try:
            for uid, content in self.session.bodies(list(missing)):
                if content or not missing[uid].size:
                    yield Fetched(missing.pop(uid), content)
        except TransientError as error:
            if error.retry_after is not None:  # the server has had enough; it is no mail's fault
                raise
            if self.session.is_over:
                self.seen.suspects.setdefault(self.folder, set()).update(missing)
                raise
        yield from self._one_by_one(missing)

    def _one_by_one(self, wanted: Mapping[int, HeaderOf]) -> Iterator[Fetched]:
        """Give these with their bodies; one that the server does not give waits, and harms no other."""
        refused = 0
        for uid, told in wanted.items():
            try:
                content = self._body(told)
            except TransientError as error:
                if error.retry_after is not None:
                    raise
                refused += 1
                self._tell_refused(told, error)
                if self.session.is_over or (refused >= _REFUSED_IN_A_ROW and uid not in self.owed):
                    raise
                if refused >= _REFUSED_IN_A_ROW:
                    return  # those that are owed stay so, and keep no other mail waiting
                continue
            refused = 0
            if content is None:
                self._tell_gone({uid})
            else:
                yield Fetched(told, content)

    def _body(self, told: HeaderOf) -> bytes | None:
        """Return a body, asked for twice at most; None where it is gone."""
        for left in reversed(range(_TRIES)):
            try:
                return self._given(told)
            except TransientError as error:
                if not left or self.session.is_over or error.retry_after is not None:
                    raise
        return None

    def _given(self, told: HeaderOf) -> bytes | None:
        """Return a body, None where it is gone; what the server lists and does not give, it has refused."""
        content = next((content for _, content in self.session.bodies([told.uid])), None)
        if not content and (content is None or told.size) and told.uid in self.session.uids(told.uid):
            raise TransientError(_NOT_GIVEN)
        return content

    def _opened(self, fetched: Fetched, unwrapped: Unwrapped, landing: Landing) -> Arrival:
        return opened(self._where, fetched.told, fetched.content, unwrapped, landing, self.now)

    @property
    def _where(self) -> Folder:
        return Folder(self.source_name, self.settings, self.folder, self.uidvalidity)

    def _tell_refused(self, told: HeaderOf, error: TransientError) -> None:
        self.seen.refused.setdefault(self.folder, set()).add(told.uid)
        self.seen.problems.append(f"the mail {self.folder!r};UID={told.uid} cannot be fetched now: {error}")
        self._tell(told, "waiting", str(error))

    def _tell_missing(self, uids: Collection[int]) -> None:
        """Tell of mails that the server did not speak of: those that it lists wait, the others are gone."""
        there = set(uids).intersection(self.session.uids(min(uids))) if uids else set()
        for uid in sorted(there):
            self._tell_refused(HeaderOf(uid, 0, None, frozenset(), b""), TransientError(_NOT_GIVEN))
        self._tell_gone(set(uids) - there)

    def _tell_gone(self, uids: Collection[int]) -> None:
        """Tell of mails that are owed and not there any more; of others nothing was ever told."""
        for uid in sorted(set(uids) & set(self.owed)):
            self._tell(HeaderOf(uid, 0, None, frozenset(), b""), "left", _GONE)

    def _is_told(self, uid: int, outcome: Outcome) -> bool:
        """Return whether the very same is recorded of a mail without a body."""
        return (outcome in ("waiting", "too_large") and uid in self.owed) or self.known.get(uid) == outcome

    def _tell(self, told: HeaderOf, outcome: Outcome, reason: str) -> None:
        """Put a mail without a body onto the page, unless the very same is recorded."""
        if self._is_told(told.uid, outcome):
            self.seen.known += 1
        else:
            self._add(unopened(self._where, told, outcome, reason))

    def _add(self, arrival: Arrival) -> None:
        self._page.append(arrival)
        if arrival.message is not None:
            self.seen.count(arrival.message.outcome)
