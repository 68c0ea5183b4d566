"""What a failed IMAP command means for the caller: the one place where an answer or a broken line becomes our error.

Sources: RFC 3501 §7.1, RFC 5530 (response codes), and what Gmail, Exchange Online and Dovecot answer when they throttle
(reliability F-15).
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

MAX_RETRY_AFTER_SECONDS = 3600.0  # seconds that a server may wish
THROTTLED_RETRY_AFTER_SECONDS = 5.0  # seconds, for a server that has had enough of us and does not say for how long
TRANSIENT_CODES = {"LIMIT", "OVERQUOTA", "UNAVAILABLE", "INUSE", "THROTTLED", "SERVERBUG", "SYS/TEMP", "SYS"}
PERMANENT_CODES = {
    "AUTHENTICATIONFAILED",
    "AUTHORIZATIONFAILED",
    "EXPIRED",
    "PRIVACYREQUIRED",
}  # whatever the words say
BUSY_PATTERN = re.compile(
    r"too many|simultaneous|maximum number of connections|limits?\b.*exceeded|exceeded.*\blimit|throttl|rate.?limit|"
    r"try again|temporar|unavailable|server busy|system error|not connected",
    re.IGNORECASE,
)
EXPIRED_PATTERN = re.compile(
    r"expired|log ?in again|re-?authenticate|AccessTokenExpired|session invalidated", re.IGNORECASE
)
_THROTTLED_PATTERN = re.compile(r"too many|limits?\b.*exceeded|exceeded.*\blimit|throttl|rate.?limit", re.IGNORECASE)
_BACKOFF_PATTERN = re.compile(r"backoff time: ([0-9]{1,9}) milliseconds", re.IGNORECASE)
_TLS_VERSION_ERRORS = {"WRONG_VERSION_NUMBER", "UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "HTTP_REQUEST"}
_UNREACHABLE_ERRNOS = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}
_CHECK_HINT = "check host and port in [[mailboxes]], then: invoices doctor"
GREETING_LABEL = "the greeting"


class CommandPurpose(enum.Enum):
    """What a command was for, which decides what a plain NO to it means."""

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
    """Return our error for a command that failed; ``doing`` names it, ``answer`` is the server's last status."""
    if isinstance(error, OSError):
        return _build_connection_error(account, command_label, error)
    if status_response is not None and status_response.status in ("NO", "BAD", "BYE"):
        return build_refusal_error(account, purpose, command_label, status_response)
    if isinstance(error, imaplib.IMAP4.abort) and "socket error" in str(error):
        return TransientError(f"{account}: the line broke during {command_label}")
    return ContractError(
        f"{account}: the server does not speak IMAP as it should ({type(error).__name__}, {command_label})"
    )


def build_refusal_error(
    account: Account, purpose: CommandPurpose, command_label: str, status_response: StatusResponse
) -> InvoicesError:
    """Return our error for a refusal."""
    quoted_response = " ".join(
        filter(
            None,
            [
                status_response.status,
                status_response.code and f"[{status_response.code}]",
                repr(_redact_password(account, status_response)),
            ],
        )
    )
    message = f"{account}: the server refused {command_label}: {quoted_response}"
    if status_response.code not in PERMANENT_CODES and (
        status_response.code in TRANSIENT_CODES or BUSY_PATTERN.search(status_response.text)
    ):
        return TransientError(message, retry_after=_find_retry_after(status_response))
    if status_response.status == "BYE":
        return TransientError(f"{account}: the server hung up during {command_label}: {quoted_response}")
    if status_response.status == "BAD":
        return ContractError(message)
    return _build_rejected_command_error(account, purpose, message)


def is_token_expired(status_response: StatusResponse | None) -> bool:
    """Return whether the server says that the access token of this session is over."""
    if status_response is None or status_response.status not in ("NO", "BAD", "BYE"):
        return False
    return status_response.code == "EXPIRED" or EXPIRED_PATTERN.search(status_response.text) is not None


def _build_rejected_command_error(account: Account, purpose: CommandPurpose, message: str) -> InvoicesError:
    if purpose is CommandPurpose.LOGIN:
        credential = "password" if account.token_provider is None else "sign-in (OAuth2)"
        return AccountError(
            f"{message}; check the username and the {credential} of this mailbox, it is not tried again"
        )
    if purpose is CommandPurpose.OPEN_FOLDER:
        return ConfigurationError(f"{message}; check the folders of this mailbox: is it there, and may we use it?")
    if purpose is CommandPurpose.CHANGE:
        return ConfigurationError(
            f"{message}; check what is to be done after success: is the folder there, and writable?"
        )
    return TransientError(message)


def _build_connection_error(account: Account, command_label: str, error: OSError) -> InvoicesError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConfigurationError(
            f"{account}: the server's certificate cannot be verified ({error.verify_message}); nothing was sent. "
            "Check the host's name, or name its authority in ca_file"
        )
    if isinstance(error, ssl.SSLError) and error.reason in _TLS_VERSION_ERRORS:
        return ConfigurationError(
            f"{account}: no TLS of version 1.2 or later there ({error.reason}); nothing was sent. "
            "Check the port and the security of this mailbox (993: 'tls', 143: 'starttls')"
        )
    if isinstance(error, PermissionError):
        return ConfigurationError(f"{account}: that name does not lead to this machine; use 'tls' or 'starttls'")
    return TransientError(f"{account}: {_describe_connection_error(account, command_label, error)}")


def _describe_connection_error(account: Account, command_label: str, error: OSError) -> str:
    """Return in words how a line broke, or why there was none; then with what to look at next."""
    if isinstance(error, socket.gaierror):
        is_unknown_host = error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
        problem = "there is no host" if is_unknown_host else "the name server gave no address of the host"
        return f"{problem} {account.host!r}; {_CHECK_HINT}"
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens on port {account.port} of {account.host!r}; {_CHECK_HINT}"
    if error.errno in _UNREACHABLE_ERRNOS:
        return f"no way leads to {account.host!r} from here; {_CHECK_HINT}"
    if isinstance(error, TimeoutError):
        return f"no complete answer in time to {command_label}" + (
            f"; {_CHECK_HINT}" if command_label == GREETING_LABEL else ""
        )
    return f"the line broke during {command_label} ({type(error).__name__})"


def _redact_password(account: Account, status_response: StatusResponse) -> str:
    """Return the server's words without the password, which some repeat."""
    return status_response.text.replace(account.password, "[hidden]") if account.password else status_response.text


def _find_retry_after(status_response: StatusResponse) -> float | None:
    """Return the seconds to leave the server alone; None where it is not us that it has trouble with."""
    match = _BACKOFF_PATTERN.search(status_response.text)
    if match:
        return min(int(match.group(1)) / 1000, MAX_RETRY_AFTER_SECONDS)
    return (
        THROTTLED_RETRY_AFTER_SECONDS
        if status_response.code in ("LIMIT", "THROTTLED") or _THROTTLED_PATTERN.search(status_response.text)
        else None
    )
