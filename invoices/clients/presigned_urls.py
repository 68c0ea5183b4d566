"""Presigned URLs under which a vendor may download one document for a short time: building and checking them.

A vendor never gets a document URL from any other source: that could publish the document, or make the vendor fetch
what somebody else wants (contracts' overview, trap 21).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import re
from dataclasses import InitVar, dataclass, field
from urllib.parse import urlsplit

from invoices.errors import ConfigurationError

MIN_SECRET_CHARS = 32
NON_PUBLIC_TOP_LEVEL_DOMAINS = {  # not resolved in public: RFC 2606, 6761, 6762, 8375, and common private ones
    "arpa", "corp", "home", "internal", "intranet", "invalid", "lan", "local", "localdomain", "localhost", "onion",
    "private", "test",
}  # fmt: skip
_HOST_LABEL_PATTERN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_TOP_LEVEL_DOMAIN_PATTERN = re.compile(r"[a-z][a-z0-9-]{0,61}[a-z0-9]")
_SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")
_SUFFIX_PATTERN = re.compile(r"[a-z0-9]{1,8}")
_PATH_PATTERN = re.compile(r"/((0|[1-9][0-9]{0,11})/[0-9a-f]{64}\.[a-z0-9]{1,8})")
_QUERY_PATTERN = re.compile(r"signature=([0-9a-f]{64})")
_CONSTRUCTION_TOKEN = object()


@dataclass(frozen=True, slots=True)
class PresignedUrl:
    """A URL from ``build_presigned_url``, the only way to get one. ``repr`` hides the signature.

    The web server behind it answers ``GET /<expiry>/<sha256>.<suffix>?signature=<hex>`` with the document of that hash
    if ``<hex>`` is the HMAC-SHA256, under the shared secret, of the text ``<expiry>/<sha256>.<suffix>``, and if its
    clock has not passed ``<expiry>`` (seconds since 1970, UTC). Everything else is a 404.
    ``is_valid_presigned_request`` does that check.
    """

    unsigned_url: str
    signature: str = field(repr=False)
    construction_token: InitVar[object]

    def __post_init__(self, construction_token: object) -> None:
        """Raise TypeError unless ``build_presigned_url`` is the caller."""
        if construction_token is not _CONSTRUCTION_TOKEN:
            raise TypeError("a PresignedUrl can be built with build_presigned_url only")

    @property
    def signed_url(self) -> str:
        """The whole URL with its signature; anyone who has it can download the document until it expires."""
        return f"{self.unsigned_url}?signature={self.signature}"


def build_presigned_url(
    base_url: str, secret: str, document_sha256: str, suffix: str, expires_at: dt.datetime
) -> PresignedUrl:
    """Return the URL of one document, valid until ``expires_at`` (aware; fractions of a second are dropped).

    ``base_url`` is https and a public host name, without a path. Raises ConfigurationError for any other one and for a
    ``secret`` of fewer than 32 characters, ValueError for a malformed SHA-256, suffix or expiry.
    """
    origin = _parse_public_origin(base_url)
    if not _SHA256_PATTERN.fullmatch(document_sha256) or not _SUFFIX_PATTERN.fullmatch(suffix):
        raise ValueError(f"not a lower-case SHA-256 and a suffix: {document_sha256!r}, {suffix!r}")
    if expires_at.tzinfo is None or expires_at.timestamp() < 0:
        raise ValueError(f"not a time with a zone after 1970: {expires_at!r}")
    signed_path = f"{int(expires_at.timestamp())}/{document_sha256}.{suffix}"
    return PresignedUrl(f"{origin}/{signed_path}", _compute_signature(signed_path, secret), _CONSTRUCTION_TOKEN)


def is_valid_presigned_request(path: str, query: str, secret: str, now: dt.datetime) -> bool:
    """Return whether ``path?query`` gives access to its document: signed with ``secret`` and not yet expired."""
    path_match, query_match = _PATH_PATTERN.fullmatch(path), _QUERY_PATTERN.fullmatch(query)
    if path_match is None or query_match is None:
        return False
    has_valid_signature = hmac.compare_digest(_compute_signature(path_match[1], secret), query_match[1])
    return has_valid_signature and now.timestamp() <= int(path_match[2])


def _compute_signature(signed_path: str, secret: str) -> str:
    if len(secret) < MIN_SECRET_CHARS:
        raise ConfigurationError(f"the secret that signs document URLs needs at least {MIN_SECRET_CHARS} characters")
    return hmac.new(secret.encode(), signed_path.encode(), hashlib.sha256).hexdigest()


def _parse_public_origin(base_url: str) -> str:
    """Return scheme, host and port of an https URL with a public host name; raises ConfigurationError for any other."""
    try:
        url_parts = urlsplit(base_url)
        host, port = url_parts.hostname or "", url_parts.port
    except ValueError:
        host, port = "", None
    origin = f"https://{host}" + (f":{port}" if port else "")
    if not _is_public_host(host) or base_url.lower().removesuffix("/") != origin:
        url_without_userinfo = base_url.rpartition("@")[2]
        raise ConfigurationError(
            f"no document URL can be built from {url_without_userinfo!r}: use https and a public host name"
        )
    return origin


def _is_public_host(host: str) -> bool:
    *labels, top_level_domain = host.split(".")
    return (
        bool(labels)
        and all(_HOST_LABEL_PATTERN.fullmatch(label) for label in labels)
        and bool(_TOP_LEVEL_DOMAIN_PATTERN.fullmatch(top_level_domain))
        and top_level_domain not in NON_PUBLIC_TOP_LEVEL_DOMAINS
    )
