"""Downloads what a caller's address points to: only http(s), only where everybody may go, only so many bytes."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from urllib.parse import SplitResult, urljoin, urlsplit

from sandbox.billflowai.refusals import Refused, invalid

REDIRECTS = {301, 302, 303, 307, 308}
MOST_REDIRECTS = 5
SECONDS = 20.0
Address = tuple[str, int]


def fetch(url: str, *, allows_private: bool, most: int) -> bytes:
    """Return the bytes behind an address; blocks for some seconds.

    Raises Refused: VALIDATION for what is no address, INVALID_URL for one that is not allowed, also behind a redirect,
    and FETCH_FAILED where nothing, too much, or anything but a 200 comes.
    """
    deadline = time.monotonic() + SECONDS
    for _ in range(MOST_REDIRECTS + 1):
        parts = checked(url)
        address = _resolved(parts, allows_private=allows_private)
        try:
            status, location, content = _get(parts, address, most, deadline)
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            raise Refused("FETCH_FAILED", f"The file could not be downloaded ({type(error).__name__}).") from None
        if status not in REDIRECTS or not location:
            break
        url = urljoin(url, location)
    if status != 200:
        raise Refused("FETCH_FAILED", f"The file could not be downloaded (status {status}).")
    return content


def checked(url: str) -> SplitResult:
    """Return the parts of an http(s) address with a host; raises Refused."""
    if len(url) > 2_000 or not url.isascii() or not url.isprintable() or " " in url:
        raise invalid("file_url", "is no URL")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise invalid("file_url", "is no URL") from None
    if not parts.scheme:
        raise invalid("file_url", "is no URL")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None or port == 0:
        raise Refused("INVALID_URL", "The URL is not allowed.")
    return parts


def _resolved(parts: SplitResult, *, allows_private: bool) -> Address:
    """Return where to connect to; the name is resolved once, so that it cannot lead elsewhere a moment later."""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Refused("FETCH_FAILED", "The file could not be downloaded (no such host).") from None
    hosts = [str(entry[4][0]) for entry in found]
    if not allows_private and not all(map(is_public, hosts)):
        raise Refused("INVALID_URL", "The URL is not allowed: it leads to a private address.")
    return hosts[0], port


def is_public(host: str) -> bool:
    """Return whether an IP address is one that everybody may go to."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None or address in ipaddress.ip_network("64:ff9b::/96"):
            return is_public(str(inner or ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)))
    return address.is_global and not address.is_multicast


def _get(parts: SplitResult, address: Address, most: int, deadline: float) -> tuple[int, str | None, bytes]:
    timeout = max(0.1, deadline - time.monotonic())
    connection = _Plain(parts, address, timeout) if parts.scheme == "http" else _Secure(parts, address, timeout)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={"User-Agent": "BillflowAI-sandbox", "Accept-Encoding": "identity"})
        answer = connection.getresponse()
        content = _body(answer, most, deadline) if answer.status == 200 else b""
        return answer.status, answer.getheader("location"), content
    finally:
        connection.close()


def _body(answer: http.client.HTTPResponse, most: int, deadline: float) -> bytes:
    pieces, size = [], 0
    while piece := answer.read1(65_536):
        size += len(piece)
        if size > most:
            raise Refused("FETCH_FAILED", "The file is larger than this account may have read.")
        if time.monotonic() > deadline:
            raise TimeoutError
        pieces.append(piece)
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)
    return b"".join(pieces)


class _Plain(http.client.HTTPConnection):
    def __init__(self, parts: SplitResult, address: Address, timeout: float) -> None:
        super().__init__(parts.hostname or "", address[1], timeout=timeout)
        self._address, self._seconds = address, timeout

    def connect(self) -> None:
        self.sock = socket.create_connection(self._address, self._seconds)


class _Secure(http.client.HTTPSConnection):
    def __init__(self, parts: SplitResult, address: Address, timeout: float) -> None:
        super().__init__(parts.hostname or "", address[1], timeout=timeout)
        self._address, self._seconds = address, timeout

    def connect(self) -> None:
        plain = socket.create_connection(self._address, self._seconds)
        self.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=self.host)
