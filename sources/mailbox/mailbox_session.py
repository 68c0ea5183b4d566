"""A session with one mailbox over IMAP, opened with ``open_session``.

Reading never marks a message as seen. All changes are made by UID, and only the given UIDs are ever expunged: neither
EXPUNGE without UIDs nor CLOSE, which implies it, is used. A session that failed is closed: open another one.
"""

from __future__ import annotations

import contextlib
import imaplib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from invoices.clients.connection_watchdog import ConnectionWatchdog
from invoices.errors import ConfigurationError, ContractError, DocumentError, InvoicesError, TransientError
from sources.mailbox import imap_errors, imap_login, imap_responses
from sources.mailbox.account import Account, ImapLimits, reject_control_characters
from sources.mailbox.imap_client import MAX_SMALL_RESPONSE_BYTES, ParsingImapClient
from sources.mailbox.imap_errors import CommandPurpose
from sources.mailbox.imap_responses import FolderState, ListedFolder, MessageSummary

MAX_UIDS_PER_COMMAND = 200
_TYPICAL_HEADER_BYTES = 16 * 1024  # to estimate the time for a command
_RESPONSE_OVERHEAD_BYTES = 4096
_Result = TypeVar("_Result")


@contextlib.contextmanager
def open_session(account: Account, limits: ImapLimits | None = None) -> Iterator[MailboxSession]:
    """Log in, and log out at the end of the block; no folder is opened yet.

    Raises ConfigurationError (including AccountError: a refused login, which must not be repeated), TransientError
    (busy, throttled or a broken connection; with ``retry_after`` if the server throttles) and ContractError (not IMAP).
    """
    limits = limits or ImapLimits()
    client, token = imap_login.connect_and_log_in(account, limits)
    session = MailboxSession(account, limits, client, token)
    try:
        yield session
    finally:
        session.close()


