"""Converts failed IMAP commands, refusals and broken connections to our own errors.

Sources: RFC 3501 §7.1, RFC 5530 (response codes), and the responses of Gmail, Exchange Online and Dovecot when they
throttle (reliability F-15).
"""

from __future__ import annotations

import enum
import errno
import imaplib
import re
import socket
import ssl

from invoices.errors import AccountError, ConfigurationError, ContractError, InvoicesError, TransientError
from sources.mailbox.account import Account
from sources.mailbox.imap_client import StatusResponse

MAX_RETRY_AFTER_SECONDS = 3600.0  # upper limit for the pause that a server requests
THROTTLED_RETRY_AFTER_SECONDS = 5.0  # for a server that throttles without requesting a pause
TRANSIENT_CODES = {"LIMIT", "OVERQUOTA", "UNAVAILABLE", "INUSE", "THROTTLED", "SERVERBUG", "SYS/TEMP", "SYS"}
PERMANENT_CODES = {"AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED", "PRIVACYREQUIRED"}  # with any text
BUSY_PATTERN = re.compile(
    r"too many|simultaneous|maximum number of connections|limits?\b.{0,200}exceeded|exceeded.{0,200}\blimit"
    r"|throttl|rate.?limit|try again|temporar|unavailable|server busy|system error|not connected",
    re.IGNORECASE,
)
EXPIRED_PATTERN = re.compile(
    r"expired|log ?in again|re-?authenticate|AccessTokenExpired|session invalidated", re.IGNORECASE
)
_THROTTLED_PATTERN = re.compile(
    r"too many|limits?\b.{0,200}exceeded|exceeded.{0,200}\blimit|throttl|rate.?limit", re.IGNORECASE
)
_BACKOFF_PATTERN = re.compile(r"backoff time: ([0-9]{1,9}) milliseconds", re.IGNORECASE)
_TLS_VERSION_ERRORS = {"WRONG_VERSION_NUMBER", "UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "HTTP_REQUEST"}
_UNREACHABLE_ERRNOS = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}
_CHECK_HINT = "check host and port in [[mailboxes]], then: invoices doctor"
GREETING_LABEL = "the greeting"


class CommandPurpose(enum.Enum):
    """The purpose of a command, which decides what a NO without a code means."""

    LOGIN = "to log in"
    OPEN_FOLDER = "to open a folder"
    READ = "to read"
    CHANGE = "to change messages"


def build_imap_error(
    account: Account,
    purpose: CommandPurpose,
    command_label: str,
    error: Exception,
    status_response: StatusResponse | None,
) -> InvoicesError:
    """Return our error for a failed command; ``status_response`` is the last status of the server."""
    if isinstance(error, OSError):
        return _build_connection_error(account, command_label, error)
    if status_response is not None and status_response.status in ("NO", "BAD", "BYE"):
        return build_refusal_error(account, purpose, command_label, status_response)
    if isinstance(error, imaplib.IMAP4.abort) and "socket error" in str(error):
        return TransientError(f"{account}: the connection broke during {command_label}")
    return ContractError(
        f"{account}: the server's response to {command_label} is not valid IMAP ({type(error).__name__})"
    )


def build_refusal_error(
    account: Account, purpose: CommandPurpose, command_label: str, status_response: StatusResponse
) -> InvoicesError:
    """Return our error for a NO, BAD or BYE; the message quotes it without the password, which some servers repeat."""
    text = status_response.text.replace(account.password, "[hidden]") if account.password else status_response.text
    code = f"[{status_response.code}] " if status_response.code else ""
    quoted_response = f"{status_response.status} {code}{text!r}"
    message = f"{account}: the server refused {command_label}: {quoted_response}"
    if status_response.code not in PERMANENT_CODES and (
        status_response.code in TRANSIENT_CODES or BUSY_PATTERN.search(status_response.text)
    ):
        return TransientError(message, retry_after=_find_retry_after(status_response))
    if status_response.status == "BYE":
        return TransientError(f"{account}: the server closed the connection during {command_label}: {quoted_response}")
    if status_response.status == "BAD":
        return ContractError(message)
    return _build_rejected_command_error(account, purpose, message)


def is_token_expired(status_response: StatusResponse | None) -> bool:
    """Return whether the server reports that the access token of this session has expired."""
    if status_response is None or status_response.status not in ("NO", "BAD", "BYE"):
        return False
    return status_response.code == "EXPIRED" or EXPIRED_PATTERN.search(status_response.text) is not None


def _build_rejected_command_error(account: Account, purpose: CommandPurpose, message: str) -> InvoicesError:
    if purpose is CommandPurpose.LOGIN:
        credential = "password" if account.token_provider is None else "sign-in (OAuth2)"
        return AccountError(
            f"{message}; check the username and the {credential} of this mailbox; the login is not tried again"
        )
    if purpose is CommandPurpose.OPEN_FOLDER:
        return ConfigurationError(f"{message}; check that the folder exists and that this account may open it")
    if purpose is CommandPurpose.CHANGE:
        return ConfigurationError(
            f"{message}; check the setting 'after' of this mailbox: the folder must exist and be writable"
        )
    return TransientError(message)


def _build_connection_error(account: Account, command_label: str, error: OSError) -> InvoicesError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConfigurationError(
            f"{account}: the server's certificate cannot be verified ({error.verify_message}); nothing was sent. "
            "Check the host name, or set ca_file to the certificate of its authority"
        )
    if isinstance(error, ssl.SSLError) and error.reason in _TLS_VERSION_ERRORS:
        return ConfigurationError(
            f"{account}: the server does not use TLS 1.2 or later on this port ({error.reason}); nothing was sent. "
            "Check the port and the security of this mailbox (993: 'tls', 143: 'starttls')"
        )
    if isinstance(error, PermissionError):
        return ConfigurationError(
            f"{account}: security = 'none' is only for this machine, and the host is another; use 'tls' or 'starttls'"
        )
    return TransientError(f"{account}: {_describe_connection_error(account, command_label, error)}")


def _describe_connection_error(account: Account, command_label: str, error: OSError) -> str:
    """Return why a connection broke or could not be opened, and what to check if it could not."""
    if isinstance(error, socket.gaierror):
        is_unknown_host = error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
        problem = "does not exist" if is_unknown_host else "has no address, as the name server did not answer"
        return f"the host {account.host!r} {problem}; {_CHECK_HINT}"
    if isinstance(error, ConnectionRefusedError):
        return f"no server listens on port {account.port} of {account.host!r}; {_CHECK_HINT}"
    if error.errno in _UNREACHABLE_ERRNOS:
        return f"the host {account.host!r} cannot be reached from this network; {_CHECK_HINT}"
    if isinstance(error, TimeoutError):
        hint = f"; {_CHECK_HINT}" if command_label == GREETING_LABEL else ""
        return f"the server did not complete {command_label} in time{hint}"
    return f"the connection broke during {command_label} ({type(error).__name__})"


def _find_retry_after(status_response: StatusResponse) -> float | None:
    """Return the seconds to wait if the server throttles us; None if it has a problem of its own."""
    match = _BACKOFF_PATTERN.search(status_response.text)
    if match:
        return min(int(match.group(1)) / 1000, MAX_RETRY_AFTER_SECONDS)
    return (
        THROTTLED_RETRY_AFTER_SECONDS
        if status_response.code in ("LIMIT", "THROTTLED") or _THROTTLED_PATTERN.search(status_response.text)
        else None
    )
