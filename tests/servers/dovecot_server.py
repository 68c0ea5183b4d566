"""A Dovecot IMAP server for tests: in a temporary folder, on the loopback interface, removed afterwards.

A ``MailAccount`` does not use IMAP, but files in the Maildir or ``doveadm``, so it shows what the server really stores.
"""

from __future__ import annotations

import contextlib
import grp
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

from imapclient import imap_utf7

from tests.servers.certificates import write_certificates

START_SECONDS = 60.0
PROGRAM_DIRECTORIES = ("/usr/sbin", "/usr/local/sbin", "/usr/bin", "/opt/homebrew/sbin")

CONFIGURATION_TEMPLATE = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
default_login_user = {user}
default_internal_user = {user}
default_internal_group = {group}
first_valid_uid = 0
first_valid_gid = 0
mail_location = maildir:~/Maildir
mail_fsync = never
mail_max_userip_connections = 100
disable_plaintext_auth = no
auth_mechanisms = plain login xoauth2 oauthbearer
auth_failure_delay = 0
ssl = yes
ssl_cert = <{folder}/server.pem
ssl_key = <{folder}/server.key
ssl_min_protocol = TLSv1.2
userdb {{
  driver = static
  args = uid={user} gid={group} home={folder}/mail/%u allow_all_users=yes
}}
service imap-login {{
  chroot =
  service_count = 0
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Trash {{
    special_use = \\Trash
  }}
}}
{extra}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {folder}/users/%u
}}
"""


@dataclass(frozen=True, slots=True)
class MailAccount:
    """One user of the server, with direct access to its mailbox."""

    server: DovecotServer = field(repr=False)
    username: str
    password: str = field(repr=False)

    @property
    def host(self) -> str:
        """The address of the server; its certificate is valid for this address only, not for ``localhost``."""
        return self.server.host

    @property
    def port(self) -> int:
        """The port that starts unencrypted and offers STARTTLS."""
        return self.server.port

    @property
    def tls_port(self) -> int:
        """The port with TLS from the first byte."""
        return self.server.tls_port

    @property
    def maildir(self) -> Path:
        """The directory of the INBOX, with the other folders in it as ``.Name``."""
        return self.server.folder / "mail" / self.username / "Maildir"

    def get_folder_path(self, folder: str) -> Path:
        """Return the directory of a folder; ``/`` separates the levels of its name."""
        if folder == "INBOX":
            return self.maildir
        return self.maildir / ("." + imap_utf7.encode(folder).decode().replace("/", "."))

    def create_folder(self, folder: str) -> None:
        """Create an empty folder."""
        for part in ("cur", "new", "tmp"):
            (self.get_folder_path(folder) / part).mkdir(parents=True, exist_ok=True)
        if folder != "INBOX":
            (self.get_folder_path(folder) / "maildirfolder").touch()
        self.server.assign_to_server_user(self.maildir.parent)

    def deliver_message(self, content: bytes, folder: str = "INBOX", flags: str = "") -> None:
        """Deliver a message to a folder, as a delivery agent does; ``flags`` are Maildir letters such as ``"S"``.

        The server sends bare line feeds as CR LF: only a message with nothing but CR LF comes back unchanged.
        """
        number = next(self.server.sequence_numbers)
        directory = self.get_folder_path(folder) / ("cur" if flags else "new")
        target = (
            directory / f"{1_700_000_000 + number}.M{number}P1.tests{':2,' + ''.join(sorted(flags)) if flags else ''}"
        )
        draft = self.get_folder_path(folder) / "tmp" / target.name
        draft.write_bytes(content)
        self.server.assign_to_server_user(draft)
        draft.rename(target)

    def list_messages(self, folder: str = "INBOX") -> list[bytes]:
        """Return the messages in a folder, in the order of their delivery."""
        files = [file for part in ("cur", "new") for file in (self.get_folder_path(folder) / part).iterdir()]
        return [file.read_bytes() for file in sorted(files, key=lambda file: file.name)]

    def list_uids(self, folder: str = "INBOX") -> list[int]:
        """Return the UIDs of a folder's messages, ascending."""
        return sorted(self.list_flags_by_uid(folder))

    def list_flags_by_uid(self, folder: str = "INBOX") -> dict[int, frozenset[str]]:
        """Return the flags and keywords of a folder's messages, by UID; a message not yet listed has ``\\\\Recent``."""
        lines = self.server.run_doveadm(
            "-f", "tab", "fetch", "-u", self.username, "uid flags", "mailbox", folder, "all"
        ).splitlines()[1:]
        pairs = (line.partition("\t") for line in lines)
        return {int(uid): frozenset(flags.split()) for uid, _, flags in pairs}

    def get_uidvalidity(self, folder: str = "INBOX") -> int:
        """Return the folder's UIDVALIDITY."""
        status = self.server.run_doveadm("mailbox", "status", "-u", self.username, "uidvalidity", folder)
        return int(status.rpartition("uidvalidity=")[2])

    def reset_uidvalidity(self, folder: str = "INBOX") -> int:
        """Reset the UIDs of a folder, so that they start at 1 again; return the new UIDVALIDITY."""
        before = self.get_uidvalidity(folder)
        for file in self.get_folder_path(folder).glob("dovecot*"):
            if file.name.startswith(("dovecot-uidlist", "dovecot.index")):
                file.unlink()
        after = self.get_uidvalidity(folder)
        assert after != before
        return after


