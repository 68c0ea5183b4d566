"""Fixtures for the tests of the clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.scripted_http_server import ScriptedServer


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server on this machine that answers as the test scripts it."""
    with ScriptedServer() as scripted_server:
        yield scripted_server
