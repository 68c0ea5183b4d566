"""Fixtures of the mailbox tests: an IMAP account with three mails."""

from __future__ import annotations

from pathlib import Path

import pytest

from invoices.documents.containers.container_opener_pool import ContainerOpenerPool
from invoices.documents.store import DocumentStore
from invoices.ledger import Ledger
from tests.integration.sources.mailbox.mailbox_fixtures import MailboxHarness, build_invoice_mail
from tests.servers.dovecot_server import DovecotServer


@pytest.fixture
def mailbox_harness(
    dovecot: DovecotServer, ledger: Ledger, opener_pool: ContainerOpenerPool, tmp_path: Path
) -> MailboxHarness:
    """A mailbox with three mails."""
    account = dovecot.create_account()
    for number in (1, 2, 3):
        account.deliver_message(build_invoice_mail(number))
    return MailboxHarness(account, ledger, DocumentStore(tmp_path / "store"), opener_pool, tmp_path)
