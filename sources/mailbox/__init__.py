"""The mailbox source: the documents in the mails of an IMAP account; each mail is collected once."""

from sources.mailbox.account_settings import build_account, build_limits
from sources.mailbox.mailbox_session import MailboxSession, open_session
from sources.mailbox.post_actions import run_post_action
from sources.mailbox.preview import MailboxPreview, fetch_mailbox_preview
from sources.mailbox.scan_state import MailboxHistory, ScanState
from sources.mailbox.source import build_mailbox_source

__all__ = [
    "MailboxHistory",
    "MailboxPreview",
    "MailboxSession",
    "ScanState",
    "build_account",
    "build_limits",
    "build_mailbox_source",
    "fetch_mailbox_preview",
    "open_session",
    "run_post_action",
]  # fmt: skip
