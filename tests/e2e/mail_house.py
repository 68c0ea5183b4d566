"""A house whose documents come by mail: its invoices.toml, its command line, what its ledger says, and mails for it."""

from __future__ import annotations

import base64
import io
import json
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

from killing import Command, Fork, Point, compiled_shim

from tests.e2e.commands import Ran, environment
from tests.integration.dovecot_server import Account

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
PORTS = {"tls": "tls_port", "starttls": "port", "none": "port"}
CALENDAR = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n"
Row = dict[str, Any]


@contextmanager
def command_lines(place: Path, count: int = 1) -> Iterator[list[Fork]]:
    """Give processes from which command lines are forked, which spares each of these its imports."""
    shim = compiled_shim(place)
    forks = [Fork(shim, environment(place)) for _ in range(count)]
    try:
        yield forks
    finally:
        for fork in forks:
            fork.close()


def entry(account: Account, name: str = "office", security: str = "none", **more: Any) -> Row:
    """Return what invoices.toml says of a user's mailbox."""
    port = getattr(account, PORTS[security])
    usual: Row = {"name": name, "host": account.host, "port": port, "security": security, "username": account.username}
    trusted = {} if security == "none" else {"ca_file": str(account.server.ca_file)}
    return {**usual, **trusted, "password": account.password, **more}


@dataclass(frozen=True, slots=True)
class MailHouse:
    """A home, and beside it the invoices.toml with which commands run there."""

    place: Path
    fork: Fork

    @property
    def home(self) -> Path:
        """The home."""
        return self.place / "home"

    def set_up(self, *mailboxes: Mapping[str, Any]) -> None:
        """Write invoices.toml anew."""
        self.place.mkdir(parents=True, exist_ok=True)
        self.place.joinpath("invoices.toml").write_text("\n".join(map(_as_toml, mailboxes)), encoding="utf-8")

    def command(self, *arguments: str, **more: str) -> Command:
        """Return a command line in this house; it runs beside the home, with ``more`` in its environment."""
        books = (
            {} if arguments[0] == "run" else {"INVOICES_SMARTBILLS_COM__API_KEY": "unused"}
        )  # a rehearsal changes no mail
        return Command((*arguments, "--json"), environment(self.home, **books, **more))

    def run(self, *arguments: str, point: Point | None = None, **more: str) -> Ran:
        """Run a command, killed at the point if there is one; its ``out`` has all that was printed since its start."""
        command = self.command(*arguments, **more)
        before = command.output.stat().st_size if command.output.exists() else 0
        status = self.fork.run(command, point)
        printed = command.output.read_bytes()[before:].decode("utf-8")
        assert "Traceback" not in printed, printed
        return Ran(status, printed, "")

    def collected(self) -> Row:
        """Return what a collect told that had no problems."""
        ran = self.run("collect")
        assert ran.status == 0, ran.out
        return ran.told

    def reconciled(self) -> Row:
        """Return what reconcile told; nothing is missing, twice or unsafe."""
        ran = self.run("reconcile")
        told = ran.told
        assert (ran.status, told["missing"], told["twice"], told["sound"]) == (0, 0, 0, True), ran.out
        return told

    def keeps(self, sha256: str) -> bool:
        """Return whether the store has a document."""
        return (self.home / "documents" / sha256[:2] / sha256).is_file()

    def rows(self, sql: str) -> list[Row]:
        """Return what the ledger answers."""
        with closing(sqlite3.connect(f"file:{self.home / 'ledger.sqlite'}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql)]

    def tables(self, without: Collection[str] = ("source_visits", "counters")) -> dict[str, list[Row]]:
        """Return all that stands in the ledger; when a source was visited, and what counts that, is left aside."""
        names = [row["name"] for row in self.rows("select name from sqlite_master where type = 'table'")]
        return {name: self.rows(f"select * from {name} order by 1, 2") for name in names if name not in without}

    def documents(self) -> list[str]:
        """Return every document of the ledger, in the order of their arrival; each is in the store."""
        found = [row["document_sha256"] for row in self.rows("select document_sha256 from documents order by sequence")]
        assert all(map(self.keeps, found))
        return found


def _as_toml(mailbox: Mapping[str, Any]) -> str:
    lines = (f"{name} = {_as_value(value)}" for name, value in mailbox.items())
    return "\n".join(["[[mailboxes]]", *lines, ""])


def _as_value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_as_value, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_as_value(one)}" for name, one in value.items()) + "}"
    return json.dumps(value)


