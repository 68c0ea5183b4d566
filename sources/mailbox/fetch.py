"""Fetches the mails of one folder: sizes and headers first, then bodies, which are opened while the next arrive."""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from invoices.documents.containers.container_opener_pool import ContainerOpenerPool
from invoices.documents.containers.opened_container import MailHeader, OpenedContainer
from invoices.documents.outcomes import RETRIED_REASON_CODES
from invoices.documents.store import DocumentStore
from invoices.documents.store_batch import StoreBatch
from invoices.errors import InvoicesError, TransientError
from invoices.ledger.mails import Arrival, MailOutcome
from invoices.settings.sources import MailboxSettings
from sources.mailbox.account import MEGABYTE
from sources.mailbox.arrivals import MailboxFolder, build_fetched_arrival, build_unfetched_arrival
from sources.mailbox.headers import parse_mail_headers
from sources.mailbox.imap_responses import MessageSummary
from sources.mailbox.mailbox_session import MailboxSession
from sources.mailbox.rules import (
    IDENTIFYING_FIELDS,
    MailFacts,
    apply_rules,
    is_taken_when_older,
    list_required_header_fields,
)
from sources.mailbox.scan_state import ScanState
from sources.paging import PAGE_SIZE

_SUMMARY_BATCH_SIZE = 200
_MAX_FETCH_ATTEMPTS = 2
_MAX_CONSECUTIVE_REFUSALS = 3  # after so many, the cause is the server and not the mails
_GONE_REASON = "it was removed from the server before it could be fetched"
_NOT_RETURNED_REASON = "the server lists it but returns no content"


@dataclass(frozen=True, slots=True)
class FetchedMail:
    """A mail with its body."""

    summary: MessageSummary
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SkippedMail:
    """A mail that is not fetched, with the reason, and with its header if that was parsed already."""

    summary: MessageSummary
    outcome: MailOutcome
    reason: str
    header: MailHeader | None = None


