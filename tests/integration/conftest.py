"""What several tests share: empty ledgers of either kind, an office that asks in batches, a desk with a mailbox."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from invoices.documents.containers.container_opener_pool import ContainerOpenerPool
from invoices.documents.store import DocumentStore
from invoices.ledger import Ledger
from sandbox.process import Sandbox, start_sandbox
from tests.integration.extraction.batch_fixtures import VENDOR_MINUTE_SECONDS, BatchHarness
from tests.integration.sources.mailbox.mailbox_fixtures import MailboxHarness, build_invoice_mail
from tests.run_environment import suspend_coverage
from tests.servers.dovecot_server import DovecotServer
from tests.servers.postgres_server import PostgresServer


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a ledger may be made; nothing is there yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/deeper/ledger.sqlite"
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.create_database()
        yield url
        server.drop_database(url)


@pytest.fixture(scope="session")
def batch_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox; each test has an account of its own."""
    with ExitStack() as stack:
        with suspend_coverage():
            sandbox = stack.enter_context(
                start_sandbox(tmp_path_factory.mktemp("sandbox"), minute_seconds=VENDOR_MINUTE_SECONDS)
            )
        yield sandbox


@pytest.fixture
def batch_harness(tmp_path: Path, batch_sandbox: Sandbox) -> Iterator[BatchHarness]:
    """An office without any document, with invoicedataextraction.com to ask."""
    harness = BatchHarness(tmp_path, batch_sandbox)
    yield harness
    harness.ledger.close()


@pytest.fixture(scope="module")
def opener_pool() -> Iterator[ContainerOpenerPool]:
    """The process that opens mails."""
    with ContainerOpenerPool(1) as pool:
        yield pool


@pytest.fixture
def mailbox_harness(
    dovecot: DovecotServer, ledger: Ledger, opener_pool: ContainerOpenerPool, tmp_path: Path
) -> MailboxHarness:
    """A mailbox with three mails."""
    account = dovecot.create_account()
    for number in (1, 2, 3):
        account.deliver_message(build_invoice_mail(number))
    return MailboxHarness(account, ledger, DocumentStore(tmp_path / "store"), opener_pool, tmp_path)
