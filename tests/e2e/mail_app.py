"""An application that collects documents from mailboxes: its invoices.toml, commands and ledger, and mails for it."""

from __future__ import annotations

import atexit
import base64
import functools
import io
import json
import os
import sqlite3
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

from tests.e2e.command_line import CommandResult, build_environment
from tests.e2e.fork_client import ForkServer
from tests.e2e.kill_injection import AppCommand, KillPoint, compile_kill_shim, run_forked_command
from tests.run_environment import SAMPLES, suspend_coverage
from tests.servers.dovecot_server import MailAccount

PORT_ATTRIBUTES = {"tls": "tls_port", "starttls": "port", "none": "port"}
CALENDAR = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n"
Row = dict[str, Any]


@functools.cache
def get_unmeasured_fork_server(number: int = 1) -> ForkServer:
    """Return a process that forks commands, without kill points and coverage; the same one for each number."""
    with suspend_coverage():
        environment = {name: value for name, value in os.environ.items() if not name.startswith("INVOICES_")}
        server = ForkServer(environment)
    atexit.register(server.close)
    return server


@contextmanager
def start_fork_servers(directory: Path, count: int = 1) -> Iterator[list[ForkServer]]:
    """Yield processes that fork the commands of the application, so that these need not import everything again."""
    shim = compile_kill_shim(directory)
    fork_servers = [ForkServer(build_environment(directory), shim) for _ in range(count)]
    try:
        yield fork_servers
    finally:
        for fork_server in fork_servers:
            fork_server.close()


def build_mailbox_entry(account: MailAccount, name: str = "office", security: str = "none", **overrides: Any) -> Row:
    """Return the entry of invoices.toml for a user's mailbox."""
    port = getattr(account, PORT_ATTRIBUTES[security])
    defaults: Row = {
        "name": name,
        "host": account.host,
        "port": port,
        "security": security,
        "username": account.username,
    }
    tls_settings = {} if security == "none" else {"ca_file": str(account.server.ca_file)}
    return {**defaults, **tls_settings, "password": account.password, **overrides}


