"""Access tokens for a mailbox, got with a refresh token (RFC 6749 §6), as Google and Microsoft 365 want it.

Some servers give a new refresh token with each answer, and the old one dies (RFC 6749 §10.4; Microsoft's after 90 days,
demands A9). The new one is kept in a file of its own, and used until somebody signs in again and configures another.
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

from invoices.clients import classification
from invoices.clients.classification import Call
from invoices.clients.error_bodies import read_error
from invoices.clients.transport import Patience, checked_base_url, exchange, make_session
from invoices.documents.landing import sync_folder
from invoices.errors import AccountError, ConfigurationError, ContractError, InvoicesError, TransientError

LARGEST_ANSWER = 1024 * 1024
USUAL_LIFE = 300.0  # seconds, for an answer that does not tell (RFC 6749 §5.1: it should)
EARLY = 60.0  # seconds before its end at which a token is given up
SIGN_IN = {"invalid_grant", "interaction_required", "consent_required", "login_required"}
APPLICATION = {"invalid_client", "unauthorized_client", "invalid_scope", "unsupported_grant_type"}
LATER = {"temporarily_unavailable", "server_error", "slow_down"}


@dataclass(frozen=True, slots=True)
class Registration:
    """Who asks for tokens, where, and what for; ``refresh_token`` is the one that was configured."""

    endpoint: str
    client_id: str
    refresh_token: str = field(repr=False)
    client_secret: str | None = field(default=None, repr=False)
    scope: str | None = None


class RefreshedToken:
    """The access tokens of one mailbox, each used until shortly before its end; threads may share it."""

    def __init__(
        self,
        name: str,
        registration: Registration,
        folder: Path,
        session: requests.Session | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what was configured; ``folder`` is where a new refresh token is kept.

        Raises ConfigurationError unless the endpoint is https, or http on this machine.
        """
        checked_base_url(registration.endpoint)
        self._name, self._registration = name, registration
        self._kept = KeptToken(folder / f"{name}.json", registration)
        self._session, self._clock = session or make_session(), clock
        self._lock = threading.Lock()
        self._token: str | None = None
        self._good_until = 0.0

    def __repr__(self) -> str:
        """Show whose it is, and nothing secret."""
        return f"RefreshedToken({self._name!r})"

    def current(self) -> str:
        """Return an access token that is still good.

        Raises AccountError where somebody has to sign in again, TransientError and ContractError.
        """
        with self._lock:
            if self._token is None or self._clock() >= self._good_until:
                self._token = self._refreshed()
            return self._token

    def discard(self, refused: str) -> None:
        """Forget this token, because the server does not take it any more."""
        with self._lock:
            if self._token == refused:
                self._token = None

    def _refreshed(self) -> str:
        with self._kept.alone() as refresh_token:
            asked_at = self._clock()
            told = self._asked(refresh_token)
            token, life, renewed = _read(self._name, told)
            if renewed is not None and renewed != refresh_token:
                self._kept.keep(renewed)
        self._good_until = asked_at + life - min(EARLY, life / 2)
        return token

    def _asked(self, refresh_token: str) -> Any:
        registered = self._registration
        form = {
            "grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": registered.client_id,
            "client_secret": registered.client_secret, "scope": registered.scope,
        }  # fmt: skip
        body = urlencode({name: value for name, value in form.items() if value is not None}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        request = requests.Request("POST", registered.endpoint, headers=headers, data=body)
        secrets = (refresh_token, registered.refresh_token, *filter(None, [registered.client_secret]))
        patience = Patience.within(30.0)
        return exchange(self._session, request, patience, secrets, LARGEST_ANSWER, self._judged, has_own_id=True).json()

    def _judged(self, call: Call, status: int, headers: Mapping[str, str], body: bytes) -> InvoicesError:
        """Return what a refusal means (RFC 6749 §5.2)."""
        detail = read_error(body, call.secrets)
        text, code = f"mailbox {self._name!r}: {classification.sentence(call, status, detail)}", detail.code or ""
        if code in SIGN_IN:
            return AccountError(
                f"{text}. It may not be read any more: sign in again, and configure the new refresh token"
            )
        if code in APPLICATION or status == 401:
            return AccountError(f"{text}. Check the client_id, the client_secret and the scope of this mailbox")
        if code in LATER or status in classification.TRY_LATER or status >= 500:
            return classification.of_status(call, status if status >= 429 else 503, headers, body)
        return ContractError(text)


class KeptToken:
    """The refresh token that a server has given in place of the configured one, in a file that we alone can read.

    The file says from which configured token it comes: once another one is configured, that one is newer and wins.
    """

    def __init__(self, place: Path, registration: Registration) -> None:
        """Take the place of the file; nothing is read yet."""
        self._place, self._configured = place, registration.refresh_token
        self._in_hand: str | None = None  # given to us, and not yet written down: the one before it may be dead
        parts = (registration.endpoint, registration.client_id, registration.refresh_token)
        self._origin = hashlib.sha256(repr(parts).encode()).hexdigest()

    @contextlib.contextmanager
    def alone(self) -> Iterator[str]:
        """Give the refresh token to use; no other process can use or replace it until the end of the block."""
        try:
            self._place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._place.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(f"{str(self._place.parent)!r} cannot keep a refresh token: {error}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self._newest()
        finally:
            os.close(lock)

    def keep(self, refresh_token: str) -> None:
        """Write the new refresh token down, wholly or not at all; raises TransientError where that fails.

        It is not lost then as long as this process lives.
        """
        self._in_hand = refresh_token
        draft = self._place.with_suffix(".draft")
        try:
            draft.unlink(missing_ok=True)
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump({"from": self._origin, "refresh_token": refresh_token}, file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._place)
            sync_folder(self._place.parent)
        except OSError as error:
            raise TransientError(f"the new refresh token cannot be kept in {str(self._place)!r}: {error}") from error
        self._in_hand = None

    def _newest(self) -> str:
        if self._in_hand is not None:
            return self._in_hand
        try:
            kept = json.loads(self._place.read_text(encoding="utf-8"))
            token = kept["refresh_token"] if kept["from"] == self._origin else None
        except FileNotFoundError:
            return self._configured
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ConfigurationError(f"the refresh token kept in {str(self._place)!r} cannot be read") from error
        return token if isinstance(token, str) and token else self._configured


def _read(name: str, told: Any) -> tuple[str, float, str | None]:
    """Return the access token, its life in seconds, and the new refresh token if there is one (RFC 6749 §5.1)."""
    told = told if isinstance(told, dict) else {}
    token, life, renewed = (told.get(key) for key in ("access_token", "expires_in", "refresh_token"))
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token or not token:
        raise ContractError(f"mailbox {name!r}: the token endpoint has answered success, but without an access token")
    if str(told.get("token_type", "Bearer")).lower() != "bearer":
        raise ContractError(f"mailbox {name!r}: the token endpoint gives no bearer tokens")
    seconds = float(life) if isinstance(life, int | Decimal | str) and _is_number(life) else USUAL_LIFE
    return token, seconds, renewed if isinstance(renewed, str) and renewed.isprintable() and renewed else None


def _is_number(value: int | Decimal | str) -> bool:
    return str(value).isascii() and str(value).isdigit() and 0 < int(value) < 10**9
