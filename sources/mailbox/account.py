"""The account of a mailbox: server, user and credential, and the limits in time and size for its server."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from invoices.errors import ConfigurationError
from invoices.settings.sources import is_loopback_host

MEGABYTE = 1024 * 1024
Security = Literal["tls", "starttls", "none"]


class AccessTokenProvider(Protocol):
    """Provides OAuth2 access tokens for one mailbox (see ``oauth``)."""

    def get_token(self) -> str:
        """Return a token that has not expired as far as we know; raises ConfigurationError or TransientError."""

    def discard_token(self, rejected_token: str) -> None:
        """Forget this token, because the server no longer accepts it."""


@dataclass(frozen=True, slots=True)
class Account:
    """A mailbox and its credential: either ``password`` or ``token_provider``. Messages use its ``name``.

    ``security`` is ``tls`` (from the first byte), ``starttls`` (never continues unencrypted) or ``none`` (for this
    machine only). ``ca_file`` contains the certificates to trust instead of the system's.
    """

    name: str
    host: str
    port: int
    username: str
    security: Security = "tls"
    password: str | None = field(default=None, repr=False)
    token_provider: AccessTokenProvider | None = field(default=None, repr=False)
    ca_file: Path | None = None

    def __str__(self) -> str:
        return f"mailbox {self.name!r} ({self.username!r} at {self.host}:{self.port})"

    def validate_settings(self) -> None:
        """Raise ConfigurationError for invalid or unsafe settings, before anything is sent."""
        for field_name, value in (("host", self.host), ("username", self.username), ("password", self.password or "")):
            reject_control_characters(value, f"the {field_name} of {self}")
        if (self.password is None) == (self.token_provider is None):
            raise ConfigurationError(f"{self}: set either a password or OAuth2")
        if not self.host or not self.username or self.password == "":
            raise ConfigurationError(f"{self}: host, username and password must not be empty")
        if self.security == "none" and not is_loopback_host(self.host):
            raise ConfigurationError(
                f"{self}: security = 'none' sends the password unencrypted and is allowed only for this machine; "
                "use 'tls' or 'starttls'"
            )


@dataclass(frozen=True, slots=True)
class ImapLimits:
    """How long a server may take, in seconds, and how much it may send, in bytes.

    ``read_seconds`` is the time between two received blocks, ``command_seconds`` the time for a whole command. Each
    ``min_bytes_per_second`` bytes that a command requests add one second to that.
    """

    connect_seconds: float = 15.0
    read_seconds: float = 60.0
    command_seconds: float = 120.0
    min_bytes_per_second: int = 64 * 1024
    max_message_bytes: int = 64 * MEGABYTE
    max_header_bytes: int = 256 * 1024
    max_batch_bytes: int = 8 * MEGABYTE


def reject_control_characters(text: str, description: str) -> str:
    """Return ``text``; raises ConfigurationError if it contains a control character, which could start a new command.

    Source: reliability S-17 (CR, LF and NUL); the others do not belong in a name or a password either.
    """
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise ConfigurationError(f"{description} contains a control character; remove it")
    return text
