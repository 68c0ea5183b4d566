"""The vendor's storage: parts go to and outputs come from addresses that are good for minutes, and no key goes along.

An address is asked only if it is https, or http on this machine where the API itself is a stand-in on this machine;
and only if its name leads to a public address, which is looked at when the line stands (reliability F-30, F-37).
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

import requests

from invoices.clients import error_mapping
from invoices.clients.error_mapping import ApiCall
from invoices.clients.http_client import (
    LOOPBACK_HOSTS,
    MEGABYTE,
    ApiResponse,
    ErrorMapper,
    Timeouts,
    make_session,
    send_request_once,
)
from invoices.clients.invoicedataextraction_com.errors import ExpiredUrl, PartRefused
from invoices.errors import ContractError, InvoicesError, TransientError

_ETAG_PATTERN = re.compile(r'"[\x21\x23-\x7e]{1,200}"')
_NAT64_NETWORK = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_XML_CODE_PATTERN = re.compile(rb"<Code>([A-Za-z]{1,60})</Code>")
_EXPIRED_URL_CODES = {
    "ExpiredToken",
    "RequestTimeTooSkewed",
    "AuthorizationQueryParametersError",
}  # S3 answers 400 or 403
_RETRYABLE_CODES = {"RequestTimeout", "SlowDown", "OperationAborted", "InternalError", "ServiceUnavailable"}


class PresignedStorageClient:
    """Where parts are put and outputs are fetched, seen from an API at ``base_url``."""

    __slots__ = ("_is_local_api", "_session", "_timeouts")

    def __init__(self, base_url: str, timeouts: Timeouts) -> None:
        self._is_local_api, self._timeouts = urlsplit(base_url).hostname in LOOPBACK_HOSTS, timeouts
        self._session = make_session()  # not the API's: nothing that is sent there can get here

    def upload_part(self, url: str, content: bytes) -> str:
        """Return the ETag of the stored part, with its quotes; raises TransientError where there is none to trust."""
        response = self._send_request(requests.Request("PUT", url, data=content), _build_upload_error, MEGABYTE)
        etag = response.headers.get("ETag", "").strip()
        if response.body.lstrip().startswith(b"<"):
            raise TransientError(
                f"{response.call} answered success with an error in it: {_extract_xml_error_code(response.body)!r}"
            )
        if not _ETAG_PATTERN.fullmatch(etag):
            raise TransientError(f"{response.call} answered success without a quoted ETag: nothing proves the part")
        return etag

    def download_file(self, url: str, max_bytes: int) -> bytes:
        """Return what lies there, whole; raises TransientError where it may be cut, ExpiredUrl where it is refused."""
        response = self._send_request(
            requests.Request("GET", url, headers={"Accept-Encoding": "identity"}), _build_download_error, max_bytes
        )
        if not response.is_length_declared:
            raise TransientError(f"{response.call} does not tell whether its answer is complete")
        return response.body

    def _send_request(self, request: requests.Request, map_error: ErrorMapper, max_bytes: int) -> ApiResponse:
        self._check_storage_url(str(request.url))
        return send_request_once(
            self._session,
            request,
            self._timeouts,
            (),
            max_bytes,
            map_error,
            is_address_allowed=self._is_address_allowed,
        )

    def _check_storage_url(self, url: str) -> None:
        """Raise ContractError for an address that must not be asked; the host alone is told, never the signature."""
        try:
            url_parts = urlsplit(url)
            host, _ = url_parts.hostname or "", url_parts.port
        except ValueError:
            raise ContractError("the storage is said to be at an unreadable address") from None
        is_plain = url.isascii() and url.isprintable() and not set(url) & set(' \\"<>') and "@" not in url_parts.netloc
        is_local = self._is_local_api and host in LOOPBACK_HOSTS
        if not is_plain or not host or not (url_parts.scheme == "https" or (url_parts.scheme == "http" and is_local)):
            raise ContractError(f"the storage is said to be at {host!r} by {url_parts.scheme!r}, which is not asked")
        if (ip_text := _find_ip_literal(host)) is not None and not self._is_address_allowed(ip_text):
            raise ContractError(f"the storage is said to be at {host!r}, which is not a public address")

    def _is_address_allowed(self, ip_text: str) -> bool:
        return is_public_address(ip_text) or (self._is_local_api and ipaddress.ip_address(ip_text).is_loopback)


def is_public_address(ip_text: str) -> bool:
    """Return whether an IP address is anybody's, also where it wraps another one."""
    try:
        address = ipaddress.ip_address(ip_text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        embedded_address = address.ipv4_mapped or address.sixtofour or _find_nat64_ipv4_address(address)
        return (
            is_public_address(str(embedded_address))
            if embedded_address
            else address.is_global and not address.is_multicast
        )
    return address.is_global and not address.is_multicast


def _find_nat64_ipv4_address(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    return ipaddress.IPv4Address(address.packed[-4:]) if address in _NAT64_NETWORK else None


def _find_ip_literal(host: str) -> str | None:
    """Return the IP address that a host is, in any form that a resolver takes for one (``2130706433``), or None."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None


def _build_upload_error(call: ApiCall, status: int, headers: Mapping[str, str], body: bytes) -> InvoicesError:
    """A refused part says nothing about the account or the document: another address, or the same part again."""
    return _find_storage_error(call, status, headers, body) or PartRefused(
        f"{call} answered {status}: {_extract_xml_error_code(body)!r}"
    )


def _build_download_error(call: ApiCall, status: int, headers: Mapping[str, str], body: bytes) -> InvoicesError:
    return _find_storage_error(call, status, headers, body) or ContractError(
        f"{call} answered {status}: {_extract_xml_error_code(body)!r}"
    )


def _find_storage_error(call: ApiCall, status: int, headers: Mapping[str, str], body: bytes) -> InvoicesError | None:
    code = _extract_xml_error_code(body)
    if status in (401, 403, 404, 410) or code in _EXPIRED_URL_CODES:
        return ExpiredUrl(f"{call} answered {status}: {code!r}; the address has expired")
    if code in _RETRYABLE_CODES:
        return TransientError(f"{call} answered {status}: {code!r}")
    return (
        error_mapping.build_status_error(call, status, headers, body)
        if status in (408, 425, 429) or status >= 500
        else None
    )


def _extract_xml_error_code(body: bytes) -> str:
    match = _XML_CODE_PATTERN.search(body[:10_000])
    return match[1].decode() if match else ""
