"""Session tokens, as the vendor's web app issues them; signed, so that no token of a real account is accepted."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

from sandbox.exact_json import JsonError, parse_json
from sandbox.request_context import API_KEY_PREFIXES

ISSUER = "https://billflowai.example/auth/v1"
_SIGNING_KEY = b"this key is public: the sandbox has no secrets"


def build_session_token(account: str, issued_at: float | None = None) -> str:
    """Return a token for ``account``, which starts like an API key; issued now by default (seconds since the epoch)."""
    claims = {"iss": ISSUER, "sub": account, "iat": int(time.time() if issued_at is None else issued_at)}
    header, payload = (
        _encode_base64url(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)
    )
    return f"{header}.{payload}.{_compute_signature(header, payload)}"


def find_session_claims(authorization: str | None) -> dict[str, Any] | None:
    """Return the claims (``sub``, ``iat``, ``iss``) of a sandbox token in an Authorization header, or None."""
    scheme, _, token = (authorization or "").partition(" ")
    parts = token.strip().split(".")
    if scheme.lower() != "bearer" or len(parts) != 3 or len(token) > 2_000 or not token.isascii():
        return None
    header, payload, signature = parts
    if not hmac.compare_digest(signature, _compute_signature(header, payload)):
        return None
    try:
        claims = parse_json(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (JsonError, ValueError):
        return None
    if not isinstance(claims, dict) or claims.get("iss") != ISSUER or not isinstance(claims.get("iat"), int):
        return None
    account = claims.get("sub")
    is_sandbox_account = isinstance(account, str) and account.startswith(API_KEY_PREFIXES) and len(account) <= 200
    return claims if is_sandbox_account else None


def _compute_signature(header: str, payload: str) -> str:
    return _encode_base64url(hmac.digest(_SIGNING_KEY, f"{header}.{payload}".encode(), hashlib.sha256))


def _encode_base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")
