"""An IMAP server that answers from a mailbox in memory, and whose responses differ from it as a test chooses."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field

from tests.servers.scripted_imap_server import ScriptedImapServer

WELCOME_RESPONSE = b"{tag} OK [CAPABILITY IMAP4rev1 UIDPLUS %s] welcome\r\n"


@dataclass(slots=True)
class ServerMailbox:
    """The mails on a server, and how its responses differ from them."""

    mails: dict[int, bytes]
    uid_next: int | None = None
    stated_count: int | None = None
    uids_without_header: set[int] = field(default_factory=set)
    body_replacements: dict[int, bytes] = field(default_factory=dict)  # what a FETCH returns instead
    summary_items: dict[int, bytes] = field(default_factory=dict)  # what a FETCH returns beside the size
    hidden_uids: set[int] = field(default_factory=set)
    extra_capability: bytes = b""


class IncompleteImapServer(ScriptedImapServer):
    """A server that answers from a ServerMailbox, for any number of commands."""

    def __init__(self, mailbox: ServerMailbox) -> None:
        super().__init__(AUTHENTICATE=WELCOME_RESPONSE.replace(b"%s", mailbox.extra_capability))
        self.mailbox = mailbox

    def _send_response(self, connection: socket.socket, command: bytes) -> None:
        tag, _, command_text = command.partition(b" ")
        mailbox, uids = self.mailbox, re.search(rb"UID (?:FETCH ([0-9,:]+)|SEARCH UID ([0-9]+))", command_text)
        if command_text.startswith(b"EXAMINE"):
            message_count = len(mailbox.mails) if mailbox.stated_count is None else mailbox.stated_count
            next_uid = mailbox.uid_next or max(mailbox.mails, default=0) + 1
            examine_response = (
                f"* {message_count} EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\n* OK [UIDNEXT {next_uid}] ok\r\n".encode()
            )
            connection.sendall(examine_response + tag + b" OK [READ-ONLY] done\r\n")
        elif command_text.startswith(b"UID SEARCH"):
            first_uid = int(uids[2]) if uids else 0
            listed_uids = sorted(set(mailbox.mails) - mailbox.hidden_uids)
            matching_uids = [uid for uid in listed_uids if uid >= first_uid] or listed_uids[-1:]
            connection.sendall(
                b"* SEARCH " + b" ".join(b"%d" % uid for uid in matching_uids) + b"\r\n" + tag + b" OK done\r\n"
            )
        elif uids and uids[1]:
            for uid in map(int, uids[1].split(b",")):
                connection.sendall(self._build_fetch_response(uid, b"BODY.PEEK[]" in command_text))
            connection.sendall(tag + b" OK done\r\n")
        else:
            super()._send_response(connection, command)

    def _build_fetch_response(self, uid: int, is_body: bool) -> bytes:
        mailbox, mail = self.mailbox, self.mailbox.mails.get(uid)
        if mail is None or (uid in mailbox.uids_without_header and not is_body):
            return b""
        if is_body and uid in mailbox.body_replacements:
            return b"".join([b"* %d FETCH (UID %d " % (uid, uid), mailbox.body_replacements[uid], b")\r\n"])
        if is_body:
            return b"* %d FETCH (UID %d BODY[] {%d}\r\n%s)\r\n" % (uid, uid, len(mail), mail)
        items = mailbox.summary_items.get(uid, b"FLAGS ()")
        return b"* %d FETCH (UID %d RFC822.SIZE %d %s)\r\n" % (uid, uid, len(mail), items)
