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

MIN_SECRET_CHARS = 32  # characters
NON_PUBLIC_TOP_LEVEL_DOMAINS = {  # last labels that no public resolver answers for: RFC 2606, 6761, 6762, 8375, and habits
    "arpa", "corp", "home", "internal", "intranet", "invalid", "lan", "local", "localdomain", "localhost", "onion",
    "private", "test",
}  # fmt: skip
_HOST_PATTERN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")
_SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")
_SUFFIX_PATTERN = re.compile(r"[a-z0-9]{1,8}")
_PATH_PATTERN = re.compile(r"/((0|[1-9][0-9]{0,11})/[0-9a-f]{64}\.[a-z0-9]{1,8})")
_QUERY_PATTERN = re.compile(r"signature=([0-9a-f]{64})")
_CONSTRUCTION_TOKEN = object()


@dataclass(frozen=True, slots=True)
class PresignedUrl:
    """An address that ``mint_url`` made; there is no other way to have one. ``repr`` hides the signature.

    The web server behind it answers ``GET /<expiry>/<sha256>.<suffix>?signature=<hex>`` with the document of that hash
    if ``<hex>`` is the HMAC-SHA256, under the shared secret, of the text ``<expiry>/<sha256>.<suffix>``, and if its
    clock has not passed ``<expiry>`` (seconds since 1970, UTC). Everything else is a 404. ``is_genuine`` is that check.
    """

    unsigned_url: str
    signature: str = field(repr=False)
    construction_token: InitVar[object]

    def __post_init__(self, construction_token: object) -> None:
        """Refuse to be made by anyone but the mint."""
        if construction_token is not _CONSTRUCTION_TOKEN:
            raise TypeError("a MintedUrl comes from mint_url")

    @property
    def signed_url(self) -> str:
        """The whole address, with the signature: whoever has it has the document until it expires."""
        return f"{self.unsigned_url}?signature={self.signature}"


def build_presigned_url(
    base_url: str, secret: str, document_sha256: str, suffix: str, expires_at: dt.datetime
) -> PresignedUrl:
    """Return the address of one document, good until ``expires_at`` (aware; parts of a second are dropped).

    ``base_url`` is https and a public host name, with nothing after it. Raises ConfigurationError for another one and
    for a secret of fewer than 32 characters, ValueError for what is no SHA-256, suffix or aware instant.
    """
    origin = _parse_public_origin(base_url)
    if not _SHA256_PATTERN.fullmatch(document_sha256) or not _SUFFIX_PATTERN.fullmatch(suffix):
        raise ValueError(f"not a SHA-256 in lower case and a suffix: {document_sha256!r}, {suffix!r}")
    if expires_at.tzinfo is None or expires_at.timestamp() < 0:
        raise ValueError(f"not an aware instant after 1970: {expires_at!r}")
    signed_path = f"{int(expires_at.timestamp())}/{document_sha256}.{suffix}"
    return PresignedUrl(f"{origin}/{signed_path}", _compute_signature(signed_path, secret), _CONSTRUCTION_TOKEN)


def is_valid_presigned_request(path: str, query: str, secret: str, now: dt.datetime) -> bool:
    """Return whether a request for ``path?query`` may have its document: minted with ``secret``, not yet expired."""
    path_match, query_match = _PATH_PATTERN.fullmatch(path), _QUERY_PATTERN.fullmatch(query)
    if path_match is None or query_match is None:
        return False
    has_valid_signature = hmac.compare_digest(_compute_signature(path_match[1], secret), query_match[1])
    return has_valid_signature and now.timestamp() <= int(path_match[2])


def _compute_signature(signed_path: str, secret: str) -> str:
    if len(secret) < MIN_SECRET_CHARS:
        raise ConfigurationError(f"the secret that signs addresses has fewer than {MIN_SECRET_CHARS} characters")
    return hmac.new(secret.encode(), signed_path.encode(), hashlib.sha256).hexdigest()


def _parse_public_origin(base_url: str) -> str:
    """Return scheme, host and port of an https address with a public name; raises ConfigurationError for another."""
    try:
        url_parts = urlsplit(base_url)
        host, port = url_parts.hostname or "", url_parts.port
    except ValueError:
        host, port = "", None
    origin = f"https://{host}" + (f":{port}" if port else "")
    is_public = _HOST_PATTERN.fullmatch(host) and host.rpartition(".")[2] not in NON_PUBLIC_TOP_LEVEL_DOMAINS
    if not is_public or base_url.lower().removesuffix("/") != origin:
        redacted_url = base_url.rpartition("@")[2]
        raise ConfigurationError(
            f"documents are shown to a vendor at https and a public host name, not at {redacted_url!r}"
        )
    return origin
