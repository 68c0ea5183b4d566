"""The connection to an IMAP server: IMAPClient with limits on what the server may send and checks on what we send.

``imaplib`` alone reads a literal of any size that the server announces, keeps every untagged response, and sends line
breaks inside arguments. Sources: reliability F-10, S-17.
"""

from __future__ import annotations

import base64
import imaplib
import re
import socket
import ssl
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from imapclient import IMAPClient, SocketTimeout  # type: ignore[import-untyped]  # the library ships no types
from imapclient.response_parser import parse_fetch_response  # type: ignore[import-untyped]  # as above

from invoices.clients.connection_watchdog import ConnectionWatchdog
from invoices.errors import ConfigurationError, ContractError
from sources.mailbox.account import MEGABYTE, Account, ImapLimits

MAX_LINE_BYTES = 8 * MEGABYTE  # the UIDs of a million messages, from a server without ESEARCH
MAX_SMALL_RESPONSE_BYTES = 16 * MEGABYTE  # for the whole response to a command that fetches no content
_LINE_OVERHEAD_BYTES = 128  # memory per line beside its bytes: a million empty lines are not free
_UNSOLICITED_RESPONSES = ("EXISTS", "RECENT", "EXPUNGE", "FETCH", "VANISHED", "ESEARCH", "SEARCH", "LIST")
_STATUS_PATTERN = re.compile(rb"\S+ (OK|NO|BAD|BYE|PREAUTH)\b ?(?:\[([A-Za-z0-9/_-]++)[^\]]*+\])? ?(.*)", re.DOTALL)
_INTERNAL_DATE_PATTERN = re.compile(rb'INTERNALDATE (?:"[^"\r\n]*"|[^\s()"]+)', re.IGNORECASE)
# What imaplib and IMAPClient raise on invalid responses: neither checks everything that it reads.
INVALID_RESPONSE_ERRORS = (
    ValueError, TypeError, LookupError, AttributeError, AssertionError, ArithmeticError, RecursionError
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StatusResponse:
    """A status response of the server: ``NO``, for example, a code such as ``AUTHENTICATIONFAILED``, and its text."""

    status: str
    code: str
    text: str

    @classmethod
    def find_in_line(cls, line: bytes) -> StatusResponse | None:
        """Return the status response in a line from the server, or None if there is none."""
        match = _STATUS_PATTERN.match(line.strip())
        if match is None:
            return None
        status, code, text = (part.decode("ascii", "replace") for part in match.groups(b""))
        printable = "".join(character if character.isprintable() else "?" for character in text)
        return cls(status, code.upper(), printable[:200])


class BoundedImapClient(imaplib.IMAP4):
    """A connection that refuses to send a line break in an argument, or to read more bytes than allowed.

    ``last_line`` is the last line that the server sent. Call ``prepare_command`` before each command.
    """

    def __init__(
        self, account: Account, limits: ImapLimits, tls_context: ssl.SSLContext | None, watch: ConnectionWatchdog
    ) -> None:
        """Connect and read the greeting; ``watch`` limits the time for both."""
        self._account, self._limits, self._tls_context, self._watch = account, limits, tls_context, watch
        self._remaining_bytes = MAX_SMALL_RESPONSE_BYTES
        self.last_line = b""
        self._secrets: set[bytes] = set()
        super().__init__(account.host, account.port, timeout=limits.connect_seconds)

    def prepare_command(self, max_response_bytes: int) -> None:
        """Allow ``max_response_bytes`` for the response to the next command, and discard unsolicited responses."""
        self._remaining_bytes, self.last_line = max_response_bytes, b""
        for name in _UNSOLICITED_RESPONSES:
            self.untagged_responses.pop(name, None)

    def register_secrets(self, *secrets: bytes) -> None:
        """Hide these in responses, also as base64: some servers repeat commands that they did not understand."""
        self._secrets.update(secrets, (base64.b64encode(secret) for secret in secrets))

    def redact_secrets(self, response: bytes) -> bytes:
        """Return a response with every registered secret replaced by ``(hidden)``."""
        for secret in sorted(self._secrets - {b""}, key=len, reverse=True):
            response = response.replace(secret, b"(hidden)")
        return response

    def _create_socket(self, timeout: float | None = None) -> socket.socket:
        connection = socket.create_connection((self.host, self.port), timeout)
        try:
            self._watch.check_and_record_send(connection)
            connection.settimeout(self._limits.read_seconds)
            return (
                connection
                if self._tls_context is None
                else self._tls_context.wrap_socket(connection, server_hostname=self.host)
            )
        except BaseException:
            connection.close()
            raise

    def read(self, size: int) -> bytes:
        """Return a literal of ``size`` bytes, complete."""
        self._consume_response_allowance(size)
        data = self.file.read(size)
        if len(data) != size:
            raise self.abort("socket error: EOF")
        return bytes(data)  # type: ignore[arg-type]  # typeshed allows a text file here

    def readline(self) -> bytes:
        """Return a line with its line end."""
        line: bytes = self.file.readline(min(MAX_LINE_BYTES, self._remaining_bytes) + 1)  # type: ignore[assignment]  # as above
        self._consume_response_allowance(len(line) + _LINE_OVERHEAD_BYTES, MAX_LINE_BYTES)
        self.last_line = line
        return line

    def send(self, data: bytes) -> None:  # type: ignore[override]  # neither library sends anything else
        """Send one line; raises ConfigurationError and sends nothing if it contains a line break."""
        if any(character in data.removesuffix(b"\r\n") for character in b"\r\n\0"):
            raise ConfigurationError(f"{self._account}: a value to be sent contains a line break; nothing was sent")
        super().send(data)

    def _consume_response_allowance(self, size: int, max_size: int | None = None) -> None:
        if size > (self._remaining_bytes if max_size is None else min(self._remaining_bytes, max_size)):
            raise ContractError(f"{self._account}: the server sent more data than was requested")
        self._remaining_bytes -= size


class ParsingImapClient(IMAPClient):  # type: ignore[misc]  # the library ships no types
    """IMAPClient over a BoundedImapClient, with times as the server sends them and without a log of what is sent."""

    def __init__(
        self, account: Account, limits: ImapLimits, tls_context: ssl.SSLContext | None, watch: ConnectionWatchdog
    ) -> None:
        """Connect and read the greeting."""
        self._connection_arguments = (account, limits, tls_context, watch)
        timeout = SocketTimeout(limits.connect_seconds, limits.read_seconds)
        super().__init__(
            account.host, account.port, ssl=tls_context is not None, ssl_context=tls_context, timeout=timeout
        )
        self.normalise_times = False
        self._imap.debug = 0  # otherwise the library logs each line

    def _create_IMAP4(self) -> BoundedImapClient:
        return BoundedImapClient(*self._connection_arguments)

    def fetch_valid_messages(self, uids: Sequence[int], fetch_items: Sequence[str]) -> dict[int, dict[bytes, Any]]:
        """Return the items of these messages by UID, as far as the response to a message is valid.

        Each response to a message is parsed alone, so that an invalid one only leaves out its message. An invalid
        INTERNALDATE is None, and the other items of its message count.
        """
        status, data = self.raw_client.uid("FETCH", ",".join(map(str, uids)), f"({' '.join(fetch_items)})")
        if status != "OK":
            raise imaplib.IMAP4.error(data[-1])
        messages: dict[int, dict[bytes, Any]] = {}
        for message_response in _split_by_message(item for item in data if item is not None):
            for uid, items in _parse_message_response(message_response).items():
                messages.setdefault(uid, {}).update(items)
        return messages

    @property
    def raw_client(self) -> BoundedImapClient:
        """The underlying connection."""
        raw_client: BoundedImapClient = self._imap
        return raw_client


def _split_by_message(response: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield the response to each message: a pair of text and content per literal, and the text after the last."""
    message_response: list[Any] = []
    for part in response:
        message_response.append(part)
        if isinstance(part, bytes):
            yield message_response
            message_response = []


def _parse_message_response(message_response: Sequence[Any]) -> dict[int, dict[bytes, Any]]:
    """Return the items of one message under its UID, or nothing if its response is invalid."""
    dateless_response = [
        _INTERNAL_DATE_PATTERN.sub(b"INTERNALDATE NIL", part)
        if isinstance(part, bytes)
        else (_INTERNAL_DATE_PATTERN.sub(b"INTERNALDATE NIL", part[0]), *part[1:])
        for part in message_response
    ]
    for candidate in (message_response, dateless_response):
        try:
            return dict(parse_fetch_response(candidate, normalise_times=False))
        except (imaplib.IMAP4.error, *INVALID_RESPONSE_ERRORS):
            continue
    return {}
