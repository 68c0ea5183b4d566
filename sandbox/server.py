"""Serves all APIs in one process on one port of 127.0.0.1, and says so in one line of JSON."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvicorn

from sandbox import desk
from sandbox.billflowai import app as billflowai
from sandbox.front_door import FrontDoor
from sandbox.invoicedataextraction_com import app as invoicedataextraction_com
from sandbox.journal import Journal
from sandbox.knobs import KnobError, Knobs
from sandbox.smartbills_com import app as com
from sandbox.smartbills_io import app as io

API_KEY = "sk_test_sandbox"
TENANT_ID = "1"
BODY_LIMITS = {
    "smartbills_com": 64_000_000,
    "invoicedataextraction_com": 64_000_000,
    "billflowai": 64_000_000,
    "smartbills_io": 1_000_000,
    "_sandbox": 100_000,
}


def serve(state: Path, *, port: int, minute_seconds: float, knobs: Mapping[str, Any], until_stdin_closes: bool) -> None:
    """Serve until stopped (or until stdin closes); ``state`` holds the journal, which a restart goes on with.

    Raises KnobError for knobs that are none, and where another server holds the same state folder.
    """
    turned = Knobs(knobs)
    if not minute_seconds > 0:
        raise KnobError(f"a minute of {minute_seconds!r} seconds is none")
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise KnobError(f"another sandbox already serves from {str(state)!r}") from None
        journal = Journal(state)
        try:
            _run(application(journal, turned, minute_seconds), port, until_stdin_closes)
        finally:
            journal.close()


def application(journal: Journal, knobs: Knobs, minute_seconds: float) -> FrontDoor:
    """Return the whole sandbox as one ASGI application."""
    rooms = {
        "smartbills_com": com.application(journal, knobs, minute_seconds),
        "invoicedataextraction_com": invoicedataextraction_com.application(journal, knobs, minute_seconds),
        "billflowai": billflowai.application(journal, knobs, minute_seconds),
        "smartbills_io": io.application(journal, knobs, minute_seconds),
        "_sandbox": desk.application(journal, knobs),
    }
    return FrontDoor(rooms, journal, BODY_LIMITS)


def _run(app: FrontDoor, port: int, until_stdin_closes: bool) -> None:
    # asyncio turns Nagle off only where the protocol is named; with it on, each answer waits 40 ms for an ACK
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    config = uvicorn.Config(
        app, http="h11", ws="none", loop="asyncio", lifespan="off", log_level="warning", access_log=False,
        server_header=False, timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = _Server(config)
    if until_stdin_closes:
        threading.Thread(target=_watch_stdin, args=(server,), daemon=True).start()
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        return


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if sockets:
            sys.stdout.write(json.dumps(_addresses(sockets[0].getsockname()[1])) + "\n")
            sys.stdout.flush()


def _addresses(port: int) -> dict[str, Any]:
    origin = f"http://127.0.0.1:{port}"
    return {
        "smartbills_com": {"base_url": f"{origin}/smartbills_com", "api_key": API_KEY},
        "invoicedataextraction_com": {"base_url": f"{origin}/invoicedataextraction_com/v1", "api_key": API_KEY},
        "billflowai": {"base_url": f"{origin}/billflowai", "api_key": API_KEY},
        "smartbills_io": {"base_url": f"{origin}/smartbills_io/v1", "api_key": API_KEY, "tenant_id": TENANT_ID},
        "port": port,
        "pid": os.getpid(),
    }


def _watch_stdin(server: uvicorn.Server) -> None:
    while os.read(0, 4096):
        pass
    server.should_exit = True
