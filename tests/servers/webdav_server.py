"""A WebDAV server of the tests' own: wsgidav, on the loopback, gone when they are over."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cheroot.wsgi import Server
from wsgidav.wsgidav_app import WsgiDAVApp

USERNAME, PASSWORD = "invoices", "sesame-open"


@dataclass(frozen=True, slots=True)
class WebdavServer:
    """A running server that shows one directory to one user."""

    port: int
    root: Path


@contextlib.contextmanager
def run_server(root: Path) -> Iterator[WebdavServer]:
    """Run a server until the end of the block."""
    application = WsgiDAVApp({
        "provider_mapping": {"/": str(root)},
        "simple_dc": {"user_mapping": {"*": {USERNAME: {"password": PASSWORD}}}},
        "http_authenticator": {"accept_basic": True, "accept_digest": True, "default_to_digest": False},
        "verbose": 0,
        "logging": {"enable": False},
    })  # fmt: skip
    server = Server(("127.0.0.1", 0), application, timeout=5)
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield WebdavServer(server.bind_addr[1], root)
    finally:
        server.stop()
        thread.join()