@dataclass(slots=True)
class FolderFetch:
    """Fetches the mails with ``uids`` of an open folder; ``known_outcomes`` and ``retry_uids`` are recorded already.

    After ``fetch_pages``, ``stopped_at_uid`` is the first UID that was not checked because ``mails_per_run`` was
    reached. Mails during whose fetch a connection broke, or that the server did not return, are fetched last and one
    at a time: some servers close the connection over a mail that they cannot read, and it must not block the others.
    """

    source_name: str
    settings: MailboxSettings
    session: MailboxSession
    opener_pool: ContainerOpenerPool
    store: DocumentStore
    now: dt.datetime
    scan_state: ScanState
    folder_name: str
    uidvalidity: int
    uids: Sequence[int]
    known_outcomes: Mapping[int, MailOutcome]
    retry_uids: Collection[int]
    stopped_at_uid: int | None = None
    _pending_arrivals: list[Arrival] = field(default_factory=list)
    _mails_being_opened: deque[FetchedMail] = field(default_factory=deque)
    _is_finished: bool = False
    _is_limit_reached: bool = False
    _failure: InvoicesError | None = None

    def fetch_pages(self) -> Iterator[list[Arrival]]:
        """Yield pages of arrivals whose documents are stored; raises as ``MailboxSession``, after the last of them."""
        with self.store.open_batch() as store_batch:
            fetched_mails = self._fetch_mails(store_batch)
            while not self._is_finished:
                for container in self.opener_pool.open_containers_in_order(
                    self._queue_contents_for_opening(fetched_mails), store_batch, are_mails=True
                ):
                    self._add_fetched_mail(self._mails_being_opened.popleft(), container, store_batch)
                    if len(self._pending_arrivals) >= PAGE_SIZE:
                        store_batch.flush()
                        yield from self._pop_pages(PAGE_SIZE)
                store_batch.flush()
                yield from self._pop_pages(PAGE_SIZE if not self._is_finished else 1)
        self.scan_state.stored_hashes |= store_batch.new_hashes
        if self._failure:
            raise self._failure

    def _add_fetched_mail(self, mail: FetchedMail, container: OpenedContainer, store_batch: StoreBatch) -> None:
        """Add the arrival of an opened mail to the page; a mail over which this program fails waits.

        So does a mail whose process was stopped or crashed for the first time: the next run tries once more.
        """
        if container.reason_code in RETRIED_REASON_CODES and mail.summary.uid not in self.retry_uids:
            reason = f"it cannot be opened: {container.reason}; the next run tries once more"
            self.scan_state.remarks.append(f"the mail {self.folder_name!r};UID={mail.summary.uid} waits: {reason}")
            self._add_unfetched_mail(mail.summary, "waiting", reason)
            return
        try:
            arrival = build_fetched_arrival(
                self._mailbox_folder, mail.summary, mail.content, container, store_batch, self.now
            )
        except OSError:  # of the store
            raise
        except Exception as error:  # noqa: BLE001 - the last resort: no value in a mail prevents that others are fetched
            self.scan_state.failures.append((f"the mail {self.folder_name!r};UID={mail.summary.uid}", error))
            self._add_unfetched_mail(mail.summary, "waiting", f"it cannot be processed: {type(error).__name__}")
        else:
            self._add_arrival(arrival)

    def _pop_pages(self, min_size: int) -> Iterator[list[Arrival]]:
        while len(self._pending_arrivals) >= min_size:
            page, self._pending_arrivals = self._pending_arrivals[:PAGE_SIZE], self._pending_arrivals[PAGE_SIZE:]
            yield page

    def _queue_contents_for_opening(self, fetched_mails: Iterator[FetchedMail | None]) -> Iterator[bytes]:
        """Yield bodies to open, until there are no more, a fetch fails, or mails without a body have filled a page."""
        try:
            for fetched_mail in fetched_mails:
                if fetched_mail is not None:
                    uid = fetched_mail.summary.uid
                    self.scan_state.record_activity(f"the mail {self.folder_name!r};UID={uid} of {self.source_name!r}")
                    self._mails_being_opened.append(fetched_mail)
                    yield fetched_mail.content
                elif len(self._pending_arrivals) >= PAGE_SIZE:
                    return
        except InvoicesError as error:
            self._failure = error
        self._is_finished = True

    def _fetch_mails(self, store_batch: StoreBatch) -> Iterator[FetchedMail | None]:
        """Yield fetched mails, and None after each group of UIDs; arrivals that need no body are added to the page."""
        uids = deque(sorted(self.uids, key=lambda uid: (uid in self._fetch_last_uids, uid)))
        while uids and not self._is_limit_reached:
            uid_group = [uids.popleft() for _ in range(min(len(uids), _SUMMARY_BATCH_SIZE))]
            wanted_summaries = self._select_wanted_mails(uid_group, store_batch)
            wanted_summaries, deferred_uids = self._apply_run_limit(wanted_summaries)
            if deferred_uids:
                self._is_limit_reached = True
                # Mails to fetch again are recorded as such, so the position in the folder need not wait for them.
                self.stopped_at_uid = min({*deferred_uids, *uids} - set(self.retry_uids), default=None)
            yield from self._fetch_bodies(
                [summary for summary in wanted_summaries if summary.uid not in self._fetch_last_uids]
            )
            yield from self._fetch_one_by_one(
                {summary.uid: summary for summary in wanted_summaries if summary.uid in self._fetch_last_uids}
            )
            yield None

    @property
    def _fetch_last_uids(self) -> Collection[int]:
        return self.scan_state.fetch_last.get(self.folder_name, set()) | set(self.retry_uids)

    def _apply_run_limit(self, summaries: list[MessageSummary]) -> tuple[list[MessageSummary], list[int]]:
        """Return the mails that this run may still fetch, and the UIDs of the others."""
        max_mails = self.settings.mails_per_run
        allowed_count = (
            len(summaries)
            if max_mails is None
            else min(max(max_mails - self.scan_state.fetched_count, 0), len(summaries))
        )
        self.scan_state.fetched_count += allowed_count
        return summaries[:allowed_count], [summary.uid for summary in summaries[allowed_count:]]

    def _select_wanted_mails(self, uid_group: Sequence[int], store_batch: StoreBatch) -> list[MessageSummary]:
        """Return the mails to fetch; arrivals of the others are added to the page."""
        fields = list_required_header_fields(self.settings)
        summaries = list(self.session.fetch_message_summaries(uid_group, fields))
        self._add_arrivals_for_unreturned_uids(set(uid_group) - {summary.uid for summary in summaries})
        skipped_mails = [skipped_mail for summary in summaries if (skipped_mail := self._skip_if_too_large(summary))]
        too_large_uids, wanted_summaries = {skipped_mail.summary.uid for skipped_mail in skipped_mails}, []
        fitting_summaries = [summary for summary in summaries if summary.uid not in too_large_uids]
        for summary, header in parse_mail_headers(self.opener_pool, store_batch, fitting_summaries, fields):
            rejected_mail = self._skip_if_rejected_by_rules(summary, header, has_header_fields=bool(fields))
            if rejected_mail is None:
                wanted_summaries.append(summary)
            else:
                skipped_mails.append(rejected_mail)
        self._add_skipped_mails(skipped_mails, store_batch)
        return wanted_summaries

    def _skip_if_too_large(self, summary: MessageSummary) -> SkippedMail | None:
        if summary.size <= self.settings.megabytes * MEGABYTE:
            return None
        reason = f"it has {summary.size} bytes, more than the limit of {self.settings.megabytes} MB (megabytes)"
        return SkippedMail(summary, "too_large", reason)

    def _skip_if_rejected_by_rules(
        self, summary: MessageSummary, header: MailHeader | None, *, has_header_fields: bool
    ) -> SkippedMail | None:
        """Return why the rules skip a mail, by its header; one with an unreadable header is fetched and quarantined."""
        if header is None:
            return None
        facts = MailFacts(header.sender, header.recipients, header.subject, summary.received_at)
        decision = apply_rules(self.settings, facts, self.now)
        if decision is None or decision.is_taken:
            return None
        outcome: MailOutcome = "waiting" if is_taken_when_older(self.settings, facts, self.now) else "skipped"
        return SkippedMail(summary, outcome, decision.reason, header if has_header_fields else None)

    def _add_skipped_mails(self, skipped_mails: Sequence[SkippedMail], store_batch: StoreBatch) -> None:
        """Add arrivals for these mails to the page, with sender, subject and Message-ID, unless they are recorded."""
        unrecorded_mails = [mail for mail in skipped_mails if not self._is_recorded(mail.summary.uid, mail.outcome)]
        self.scan_state.known_count += len(skipped_mails) - len(unrecorded_mails)
        headers = self._fetch_identifying_headers(
            [mail.summary.uid for mail in unrecorded_mails if mail.header is None], store_batch
        )
        for mail in unrecorded_mails:
            header = mail.header or headers.get(mail.summary.uid)
            self._add_arrival(
                build_unfetched_arrival(self._mailbox_folder, mail.summary, mail.outcome, mail.reason, header)
            )
            if mail.outcome == "too_large":
                self.scan_state.remarks.append(
                    f"the mail {self.folder_name!r};UID={mail.summary.uid} is not collected: {mail.reason}"
                )

    def _fetch_identifying_headers(
        self, uids: Collection[int], store_batch: StoreBatch
    ) -> dict[int, MailHeader | None]:
        """Return the identifying headers of mails that are not fetched, as far as the server returns them."""
        requested_uids = sorted(set(uids) - set(self._fetch_last_uids))
        try:
            summaries = (
                list(self.session.fetch_message_summaries(requested_uids, IDENTIFYING_FIELDS)) if requested_uids else []
            )
        except TransientError as error:
            if self.session.is_closed:
                self.scan_state.fetch_last.setdefault(self.folder_name, set()).update(requested_uids)
            if self.session.is_closed or error.retry_after is not None:
                raise
            return {}
        return {
            summary.uid: header
            for summary, header in parse_mail_headers(self.opener_pool, store_batch, summaries, IDENTIFYING_FIELDS)
        }

    def _fetch_bodies(self, summaries: Sequence[MessageSummary]) -> Iterator[FetchedMail]:
        """Yield these mails with their bodies; those that the server does not return are then fetched one by one."""
        missing_summaries = {summary.uid: summary for summary in summaries}
        try:
            for uid, content in self.session.fetch_bodies(list(missing_summaries)):
                if content or not missing_summaries[uid].size:
                    yield FetchedMail(missing_summaries.pop(uid), content)
        except TransientError as error:
            if error.retry_after is not None:  # the server throttles; no mail is the cause
                raise
            if self.session.is_closed:
                self.scan_state.fetch_last.setdefault(self.folder_name, set()).update(missing_summaries)
                raise
        yield from self._fetch_one_by_one(missing_summaries)

    def _fetch_one_by_one(self, summaries_by_uid: Mapping[int, MessageSummary]) -> Iterator[FetchedMail]:
        """Yield these mails with their bodies; one that the server does not return waits and blocks no other."""
        refused_count = 0
        for uid, summary in summaries_by_uid.items():
            try:
                content = self._fetch_body_with_retry(summary)
            except TransientError as error:
                if error.retry_after is not None:
                    raise
                refused_count += 1
                self._add_refused_mail(summary, error)
                if self.session.is_closed or (
                    refused_count >= _MAX_CONSECUTIVE_REFUSALS and uid not in self.retry_uids
                ):
                    raise
                if refused_count >= _MAX_CONSECUTIVE_REFUSALS:
                    return  # the others are recorded for another try, and must not block new mails
                continue
            refused_count = 0
            if content is None:
                self._add_vanished_mails({uid})
            else:
                yield FetchedMail(summary, content)

    def _fetch_body_with_retry(self, summary: MessageSummary) -> bytes | None:
        """Return a body, after at most two attempts; None if the mail no longer exists."""
        for attempts_left in reversed(range(_MAX_FETCH_ATTEMPTS)):
            try:
                return self._fetch_body(summary)
            except TransientError as error:
                if not attempts_left or self.session.is_closed or error.retry_after is not None:
                    raise
        return None

    def _fetch_body(self, summary: MessageSummary) -> bytes | None:
        """Return a body, None if the mail no longer exists; raises TransientError if the server only lists it."""
        content = next((content for _, content in self.session.fetch_bodies([summary.uid])), None)
        if not content and (content is None or summary.size) and summary.uid in self.session.list_uids(summary.uid):
            raise TransientError(_NOT_RETURNED_REASON)
        return content

    @property
    def _mailbox_folder(self) -> MailboxFolder:
        return MailboxFolder(self.source_name, self.settings, self.folder_name, self.uidvalidity)

    def _add_refused_mail(self, summary: MessageSummary, error: TransientError) -> None:
        self.scan_state.refused_uids.setdefault(self.folder_name, set()).add(summary.uid)
        self.scan_state.problems.append(
            f"the mail {self.folder_name!r};UID={summary.uid} cannot be fetched now: {error}"
        )
        self._add_unfetched_mail(summary, "waiting", str(error))

    def _add_arrivals_for_unreturned_uids(self, uids: Collection[int]) -> None:
        """Add arrivals for mails missing in a response: those still listed wait, the others no longer exist."""
        listed_uids = set(uids).intersection(self.session.list_uids(min(uids))) if uids else set()
        for uid in sorted(listed_uids):
            self._add_refused_mail(MessageSummary(uid, 0, None, frozenset(), b""), TransientError(_NOT_RETURNED_REASON))
        self._add_vanished_mails(set(uids) - listed_uids)

    def _add_vanished_mails(self, uids: Collection[int]) -> None:
        """Add arrivals for recorded mails that no longer exist; others were never recorded."""
        for uid in sorted(set(uids) & set(self.retry_uids)):
            self._add_unfetched_mail(MessageSummary(uid, 0, None, frozenset(), b""), "skipped", _GONE_REASON)

    def _is_recorded(self, uid: int, outcome: MailOutcome) -> bool:
        """Return whether the same outcome is already recorded for a mail that is not fetched."""
        return (outcome in ("waiting", "too_large") and uid in self.retry_uids) or self.known_outcomes.get(
            uid
        ) == outcome

    def _add_unfetched_mail(self, summary: MessageSummary, outcome: MailOutcome, reason: str) -> None:
        """Add an arrival for a mail that is not fetched to the page, unless the same outcome is recorded."""
        if self._is_recorded(summary.uid, outcome):
            self.scan_state.known_count += 1
        else:
            self._add_arrival(build_unfetched_arrival(self._mailbox_folder, summary, outcome, reason))

    def _add_arrival(self, arrival: Arrival) -> None:
        self._pending_arrivals.append(arrival)
        if arrival.mail is not None:
            self.scan_state.count_outcome(arrival.mail.outcome)
