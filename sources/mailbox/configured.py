"""What the settings of a mailbox say about reaching it."""

from __future__ import annotations

from pathlib import Path

from invoices.settings.intake import Mailbox, OAuth, secret
from sources.mailbox.account import MEGABYTE, Account, Limits
from sources.mailbox.oauth import RefreshedToken, Registration


def account_of(mailbox: Mailbox, secrets_directory: Path) -> Account:
    """Return where the mailbox is and its credential; new refresh tokens are kept in ``secrets_directory``.

    Raises ConfigurationError where a secret cannot be read.
    """
    password = token = None
    if mailbox.oauth is not None:
        token = RefreshedToken(mailbox.name, _registration(mailbox.name, mailbox.oauth), secrets_directory)
    else:
        password = secret(mailbox.password, mailbox.password_file, f"the password of mailbox {mailbox.name!r}")
    return Account(
        name=mailbox.name,
        host=mailbox.host,
        port=mailbox.effective_port,
        username=mailbox.username,
        security=mailbox.security,
        password=password,
        token=token,
        ca_file=mailbox.ca_file,
    )


def limits_of(mailbox: Mailbox) -> Limits:
    """Return how long the server may take, and how large a mail may be."""
    usual = Limits()
    return Limits(
        connect=min(usual.connect, mailbox.timeout_seconds),
        silence=mailbox.timeout_seconds,
        command=max(usual.command, mailbox.timeout_seconds),
        largest_message=mailbox.megabytes * MEGABYTE,
    )


def _registration(name: str, oauth: OAuth) -> Registration:
    has_secret = oauth.client_secret is not None or oauth.client_secret_file is not None
    return Registration(
        endpoint=oauth.endpoint,
        client_id=oauth.client_id,
        refresh_token=secret(oauth.refresh_token, oauth.refresh_token_file, f"the refresh_token of mailbox {name!r}"),
        client_secret=secret(oauth.client_secret, oauth.client_secret_file, f"the client_secret of mailbox {name!r}")
        if has_secret
        else None,
        scope=oauth.effective_scope,
    )
