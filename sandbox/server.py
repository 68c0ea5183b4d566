"""Serves all APIs in one process on one port of 127.0.0.1, and writes their addresses as one line of JSON."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvicorn

from sandbox import admin_api
from sandbox.billflowai import app as billflowai
from sandbox.invoicedataextraction_com import app as invoicedataextraction_com
from sandbox.journal import Journal
from sandbox.middleware import JournalingDispatcher
from sandbox.settings import SandboxSettings, SettingError
from sandbox.smartbills_com import app as smartbills_com
from sandbox.smartbills_io import app as smartbills_io

SANDBOX_API_KEY = "sk_test_sandbox"
SANDBOX_TENANT_ID = "1"
MAX_BODY_BYTES = {
    "smartbills_com": 64_000_000,
    "invoicedataextraction_com": 64_000_000,
    "billflowai": 64_000_000,
    "smartbills_io": 1_000_000,
    "_sandbox": 100_000,
}


def run_server(
    state_directory: Path,
    *,
    port: int,
    minute_seconds: float,
    setting_values: Mapping[str, Any],
    until_stdin_closes: bool,
) -> None:
    """Serve until stopped (or until stdin closes); ``state_directory`` holds the journal, which a restart continues.

    Raises SettingError for a wrong setting, if another server uses the same state folder, and for a port that is taken.
    """
    settings = SandboxSettings(setting_values)
    if not minute_seconds > 0:
        raise SettingError(f"--minute-seconds must be greater than 0, not {minute_seconds!r}")
    os.umask(0o077)  # the journal holds what the documents say
    state_directory.mkdir(parents=True, exist_ok=True)
    with (state_directory / "lock").open("w") as lock_file:
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingError(f"another sandbox already uses the state folder {str(state_directory)!r}") from None
        journal, admin_token = Journal(state_directory), secrets.token_urlsafe(32)
        try:
            app = build_sandbox_app(journal, settings, minute_seconds, admin_token)
            _run_uvicorn(app, port, admin_token, until_stdin_closes)
        finally:
            journal.close()


def build_sandbox_app(
    journal: Journal, settings: SandboxSettings, minute_seconds: float, admin_token: str
) -> JournalingDispatcher:
    """Return the whole sandbox as one ASGI application."""
    apps = {
        "smartbills_com": smartbills_com.build_app(journal, settings, minute_seconds),
        "invoicedataextraction_com": invoicedataextraction_com.build_app(journal, settings, minute_seconds),
        "billflowai": billflowai.build_app(journal, settings, minute_seconds),
        "smartbills_io": smartbills_io.build_app(journal, settings, minute_seconds),
        "_sandbox": admin_api.build_admin_app(journal, settings, admin_token),
    }
    return JournalingDispatcher(apps, journal, MAX_BODY_BYTES)


def _bind_loopback_socket(port: int) -> socket.socket:
    """Return a socket on this port of 127.0.0.1; raises SettingError if the port cannot be had."""
    # asyncio turns Nagle's algorithm off only if the protocol is given; with it on, each answer waits 40 ms for an ACK
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OverflowError:
        listener.close()
        raise SettingError(f"--port must be between 0 and 65535, not {port}; 0 picks a free one") from None
    except OSError as error:
        listener.close()
        is_taken = error.errno == errno.EADDRINUSE
        problem = "another program uses it" if is_taken else error.strerror
        raise SettingError(
            f"port {port} of 127.0.0.1 cannot be used: {problem}; choose another with --port, or 0 for a free one"
        ) from None
    return listener


def _run_uvicorn(app: JournalingDispatcher, port: int, admin_token: str, until_stdin_closes: bool) -> None:
    listener = _bind_loopback_socket(port)
    config = uvicorn.Config(
        app, http="h11", ws="none", loop="asyncio", lifespan="off", log_level="warning", access_log=False,
        server_header=False, date_header=False, timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = _AnnouncingServer(config, admin_token)

    def stop_when_stdin_closes() -> None:
        while os.read(0, 4096):
            pass
        server.should_exit = True

    if until_stdin_closes:
        threading.Thread(target=stop_when_stdin_closes, daemon=True).start()
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        return


class _AnnouncingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, admin_token: str) -> None:
        super().__init__(config)
        self._admin_token = admin_token

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if sockets:
            sys.stdout.write(json.dumps(_build_address_report(sockets[0].getsockname()[1], self._admin_token)) + "\n")
            sys.stdout.flush()


def _build_address_report(port: int, admin_token: str) -> dict[str, Any]:
    origin = f"http://127.0.0.1:{port}"
    return {
        "smartbills_com": {"base_url": f"{origin}/smartbills_com", "api_key": SANDBOX_API_KEY},
        "invoicedataextraction_com": {"base_url": f"{origin}/invoicedataextraction_com/v1", "api_key": SANDBOX_API_KEY},
        "billflowai": {"base_url": f"{origin}/billflowai", "api_key": SANDBOX_API_KEY},
        "smartbills_io": {
            "base_url": f"{origin}/smartbills_io/v1",
            "api_key": SANDBOX_API_KEY,
            "tenant_id": SANDBOX_TENANT_ID,
        },
        "admin_token": admin_token,
        "port": port,
        "pid": os.getpid(),
    }
