"""Addresses under which a vendor may fetch one document for a short while: minted, signed, and checked again.

A document's address is never taken from anywhere else: it would publish the document, or make the vendor fetch what
somebody else wants (contracts' overview, trap 21).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import re
from dataclasses import InitVar, dataclass, field
from urllib.parse import urlsplit

from invoices.errors import ConfigurationError

SHORTEST_SECRET = 32  # characters
NOT_PUBLIC = {  # last labels that no public resolver answers for: RFC 2606, 6761, 6762, 8375, and habits
    "arpa", "corp", "home", "internal", "intranet", "invalid", "lan", "local", "localdomain", "localhost", "onion",
    "private", "test",
}  # fmt: skip
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SUFFIX = re.compile(r"[a-z0-9]{1,8}")
_PATH = re.compile(r"/((0|[1-9][0-9]{0,11})/[0-9a-f]{64}\.[a-z0-9]{1,8})")
_QUERY = re.compile(r"signature=([0-9a-f]{64})")
_MINT = object()


@dataclass(frozen=True, slots=True)
class MintedUrl:
    """An address that ``mint_url`` made; there is no other way to have one. ``repr`` hides the signature.

    The web server behind it answers ``GET /<expiry>/<sha256>.<suffix>?signature=<hex>`` with the document of that hash
    if ``<hex>`` is the HMAC-SHA256, under the shared secret, of the text ``<expiry>/<sha256>.<suffix>``, and if its
    clock has not passed ``<expiry>`` (seconds since 1970, UTC). Everything else is a 404. ``is_genuine`` is that check.
    """

    place: str
    signature: str = field(repr=False)
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        """Refuse to be made by anyone but the mint."""
        if seal is not _MINT:
            raise TypeError("a MintedUrl comes from mint_url")

    @property
    def address(self) -> str:
        """The whole address, with the signature: whoever has it has the document until it expires."""
        return f"{self.place}?signature={self.signature}"


def mint_url(base_url: str, secret: str, document_sha256: str, suffix: str, expires_at: dt.datetime) -> MintedUrl:
    """Return the address of one document, good until ``expires_at`` (aware; parts of a second are dropped).

    ``base_url`` is https and a public host name, with nothing after it. Raises ConfigurationError for another one and
    for a secret of fewer than 32 characters, ValueError for what is no SHA-256, suffix or aware instant.
    """
    origin = _public_origin(base_url)
    if not _SHA256.fullmatch(document_sha256) or not _SUFFIX.fullmatch(suffix):
        raise ValueError(f"not a SHA-256 in lower case and a suffix: {document_sha256!r}, {suffix!r}")
    if expires_at.tzinfo is None or expires_at.timestamp() < 0:
        raise ValueError(f"not an aware instant after 1970: {expires_at!r}")
    name = f"{int(expires_at.timestamp())}/{document_sha256}.{suffix}"
    return MintedUrl(f"{origin}/{name}", _signature(name, secret), _MINT)


def is_genuine(path: str, query: str, secret: str, now: dt.datetime) -> bool:
    """Return whether a request for ``path?query`` may have its document: minted with ``secret``, not yet expired."""
    signed, shown = _PATH.fullmatch(path), _QUERY.fullmatch(query)
    if signed is None or shown is None:
        return False
    is_signed = hmac.compare_digest(_signature(signed[1], secret), shown[1])
    return is_signed and now.timestamp() <= int(signed[2])


def _signature(name: str, secret: str) -> str:
    if len(secret) < SHORTEST_SECRET:
        raise ConfigurationError(f"the secret that signs addresses has fewer than {SHORTEST_SECRET} characters")
    return hmac.new(secret.encode(), name.encode(), hashlib.sha256).hexdigest()


def _public_origin(base_url: str) -> str:
    """Return scheme, host and port of an https address with a public name; raises ConfigurationError for another."""
    try:
        parts = urlsplit(base_url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    origin = f"https://{host}" + (f":{port}" if port else "")
    is_public = _HOST.fullmatch(host) and host.rpartition(".")[2] not in NOT_PUBLIC
    if not is_public or base_url.lower().removesuffix("/") != origin:
        shown = base_url.rpartition("@")[2]
        raise ConfigurationError(f"documents are shown to a vendor at https and a public host name, not at {shown!r}")
    return origin
