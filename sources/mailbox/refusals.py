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
from sources.mailbox.line import Answer

LONGEST_WAIT = 3600.0  # seconds that a server may wish
SLOW_DOWN = 5.0  # seconds, for a server that has had enough of us and does not say for how long
TRY_LATER = {"LIMIT", "OVERQUOTA", "UNAVAILABLE", "INUSE", "THROTTLED", "SERVERBUG", "SYS/TEMP", "SYS"}
FOR_GOOD = {"AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED", "PRIVACYREQUIRED"}  # whatever the words say
BUSY = re.compile(
    r"too many|simultaneous|maximum number of connections|limits?\b.*exceeded|exceeded.*\blimit|throttl|rate.?limit|"
    r"try again|temporar|unavailable|server busy|system error|not connected",
    re.IGNORECASE,
)
EXPIRED = re.compile(r"expired|log ?in again|re-?authenticate|AccessTokenExpired|session invalidated", re.IGNORECASE)
_ENOUGH = re.compile(r"too many|limits?\b.*exceeded|exceeded.*\blimit|throttl|rate.?limit", re.IGNORECASE)
_BACKOFF = re.compile(r"backoff time: ([0-9]{1,9}) milliseconds", re.IGNORECASE)
_NOT_TLS = {"WRONG_VERSION_NUMBER", "UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "HTTP_REQUEST"}
_NO_WAY = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}
_NEXT = "check host and port in [[mailboxes]], then: invoices doctor"
GREETING = "the greeting"


class Asked(enum.Enum):
    """What a command was for, which decides what a plain NO to it means."""

    LOGIN = "to log in"
    CHOOSE = "to open a folder"
    READ = "to read"
    CHANGE = "to change messages"


def of_failure(account: Account, asked: Asked, doing: str, error: Exception, answer: Answer | None) -> InvoicesError:
    """Return our error for a command that failed; ``doing`` names it, ``answer`` is the server's last status."""
    if isinstance(error, OSError):
        return _of_broken_line(account, doing, error)
    if answer is not None and answer.status in ("NO", "BAD", "BYE"):
        return of_answer(account, asked, doing, answer)
    if isinstance(error, imaplib.IMAP4.abort) and "socket error" in str(error):
        return TransientError(f"{account}: the line broke during {doing}")
    return ContractError(f"{account}: the server does not speak IMAP as it should ({type(error).__name__}, {doing})")


def of_answer(account: Account, asked: Asked, doing: str, answer: Answer) -> InvoicesError:
    """Return our error for a refusal."""
    said = " ".join(filter(None, [answer.status, answer.code and f"[{answer.code}]", repr(_unveiled(account, answer))]))
    text = f"{account}: the server refused {doing}: {said}"
    if answer.code not in FOR_GOOD and (answer.code in TRY_LATER or BUSY.search(answer.words)):
        return TransientError(text, retry_after=_wait(answer))
    if answer.status == "BYE":
        return TransientError(f"{account}: the server hung up during {doing}: {said}")
    if answer.status == "BAD":
        return ContractError(text)
    return _of_no(account, asked, text)


def is_expiry(answer: Answer | None) -> bool:
    """Return whether the server says that the access token of this session is over."""
    if answer is None or answer.status not in ("NO", "BAD", "BYE"):
        return False
    return answer.code == "EXPIRED" or EXPIRED.search(answer.words) is not None


def _of_no(account: Account, asked: Asked, text: str) -> InvoicesError:
    if asked is Asked.LOGIN:
        what = "password" if account.token is None else "sign-in (OAuth2)"
        return AccountError(f"{text}; check the username and the {what} of this mailbox, it is not tried again")
    if asked is Asked.CHOOSE:
        return ConfigurationError(f"{text}; check the folders of this mailbox: is it there, and may we use it?")
    if asked is Asked.CHANGE:
        return ConfigurationError(f"{text}; check what is to be done after success: is the folder there, and writable?")
    return TransientError(text)


def _of_broken_line(account: Account, doing: str, error: OSError) -> InvoicesError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConfigurationError(
            f"{account}: the server's certificate cannot be verified ({error.verify_message}); nothing was sent. "
            "Check the host's name, or name its authority in ca_file"
        )
    if isinstance(error, ssl.SSLError) and error.reason in _NOT_TLS:
        return ConfigurationError(
            f"{account}: no TLS of version 1.2 or later there ({error.reason}); nothing was sent. "
            "Check the port and the security of this mailbox (993: 'tls', 143: 'starttls')"
        )
    if isinstance(error, PermissionError):
        return ConfigurationError(f"{account}: that name does not lead to this machine; use 'tls' or 'starttls'")
    return TransientError(f"{account}: {_broken(account, doing, error)}")


def _broken(account: Account, doing: str, error: OSError) -> str:
    """Return in words how a line broke, or why there was none; then with what to look at next."""
    if isinstance(error, socket.gaierror):
        is_unknown = error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
        found = "there is no host" if is_unknown else "the name server gave no address of the host"
        return f"{found} {account.host!r}; {_NEXT}"
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens on port {account.port} of {account.host!r}; {_NEXT}"
    if error.errno in _NO_WAY:
        return f"no way leads to {account.host!r} from here; {_NEXT}"
    if isinstance(error, TimeoutError):
        return f"no complete answer in time to {doing}" + (f"; {_NEXT}" if doing == GREETING else "")
    return f"the line broke during {doing} ({type(error).__name__})"


def _unveiled(account: Account, answer: Answer) -> str:
    """Return the server's words without the password, which some repeat."""
    return answer.words.replace(account.password, "[hidden]") if account.password else answer.words


def _wait(answer: Answer) -> float | None:
    """Return the seconds to leave the server alone; None where it is not us that it has trouble with."""
    told = _BACKOFF.search(answer.words)
    if told:
        return min(int(told.group(1)) / 1000, LONGEST_WAIT)
    return SLOW_DOWN if answer.code in ("LIMIT", "THROTTLED") or _ENOUGH.search(answer.words) else None
