"""What is said of a mail server that cannot be reached: what is wrong, and what to look at next."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from invoices.errors import TransientError
from sources.mailbox.account import Account
from sources.mailbox.imap_errors import GREETING_LABEL, CommandPurpose, build_imap_error

NEXT_STEP = "; check host and port in [[mailboxes]], then: invoices doctor"
NAME_NOT_KNOWN_ERROR = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
TEMPORARY_NAME_ERROR = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
CONNECTION_REFUSED_ERROR = OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
UNREACHABLE_ERROR = OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NAME_NOT_KNOWN_ERROR, "there is no host 'imap.exmple.org'"),
        (TEMPORARY_NAME_ERROR, "the name server gave no address of the host 'imap.exmple.org'"),
        (CONNECTION_REFUSED_ERROR, "nothing listens on port 14399 of 'imap.exmple.org'"),
        (UNREACHABLE_ERROR, "no way leads to 'imap.exmple.org' from here"),
        (TimeoutError(), "no complete answer in time to the greeting"),
    ],
)
def test_a_server_that_cannot_be_reached_is_told_in_words(error: OSError, words: str) -> None:
    account = Account("office", "imap.exmple.org", 14399, "ann", password="x")
    message = build_imap_error(account, CommandPurpose.READ, GREETING_LABEL, error, None)
    assert isinstance(message, TransientError)
    assert str(message) == f"{account}: {words}{NEXT_STEP}"
