"""A sandbox and a harness for the tests of publishing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from invoices.ledger import Ledger
from sandbox.process import Sandbox, start_sandbox
from tests.integration.receipts.publishing_harness import PublishingHarness


@pytest.fixture(scope="package")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A running sandbox; each test has its own key, and so its own journal."""
    with start_sandbox(tmp_path_factory.mktemp("sandbox"), minute_seconds=1) as running_sandbox:
        yield running_sandbox


@pytest.fixture
def harness(ledger: Ledger, sandbox: Sandbox) -> PublishingHarness:
    """A harness without accepted invoices."""
    return PublishingHarness(ledger, sandbox)