@dataclass(frozen=True, slots=True)
class DovecotServer:
    """A running server; ``create_account`` creates a user with an empty mailbox."""

    folder: Path
    port: int
    tls_port: int
    user: str
    sequence_numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)
    host: str = "127.0.0.1"

    @property
    def ca_file(self) -> Path:
        """The certificate of the authority that signed the server's certificate."""
        return self.folder / "ca.pem"

    @property
    def log(self) -> str:
        """The log of the server so far."""
        return (self.folder / "log").read_text(errors="replace")

    def create_account(self, name: str = "", password: str = "") -> MailAccount:
        """Create a user, by default with a generated name and password."""
        number = next(self.sequence_numbers)
        account = MailAccount(self, name or f"user{number}@example.org", password or f"sesame-{number}")
        # One file per user, because the server checks a file only once a second.
        user_file = self.folder / "users" / account.username
        user_file.write_text(f"{account.username}:{account.password}\n")
        account.create_folder("INBOX")
        return account

    def run_doveadm(self, *arguments: str) -> str:
        """Return the output of the server's administration program."""
        command = [find_program("doveadm") or "doveadm", "-c", self.folder / "dovecot.conf", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    def assign_to_server_user(self, path: Path) -> None:
        """Give a file, or a directory with its content, to the user of the server."""
        if os.getuid() != 0:
            return
        owner = pwd.getpwnam(self.user)
        os.chown(path, owner.pw_uid, owner.pw_gid)
        for inner in path.rglob("*"):
            os.chown(inner, owner.pw_uid, owner.pw_gid)


def find_program(name: str = "dovecot") -> Path | None:
    """Return the path of the program, or None if it is not installed."""
    program = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), *PROGRAM_DIRECTORIES)))
    return Path(program) if program else None


@contextlib.contextmanager
def run_server(program: Path, extra_configuration: str = "") -> Iterator[DovecotServer]:
    """Run a server until the end of the block; ``extra_configuration`` is added to its configuration."""
    folder = Path(tempfile.mkdtemp(prefix="dovecot-"))
    folder.chmod(0o755)
    try:
        server = _prepare_server(folder, extra_configuration)
        process = subprocess.Popen([program, "-F", "-c", folder / "dovecot.conf"], stdout=subprocess.DEVNULL)
        try:
            _wait_until_ready(server, process)
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _prepare_server(folder: Path, extra_configuration: str) -> DovecotServer:
    user, group = _get_server_owner()
    server = DovecotServer(folder, _find_free_port(), _find_free_port(), user)
    for name in ("run", "state", "mail", "users"):
        (folder / name).mkdir()
    server.assign_to_server_user(folder / "mail")
    write_certificates(folder)
    text = CONFIGURATION_TEMPLATE.format(
        folder=folder,
        user=user,
        group=group,
        port=server.port,
        tls_port=server.tls_port,
        extra=extra_configuration,
    )
    (folder / "dovecot.conf").write_text(text)
    return server


def _get_server_owner() -> tuple[str, str]:
    """Return the user and group for the processes of the server: our own, or for root one without rights."""
    user = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    return user.pw_name, grp.getgrgid(user.pw_gid).gr_name


def _wait_until_ready(server: DovecotServer, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with socket.create_connection((server.host, server.port), timeout=5) as connection:
                if connection.recv(4) == b"* OK":
                    return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
