"""Fixtures for the tests of the clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from invoices.clients.http_client import make_session
from tests.servers.scripted_http_server import ScriptedServer


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server on this machine that answers as the test scripts it."""
    with ScriptedServer() as scripted_server:
        yield scripted_server


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """A session as the clients use it."""
    with make_session() as client_session:
        yield client_session
