"""The mails of the corpus in a real mailbox, through the command line: all attachments are collected, only once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from invoices.documents.containers.mail import open_mail
from tests.e2e.mail_app import MailApp, build_mail, build_mailbox_entry, get_unmeasured_fork_server
from tests.servers.dovecot_server import DovecotServer

pytestmark = [pytest.mark.corpus, pytest.mark.slow]


@pytest.fixture
def mail_app(tmp_path: Path) -> MailApp:
    """An application without settings yet."""
    return MailApp(tmp_path / "app", get_unmeasured_fork_server())


def hash_content(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_every_attachment_of_the_corpus_is_stored_and_a_second_collect_changes_nothing(
    corpus: Path, mail_app: MailApp, dovecot: DovecotServer
) -> None:
    manifest = [json.loads(line) for line in (corpus / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    mails = {row["path"]: row for row in manifest if row["kind"] == "email"}
    winmails = {row["path"]: row for row in manifest if row["kind"] == "tnef"}
    assert (len(mails), len(winmails)) == (50, 5)
    account = dovecot.create_account()
    for path in mails:
        account.deliver_message((corpus / path).read_bytes())
    for path in winmails:
        account.deliver_message(build_mail(1, ("winmail.dat", (corpus / path).read_bytes())))
    mail_app.write_config(build_mailbox_entry(account, security="tls"))
    assert mail_app.run_collect()["problems"] == []
    missing = [
        (path, attachment["filename"])
        for path, row in (mails | winmails).items()
        for attachment in (row["expected"] or {"attachments": ()})["attachments"]
        if not any(map(mail_app.is_stored, list_possible_hashes((corpus / path).read_bytes(), attachment["sha256"])))
    ]
    assert missing == []
    before, flags = mail_app.read_ledger_tables(), account.list_flags_by_uid()
    assert mail_app.run_collect()["documents"]["new"] == 0
    assert mail_app.read_ledger_tables() == before
    assert account.list_flags_by_uid() == flags
    assert not any(r"\Seen" in mail_flags for mail_flags in flags.values())
    (source_report,) = mail_app.run_reconcile()["sources"]
    assert (source_report["listed"], source_report["known"]) == (55, 55)


def list_possible_hashes(content: bytes, expected: str) -> set[str]:
    """Return the hash of an attachment, and its hash as IMAP sends a part that is not encoded: with CR LF."""
    if content[:4] == b"\x78\x9f\x3e\x22":  # winmail.dat
        return {expected}
    _, contents = open_mail(content)
    matching_contents = [part_content for part_content in contents if hash_content(part_content) == expected]
    return {
        expected,
        *(
            hash_content(part_content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
            for part_content in matching_contents
        ),
    }
