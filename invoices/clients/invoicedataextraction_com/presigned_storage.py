"""The vendor's storage: uploads of parts and downloads of outputs, at URLs that expire in minutes, without credentials.

A URL is used only if it is https, or http on this machine if the API itself is a stand-in on this machine; and only if
its host resolves to a public IP address, which is checked once the connection is open (reliability F-30, F-37).
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping
from functools import partial
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
from invoices.clients.rate_limit_headers import find_retry_after
from invoices.errors import ContractError, InvoicesError, TransientError

_ETAG_PATTERN = re.compile(r'"[\x21\x23-\x7e]{1,200}"')
_NAT64_NETWORK = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_XML_CODE_PATTERN = re.compile(rb"<Code>([A-Za-z]{1,60})</Code>")
_EXPIRED_URL_CODES = {"ExpiredToken", "RequestTimeTooSkewed", "AuthorizationQueryParametersError"}  # S3: 400 or 403
_RETRYABLE_CODES = {"RequestTimeout", "SlowDown", "OperationAborted", "InternalError", "ServiceUnavailable"}


class PresignedStorageClient:
    """Uploads parts to and downloads outputs from the storage of the API at ``base_url``."""

    __slots__ = ("_is_local_api", "_session", "_timeouts")

    def __init__(self, base_url: str, timeouts: Timeouts) -> None:
        self._is_local_api, self._timeouts = urlsplit(base_url).hostname in LOOPBACK_HOSTS, timeouts
        self._session = make_session()  # of its own, so that no credential of the API's session can be sent here

    def upload_part(self, url: str, content: bytes) -> str:
        """Upload a part and return its ETag, with its quotes.

        Raises ExpiredUrl, PartRefused, TransientError (also if there is no ETag that proves the upload), ContractError.
        """
        response = self._send_request(
            requests.Request("PUT", url, data=content), partial(_build_storage_error, PartRefused), MEGABYTE
        )
        etag = response.headers.get("ETag", "").strip()
        if response.body.lstrip().startswith(b"<"):
            code = _extract_xml_error_code(response.body)
            raise TransientError(f"{response.call} succeeded, but its response is an XML error, code {code!r}")
        if not _ETAG_PATTERN.fullmatch(etag):
            raise TransientError(f"{response.call} succeeded, but without a quoted ETag nothing proves the upload")
        return etag

    def download_file(self, url: str, max_bytes: int) -> bytes:
        """Return the complete file; raises ExpiredUrl, TransientError if it may be incomplete, ContractError."""
        response = self._send_request(
            requests.Request("GET", url, headers={"Accept-Encoding": "identity"}),
            partial(_build_storage_error, ContractError),
            max_bytes,
        )
        if not response.is_length_declared:
            raise TransientError(f"{response.call} answered without a length, so the file may be incomplete")
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
        """Raise ContractError for a forbidden URL; the message names the host only, never the signature."""
        try:
            url_parts = urlsplit(url)
            host, _ = url_parts.hostname or "", url_parts.port
        except ValueError:
            raise ContractError("the storage URL is not valid") from None
        is_plain = url.isascii() and url.isprintable() and not set(url) & set(' \\"<>') and "@" not in url_parts.netloc
        is_local = self._is_local_api and host in LOOPBACK_HOSTS
        if not is_plain or not host or not (url_parts.scheme == "https" or (url_parts.scheme == "http" and is_local)):
            raise ContractError(f"the storage URL is not allowed: scheme {url_parts.scheme!r}, host {host!r}")
        if (ip_text := _find_ip_literal(host)) is not None and not self._is_address_allowed(ip_text):
            raise ContractError(f"the storage URL is not allowed: {host!r} is not a public address")

    def _is_address_allowed(self, ip_text: str) -> bool:
        return is_public_address(ip_text) or (self._is_local_api and ipaddress.ip_address(ip_text).is_loopback)


def is_public_address(ip_text: str) -> bool:
    """Return whether an IP address is public; for one that embeds an IPv4 address, that one decides."""
    try:
        address = ipaddress.ip_address(ip_text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        embedded_address = address.ipv4_mapped or address.sixtofour
        if address in _NAT64_NETWORK:
            embedded_address = ipaddress.IPv4Address(address.packed[-4:])
        if embedded_address is not None:
            return is_public_address(str(embedded_address))
    return address.is_global and not address.is_multicast


def _find_ip_literal(host: str) -> str | None:
    """Return the IP address that ``host`` is, in any form that a resolver accepts (``2130706433``), or None."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None


def _build_storage_error(
    refusal_type: type[ContractError], call: ApiCall, status: int, headers: Mapping[str, str], body: bytes
) -> InvoicesError:
    """Return the error for a refused upload or download: it is never about the account or the document."""
    code = _extract_xml_error_code(body)
    message = f"{call} answered {status}" + (f": {code!r}" if code else "")
    if status in (401, 403, 404, 410) or code in _EXPIRED_URL_CODES:
        return ExpiredUrl(f"{message}; the URL has expired")
    if code in _RETRYABLE_CODES:
        return TransientError(message, retry_after=find_retry_after(headers, None))
    if status in error_mapping.RETRYABLE_STATUSES or status >= 500:
        return error_mapping.build_status_error(call, status, headers, body)
    return refusal_type(message)


def _extract_xml_error_code(body: bytes) -> str:
    match = _XML_CODE_PATTERN.search(body[:10_000])
    return match[1].decode() if match else ""
