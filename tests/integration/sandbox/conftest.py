"""A running sandbox with default settings, shared by the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.process import Sandbox, start_sandbox


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Return a running sandbox; each test uses its own API key."""
    with start_sandbox(tmp_path_factory.mktemp("sandbox")) as running_sandbox:
        yield running_sandbox
