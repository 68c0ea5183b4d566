"""The error about a mail server that cannot be reached: what is wrong, and what to check next."""

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
    ("error", "problem"),
    [
        (NAME_NOT_KNOWN_ERROR, "the host 'imap.exmple.org' does not exist"),
        (TEMPORARY_NAME_ERROR, "the host 'imap.exmple.org' has no address, as the name server did not answer"),
        (CONNECTION_REFUSED_ERROR, "no server listens on port 14399 of 'imap.exmple.org'"),
        (UNREACHABLE_ERROR, "the host 'imap.exmple.org' cannot be reached from this network"),
        (TimeoutError(), "the server did not complete the greeting in time"),
    ],
)
def test_the_error_explains_why_a_server_cannot_be_reached(error: OSError, problem: str) -> None:
    account = Account("office", "imap.exmple.org", 14399, "ann", password="x")
    imap_error = build_imap_error(account, CommandPurpose.READ, GREETING_LABEL, error, None)
    assert isinstance(imap_error, TransientError)
    assert str(imap_error) == f"{account}: {problem}{NEXT_STEP}"
