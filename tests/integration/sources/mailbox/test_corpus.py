"""The corpus of real mails in a real mailbox: every known attachment is stored, and a second scan finds nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from invoices.documents.containers.container_opener_pool import ContainerOpenerPool
from invoices.documents.store import DocumentStore
from invoices.ledger import Ledger
from tests.integration.sources.mailbox.mailbox_fixtures import MailboxHarness
from tests.servers.dovecot_server import DovecotServer

pytestmark = pytest.mark.corpus


@pytest.fixture
def mail_entries(corpus: Path) -> list[dict[str, Any]]:
    """The entries of the manifest for mails."""
    documents = [json.loads(line) for line in (corpus / "manifest.jsonl").read_text("utf-8").splitlines()]
    return [document for document in documents if document["kind"] == "email"]


@pytest.fixture
def mailbox_harness(
    dovecot: DovecotServer, ledger: Ledger, corpus: Path, mail_entries: list[dict[str, Any]], tmp_path: Path
) -> Iterator[MailboxHarness]:
    """A mailbox with all mails of the corpus."""
    account = dovecot.create_account()
    for entry in mail_entries:
        account.deliver_message((corpus / entry["path"]).read_bytes())
    with ContainerOpenerPool(2) as pool:
        yield MailboxHarness(account, ledger, DocumentStore(tmp_path / "store"), pool, tmp_path)


def test_every_known_attachment_is_stored_and_a_second_scan_finds_nothing(
    mailbox_harness: MailboxHarness, mail_entries: list[dict[str, Any]]
) -> None:
    scan_state = mailbox_harness.scan_mailbox()
    assert len(mailbox_harness.list_outcomes_by_uid()) == len(mail_entries) == 50
    assert scan_state.problems == []
    attachments = {
        attachment["sha256"] for mail in mail_entries for attachment in (mail["expected"] or {}).get("attachments", ())
    }
    assert len(attachments) >= 20
    assert attachments - list_hashes_with_either_line_end(mailbox_harness) == set()
    before = mailbox_harness.list_reason_codes_by_document()
    again = mailbox_harness.scan_mailbox()
    assert (mailbox_harness.rows, again.known_count, mailbox_harness.list_reason_codes_by_document()) == (
        [],
        50,
        before,
    )


def list_hashes_with_either_line_end(mailbox_harness: MailboxHarness) -> set[str]:
    """Return the hashes of the documents as stored, and with bare line feeds.

    Over IMAP every line of a mail ends in CR LF (RFC 5322 §2.3), also in a text that is attached without encoding;
    the hashes of the manifest are those of the files.
    """
    contents = [mailbox_harness.store.read(sha256) for sha256 in mailbox_harness.list_reason_codes_by_document()]
    hashes_with_bare_line_feeds = {hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest() for content in contents}
    return hashes_with_bare_line_feeds | set(mailbox_harness.list_reason_codes_by_document())
