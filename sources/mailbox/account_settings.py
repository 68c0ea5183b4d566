"""Builds the account and the limits of a mailbox from its settings."""

from __future__ import annotations

from pathlib import Path

from invoices.settings.sources import MailboxSettings, OAuthSettings, read_secret
from sources.mailbox.account import MEGABYTE, Account, ImapLimits
from sources.mailbox.oauth import OAuthRegistration, OAuthTokenProvider


def build_account(mailbox: MailboxSettings, secrets_directory: Path) -> Account:
    """Return the account of a mailbox; new refresh tokens are stored in ``secrets_directory``.

    Raises ConfigurationError if a secret cannot be read.
    """
    password = token_provider = None
    if mailbox.oauth is not None:
        token_provider = OAuthTokenProvider(
            mailbox.name, _build_oauth_registration(mailbox.name, mailbox.oauth), secrets_directory
        )
    else:
        password = read_secret(mailbox.password, mailbox.password_file, f"the password of mailbox {mailbox.name!r}")
    return Account(
        name=mailbox.name,
        host=mailbox.host,
        port=mailbox.effective_port,
        username=mailbox.username,
        security=mailbox.security,
        password=password,
        token_provider=token_provider,
        ca_file=mailbox.ca_file,
    )


def build_limits(mailbox: MailboxSettings) -> ImapLimits:
    """Return the limits for the server: how long it may take, and how large a mail may be."""
    defaults = ImapLimits()
    return ImapLimits(
        connect_seconds=min(defaults.connect_seconds, mailbox.timeout_seconds),
        read_seconds=mailbox.timeout_seconds,
        command_seconds=max(defaults.command_seconds, mailbox.timeout_seconds),
        max_message_bytes=mailbox.megabytes * MEGABYTE,
    )


def _build_oauth_registration(name: str, oauth: OAuthSettings) -> OAuthRegistration:
    has_secret = oauth.client_secret is not None or oauth.client_secret_file is not None
    return OAuthRegistration(
        endpoint=oauth.token_endpoint,
        client_id=oauth.client_id,
        refresh_token=read_secret(
            oauth.refresh_token, oauth.refresh_token_file, f"the refresh_token of mailbox {name!r}"
        ),
        client_secret=read_secret(
            oauth.client_secret, oauth.client_secret_file, f"the client_secret of mailbox {name!r}"
        )
        if has_secret
        else None,
        scope=oauth.effective_scope,
    )
