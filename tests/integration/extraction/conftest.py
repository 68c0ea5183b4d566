"""Fixtures of the extraction tests: a sandbox with all vendors, a ledger with waiting documents, and a proxy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from invoices.documents.store import DocumentStore
from invoices.ledger import Ledger
from invoices.settings import Settings
from sandbox.process import Sandbox, start_sandbox
from tests.integration.extraction.batch_fixtures import BatchHarness
from tests.integration.extraction.extraction_fixtures import VENDOR_MINUTE_SECONDS, ExtractionHarness, VendorProxy
from tests.run_environment import suspend_coverage
from tests.servers.scripted_http_server import ScriptedServer


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A running sandbox; each test has accounts of its own."""
    with start_sandbox(tmp_path_factory.mktemp("sandbox"), minute_seconds=VENDOR_MINUTE_SECONDS) as running_sandbox:
        yield running_sandbox


@pytest.fixture
def harness(sandbox: Sandbox, ledger: Ledger, app_settings: Settings) -> ExtractionHarness:
    """A ledger and a store without documents."""
    return ExtractionHarness(ledger, DocumentStore(app_settings.documents_directory), sandbox)


@pytest.fixture
def proxy(sandbox: Sandbox) -> Iterator[VendorProxy]:
    """A proxy to one vendor of the sandbox."""
    with ScriptedServer() as server:
        yield VendorProxy(server, sandbox)


@pytest.fixture(scope="session")
def batch_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox for batches that no coverage measurement slows down."""
    with ExitStack() as stack:
        with suspend_coverage():
            running_sandbox = stack.enter_context(
                start_sandbox(tmp_path_factory.mktemp("sandbox"), minute_seconds=VENDOR_MINUTE_SECONDS)
            )
        yield running_sandbox


@pytest.fixture
def batch_harness(tmp_path: Path, batch_sandbox: Sandbox) -> Iterator[BatchHarness]:
    """A ledger and a store without documents, with invoicedataextraction.com as the vendor."""
    harness = BatchHarness(tmp_path, batch_sandbox)
    yield harness
    harness.ledger.close()
