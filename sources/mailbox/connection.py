"""A session with one mailbox over IMAP: ``open_session`` gives it, logged in.

Reading never marks a message as seen. What is changed is changed by UID, and nothing is ever expunged but the UIDs
named: there is no EXPUNGE without UIDs, and no CLOSE, which is one. A failed session is over: open another one.
"""

from __future__ import annotations

import contextlib
import imaplib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from invoices.clients.watching import Watch
from invoices.errors import ConfigurationError, ContractError, DocumentError, InvoicesError, TransientError
from sources.mailbox import answers, opening, refusals
from sources.mailbox.account import Account, Limits, checked
from sources.mailbox.answers import FolderInfo, FolderState, HeaderOf
from sources.mailbox.line import SMALL, GuardedClient
from sources.mailbox.refusals import Asked

UIDS_AT_ONCE = 200  # in one command
_USUAL_HEADER = 16 * 1024  # bytes, when it comes to time
_REST_OF_A_LINE = 4096
_Answer = TypeVar("_Answer")


@contextlib.contextmanager
def open_session(account: Account, limits: Limits | None = None) -> Iterator[Session]:
    """Log in, and hang up at the end of the block; no folder is opened yet.

    Raises ConfigurationError (also AccountError: a refused login, which nobody should repeat), TransientError (busy,
    throttled, a broken line; with ``retry_after`` where it wants to be left alone) and ContractError (not IMAP).
    """
    limits = limits or Limits()
    client, token = opening.connected(account, limits)
    session = Session(account, limits, client, token)
    try:
        yield session
    finally:
        session.close()


