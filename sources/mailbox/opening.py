"""A line to a mailbox that is encrypted, as the account says, and logged in."""

from __future__ import annotations

import contextlib
import imaplib
import ssl
from collections.abc import Callable

from invoices.clients.watching import Watch
from invoices.errors import AccountError, ConfigurationError, ContractError, InvoicesError
from invoices.settings.intake import is_this_machine
from sources.mailbox import refusals
from sources.mailbox.account import Account, Limits
from sources.mailbox.line import SMALL, Answer, GuardedClient, GuardedLine
from sources.mailbox.refusals import Asked

Authenticate = Callable[[bytes], bytes]
# What the two libraries raise when a server says something that cannot be: neither checks all that it reads.
NONSENSE = (ValueError, TypeError, LookupError, AttributeError, AssertionError, RecursionError)
FAILURES = (imaplib.IMAP4.error, OSError, *NONSENSE)


def connected(account: Account, limits: Limits) -> tuple[GuardedClient, str | None]:
    """Return a connection that is logged in, and the access token that did it, if it was one.

    Raises ConfigurationError before anything is sent, AccountError for a refused login (it is not tried again),
    TransientError and ContractError.
    """
    account.check()
    client = _greeted(account, limits)
    try:
        if account.security == "starttls":
            _encrypt(account, limits, client)
        return client, _log_in(account, limits, client)
    except BaseException:
        hang_up(client)
        raise


def hang_up(client: GuardedClient) -> None:
    """Close the connection without a word."""
    with contextlib.suppress(OSError):  # the other side may have been first
        client.shutdown()


def ask(
    account: Account, limits: Limits, line: GuardedLine, asked: Asked, doing: str, command: Callable[[], object]
) -> None:
    """Run one command on a line that is not yet a session; raises our errors."""
    with Watch(limits.command) as watch:
        try:
            line.begin(SMALL)
            watch.sending(line.socket())
            command()
        except InvoicesError:
            raise
        except FAILURES as error:
            raise failure(account, asked, doing, TimeoutError() if watch.has_expired else error, line) from None


def failure(account: Account, asked: Asked, doing: str, error: Exception, line: GuardedLine) -> InvoicesError:
    """Return our error for what went wrong on a line."""
    told = error.__context__ if isinstance(error.__context__, imaplib.IMAP4.error | OSError) else error
    return refusals.of_failure(account, asked, doing, told, last_answer(line))


def last_answer(line: GuardedLine) -> Answer | None:
    """Return the status that the server gave last: its BYE, or the answer to the last command."""
    goodbye = line.untagged_responses.get("BYE")
    return Answer.read(line.veiled(b"* BYE " + bytes(goodbye[-1]) if goodbye else line.last))  # type: ignore[arg-type]  # a line


def _greeted(account: Account, limits: Limits) -> GuardedClient:
    context = _tls(account) if account.security == "tls" else None
    with Watch(limits.command, is_this_machine if account.security == "none" else None) as watch:
        try:
            client = GuardedClient(account, limits, context, watch)
        except InvoicesError:
            raise
        except FAILURES as error:
            answer = Answer.read(_greeting(error))
            told = TimeoutError() if watch.has_expired else error
            raise refusals.of_failure(account, Asked.READ, refusals.GREETING, told, answer) from None
    if client.line.state != "NONAUTH":
        hang_up(client)
        raise ContractError(f"{account}: the server says that somebody is logged in already; no mailbox is opened so")
    return client


def _greeting(error: Exception) -> bytes:
    """Return the line that imaplib did not take for a greeting."""
    return error.args[0] if error.args and isinstance(error.args[0], bytes) else b""


def _tls(account: Account) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=account.ca_file)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{account}: its ca_file {str(account.ca_file)!r} cannot be read") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _encrypt(account: Account, limits: Limits, client: GuardedClient) -> None:
    """Begin TLS; where the server cannot or does not want to, nothing else is ever sent to it."""
    context = _tls(account)
    if "STARTTLS" not in client.line.capabilities:
        raise ConfigurationError(
            f"{account}: the server does not offer STARTTLS, and nothing is sent without; use 'tls'"
        )
    ask(account, limits, client.line, Asked.CHOOSE, "STARTTLS", lambda: client.starttls(context))
    client.line.untagged_responses.clear()  # what came before was not from a known server
    if not isinstance(client.line.socket(), ssl.SSLSocket) or client.line.state != "NONAUTH":
        raise ContractError(f"{account}: the line is not encrypted after STARTTLS")


def _log_in(account: Account, limits: Limits, client: GuardedClient) -> str | None:
    if account.token is None:
        ask(account, limits, client.line, Asked.LOGIN, "the login", lambda: _with_password(account, client))
        return None
    token = account.token.current()
    try:
        _with_token(account, limits, client, token)
    except AccountError:
        account.token.discard(token)
        renewed = account.token.current()
        if renewed == token:
            raise
        _with_token(account, limits, client, renewed)
        return renewed
    return token


def _with_password(account: Account, client: GuardedClient) -> None:
    offered, password = client.line.capabilities, account.password or ""
    client.line.hide(password.encode(), f"\0{account.username}\0{password}".encode(), _quoted(password)[1:-1])
    if "AUTH=PLAIN" in offered:
        client.sasl_login("PLAIN", _once(f"\0{account.username}\0{password}"))
    elif "LOGINDISABLED" in offered:
        raise ConfigurationError(f"{account}: the server takes no password here; use 'tls', or OAuth2")
    else:
        status, data = client.line.xatom("LOGIN", _quoted(account.username), _quoted(password))  # type: ignore[arg-type]  # takes both
        if status != "OK":
            raise imaplib.IMAP4.error(data[-1])
        client.line.state = "AUTH"


def _with_token(account: Account, limits: Limits, client: GuardedClient, token: str) -> None:
    if "AUTH=XOAUTH2" not in client.line.capabilities:
        raise ConfigurationError(f"{account}: the server does not offer OAuth2 (XOAUTH2); give the mailbox a password")
    if not token.isascii() or not token.isprintable():
        raise ContractError(f"{account}: the access token holds what no access token may hold")
    saying = f"user={account.username}\1auth=Bearer {token}\1\1"
    client.line.hide(token.encode(), saying.encode())
    ask(
        account,
        limits,
        client.line,
        Asked.LOGIN,
        "the access token",
        lambda: client.sasl_login("XOAUTH2", _once(saying)),
    )


def _once(text: str) -> Authenticate:
    """Return what says ``text`` to the first challenge, and nothing to later ones: those explain the refusal."""
    left = [text.encode()]
    return lambda _challenge: left.pop() if left else b""


def _quoted(text: str) -> bytes:
    return b'"' + text.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'