class MailboxSession:
    """A logged-in session, created by ``open_session``. Every method raises as ``open_session`` does."""

    def __init__(
        self, account: Account, limits: ImapLimits, client: ParsingImapClient, access_token: str | None
    ) -> None:
        """Use a connection that is logged in."""
        self._account, self._limits, self._client, self._access_token = account, limits, client, access_token
        self._folder_state: FolderState | None = None
        self._sizes_by_uid: dict[int, int] = {}
        self._is_closed = False
        self.capabilities: frozenset[str] = self._run_command(
            CommandPurpose.READ,
            "CAPABILITY",
            lambda: frozenset(name.decode("ascii", "replace").upper() for name in client.capabilities()),
        )

    def __repr__(self) -> str:
        """Show the account, without its secrets."""
        return f"MailboxSession({self._account})"

    def close(self) -> None:
        """Log out; nothing in the open folder is changed."""
        if not self._is_closed:
            with contextlib.suppress(InvoicesError):  # nothing depends on LOGOUT
                self._run_command(CommandPurpose.READ, "LOGOUT", self._client.logout, timeout_seconds=5.0)
        self._is_closed = True
        imap_login.close_connection(self._client)

    def list_folders(self) -> list[ListedFolder]:
        """Return all folders of the account, including those that cannot contain messages."""
        return imap_responses.parse_folder_list(
            self._account, self._run_command(CommandPurpose.READ, "LIST", self._client.list_folders)
        )

    def open_folder_read_only(self, folder: str) -> FolderState:
        """Open a folder with EXAMINE, so that nothing in it can be changed, and return its state."""
        return self._open_folder(folder, is_read_only=True)

    def open_folder_read_write(self, folder: str) -> FolderState:
        """Open a folder with SELECT; ``is_read_only`` of its state is true if the server allows no changes."""
        return self._open_folder(folder, is_read_only=False)

    def list_uids(self, first_uid: int = 1) -> list[int]:
        """Return the UIDs from ``first_uid`` on in the open folder, ascending.

        With ESEARCH the response is short, however many there are. ``n:*`` includes the last message even if its UID is
        below n (RFC 3501 §6.4.8), so lower UIDs are removed.
        """
        state, uid_range, esearch_response = self._get_open_folder(), f"{max(first_uid, 1)}:*", None
        if "ESEARCH" in self.capabilities:
            esearch_response = self._run_command(
                CommandPurpose.READ, "SEARCH", lambda: self._run_esearch_command(uid_range)
            )
        if esearch_response is not None:
            uids = imap_responses.parse_esearch_uids(self._account, esearch_response, state.message_count)
        else:
            uids = self._run_command(
                CommandPurpose.READ, "SEARCH", lambda: list(self._client.search(["UID", uid_range]))
            )
        return sorted({uid for uid in uids if uid >= first_uid})

    def list_all_uids(self) -> list[int]:
        """Return all UIDs of the open folder, ascending."""
        return self.list_uids(1)

    @property
    def is_closed(self) -> bool:
        """Whether no command can be sent any more, because the connection broke or a response was invalid."""
        return self._is_closed

    def fetch_message_summaries(
        self, uids: Iterable[int], fields: Sequence[str] | None = None
    ) -> Iterator[MessageSummary]:
        """Yield size, time, flags and header of these messages.

        Messages that no longer exist, or to which the server's response is invalid, are left out. The header is cut
        after ``ImapLimits.max_header_bytes``. ``fields`` are the names of the header fields to fetch, never taken from
        a mail. None fetches all fields; with an empty sequence the header is empty, which costs the server least.
        """
        fetch_items = ["RFC822.SIZE", "INTERNALDATE", "FLAGS"]
        if fields is None or fields:
            header_section = "HEADER" if fields is None else f"HEADER.FIELDS ({' '.join(fields)})"
            fetch_items.append(f"BODY.PEEK[{header_section}]<0.{self._limits.max_header_bytes}>")
        for uid_group in _group_uids(uids):
            max_response_bytes = len(uid_group) * (self._limits.max_header_bytes + _RESPONSE_OVERHEAD_BYTES)
            fetch_response = self._run_fetch_command(
                uid_group, fetch_items, max_response_bytes, len(uid_group) * _TYPICAL_HEADER_BYTES
            )
            for summary in imap_responses.parse_message_summaries(
                uid_group, fetch_response, is_without_header=len(fetch_items) == 3
            ):
                self._sizes_by_uid[summary.uid] = summary.size
                yield summary

    def fetch_bodies(self, uids: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Yield UID and complete content of these messages, unchanged.

        Messages that no longer exist, or to which the server's response is invalid, are left out.
        About ``ImapLimits.max_batch_bytes`` are in memory at a time. Raises DocumentError ("too_large") for a message
        larger than ``ImapLimits.max_message_bytes`` before any of it is fetched: check the size in its summary first.
        """
        for uid_group in _group_uids(uids):
            sizes_by_uid = self._fetch_message_sizes(uid_group)
            for uid_batch in imap_responses.group_uids_by_size(sizes_by_uid, self._limits.max_batch_bytes):
                yield from self._fetch_body_batch(uid_batch, sum(sizes_by_uid[uid] for uid in uid_batch))

    def mark_seen(self, uids: Iterable[int]) -> None:
        r"""Set ``\Seen``."""
        self._store_flag(uids, r"\Seen")

    def set_flag(self, uids: Iterable[int], flag: str = r"\Flagged") -> None:
        r"""Set a flag or a keyword; raises ConfigurationError if the folder does not store it."""
        imap_responses.validate_flag_name(self._account, flag)
        self._store_flag(uids, flag)

    def move_messages(self, uids: Iterable[int], target_folder: str) -> bool:
        r"""Move messages; return False if the server can neither MOVE nor expunge by UID: then they are only flagged.

        Without MOVE they are copied, marked ``\Deleted`` and removed by UID EXPUNGE (RFC 4315), which removes no other.
        """
        if not self.capabilities & {"MOVE", "UIDPLUS"}:
            self.set_flag(uids)
            return False
        self._get_writable_folder()
        reject_control_characters(target_folder, f"{self._account}: the name of the folder")
        for uid_group in _group_uids(uids):
            if "MOVE" in self.capabilities:
                self._run_command(
                    CommandPurpose.CHANGE,
                    f"MOVE to {target_folder!r}",
                    partial(self._client.move, uid_group, target_folder),
                )
            else:
                self._run_command(
                    CommandPurpose.CHANGE,
                    f"COPY to {target_folder!r}",
                    partial(self._client.copy, uid_group, target_folder),
                )
                self.delete_messages(uid_group)
        return True

    def delete_messages(self, uids: Iterable[int]) -> bool:
        r"""Delete messages; return False if the server cannot expunge by UID and they are only marked ``\Deleted``."""
        can_expunge = "UIDPLUS" in self.capabilities
        for uid_group in _group_uids(uids):
            self._store_flag(uid_group, r"\Deleted")
            if can_expunge:
                self._run_command(CommandPurpose.CHANGE, "UID EXPUNGE", partial(self._client.uid_expunge, uid_group))
        return can_expunge

    def _open_folder(self, folder: str, *, is_read_only: bool) -> FolderState:
        reject_control_characters(folder, f"{self._account}: the name of the folder")
        self._folder_state, self._sizes_by_uid = None, {}
        command = "EXAMINE" if is_read_only else "SELECT"
        response = self._run_command(
            CommandPurpose.OPEN_FOLDER, f"{command} {folder!r}", lambda: self._try_select_folder(folder, is_read_only)
        )
        if response is None:
            return self._open_folder(folder, is_read_only=True)
        self._folder_state = imap_responses.parse_folder_state(
            self._account, folder, response, is_read_only=is_read_only
        )
        return self._folder_state

    def _try_select_folder(self, folder: str, is_read_only: bool) -> Mapping[bytes, Any] | None:
        try:
            response: Mapping[bytes, Any] = self._client.select_folder(folder, readonly=is_read_only)
        except imaplib.IMAP4.readonly:
            return None
        return response

    def _run_esearch_command(self, uid_range: str) -> bytes | None:
        """Return the ESEARCH response, which exists even if nothing is found (RFC 4731 §3.1), or None."""
        status, data = self._client.raw_client.uid("SEARCH", "RETURN", "(ALL)", "UID", uid_range)
        if status != "OK":
            raise imaplib.IMAP4.error(data[-1])
        response = self._client.raw_client.response("ESEARCH")[1]
        return response[-1] if response and isinstance(response[-1], bytes) else None

    def _fetch_body_batch(self, uids: Sequence[int], announced_bytes: int) -> Iterator[tuple[int, bytes]]:
        fetch_response = self._run_fetch_command(
            uids,
            ["BODY.PEEK[]"],
            announced_bytes + self._limits.max_message_bytes + MAX_SMALL_RESPONSE_BYTES,
            announced_bytes,
        )
        for uid in uids:
            body = imap_responses.find_message_content(fetch_response.pop(uid, {}), b"BODY[]")
            if body is not None:
                yield uid, body

    def _fetch_message_sizes(self, uids: Sequence[int]) -> dict[int, int]:
        """Return the sizes that the server announces; messages without a valid one are left out."""
        unknown_uids = [uid for uid in uids if uid not in self._sizes_by_uid]
        fetch_response = (
            self._run_fetch_command(unknown_uids, ["RFC822.SIZE"], MAX_SMALL_RESPONSE_BYTES) if unknown_uids else {}
        )
        self._sizes_by_uid.update(imap_responses.parse_message_sizes(unknown_uids, fetch_response))
        for uid in uids:
            if self._sizes_by_uid.get(uid, 0) > self._limits.max_message_bytes:
                message = f"{self._account}: message {uid} has {self._sizes_by_uid[uid]} bytes, more than the limit"
                raise DocumentError(message, reason_code="too_large")
        return {uid: self._sizes_by_uid[uid] for uid in uids if uid in self._sizes_by_uid}

    def _run_fetch_command(
        self, uids: Sequence[int], fetch_items: Sequence[str], max_response_bytes: int, expected_bytes: int = 0
    ) -> dict[int, dict[bytes, Any]]:
        self._get_open_folder()
        timeout_seconds = self._limits.command_seconds + expected_bytes / self._limits.min_bytes_per_second
        return self._run_command(
            CommandPurpose.READ,
            "FETCH",
            lambda: self._client.fetch_valid_messages(uids, fetch_items),
            max_response_bytes,
            timeout_seconds,
        )

    def _store_flag(self, uids: Iterable[int], flag: str) -> None:
        state = self._get_writable_folder()
        if not state.can_store_flag(flag):
            raise ConfigurationError(f"{self._account}: the folder {state.name!r} does not store the flag {flag!r}")
        for uid_group in _group_uids(uids):
            self._run_command(
                CommandPurpose.CHANGE, f"STORE {flag}", partial(self._client.add_flags, uid_group, [flag], silent=True)
            )

    def _get_open_folder(self) -> FolderState:
        if self._folder_state is None:
            raise RuntimeError("no folder is open; open one first")
        return self._folder_state

    def _get_writable_folder(self) -> FolderState:
        state = self._get_open_folder()
        if state.is_read_only:
            raise ConfigurationError(
                f"{self._account}: the folder {state.name!r} is read-only, so its mails cannot be marked, moved or "
                "deleted; set after = 'keep', or ask for the right to write"
            )
        return state

    def _run_command(
        self,
        purpose: CommandPurpose,
        command_label: str,
        command: Callable[[], _Result],
        max_response_bytes: int = MAX_SMALL_RESPONSE_BYTES,
        timeout_seconds: float | None = None,
    ) -> _Result:
        """Run one command within its limits of time and size, and return the response as the library parsed it."""
        if self._is_closed:
            raise TransientError(f"{self._account}: the session is closed")
        raw_client = self._client.raw_client
        with ConnectionWatchdog(timeout_seconds or self._limits.command_seconds) as watch:
            try:
                raw_client.prepare_command(max_response_bytes)
                watch.check_and_record_send(raw_client.socket())
                return command()
            except InvoicesError:
                self._is_closed = True
                raise
            except imap_login.COMMAND_ERRORS as error:
                raise self._handle_command_failure(
                    purpose, command_label, TimeoutError() if watch.has_expired else error
                ) from None

    def _handle_command_failure(self, purpose: CommandPurpose, command_label: str, error: Exception) -> InvoicesError:
        """Return our error, and close the session unless the server only answered NO."""
        status_response = imap_login.find_last_status(self._client.raw_client)
        mapped_error = imap_login.build_command_error(
            self._account, purpose, command_label, error, self._client.raw_client
        )
        self._is_closed = status_response is None or status_response.status != "NO" or isinstance(error, OSError)
        if (
            self._access_token is not None
            and self._account.token_provider is not None
            and imap_errors.is_token_expired(status_response)
        ):
            self._account.token_provider.discard_token(self._access_token)
            self._is_closed = True
            return TransientError(
                f"{self._account}: the access token has expired; a new one is requested", retry_after=0.0
            )
        return mapped_error


def _group_uids(uids: Iterable[int]) -> Iterator[list[int]]:
    """Yield UIDs in groups for one command each; raises ContractError for numbers that cannot be UIDs."""
    uid_list = list(uids)
    if any(not 0 < uid < 2**32 for uid in uid_list):
        raise ContractError("a UID is a number from 1 to 2^32 - 1 (RFC 3501 §2.3.1.1)")
    for start in range(0, len(uid_list), MAX_UIDS_PER_COMMAND):
        yield uid_list[start : start + MAX_UIDS_PER_COMMAND]
