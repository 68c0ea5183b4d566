"""Presigned URLs: they expire, cannot be guessed, and survive a restart."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from starlette.requests import Request
from starlette.responses import Response

from sandbox.invoicedataextraction_com.errors import build_storage_error_response
from sandbox.journal import Journal


class PresignedUrlSigner:
    """Signs paths below ``/storage`` with a secret from the state folder."""

    def __init__(self, journal: Journal) -> None:
        row_name = "invoicedataextraction_com.storage"
        with journal.begin_transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO secrets VALUES (?, ?)", (row_name, secrets.token_hex(32)))
        row = journal.connection.execute("SELECT value FROM secrets WHERE name = ?", (row_name,)).fetchone()
        self._secret = bytes.fromhex(row["value"])

    def sign_url(self, request: Request, method: str, path: str, now: float, lifetime: float) -> str:
        """Return the full URL of a path, valid for ``lifetime`` seconds from ``now``."""
        host, port = request.scope["server"]
        expires_at = f"{now + lifetime:.3f}"
        signature = self._compute_signature(method, path, expires_at)
        query = f"X-Amz-Expires={max(1, int(lifetime))}&X-Amz-Until={expires_at}&X-Amz-Signature={signature}"
        return f"http://{host}:{port}/invoicedataextraction_com{path}?{query}"

    def has_valid_signature(self, request: Request) -> bool:
        """Return whether the URL was signed here for this method."""
        query = request.query_params
        expected_signature = self._compute_signature(
            request.method, request.scope["path"], query.get("X-Amz-Until", "")
        )
        return hmac.compare_digest(expected_signature.encode(), query.get("X-Amz-Signature", "").encode())

    def check_presigned_url(self, request: Request, now: float) -> Response | None:
        """Return the error response for a URL that was not signed here or has expired, else None."""
        if not self.has_valid_signature(request):
            return build_storage_error_response(403, "SignatureDoesNotMatch", "The request signature does not match.")
        if now >= float(request.query_params["X-Amz-Until"]):
            return build_storage_error_response(403, "AccessDenied", "Request has expired")
        return None

    def _compute_signature(self, method: str, path: str, expires_at: str) -> str:
        signed_text = f"{method}\n{path}\n{expires_at}".encode()
        return hmac.new(self._secret, signed_text, hashlib.sha256).hexdigest()
