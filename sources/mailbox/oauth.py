"""Gets access tokens for a mailbox with a refresh token (RFC 6749 §6), as Google and Microsoft 365 require.

Some servers issue a new refresh token with each response, and the old one becomes invalid (RFC 6749 §10.4; Microsoft's
after 90 days, demands A9). The new one is stored in a file of its own, and used until somebody signs in again and
configures another one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import requests

from invoices.clients import error_mapping
from invoices.clients.error_bodies import parse_error_body
from invoices.clients.error_mapping import ApiCall
from invoices.clients.http_client import Timeouts, make_session, send_request_once, validate_base_url
from invoices.documents.store_batch import sync_folder
from invoices.errors import AccountError, ConfigurationError, ContractError, InvoicesError, TransientError
from invoices.private_files import make_private_directory, open_privately

MAX_RESPONSE_BYTES = 1024 * 1024
DEFAULT_LIFETIME_SECONDS = 300.0  # for a response without expires_in (RFC 6749 §5.1: it should have one)
RENEW_BEFORE_EXPIRY_SECONDS = 60.0
SIGN_IN_ERRORS = {"invalid_grant", "interaction_required", "consent_required", "login_required"}
CLIENT_ERRORS = {"invalid_client", "unauthorized_client", "invalid_scope", "unsupported_grant_type"}
TRANSIENT_ERRORS = {"temporarily_unavailable", "server_error", "slow_down"}


@dataclass(frozen=True, slots=True)
class OAuthRegistration:
    """The client, endpoint and scope of token requests; ``refresh_token`` is the configured one."""

    endpoint: str
    client_id: str
    refresh_token: str = field(repr=False)
    client_secret: str | None = field(default=None, repr=False)
    scope: str | None = None


class OAuthTokenProvider:
    """Provides the access tokens of one mailbox, each used until shortly before it expires; threads may share it."""

    def __init__(
        self,
        name: str,
        registration: OAuthRegistration,
        directory: Path,
        http_session: requests.Session | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare for requests; new refresh tokens are stored in ``directory``.

        Raises ConfigurationError unless the endpoint is https, or http on this machine.
        """
        validate_base_url(registration.endpoint)
        self._name, self._registration = name, registration
        self._token_file = RefreshTokenFile(directory / f"{name}.json", registration)
        self._http_session, self._clock = http_session or make_session(), clock
        self._lock = threading.Lock()
        self._access_token: str | None = None
        self._valid_until = 0.0

    def __repr__(self) -> str:
        """Show the mailbox, without secrets."""
        return f"OAuthTokenProvider({self._name!r})"

    def get_token(self) -> str:
        """Return an access token that has not expired.

        Raises AccountError if somebody has to sign in again, TransientError and ContractError.
        """
        with self._lock:
            if self._access_token is None or self._clock() >= self._valid_until:
                self._access_token = self._refresh_access_token()
            return self._access_token

    def discard_token(self, rejected_token: str) -> None:
        """Forget this token, because the server no longer accepts it."""
        with self._lock:
            if self._access_token == rejected_token:
                self._access_token = None

    def _refresh_access_token(self) -> str:
        with self._token_file.lock_and_read_token() as refresh_token:
            requested_at = self._clock()
            response = self._request_access_token(refresh_token)
            token, lifetime, new_refresh_token = _parse_token_response(self._name, response)
            if new_refresh_token is not None and new_refresh_token != refresh_token:
                self._token_file.write_token(new_refresh_token)
        self._valid_until = requested_at + lifetime - min(RENEW_BEFORE_EXPIRY_SECONDS, lifetime / 2)
        return token

    def _request_access_token(self, refresh_token: str) -> Any:
        registration = self._registration
        form = {
            "grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": registration.client_id,
            "client_secret": registration.client_secret, "scope": registration.scope,
        }  # fmt: skip
        body = urlencode({name: value for name, value in form.items() if value is not None}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        request = requests.Request("POST", registration.endpoint, headers=headers, data=body)
        secrets = (refresh_token, registration.refresh_token, *filter(None, [registration.client_secret]))
        timeouts = Timeouts.from_deadline(30.0)
        return send_request_once(
            self._http_session,
            request,
            timeouts,
            secrets,
            MAX_RESPONSE_BYTES,
            self._build_token_error,
            has_idempotency_id=True,
        ).parse_json()

    def _build_token_error(self, call: ApiCall, status: int, headers: Mapping[str, str], body: bytes) -> InvoicesError:
        """Return our error for an error response (RFC 6749 §5.2)."""
        error_detail = parse_error_body(body, call.secrets)
        message = f"mailbox {self._name!r}: {error_mapping.format_error_message(call, status, error_detail)}"
        error_code = error_detail.code or ""
        if error_code in SIGN_IN_ERRORS:
            return AccountError(f"{message}. Access was withdrawn: sign in again, and configure the new refresh token")
        if error_code in CLIENT_ERRORS or status == 401:
            return AccountError(f"{message}. Check the client_id, the client_secret and the scope of this mailbox")
        if error_code in TRANSIENT_ERRORS or status in error_mapping.RETRYABLE_STATUSES or status >= 500:
            return error_mapping.build_status_error(call, status if status >= 429 else 503, headers, body)
        return ContractError(message)


class RefreshTokenFile:
    """Stores the refresh token that a server issued to replace the configured one, in a file that only we can read.

    The file records from which configured token it comes: if another one is configured, that one is newer and is used.
    """

    def __init__(self, path: Path, registration: OAuthRegistration) -> None:
        """Set the path of the file; nothing is read yet."""
        self._path, self._configured_token = path, registration.refresh_token
        self._unsaved_token: str | None = None  # issued and not written yet: the token before it may be invalid
        parts = (registration.endpoint, registration.client_id, registration.refresh_token)
        self._registration_digest = hashlib.sha256(repr(parts).encode()).hexdigest()

    @contextlib.contextmanager
    def lock_and_read_token(self) -> Iterator[str]:
        """Yield the refresh token to use; no other process can use or replace it until the end of the block."""
        try:
            make_private_directory(self._path.parent)
            lock_fd = open_privately(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise ConfigurationError(
                f"a refresh token cannot be stored in {str(self._path.parent)!r}: {error}"
            ) from error
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX)
            yield self._get_newest_token()
        finally:
            os.close(lock_fd)

    def write_token(self, refresh_token: str) -> None:
        """Write the new refresh token atomically; raises TransientError if that fails.

        The token is then still kept in memory as long as this process lives.
        """
        self._unsaved_token = refresh_token
        draft_path = self._path.with_suffix(".draft")
        try:
            draft_path.unlink(missing_ok=True)
            descriptor = open_privately(draft_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump({"from": self._registration_digest, "refresh_token": refresh_token}, file)
                file.flush()
                os.fsync(file.fileno())
            draft_path.replace(self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            raise TransientError(f"the new refresh token cannot be written to {str(self._path)!r}: {error}") from error
        self._unsaved_token = None

    def _get_newest_token(self) -> str:
        if self._unsaved_token is not None:
            return self._unsaved_token
        try:
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            token = stored["refresh_token"] if stored["from"] == self._registration_digest else None
        except FileNotFoundError:
            return self._configured_token
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ConfigurationError(f"the refresh token stored in {str(self._path)!r} cannot be read") from error
        return token if isinstance(token, str) and token else self._configured_token


def _parse_token_response(mailbox_name: str, response: Any) -> tuple[str, float, str | None]:
    """Return the access token, its lifetime in seconds, and the new refresh token if there is one (RFC 6749 §5.1)."""
    response = response if isinstance(response, dict) else {}
    token, lifetime, new_refresh_token = (response.get(key) for key in ("access_token", "expires_in", "refresh_token"))
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token or not token:
        raise ContractError(
            f"mailbox {mailbox_name!r}: the token endpoint reported success but sent no valid access token"
        )
    if str(response.get("token_type", "Bearer")).lower() != "bearer":
        raise ContractError(f"mailbox {mailbox_name!r}: the token endpoint does not issue bearer tokens")
    lifetime_seconds = DEFAULT_LIFETIME_SECONDS
    if isinstance(lifetime, int | Decimal | str) and str(lifetime).isascii() and str(lifetime).isdigit():
        lifetime_seconds = float(lifetime) if 0 < int(lifetime) < 10**9 else DEFAULT_LIFETIME_SECONDS
    if not isinstance(new_refresh_token, str) or not new_refresh_token.isprintable() or not new_refresh_token:
        new_refresh_token = None
    return token, lifetime_seconds, new_refresh_token
