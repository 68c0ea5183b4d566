"""The line to an IMAP server: IMAPClient's, with a bound on what the server may send and a guard on what we send.

``imaplib`` beneath it reads a literal of whatever size the server names, keeps every untagged response, and sends line
breaks that stand in an argument. Sources: reliability F-10, S-17.
"""

from __future__ import annotations

import base64
import imaplib
import re
import socket
import ssl
from dataclasses import dataclass

from imapclient import IMAPClient, SocketTimeout  # type: ignore[import-untyped]  # the library ships no types

from invoices.clients.watching import Watch
from invoices.errors import ConfigurationError, ContractError
from sources.mailbox.account import MEGABYTE, Account, Limits

LONGEST_LINE = 8 * MEGABYTE  # the UIDs of a million messages, from a server without ESEARCH
SMALL = 16 * MEGABYTE  # for the whole answer to a command that fetches no content
_COST_OF_A_LINE = 128  # in memory, beside its bytes: a million empty lines are not free
_UNASKED = ("EXISTS", "RECENT", "EXPUNGE", "FETCH", "VANISHED", "ESEARCH", "SEARCH", "LIST")
_STATUS = re.compile(rb"\S+ (OK|NO|BAD|BYE|PREAUTH)\b ?(?:\[([A-Za-z0-9/_-]+)[^\]]*\])? ?(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Answer:
    """A status as the server gave it: ``NO``, its code such as ``AUTHENTICATIONFAILED``, and its words."""

    status: str
    code: str
    words: str

    @classmethod
    def read(cls, line: bytes) -> Answer | None:
        """Return the status that a line of the server holds, or None if it holds none."""
        found = _STATUS.match(line.strip())
        if found is None:
            return None
        status, code, words = (part.decode("ascii", "replace") for part in found.groups(b""))
        printable = "".join(character if character.isprintable() else "?" for character in words)
        return cls(status, code.upper(), printable[:200])


class GuardedLine(imaplib.IMAP4):
    """A connection that refuses to send a line break in an argument, and to read more than was allowed.

    ``last`` is the line that the server has sent last. ``begin`` must be called before each command.
    """

    def __init__(self, account: Account, limits: Limits, context: ssl.SSLContext | None, watch: Watch) -> None:
        """Connect, and read the greeting; the whole of it is guarded by ``watch``."""
        self._account, self._limits, self._context, self._watch = account, limits, context, watch
        self._allowance = SMALL
        self.last = b""
        self._secrets: set[bytes] = set()
        super().__init__(account.host, account.port, timeout=limits.connect)

    def begin(self, allowance: int) -> None:
        """Allow the server so many bytes for its answer to the next command, and forget what it told unasked."""
        self._allowance, self.last = allowance, b""
        for name in _UNASKED:
            self.untagged_responses.pop(name, None)

    def hide(self, *secrets: bytes) -> None:
        """Have these left out of what the server says, also as base64: some repeat what they did not understand."""
        self._secrets.update(secrets, (base64.b64encode(secret) for secret in secrets))

    def veiled(self, said: bytes) -> bytes:
        """Return what the server says without what is to be hidden."""
        for secret in sorted(self._secrets - {b""}, key=len, reverse=True):
            said = said.replace(secret, b"(hidden)")
        return said

    def _create_socket(self, timeout: float | None = None) -> socket.socket:
        line = socket.create_connection((self.host, self.port), timeout)
        try:
            self._watch.sending(line)
            line.settimeout(self._limits.silence)
            return line if self._context is None else self._context.wrap_socket(line, server_hostname=self.host)
        except BaseException:
            line.close()
            raise

    def read(self, size: int) -> bytes:
        """Return a literal of ``size`` bytes, complete."""
        self._spend(size)
        data = self.file.read(size)
        if len(data) != size:
            raise self.abort("socket error: EOF")
        return bytes(data)  # type: ignore[arg-type]  # typeshed leaves open that the file could be a text

    def readline(self) -> bytes:
        """Return a line with its end."""
        line: bytes = self.file.readline(min(LONGEST_LINE, self._allowance) + 1)  # type: ignore[assignment]  # as above
        self._spend(len(line) + _COST_OF_A_LINE, LONGEST_LINE)
        self.last = line
        return line

    def send(self, data: bytes) -> None:  # type: ignore[override]  # neither library sends anything else
        """Send one line; raises ConfigurationError, and sends nothing, if it would be more than one."""
        if any(character in data.removesuffix(b"\r\n") for character in b"\r\n\0"):
            raise ConfigurationError(f"{self._account}: a line break in what was to be sent; nothing was sent")
        super().send(data)

    def _spend(self, size: int, most: int | None = None) -> None:
        if size > (self._allowance if most is None else min(self._allowance, most)):
            raise ContractError(f"{self._account}: the server sends more than anybody asked for")
        self._allowance -= size


class GuardedClient(IMAPClient):  # type: ignore[misc]  # the library ships no types
    """IMAPClient over a guarded line, with times as the server gives them, and no record of what is sent."""

    def __init__(self, account: Account, limits: Limits, context: ssl.SSLContext | None, watch: Watch) -> None:
        """Connect, and read the greeting."""
        self._parts = (account, limits, context, watch)
        timeout = SocketTimeout(limits.connect, limits.silence)
        super().__init__(account.host, account.port, ssl=context is not None, ssl_context=context, timeout=timeout)
        self.normalise_times = False
        self._imap.debug = 0  # the library writes each line to a logger otherwise

    def _create_IMAP4(self) -> GuardedLine:
        return GuardedLine(*self._parts)

    @property
    def line(self) -> GuardedLine:
        """The connection beneath."""
        line: GuardedLine = self._imap
        return line