@dataclass(frozen=True, slots=True)
class MailApp:
    """A home directory, and beside it the invoices.toml that its commands use."""

    directory: Path
    fork_server: ForkServer

    @property
    def home(self) -> Path:
        """The home directory."""
        return self.directory / "home"

    def write_config(self, *mailboxes: Mapping[str, Any]) -> None:
        """Write invoices.toml with these mailboxes, in place of an earlier one."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.joinpath("invoices.toml").write_text(
            "\n".join(map(_render_mailbox_toml, mailboxes)), encoding="utf-8"
        )

    def build_command(self, *arguments: str, **environment_overrides: str) -> AppCommand:
        """Return a command of this application, with ``environment_overrides`` in its environment."""
        # A rehearsal changes no mail; a real key makes it a real run.
        real_mode_settings = {} if arguments[0] == "run" else {"INVOICES_SMARTBILLS_COM__API_KEY": "unused"}
        return AppCommand(
            (*arguments, "--json"), build_environment(self.home, **real_mode_settings, **environment_overrides)
        )

    def run_command(
        self, *arguments: str, point: KillPoint | None = None, **environment_overrides: str
    ) -> CommandResult:
        """Run a command, killed at ``point`` if there is one; ``stdout`` of the result has everything it printed."""
        command = self.build_command(*arguments, **environment_overrides)
        size_before = command.output_path.stat().st_size if command.output_path.exists() else 0
        status = run_forked_command(self.fork_server, command, point)
        output = command.output_path.read_bytes()[size_before:].decode("utf-8")
        assert "Traceback" not in output, output
        return CommandResult(status, output, "")

    def run_collect(self) -> Row:
        """Run a collect without problems, and return its report."""
        result = self.run_command("collect")
        assert result.exit_status == 0, result.stdout
        return result.json_output

    def run_reconcile(self) -> Row:
        """Run reconcile, which must find nothing missing, duplicated or unsound, and return its report."""
        result = self.run_command("reconcile")
        report = result.json_output
        assert (result.exit_status, report["missing"], report["duplicated"], report["sound"]) == (0, 0, 0, True), (
            result.stdout
        )
        return report

    def is_stored(self, sha256: str) -> bool:
        """Return whether the store has a document."""
        return (self.home / "documents" / sha256[:2] / sha256).is_file()

    def query_ledger(self, sql: str) -> list[Row]:
        """Return the rows of a query on the ledger."""
        with closing(sqlite3.connect(f"file:{self.home / 'ledger.sqlite'}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql)]

    def read_ledger_tables(
        self, without: Collection[str] = ("source_visits", "counters", "alembic_version")
    ) -> dict[str, list[Row]]:
        """Return all tables of the ledger, without its version and what changes with every visit of a source."""
        names = [row["name"] for row in self.query_ledger("select name from sqlite_master where type = 'table'")]
        return {name: self.query_ledger(f"select * from {name} order by 1, 2") for name in names if name not in without}

    def list_documents(self) -> list[str]:
        """Return the hashes of all documents, in the order of their arrival; each must be in the store."""
        hashes = [
            row["document_sha256"]
            for row in self.query_ledger("select document_sha256 from documents order by sequence")
        ]
        assert all(map(self.is_stored, hashes))
        return hashes


def _render_mailbox_toml(mailbox: Mapping[str, Any]) -> str:
    lines = (f"{name} = {_render_toml_value(value)}" for name, value in mailbox.items())
    return "\n".join(["[[mailboxes]]", *lines, ""])


def _render_toml_value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_render_toml_value, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_render_toml_value(item)}" for name, item in value.items()) + "}"
    return json.dumps(value)


def list_sample_paths(*kinds: str, state: str = "accepted") -> list[Path]:
    """Return the path of a sample document of each kind."""
    manifest_rows = [json.loads(line) for line in (SAMPLES / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    path_by_kind = {
        row["kind"]: SAMPLES / row["path"] for row in reversed(manifest_rows) if row["expected_state"] == state
    }
    return [path_by_kind[kind] for kind in kinds]


def build_pdf(number: int) -> bytes:
    """Return the content of a file named as a PDF, different for each number."""
    return b"%%PDF-1.4\n%% invoice %d\n%%%%EOF\n" % number


def build_mail(number: int, *attached: tuple[str, bytes], sender: str = "shop@supplier.example") -> bytes:
    """Return a mail with CR LF and these attachments, by default one PDF."""
    message = _build_message(number, sender)
    for name, content in attached or [(f"invoice-{number}.pdf", build_pdf(number))]:
        message.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
    return message.as_bytes()


def build_varied_mails() -> list[bytes]:
    """Return twelve mails: plain ones, and with a logo, a calendar, a forwarded mail, a ZIP, a copy, or nothing."""
    with_logo = _build_message(20)
    with_logo.add_alternative('<p>Hello</p><img src="cid:logo">', subtype="html")
    html_part: Any = with_logo.get_payload()[1]  # type: ignore[index]  # it has two parts
    html_part.add_related(_build_logo_png(), maintype="image", subtype="png", cid="<logo>", filename="logo.png")
    with_logo.add_attachment(build_pdf(20), maintype="application", subtype="pdf", filename="invoice.pdf")
    with_calendar = _build_message(21)
    with_calendar.set_content("See you there.\n")
    with_calendar.add_attachment(CALENDAR, subtype="calendar", filename="invite.ics")
    forwarding_mail = _build_message(22)
    forwarded_mail = _build_message(23)
    forwarded_mail.add_attachment(build_pdf(23), maintype="application", subtype="pdf", filename="inner.pdf")
    forwarding_mail.add_attachment(forwarded_mail)
    two_attachments = build_mail(25, ("a.pdf", build_pdf(25)), ("b.pdf", build_pdf(26)))
    copied_attachment = build_mail(27, ("copy.pdf", build_pdf(25)))
    without_attachment = build_mail_without_document(28)
    return [
        *(build_mail(number) for number in range(1, 6)),
        *(message.as_bytes() for message in (with_logo, with_calendar, forwarding_mail)),
        build_mail(24, ("bills.zip", _build_zip({"one.pdf": build_pdf(29), "two.pdf": build_pdf(30)}))),
        two_attachments, copied_attachment, without_attachment,
    ]  # fmt: skip


def build_mail_without_document(number: int = 99) -> bytes:
    """Return a mail without a document, which announces none."""
    message = _build_message(number)
    message.set_content("Thank you for your order.\n")
    return message.as_bytes()


def parse_message_ids(mails: Iterable[bytes]) -> list[str]:
    """Return the Message-IDs of these mails, sorted."""
    header_blocks = (mail.partition(b"\r\n\r\n")[0].splitlines() for mail in mails)
    return sorted(
        line.split()[1].decode()
        for header_block in header_blocks
        for line in header_block
        if line.startswith(b"Message-ID:")
    )


def _build_message(number: int, sender: str = "shop@supplier.example") -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"], message["Subject"] = sender, "office@firm.example", f"Invoice {number}"
    message["Message-ID"], message["Date"] = f"<mail-{number}@supplier.example>", "Sat, 01 Aug 2026 10:00:00 +0000"
    message.set_content("Please find it attached.\n")
    return message


def _build_logo_png() -> bytes:
    header = b"IHDR" + (40).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    pixels = b"IDAT" + zlib.compress(bytes(40 * 121))
    chunks = (
        len(part[4:]).to_bytes(4, "big") + part + zlib.crc32(part).to_bytes(4, "big")
        for part in (header, pixels, b"IEND")
    )
    return base64.b16decode("89504E470D0A1A0A") + b"".join(chunks)


def _build_zip(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()
