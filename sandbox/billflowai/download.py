"""Downloads the file of a caller's URL: only http(s), only public addresses, and a limited number of bytes."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from urllib.parse import SplitResult, urljoin, urlsplit

from sandbox.billflowai.errors import ApiError, build_validation_error

REDIRECT_STATUSES = {301, 302, 303, 307, 308}
MAX_REDIRECTS = 5
DOWNLOAD_TIMEOUT_SECONDS = 20.0
SocketAddress = tuple[str, int]


def fetch_file(url: str, *, allow_private_addresses: bool, max_bytes: int) -> bytes:
    """Return the file of a URL; blocks for up to 20 seconds.

    Raises ApiError: VALIDATION for text that is not a URL, INVALID_URL for one that is not allowed (also after a
    redirect), and FETCH_FAILED if there is no answer, more than ``max_bytes``, or a status other than 200.
    """
    deadline = time.monotonic() + DOWNLOAD_TIMEOUT_SECONDS
    for _ in range(MAX_REDIRECTS + 1):
        url_parts = parse_file_url(url)
        address = _resolve_host(url_parts, allow_private_addresses=allow_private_addresses)
        try:
            status, location, content = _send_get_request(url_parts, address, max_bytes, deadline)
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            raise ApiError("FETCH_FAILED", f"The file could not be downloaded ({type(error).__name__}).") from None
        if status not in REDIRECT_STATUSES or not location:
            break
        url = urljoin(url, location)
    if status != 200:
        raise ApiError("FETCH_FAILED", f"The file could not be downloaded (status {status}).")
    return content


def parse_file_url(url: str) -> SplitResult:
    """Return the parts of an http(s) URL with a host; raises ApiError."""
    if len(url) > 2_000 or not url.isascii() or not url.isprintable() or " " in url:
        raise build_validation_error("file_url", "is no URL")
    try:
        url_parts = urlsplit(url)
        port = url_parts.port
    except ValueError:
        raise build_validation_error("file_url", "is no URL") from None
    if not url_parts.scheme:
        raise build_validation_error("file_url", "is no URL")
    if (
        url_parts.scheme not in {"http", "https"}
        or not url_parts.hostname
        or url_parts.username is not None
        or port == 0
    ):
        raise ApiError("INVALID_URL", "The URL is not allowed.")
    return url_parts


def _resolve_host(url_parts: SplitResult, *, allow_private_addresses: bool) -> SocketAddress:
    """Return the address to connect to; the host is resolved only once, so that it cannot change after the check."""
    port = url_parts.port or (443 if url_parts.scheme == "https" else 80)
    try:
        address_infos = socket.getaddrinfo(url_parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ApiError("FETCH_FAILED", "The file could not be downloaded (no such host).") from None
    ip_addresses = [str(info[4][0]) for info in address_infos]
    if not allow_private_addresses and not all(map(is_public_ip_address, ip_addresses)):
        raise ApiError("INVALID_URL", "The URL is not allowed: it leads to a private address.")
    return ip_addresses[0], port


def is_public_ip_address(ip_text: str) -> bool:
    """Return whether an IP address is public: neither private nor multicast, also where IPv6 embeds an IPv4 address."""
    address = ipaddress.ip_address(ip_text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        embedded_ipv4 = address.ipv4_mapped or address.sixtofour
        if embedded_ipv4 is not None or address in ipaddress.ip_network("64:ff9b::/96"):
            return is_public_ip_address(str(embedded_ipv4 or ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)))
    return address.is_global and not address.is_multicast


def _send_get_request(
    url_parts: SplitResult, address: SocketAddress, max_bytes: int, deadline: float
) -> tuple[int, str | None, bytes]:
    timeout = max(0.1, deadline - time.monotonic())
    connection = (
        _PinnedHTTPConnection(url_parts, address, timeout)
        if url_parts.scheme == "http"
        else _PinnedHTTPSConnection(url_parts, address, timeout)
    )
    try:
        target = (url_parts.path or "/") + (f"?{url_parts.query}" if url_parts.query else "")
        connection.request("GET", target, headers={"User-Agent": "BillflowAI-sandbox", "Accept-Encoding": "identity"})
        response = connection.getresponse()
        content = _read_bounded_body(response, max_bytes, deadline) if response.status == 200 else b""
        return response.status, response.getheader("location"), content
    finally:
        connection.close()


def _read_bounded_body(response: http.client.HTTPResponse, max_bytes: int, deadline: float) -> bytes:
    chunks, size = [], 0
    while chunk := response.read1(65_536):
        size += len(chunk)
        if size > max_bytes:
            raise ApiError("FETCH_FAILED", "The file is larger than this account may have read.")
        if time.monotonic() > deadline:
            raise TimeoutError
        chunks.append(chunk)
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return b"".join(chunks)


class _PinnedHTTPConnection(http.client.HTTPConnection):
    def __init__(self, url_parts: SplitResult, address: SocketAddress, timeout: float) -> None:
        super().__init__(url_parts.hostname or "", address[1], timeout=timeout)
        self._pinned_address, self._timeout_seconds = address, timeout

    def connect(self) -> None:
        self.sock = socket.create_connection(self._pinned_address, self._timeout_seconds)


class _PinnedHTTPSConnection(http.client.HTTPSConnection):
    def __init__(self, url_parts: SplitResult, address: SocketAddress, timeout: float) -> None:
        super().__init__(url_parts.hostname or "", address[1], timeout=timeout)
        self._pinned_address, self._timeout_seconds = address, timeout

    def connect(self) -> None:
        plain_socket = socket.create_connection(self._pinned_address, self._timeout_seconds)
        self.sock = ssl.create_default_context().wrap_socket(plain_socket, server_hostname=self.host)
