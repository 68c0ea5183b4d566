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

from tests.run_environment import MEMORY_DIRECTORY, has_space_in_memory

PROGRAM_NAMES = ("initdb", "postgres")
USER, PASSWORD = "invoices", "sesame"
START_SECONDS = 60.0


@dataclass(slots=True)
class PostgresServer:
    """A running server; ``new_database`` gives the URL of an empty database."""

    port: int
    process: subprocess.Popen[bytes]
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def create_database(self) -> str:
        """Make a database and return its URL, with a password in it."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self.build_url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")  # type: ignore[arg-type]  # a name of ours
        return self.build_url(name)

    def drop_database(self, url: str) -> None:
        """Delete a database of ``new_database``, whoever is still connected."""
        with psycopg.connect(self.build_url("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")  # type: ignore[arg-type]  # a name of ours

    def build_url(self, database: str) -> str:
        """Return where a database is."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"


def find_program_directory() -> Path | None:
    """Return the folder of the server's programs, the latest version's; or None where they are not installed."""
    on_path = shutil.which("initdb")
    candidates = [Path(on_path).resolve().parent] if on_path else []
    candidates += sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda directory: directory.parent.name, reverse=True
    )
    return next(
        (directory for directory in candidates if all((directory / name).exists() for name in PROGRAM_NAMES)), None
    )


@contextlib.contextmanager
def run_server(program_directory: Path) -> Iterator[PostgresServer]:
    """Run a server with the programs in ``place`` until the end of the block."""
    system_user = _find_unprivileged_user() if os.getuid() == 0 else None  # PostgreSQL refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=MEMORY_DIRECTORY if has_space_in_memory() else None))
    try:
        if system_user is not None:
            os.chown(folder, pwd.getpwnam(system_user).pw_uid, pwd.getpwnam(system_user).pw_gid)
        _init_database(program_directory, folder, system_user)
        port = _find_free_port()
        process = subprocess.Popen(
            _build_server_command(program_directory, folder, port),
            user=system_user,
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )
        try:
            server = PostgresServer(port, process)
            _wait_until_ready(server)
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # a fast shutdown, which ends the connections
            process.wait(timeout=60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _init_database(program_directory: Path, folder: Path, system_user: str | None) -> None:
    password_file = folder / "password"
    password_file.write_text(PASSWORD)
    password_file.chmod(0o644)
    subprocess.run(
        [program_directory / "initdb", "-D", folder / "data", "-U", USER, "--pwfile", password_file,
         "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"],
        user=system_user, cwd=folder, check=True, capture_output=True,
    )  # fmt: skip


def _build_server_command(program_directory: Path, folder: Path, port: int) -> list[str]:
    settings = {
        "listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": "", "fsync": "off",
        "shared_buffers": "16MB", "max_connections": "100", "timezone": "Asia/Kathmandu",  # whoever forgets UTC is seen
        "full_page_writes": "off", "synchronous_commit": "off", "autovacuum": "off", "wal_level": "minimal",
        "max_wal_senders": "0", "logging_collector": "on", "log_directory": "log",
    }  # fmt: skip
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return [str(program_directory / "postgres"), "-D", str(folder / "data"), *options]


def _wait_until_ready(server: PostgresServer) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(server.build_url("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            if server.process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _find_unprivileged_user() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
