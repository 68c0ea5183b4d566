"""A PostgreSQL server of the tests' own: made in a temporary folder, on the loopback, gone when they are over."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.surroundings import MEMORY, has_room_in_memory

PROGRAMS = ("initdb", "postgres")
USER, PASSWORD = "house", "sesame"
START_SECONDS = 60.0


@dataclass(slots=True)
class PostgresServer:
    """A running server; ``new_database`` gives the URL of an empty database."""

    port: int
    process: subprocess.Popen[bytes]
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def new_database(self) -> str:
        """Make a database and return its URL, with a password in it."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")  # type: ignore[arg-type]  # a name of ours
        return self.url(name)

    def drop(self, url: str) -> None:
        """Delete a database of ``new_database``, whoever is still connected."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")  # type: ignore[arg-type]  # a name of ours

    def url(self, database: str) -> str:
        """Return where a database is."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"


def programs() -> Path | None:
    """Return the folder of the server's programs, the latest version's; or None where they are not installed."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).resolve().parent] if on_path else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: place.parent.name, reverse=True)
    return next((place for place in found if all((place / name).exists() for name in PROGRAMS)), None)


@contextlib.contextmanager
def running(place: Path) -> Iterator[PostgresServer]:
    """Run a server with the programs in ``place`` until the end of the block."""
    user = _other_user() if os.getuid() == 0 else None  # PostgreSQL refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=MEMORY if has_room_in_memory() else None))
    try:
        if user is not None:
            os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
        _make(place, folder, user)
        port = _free_port()
        process = subprocess.Popen(_command(place, folder, port), user=user, cwd=folder, stdout=subprocess.DEVNULL)
        try:
            server = PostgresServer(port, process)
            _wait_for(server)
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # a fast shutdown, which ends the connections
            process.wait(timeout=60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make(place: Path, folder: Path, user: str | None) -> None:
    secret = folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    subprocess.run(
        [place / "initdb", "-D", folder / "data", "-U", USER, "--pwfile", secret, "-A", "scram-sha-256",
         "-E", "UTF8", "--locale=C", "--no-sync"],
        user=user, cwd=folder, check=True, capture_output=True,
    )  # fmt: skip


def _command(place: Path, folder: Path, port: int) -> list[str]:
    settings = {
        "listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": "", "fsync": "off",
        "shared_buffers": "16MB", "max_connections": "100", "timezone": "Asia/Kathmandu",  # whoever forgets UTC is seen
        "full_page_writes": "off", "synchronous_commit": "off", "autovacuum": "off", "wal_level": "minimal",
        "max_wal_senders": "0", "logging_collector": "on", "log_directory": "log",
    }  # fmt: skip
    chosen = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return [str(place / "postgres"), "-D", str(folder / "data"), *chosen]


def _wait_for(server: PostgresServer) -> None:
    last = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(server.url("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            if server.process.poll() is not None or time.monotonic() > last:
                raise
            time.sleep(0.05)
        else:
            return


def _other_user() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
