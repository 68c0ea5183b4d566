"""Mail servers with fewer capabilities, and mailboxes with and without mails, for the tests of the mailbox source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from invoices.documents.containers.container_opener_pool import ContainerOpenerPool
from invoices.documents.store import DocumentStore
from invoices.ledger import Ledger
from tests.integration.sources.mailbox.mailbox_fixtures import MailboxHarness, build_invoice_mail
from tests.servers import dovecot_server
from tests.servers.dovecot_server import DovecotServer


@pytest.fixture(scope="module")
def server_without_move(dovecot_program: Path) -> Iterator[DovecotServer]:
    """A server that can expunge by UID, but not MOVE."""
    configuration = "imap_capability = IMAP4rev1 LITERAL+ UIDPLUS UNSELECT"
    with dovecot_server.run_server(dovecot_program, configuration) as server:
        yield server


@pytest.fixture(scope="module")
def server_without_uid_expunge(dovecot_program: Path) -> Iterator[DovecotServer]:
    """A server that offers neither MOVE, nor expunge by UID, nor ESEARCH."""
    with dovecot_server.run_server(dovecot_program, "imap_capability = IMAP4rev1 LITERAL+") as server:
        yield server


@pytest.fixture
def harness_without_mails(
    dovecot: DovecotServer, ledger: Ledger, opener_pool: ContainerOpenerPool, tmp_path: Path
) -> MailboxHarness:
    """A mailbox without mails; each test replaces the port of its server."""
    return MailboxHarness(dovecot.create_account(), ledger, DocumentStore(tmp_path / "store"), opener_pool, tmp_path)


@pytest.fixture
def mailbox_harness(
    dovecot: DovecotServer, ledger: Ledger, opener_pool: ContainerOpenerPool, tmp_path: Path
) -> MailboxHarness:
    """A mailbox with three mails."""
    account = dovecot.create_account()
    for number in (1, 2, 3):
        account.deliver_message(build_invoice_mail(number))
    return MailboxHarness(account, ledger, DocumentStore(tmp_path / "store"), opener_pool, tmp_path)
