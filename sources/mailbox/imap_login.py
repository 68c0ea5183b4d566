"""Opens a connection to a mailbox: encrypted as the account requires, and logged in."""

from __future__ import annotations

import contextlib
import imaplib
import ssl
from collections.abc import Callable

from invoices.clients.connection_watchdog import ConnectionWatchdog
from invoices.errors import AccountError, ConfigurationError, ContractError, InvoicesError
from invoices.settings.sources import is_loopback_host
from sources.mailbox import imap_errors
from sources.mailbox.account import Account, ImapLimits
from sources.mailbox.imap_client import (
    INVALID_RESPONSE_ERRORS,
    MAX_SMALL_RESPONSE_BYTES,
    BoundedImapClient,
    ParsingImapClient,
    StatusResponse,
)
from sources.mailbox.imap_errors import CommandPurpose

ChallengeResponder = Callable[[bytes], bytes]
COMMAND_ERRORS = (imaplib.IMAP4.error, OSError, *INVALID_RESPONSE_ERRORS)


def connect_and_log_in(account: Account, limits: ImapLimits) -> tuple[ParsingImapClient, str | None]:
    """Return a connection that is logged in, and the access token that was used, if any.

    Raises ConfigurationError before anything is sent, AccountError for a refused login (do not try it again),
    TransientError and ContractError.
    """
    account.validate_settings()
    client = _connect_to_server(account, limits)
    try:
        if account.security == "starttls":
            _start_tls(account, limits, client)
        return client, _log_in(account, limits, client)
    except BaseException:
        close_connection(client)
        raise


def close_connection(client: ParsingImapClient) -> None:
    """Close the connection without LOGOUT."""
    with contextlib.suppress(OSError):  # the server may have closed it already
        client.shutdown()


def run_command(
    account: Account,
    limits: ImapLimits,
    raw_client: BoundedImapClient,
    purpose: CommandPurpose,
    command_label: str,
    command: Callable[[], object],
) -> None:
    """Run one command before there is a session; raises our errors."""
    with ConnectionWatchdog(limits.command_seconds) as watch:
        try:
            raw_client.prepare_command(MAX_SMALL_RESPONSE_BYTES)
            watch.check_and_record_send(raw_client.socket())
            command()
        except InvoicesError:
            raise
        except COMMAND_ERRORS as error:
            raise build_command_error(
                account, purpose, command_label, TimeoutError() if watch.has_expired else error, raw_client
            ) from None


def build_command_error(
    account: Account, purpose: CommandPurpose, command_label: str, error: Exception, raw_client: BoundedImapClient
) -> InvoicesError:
    """Return our error for a failed command, from the underlying cause and the last status of the server."""
    cause = error.__context__ if isinstance(error.__context__, imaplib.IMAP4.error | OSError) else error
    return imap_errors.build_imap_error(account, purpose, command_label, cause, find_last_status(raw_client))


def find_last_status(raw_client: BoundedImapClient) -> StatusResponse | None:
    """Return the last status of the server: its BYE, or the response to the last command."""
    bye_lines = raw_client.untagged_responses.get("BYE")
    last_line = b"* BYE " + bytes(bye_lines[-1]) if bye_lines else raw_client.last_line  # type: ignore[arg-type]  # a line
    return StatusResponse.find_in_line(raw_client.redact_secrets(last_line))


def _connect_to_server(account: Account, limits: ImapLimits) -> ParsingImapClient:
    tls_context = _build_tls_context(account) if account.security == "tls" else None
    with ConnectionWatchdog(limits.command_seconds, is_loopback_host if account.security == "none" else None) as watch:
        try:
            client = ParsingImapClient(account, limits, tls_context, watch)
        except InvoicesError:
            raise
        except COMMAND_ERRORS as error:
            refused_line = error.args[0] if error.args and isinstance(error.args[0], bytes) else b""
            status_response = StatusResponse.find_in_line(refused_line)
            cause = TimeoutError() if watch.has_expired else error
            raise imap_errors.build_imap_error(
                account, CommandPurpose.READ, imap_errors.GREETING_LABEL, cause, status_response
            ) from None
    if client.raw_client.state != "NONAUTH":
        close_connection(client)
        raise ContractError(
            f"{account}: the server reports that somebody is logged in already, so the mailbox is not opened"
        )
    return client


