"""An SFTP server of the tests' own: OpenSSH's, on the loopback, gone when they are over."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 60.0
PROGRAM_PATH = "/usr/sbin:/usr/local/sbin:/usr/bin:/opt/homebrew/sbin"

CONFIGURATION_TEMPLATE = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {folder}/user.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
ForceCommand internal-sftp
MaxSessions 20
MaxStartups 100
"""


@dataclass(frozen=True, slots=True)
class SftpServer:
    """A running server that shows the whole machine to the user who runs the tests, with one key."""

    port: int
    username: str
    private_key: Path
    known_hosts: Path
    process: subprocess.Popen[bytes]


def find_program() -> Path | None:
    """Return the server's program, or None where it is not installed."""
    path = shutil.which("sshd", path=PROGRAM_PATH)
    return Path(path) if path and shutil.which("ssh-keygen") else None


@contextlib.contextmanager
def run_server(program: Path) -> Iterator[SftpServer]:
    """Run a server until the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="sftp-"))
    try:
        for name in ("host", "user"):
            keygen_command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name]
            subprocess.run(keygen_command, check=True)
        port = _find_free_port()
        host_key = (folder / "host.pub").read_text()
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
        (folder / "config").write_text(CONFIGURATION_TEMPLATE.format(folder=folder, port=port))
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where sshd locks itself up while it knows nobody yet
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([program, "-D", "-e", "-f", folder / "config"], stderr=log)
        try:
            _wait_until_ready(port, process, folder / "log")
            username = pwd.getpwuid(os.getuid()).pw_name
            yield SftpServer(port, username, folder / "user", folder / "known_hosts", process)
        finally:
            process.terminate()
            process.wait(timeout=60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            if connection.recv(4) == b"SSH-":
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"sshd did not start: {log.read_text()}")
        time.sleep(0.05)


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