class Session:
    """A line to a mailbox, logged in; made by ``open_session``. Every method raises as ``open_session`` does."""

    def __init__(self, account: Account, limits: Limits, client: GuardedClient, token: str | None) -> None:
        """Take over a connection that is logged in."""
        self._account, self._limits, self._client, self._token = account, limits, client, token
        self._folder: FolderState | None = None
        self._sizes: dict[int, int] = {}
        self._is_over = False
        self.capabilities: frozenset[str] = self._ask(Asked.READ, "CAPABILITY", self._capabilities)

    def __repr__(self) -> str:
        """Show whose it is."""
        return f"Session({self._account})"

    def close(self) -> None:
        """Hang up; a folder's messages stay as they are."""
        if not self._is_over:
            with contextlib.suppress(InvoicesError):  # nothing depends on a polite end
                self._ask(Asked.READ, "LOGOUT", self._client.logout, seconds=5.0)
        self._is_over = True
        opening.hang_up(self._client)

    def folders(self) -> list[FolderInfo]:
        """Return the account's folders, those too that hold no messages themselves."""
        return answers.folders(self._account, self._ask(Asked.READ, "LIST", self._client.list_folders))

    def examine(self, folder: str) -> FolderState:
        """Open a folder for reading alone, so that nothing in it can change, and return its state."""
        return self._open(folder, is_read_only=True)

    def select(self, folder: str) -> FolderState:
        """Open a folder for reading and changing; ``is_read_only`` tells where the server allows no changes."""
        return self._open(folder, is_read_only=False)

    def uids(self, first: int = 1) -> list[int]:
        """Return the UIDs from ``first`` on in the open folder, ascending.

        With ESEARCH the answer to this is short however many there are. ``n:*`` names the last message also where its
        UID is below n (RFC 3501 §6.4.8), so those below are left out.
        """
        state, wanted, data = self._opened(), f"{max(first, 1)}:*", None
        if "ESEARCH" in self.capabilities:
            data = self._ask(Asked.READ, "SEARCH", lambda: self._esearch(wanted))
        if data is not None:
            found = answers.esearch(self._account, data, state.exists)
        else:
            found = self._ask(Asked.READ, "SEARCH", lambda: list(self._client.search(["UID", wanted])))
        return sorted({uid for uid in found if uid >= first})

    def all_uids(self) -> list[int]:
        """Return all UIDs of the open folder, ascending."""
        return self.uids(1)

    @property
    def is_over(self) -> bool:
        """Whether nothing can be asked any more, because the line broke or the other side made no sense."""
        return self._is_over

    def headers(self, uids: Iterable[int], fields: Sequence[str] | None = None) -> Iterator[HeaderOf]:
        """Give size, time, flags and header of these messages; one that is gone meanwhile is left out.

        The header is cut after ``Limits.largest_header`` bytes. ``fields`` are the names of those to fetch, of ours and
        never from a mail; None fetches all, and of no fields the header is empty, which costs the server least.
        """
        items = ["RFC822.SIZE", "INTERNALDATE", "FLAGS"]
        if fields is None or fields:
            part = "HEADER" if fields is None else f"HEADER.FIELDS ({' '.join(fields)})"
            items.append(f"BODY.PEEK[{part}]<0.{self._limits.largest_header}>")
        for group in _groups(uids):
            allowance = len(group) * (self._limits.largest_header + _REST_OF_A_LINE)
            found = self._fetch(group, items, allowance, len(group) * _USUAL_HEADER)
            for header in answers.headers(self._account, group, found, is_bare=len(items) == 3):
                self._sizes[header.uid] = header.size
                yield header

    def bodies(self, uids: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Give these messages whole, byte by byte as the server has them; one that is gone meanwhile is left out.

        About ``Limits.at_once`` bytes are held at a time. Raises DocumentError ("too_large") when it comes to a
        message larger than ``Limits.largest_message``, before any of it is fetched: look at the size in its header.
        """
        for group in _groups(uids):
            sizes = self._sizes_of(group)
            for part in answers.by_bytes(sizes, self._limits.at_once):
                yield from self._bodies(part, sum(sizes[uid] for uid in part))

    def mark_seen(self, uids: Iterable[int]) -> None:
        r"""Set ``\Seen``."""
        self._store(uids, r"\Seen")

    def flag(self, uids: Iterable[int], keyword: str = r"\Flagged") -> None:
        r"""Set a flag or a keyword; raises ConfigurationError where this folder does not keep that keyword."""
        answers.check_keyword(self._account, keyword)
        self._store(uids, keyword)

    def move(self, uids: Iterable[int], folder: str) -> bool:
        r"""Move messages; return False where the server can neither MOVE nor expunge by UID: they are flagged then.

        Without MOVE it is COPY, then ``\Deleted`` and UID EXPUNGE (RFC 4315), which takes away these alone.
        """
        if not self.capabilities & {"MOVE", "UIDPLUS"}:
            self.flag(uids)
            return False
        self._changeable()
        checked(folder, f"{self._account}: the folder's name")
        for group in _groups(uids):
            if "MOVE" in self.capabilities:
                self._ask(Asked.CHANGE, f"MOVE to {folder!r}", partial(self._client.move, group, folder))
            else:
                self._ask(Asked.CHANGE, f"COPY to {folder!r}", partial(self._client.copy, group, folder))
                self.delete(group)
        return True

    def delete(self, uids: Iterable[int]) -> bool:
        r"""Delete messages; return False where the server cannot expunge by UID: they are marked ``\Deleted`` only."""
        can_expunge = "UIDPLUS" in self.capabilities
        for group in _groups(uids):
            self._store(group, r"\Deleted")
            if can_expunge:
                self._ask(Asked.CHANGE, "UID EXPUNGE", partial(self._client.uid_expunge, group))
        return can_expunge

    def _open(self, folder: str, *, is_read_only: bool) -> FolderState:
        checked(folder, f"{self._account}: the folder's name")
        self._folder, self._sizes = None, {}
        command = "EXAMINE" if is_read_only else "SELECT"
        told = self._ask(Asked.CHOOSE, f"{command} {folder!r}", lambda: self._selected(folder, is_read_only))
        if told is None:
            return self._open(folder, is_read_only=True)
        self._folder = answers.folder_state(self._account, folder, told, is_read_only=is_read_only)
        return self._folder

    def _selected(self, folder: str, is_read_only: bool) -> Mapping[bytes, Any] | None:
        try:
            told: Mapping[bytes, Any] = self._client.select_folder(folder, readonly=is_read_only)
        except imaplib.IMAP4.readonly:
            return None
        return told

    def _esearch(self, wanted: str) -> bytes | None:
        """Return the ESEARCH answer, which is there also where nothing fits (RFC 4731 §3.1); else None."""
        status, data = self._client.line.uid("SEARCH", "RETURN", "(ALL)", "UID", wanted)
        if status != "OK":
            raise imaplib.IMAP4.error(data[-1])
        told = self._client.line.response("ESEARCH")[1]
        return told[-1] if told and isinstance(told[-1], bytes) else None

    def _bodies(self, uids: Sequence[int], announced: int) -> Iterator[tuple[int, bytes]]:
        found = self._fetch(uids, ["BODY.PEEK[]"], announced + self._limits.largest_message + SMALL, announced)
        for uid in uids:
            body = answers.content(self._account, uid, found.pop(uid, {}), b"BODY[]")
            if body is not None:
                yield uid, body

    def _sizes_of(self, uids: Sequence[int]) -> dict[int, int]:
        """Return what the server says that these messages weigh; those that are gone are left out."""
        unknown = [uid for uid in uids if uid not in self._sizes]
        found = self._fetch(unknown, ["RFC822.SIZE"], SMALL) if unknown else {}
        self._sizes.update(answers.sizes(self._account, unknown, found))
        for uid in uids:
            if self._sizes.get(uid, 0) > self._limits.largest_message:
                text = f"{self._account}: message {uid} has {self._sizes[uid]} bytes, more than are taken"
                raise DocumentError(text, reason_code="too_large")
        return {uid: self._sizes[uid] for uid in uids if uid in self._sizes}

    def _fetch(
        self, uids: Sequence[int], items: Sequence[str], allowance: int, expected: int = 0
    ) -> dict[int, dict[bytes, Any]]:
        self._opened()
        seconds = self._limits.command + expected / self._limits.slowest
        return self._ask(Asked.READ, "FETCH", lambda: self._client.fetch(uids, items), allowance, seconds)

    def _store(self, uids: Iterable[int], flag: str) -> None:
        state = self._changeable()
        if not state.keeps(flag):
            raise ConfigurationError(f"{self._account}: the folder {state.name!r} does not keep the flag {flag!r}")
        for group in _groups(uids):
            self._ask(Asked.CHANGE, f"STORE {flag}", partial(self._client.add_flags, group, [flag], silent=True))

    def _opened(self) -> FolderState:
        if self._folder is None:
            raise RuntimeError("no folder is open; examine or select one first")
        return self._folder

    def _changeable(self) -> FolderState:
        state = self._opened()
        if state.is_read_only:
            raise ConfigurationError(
                f"{self._account}: the folder {state.name!r} is read-only, so nothing in it can be marked, moved or "
                "deleted; let the mailbox keep its messages (after = 'keep'), or ask for the right to write"
            )
        return state

    def _capabilities(self) -> frozenset[str]:
        return frozenset(name.decode("ascii", "replace").upper() for name in self._client.capabilities())

    def _ask(
        self,
        asked: Asked,
        doing: str,
        command: Callable[[], _Answer],
        allowance: int = SMALL,
        seconds: float | None = None,
    ) -> _Answer:
        """Run one command within its time and its room, and return what the library makes of the answer."""
        if self._is_over:
            raise TransientError(f"{self._account}: this session is over")
        line = self._client.line
        with Watch(seconds or self._limits.command) as watch:
            try:
                line.begin(allowance)
                watch.sending(line.socket())
                return command()
            except InvoicesError:
                self._is_over = True
                raise
            except opening.FAILURES as error:
                raise self._failed(asked, doing, TimeoutError() if watch.has_expired else error) from None

    def _failed(self, asked: Asked, doing: str, error: Exception) -> InvoicesError:
        """Return our error, and end the session unless the server has only said NO."""
        answer = opening.last_answer(self._client.line)
        told = opening.failure(self._account, asked, doing, error, self._client.line)
        self._is_over = answer is None or answer.status != "NO" or isinstance(error, OSError)
        if self._token is not None and self._account.token is not None and refusals.is_expiry(answer):
            self._account.token.discard(self._token)
            self._is_over = True
            return TransientError(f"{self._account}: the access token is over, a new one is asked for", retry_after=0.0)
        return told


def _groups(uids: Iterable[int]) -> Iterator[list[int]]:
    """Give UIDs in groups that one command can name; raises ContractError for what cannot be a UID."""
    wanted = list(uids)
    if any(not 0 < uid < 2**32 for uid in wanted):
        raise ContractError("a UID is a number from 1 to 2^32 - 1 (RFC 3501 §2.3.1.1)")
    for start in range(0, len(wanted), UIDS_AT_ONCE):
        yield wanted[start : start + UIDS_AT_ONCE]
