"""What several tests share: empty ledgers of either kind, an office that asks in batches, a desk with a mailbox."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from invoices.documents.store import DocumentStore
from invoices.documents.unwrapping.unwrapping import Unwrappers
from invoices.ledger import Ledger
from sandbox.serving import Sandbox, start
from tests.integration.batch_office import MINUTE, Office
from tests.integration.dovecot_server import DovecotServer
from tests.integration.mailbox_desk import Desk, invoice_mail
from tests.integration.postgres_server import PostgresServer
from tests.surroundings import unmeasured


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a ledger may be made; nothing is there yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/deeper/ledger.sqlite"
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.new_database()
        yield url
        server.drop(url)


@pytest.fixture(scope="session")
def batch_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox; each test has an account of its own."""
    with ExitStack() as stack:
        with unmeasured():
            running = stack.enter_context(start(tmp_path_factory.mktemp("sandbox"), minute_seconds=MINUTE))
        yield running


@pytest.fixture
def office(tmp_path: Path, batch_sandbox: Sandbox) -> Iterator[Office]:
    """An office without any document, with invoicedataextraction.com to ask."""
    opened = Office(tmp_path, batch_sandbox)
    yield opened
    opened.ledger.close()


@pytest.fixture(scope="module")
def unwrappers() -> Iterator[Unwrappers]:
    """The process that opens mails."""
    with Unwrappers(1) as opened:
        yield opened


@pytest.fixture
def desk(dovecot: DovecotServer, ledger: Ledger, unwrappers: Unwrappers, tmp_path: Path) -> Desk:
    """A mailbox with three mails."""
    user = dovecot.account()
    for number in (1, 2, 3):
        user.deliver(invoice_mail(number))
    return Desk(user, ledger, DocumentStore(tmp_path / "store"), unwrappers, tmp_path)
