"""The mailbox source: what the mails of an IMAP account bring, each taken once."""

from sources.mailbox.acting import act
from sources.mailbox.configured import account_of, limits_of
from sources.mailbox.connection import Session, open_session
from sources.mailbox.memory import Memory, Seen
from sources.mailbox.preview import Preview, preview
from sources.mailbox.source import mailbox

__all__ = [
    "Memory", "Preview", "Seen", "Session", "account_of", "act", "limits_of", "mailbox", "open_session",
    "preview",
]  # fmt: skip
