"""Presigned addresses: they expire, nobody guesses them, and they outlive a restart."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from starlette.requests import Request
from starlette.responses import Response

from sandbox.invoicedataextraction_com.refusals import storage_refusal
from sandbox.journal import Journal


class Addresses:
    """Signs paths below ``/storage`` with a secret that the state folder keeps."""

    def __init__(self, journal: Journal) -> None:
        name = "invoicedataextraction_com.storage"
        with journal.writing() as connection:
            connection.execute("INSERT OR IGNORE INTO secrets VALUES (?, ?)", (name, secrets.token_hex(32)))
        row = journal.connection.execute("SELECT value FROM secrets WHERE name = ?", (name,)).fetchone()
        self._secret = bytes.fromhex(row["value"])

    def sign(self, request: Request, method: str, path: str, now: float, lives: float) -> str:
        """Return the whole address of a path, good for ``lives`` seconds from ``now``."""
        host, port = request.scope["server"]
        expires = f"{now + lives:.3f}"
        signature = self._signature(method, path, expires)
        query = f"X-Amz-Expires={max(1, int(lives))}&X-Amz-Until={expires}&X-Amz-Signature={signature}"
        return f"http://{host}:{port}/invoicedataextraction_com{path}?{query}"

    def is_ours(self, request: Request) -> bool:
        """Return whether this address was given out here, for this method."""
        query = request.query_params
        wanted = self._signature(request.method, request.scope["path"], query.get("X-Amz-Until", ""))
        return hmac.compare_digest(wanted.encode(), query.get("X-Amz-Signature", "").encode())

    def refusal(self, request: Request, now: float) -> Response | None:
        """Return what refuses a call whose address is not ours or has expired, else None."""
        if not self.is_ours(request):
            return storage_refusal(403, "SignatureDoesNotMatch", "The request signature does not match.")
        if now >= float(request.query_params["X-Amz-Until"]):
            return storage_refusal(403, "AccessDenied", "Request has expired")
        return None

    def _signature(self, method: str, path: str, expires: str) -> str:
        text = f"{method}\n{path}\n{expires}".encode()
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()