def samples(*kinds: str, state: str = "accepted") -> list[Path]:
    """Return a sample document of each kind."""
    known = [json.loads(line) for line in (SAMPLES / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    fitting = {row["kind"]: SAMPLES / row["path"] for row in reversed(known) if row["expected_state"] == state}
    return [fitting[kind] for kind in kinds]


def pdf_of(number: int) -> bytes:
    """Return a PDF, in name at least, that is another one for each number."""
    return b"%%PDF-1.4\n%% invoice %d\n%%%%EOF\n" % number


def mail(number: int, *attached: tuple[str, bytes], sender: str = "shop@supplier.example") -> bytes:
    """Return a mail, with CR LF; without attachments it has one PDF."""
    found = _letter(number, sender)
    for name, content in attached or [(f"invoice-{number}.pdf", pdf_of(number))]:
        found.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
    return found.as_bytes()


def mails_of_all_kinds() -> list[bytes]:
    """Return twelve mails: plain ones, and with a logo, a calendar, a mail within, a ZIP, a copy, and with nothing."""
    with_logo = _letter(20)
    with_logo.add_alternative('<p>Hello</p><img src="cid:logo">', subtype="html")
    html: Any = with_logo.get_payload()[1]  # type: ignore[index]  # it has two parts
    html.add_related(_logo(), maintype="image", subtype="png", cid="<logo>", filename="logo.png")
    with_logo.add_attachment(pdf_of(20), maintype="application", subtype="pdf", filename="invoice.pdf")
    invitation = _letter(21)
    invitation.add_attachment(CALENDAR, subtype="calendar", filename="invite.ics")
    outer = _letter(22)
    inner = _letter(23)
    inner.add_attachment(pdf_of(23), maintype="application", subtype="pdf", filename="inner.pdf")
    outer.add_attachment(inner)
    both = mail(25, ("a.pdf", pdf_of(25)), ("b.pdf", pdf_of(26)))
    again = mail(27, ("copy.pdf", pdf_of(25)))
    bare = _letter(28)
    return [
        *(mail(number) for number in range(1, 6)),
        *(one.as_bytes() for one in (with_logo, invitation, outer)),
        mail(24, ("bills.zip", _zipped({"one.pdf": pdf_of(29), "two.pdf": pdf_of(30)}))),
        both, again, bare.as_bytes(),
    ]  # fmt: skip


def mail_with_nothing() -> bytes:
    """Return a mail in which there is no document."""
    return _letter(99).as_bytes()


def message_ids(mails: Iterable[bytes]) -> list[str]:
    """Return the Message-ID of each of our mails, sorted."""
    heads = (one.partition(b"\r\n\r\n")[0].splitlines() for one in mails)
    return sorted(line.split()[1].decode() for head in heads for line in head if line.startswith(b"Message-ID:"))


def _letter(number: int, sender: str = "shop@supplier.example") -> EmailMessage:
    letter = EmailMessage(policy=SMTP)
    letter["From"], letter["To"], letter["Subject"] = sender, "office@firm.example", f"Invoice {number}"
    letter["Message-ID"], letter["Date"] = f"<mail-{number}@supplier.example>", "Sat, 01 Aug 2026 10:00:00 +0000"
    letter.set_content("Please find it attached.\n")
    return letter


def _logo() -> bytes:
    header = b"IHDR" + (40).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    pixels = b"IDAT" + zlib.compress(bytes(40 * 121))
    chunks = (
        len(part[4:]).to_bytes(4, "big") + part + zlib.crc32(part).to_bytes(4, "big")
        for part in (header, pixels, b"IEND")
    )
    return base64.b16decode("89504E470D0A1A0A") + b"".join(chunks)


def _zipped(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return packed.getvalue()