def _build_tls_context(account: Account) -> ssl.SSLContext:
    try:
        tls_context = ssl.create_default_context(cafile=account.ca_file)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{account}: the ca_file {str(account.ca_file)!r} cannot be read") from error
    tls_context.minimum_version = ssl.TLSVersion.TLSv1_2
    return tls_context


def _start_tls(account: Account, limits: ImapLimits, client: ParsingImapClient) -> None:
    """Start TLS; if the server does not support it or refuses, nothing else is sent to it."""
    tls_context = _build_tls_context(account)
    if "STARTTLS" not in client.raw_client.capabilities:
        raise ConfigurationError(
            f"{account}: the server does not offer STARTTLS, and nothing is sent unencrypted; use 'tls'"
        )
    run_command(
        account, limits, client.raw_client, CommandPurpose.OPEN_FOLDER, "STARTTLS", lambda: client.starttls(tls_context)
    )
    client.raw_client.untagged_responses.clear()  # responses before TLS can be from anybody
    if not isinstance(client.raw_client.socket(), ssl.SSLSocket) or client.raw_client.state != "NONAUTH":
        raise ContractError(f"{account}: the connection is not encrypted after STARTTLS")


def _log_in(account: Account, limits: ImapLimits, client: ParsingImapClient) -> str | None:
    if account.token_provider is None:
        run_command(
            account,
            limits,
            client.raw_client,
            CommandPurpose.LOGIN,
            "the login",
            lambda: _log_in_with_password(account, client),
        )
        return None
    token = account.token_provider.get_token()
    try:
        _log_in_with_token(account, limits, client, token)
    except AccountError:
        account.token_provider.discard_token(token)
        new_token = account.token_provider.get_token()
        if new_token == token:
            raise
        _log_in_with_token(account, limits, client, new_token)
        return new_token
    return token


def _log_in_with_password(account: Account, client: ParsingImapClient) -> None:
    capabilities, password = client.raw_client.capabilities, account.password or ""
    client.raw_client.register_secrets(
        password.encode(), f"\0{account.username}\0{password}".encode(), _quote_imap_string(password)[1:-1]
    )
    if "AUTH=PLAIN" in capabilities:
        client.sasl_login("PLAIN", _build_single_use_responder(f"\0{account.username}\0{password}"))
    elif "LOGINDISABLED" in capabilities:
        raise ConfigurationError(f"{account}: the server accepts no password on this connection; use 'tls', or OAuth2")
    else:
        arguments = (_quote_imap_string(account.username), _quote_imap_string(password))
        status, data = client.raw_client.xatom("LOGIN", *arguments)  # type: ignore[arg-type]  # takes both
        if status != "OK":
            raise imaplib.IMAP4.error(data[-1])
        client.raw_client.state = "AUTH"


def _log_in_with_token(account: Account, limits: ImapLimits, client: ParsingImapClient, token: str) -> None:
    if "AUTH=XOAUTH2" not in client.raw_client.capabilities:
        raise ConfigurationError(
            f"{account}: the server does not offer OAuth2 (XOAUTH2); set a password for this mailbox"
        )
    if not token.isascii() or not token.isprintable():
        raise ContractError(f"{account}: the access token contains characters that are not allowed in one")
    sasl_response = f"user={account.username}\1auth=Bearer {token}\1\1"
    client.raw_client.register_secrets(token.encode(), sasl_response.encode())
    run_command(
        account,
        limits,
        client.raw_client,
        CommandPurpose.LOGIN,
        "the access token",
        lambda: client.sasl_login("XOAUTH2", _build_single_use_responder(sasl_response)),
    )


def _build_single_use_responder(text: str) -> ChallengeResponder:
    """Return a responder with ``text`` for the first challenge, and nothing for later ones, which explain a refusal."""
    unsent = [text.encode()]
    return lambda _challenge: unsent.pop() if unsent else b""


def _quote_imap_string(text: str) -> bytes:
    return b'"' + text.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'
