"""What is said of a mail server that cannot be reached: what is wrong, and what to look at next."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from invoices.errors import TransientError
from sources.mailbox.account import Account
from sources.mailbox.refusals import GREETING, Asked, of_failure

NEXT = "; check host and port in [[mailboxes]], then: invoices doctor"
NO_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
NOT_NOW = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
REFUSED = OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
UNREACHABLE = OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NO_NAME, "there is no host 'imap.exmple.org'"),
        (NOT_NOW, "the name server gave no address of the host 'imap.exmple.org'"),
        (REFUSED, "nothing listens on port 14399 of 'imap.exmple.org'"),
        (UNREACHABLE, "no way leads to 'imap.exmple.org' from here"),
        (TimeoutError(), "no complete answer in time to the greeting"),
    ],
)
def test_a_server_that_cannot_be_reached_is_told_in_words(error: OSError, words: str) -> None:
    account = Account("office", "imap.exmple.org", 14399, "ann", password="x")
    told = of_failure(account, Asked.READ, GREETING, error, None)
    assert isinstance(told, TransientError)
    assert str(told) == f"{account}: {words}{NEXT}"
