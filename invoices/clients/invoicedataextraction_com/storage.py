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

from invoices.clients import classification
from invoices.clients.classification import Call
from invoices.clients.invoicedataextraction_com.errors import ExpiredUrl, PartRefused
from invoices.clients.transport import LOOPBACK, MEGABYTE, Judge, Patience, Reply, exchange, make_session
from invoices.errors import ContractError, InvoicesError, TransientError

_E_TAG = re.compile(r'"[\x21\x23-\x7e]{1,200}"')
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_XML_CODE = re.compile(rb"<Code>([A-Za-z]{1,60})</Code>")
_EXPIRED = {"ExpiredToken", "RequestTimeTooSkewed", "AuthorizationQueryParametersError"}  # S3 answers 400 or 403
_LATER = {"RequestTimeout", "SlowDown", "OperationAborted", "InternalError", "ServiceUnavailable"}


class Storage:
    """Where parts are put and outputs are fetched, seen from an API at ``base_url``."""

    __slots__ = ("_is_local", "_patience", "_session")

    def __init__(self, base_url: str, patience: Patience) -> None:
        self._is_local, self._patience = urlsplit(base_url).hostname in LOOPBACK, patience
        self._session = make_session()  # not the API's: nothing that is sent there can get here

    def put(self, url: str, content: bytes) -> str:
        """Return the ETag of the stored part, with its quotes; raises TransientError where there is none to trust."""
        reply = self._exchange(requests.Request("PUT", url, data=content), _of_put, MEGABYTE)
        e_tag = reply.headers.get("ETag", "").strip()
        if reply.body.lstrip().startswith(b"<"):
            raise TransientError(f"{reply.call} answered success with an error in it: {_code(reply.body)!r}")
        if not _E_TAG.fullmatch(e_tag):
            raise TransientError(f"{reply.call} answered success without a quoted ETag: nothing proves the part")
        return e_tag

    def fetch(self, url: str, largest: int) -> bytes:
        """Return what lies there, whole; raises TransientError where it may be cut, ExpiredUrl where it is refused."""
        reply = self._exchange(
            requests.Request("GET", url, headers={"Accept-Encoding": "identity"}), _of_fetch, largest
        )
        if not reply.is_framed:
            raise TransientError(f"{reply.call} does not tell whether its answer is complete")
        return reply.body

    def _exchange(self, request: requests.Request, judge: Judge, largest: int) -> Reply:
        self._check(str(request.url))
        return exchange(self._session, request, self._patience, (), largest, judge, may_speak_with=self._may_speak_with)

    def _check(self, url: str) -> None:
        """Raise ContractError for an address that must not be asked; the host alone is told, never the signature."""
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            raise ContractError("the storage is said to be at an unreadable address") from None
        is_plain = url.isascii() and url.isprintable() and not set(url) & set(' \\"<>') and "@" not in parts.netloc
        is_local = self._is_local and host in LOOPBACK
        if not is_plain or not host or not (parts.scheme == "https" or (parts.scheme == "http" and is_local)):
            raise ContractError(f"the storage is said to be at {host!r} by {parts.scheme!r}, which is not asked")
        if (number := _as_number(host)) is not None and not self._may_speak_with(number):
            raise ContractError(f"the storage is said to be at {host!r}, which is not a public address")

    def _may_speak_with(self, place: str) -> bool:
        return is_public(place) or (self._is_local and ipaddress.ip_address(place).is_loopback)


def is_public(place: str) -> bool:
    """Return whether an IP address is anybody's, also where it wraps another one."""
    try:
        address = ipaddress.ip_address(place)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or _behind_nat64(address)
        return is_public(str(inner)) if inner else address.is_global and not address.is_multicast
    return address.is_global and not address.is_multicast


def _behind_nat64(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    return ipaddress.IPv4Address(address.packed[-4:]) if address in _NAT64 else None


def _as_number(host: str) -> str | None:
    """Return the IP address that a host is, in any form that a resolver takes for one (``2130706433``), or None."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None


def _of_put(call: Call, status: int, headers: Mapping[str, str], body: bytes) -> InvoicesError:
    """A refused part says nothing about the account or the document: another address, or the same part again."""
    return _of_storage(call, status, headers, body) or PartRefused(f"{call} answered {status}: {_code(body)!r}")


def _of_fetch(call: Call, status: int, headers: Mapping[str, str], body: bytes) -> InvoicesError:
    return _of_storage(call, status, headers, body) or ContractError(f"{call} answered {status}: {_code(body)!r}")


def _of_storage(call: Call, status: int, headers: Mapping[str, str], body: bytes) -> InvoicesError | None:
    code = _code(body)
    if status in (401, 403, 404, 410) or code in _EXPIRED:
        return ExpiredUrl(f"{call} answered {status}: {code!r}; the address has expired")
    if code in _LATER:
        return TransientError(f"{call} answered {status}: {code!r}")
    return classification.of_status(call, status, headers, body) if status in (408, 425, 429) or status >= 500 else None


def _code(body: bytes) -> str:
    found = _XML_CODE.search(body[:10_000])
    return found[1].decode() if found else ""
