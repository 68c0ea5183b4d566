"""Files of mail in a folder: .eml, mbox and Maildir, opened as a mailbox's mails are; and other containers."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator, Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from invoices.documents.store import DocumentStore
from invoices.documents.unwrapping.unwrapping import Unwrappers
from invoices.ledger import Ledger
from invoices.ledger.messages import record_arrivals
from invoices.ledger.sightings import fingerprints
from invoices.settings.intake import Folder
from sources.arriving import from_row
from sources.folder import Seen, folder

Row = dict[str, Any]
OLD = 1_700_000_000
FROM = b"From billing@supplier.example Mon Jan  5 10:00:00 2026\n"
PDF = b"%PDF-1.7 the bill "


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """An empty folder."""
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.fixture
def store(tmp_path: Path) -> DocumentStore:
    """An empty store."""
    return DocumentStore(tmp_path / "documents")


@pytest.fixture(scope="module")
def unwrappers() -> Iterator[Unwrappers]:
    """What opens containers."""
    with Unwrappers(1) as opened:
        yield opened


class Collector:
    """Collects as a run does: what is yielded is written into the ledger, page by page."""

    def __init__(self, inbox: Path, store: DocumentStore, unwrappers: Unwrappers, ledger: Ledger) -> None:
        self.inbox, self.store, self.unwrappers, self.ledger = inbox, store, unwrappers, ledger

    def known(self, locations: Sequence[str]) -> dict[str, set[str]]:
        with self.ledger.reading() as connection:
            return fingerprints(connection, "inbox", locations)

    def __call__(self, seen: Seen | None = None, at_most: int | None = None, **chosen: Any) -> list[Row]:
        settings = Folder(name="inbox", url=str(self.inbox), **chosen)
        rows: list[Row] = []
        for row in folder(settings, self.store, self.unwrappers, self.known, seen, lambda _seconds: None):
            if len(rows) == at_most:
                break
            with self.ledger.transaction() as tx:
                record_arrivals(tx, [from_row(row)])
            rows.append(row)
        return rows


@pytest.fixture
def collect(inbox: Path, store: DocumentStore, unwrappers: Unwrappers, ledger: Ledger) -> Collector:
    """A run's way of collecting."""
    return Collector(inbox, store, unwrappers, ledger)


def a_mail(number: int = 1, text: str = "Please find our invoice attached.") -> bytes:
    mail = EmailMessage()
    mail["From"], mail["To"] = "billing@supplier.example", "books@example.org"
    mail["Subject"], mail["Message-ID"] = f"Invoice {number}", f"<{number}@supplier.example>"
    mail.set_content(text)
    mail.add_attachment(PDF + str(number).encode(), "application", "pdf", filename=f"bill{number}.pdf")
    mail.set_boundary(f"boundary{number}")
    return mail.as_bytes()


def mbox(*mails: bytes) -> bytes:
    return b"".join(FROM + mail.rstrip(b"\n") + b"\n\n" for mail in mails)


def lay(place: Path, content: bytes) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    os.utime(place, (OLD, OLD))
    return place


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def subjects(rows: list[Row]) -> list[str]:
    return [row["message"]["subject"] for row in rows]


def attached(rows: list[Row]) -> list[str]:
    return [one["document_sha256"] for row in rows for one in row["sightings"]]


def test_an_eml_is_a_mail_whatever_its_name(inbox: Path, collect: Collector, store: DocumentStore) -> None:
    place = lay(inbox / "Acme" / "saved.txt", a_mail())
    (row,) = collect(sub_folders=("entity",))
    (one,) = row["sightings"]
    assert row["message"]["folder"] == str(place)
    assert (row["message"]["subject"], row["message"]["uid"], row["message"]["authentication"]) == (
        "Invoice 1", None, "unknown",
    )  # fmt: skip
    assert (one["document_sha256"], one["file_name"], one["sender"]) == (
        sha(PDF + b"1"), "bill1.pdf", "billing@supplier.example",
    )  # fmt: skip
    assert (one["message_key"], one["entity"]) == (row["message"]["message_key"], "Acme")
    assert sha(a_mail()) not in store
    assert collect() == []


def test_a_mail_that_cannot_be_opened_is_set_aside_as_a_whole(
    inbox: Path, collect: Collector, store: DocumentStore
) -> None:
    broken = b"From: a@b.example\nSubject: x\nContent-Type: multipart/mixed; boundary=x\n\nno parts here\n"
    lay(inbox / "broken.eml", broken)
    (row,) = collect()
    (one,) = row["sightings"]
    assert row["message"]["outcome"] == "set_aside"
    assert (one["document_sha256"], one["file_name"]) == (sha(broken), "broken.eml")
    assert store.read(sha(broken)) == broken


def test_the_mails_of_an_mbox_are_taken_one_by_one(inbox: Path, collect: Collector, store: DocumentStore) -> None:
    content = mbox(*(a_mail(number) for number in (1, 2, 3)))
    lay(inbox / "archive.mbox", content)
    rows = collect()
    assert subjects(rows) == ["Invoice 1", "Invoice 2", "Invoice 3"]
    assert attached(rows) == [sha(PDF + str(number).encode()) for number in (1, 2, 3)]
    assert sha(content) not in store
    seen = Seen()
    assert collect(seen) == []
    assert seen.known == 1


def test_an_mbox_that_grew_brings_the_new_mails_only(inbox: Path, collect: Collector, ledger: Ledger) -> None:
    lay(inbox / "archive.mbox", mbox(a_mail(1), a_mail(2)))
    collect()
    lay(inbox / "archive.mbox", mbox(a_mail(1), a_mail(2), a_mail(3)))
    again = collect()
    assert subjects(again) == ["Invoice 2", "Invoice 3"]  # the last one carried the mark of the file
    with ledger.reading() as connection:
        assert connection.exec_driver_sql("select count(*) from messages").scalar() == 3
        assert connection.exec_driver_sql("select count(*) from sightings").scalar() == 3
    assert collect() == []


def test_an_mbox_goes_on_where_a_killed_run_was(inbox: Path, collect: Collector) -> None:
    lay(inbox / "archive.mbox", mbox(*(a_mail(number) for number in range(1, 6))))
    assert subjects(collect(at_most=2)) == ["Invoice 1", "Invoice 2"]
    assert subjects(collect()) == ["Invoice 3", "Invoice 4", "Invoice 5"]


def test_marks_and_places_in_an_mbox_make_no_other_mails(inbox: Path, collect: Collector, ledger: Ledger) -> None:
    read = a_mail(2).replace(b"\n\n", b"\nStatus: RO\nX-UID: 7\n\n", 1)
    lay(inbox / "archive.mbox", mbox(a_mail(1), a_mail(2), a_mail(2), a_mail(3)))
    collect()
    lay(inbox / "archive.mbox", mbox(read, a_mail(2), a_mail(3)))  # one deleted, one read
    collect()
    with ledger.reading() as connection:
        assert connection.exec_driver_sql("select count(*) from messages").scalar() == 4


def test_a_sentence_that_begins_with_from_ends_no_mail(inbox: Path, collect: Collector) -> None:
    text = "Dear all,\n\nFrom 9:30 on we meet.\n\n>From Monday on not.\n"
    lay(inbox / "archive.mbox", mbox(a_mail(1, text), a_mail(2)))
    assert subjects(collect()) == ["Invoice 1", "Invoice 2"]


def test_an_mbox_of_many_blocks_is_cut_at_the_same_places(inbox: Path, collect: Collector) -> None:
    sizes = (700_000, 349_000, 1_000, 1_048_000, 40)
    mails = [a_mail(number, "x" * 70 + "\n" + "y\n" * (size // 2)) for number, size in enumerate(sizes, 1)]
    lay(inbox / "archive.mbox", mbox(*mails))
    rows = collect()
    assert [row["message"]["content_sha256"] for row in rows] == [sha(mail.rstrip(b"\n") + b"\n") for mail in mails]


def test_an_mbox_that_is_written_to_meanwhile_gives_whole_mails_and_goes_on_later(
    inbox: Path, collect: Collector
) -> None:
    place = lay(inbox / "archive.mbox", mbox(*(a_mail(number) for number in (1, 2))))
    unwrap, seen = collect.unwrappers.unwrap, Seen()

    class Delivering:
        def unwrap(self, *given: Any) -> Any:
            with place.open("ab") as more:
                more.write(mbox(a_mail(3)))
            return unwrap(*given)

    collect.unwrappers = Delivering()  # type: ignore[assignment]  # what a source asks of it
    assert collect(seen) == []
    assert seen.growing == [str(place)]
    collect.unwrappers = type("Quiet", (), {"unwrap": staticmethod(unwrap)})()
    os.utime(place, (OLD, OLD))
    assert subjects(collect())[:3] == ["Invoice 1", "Invoice 2", "Invoice 3"]


def test_a_maildir_is_a_folder_of_mails_and_flags_make_no_other_mail(inbox: Path, collect: Collector) -> None:
    for name in ("cur", "new", "tmp"):
        (inbox / "Mail" / name).mkdir(parents=True)
    lay(inbox / "Mail" / "cur" / "1700000000.M1P1.host:2,S", a_mail(1))
    new = lay(inbox / "Mail" / "new" / "1700000001.M2P1.host", a_mail(2))
    lay(inbox / "Mail" / "tmp" / "1700000002.M3P1.host", a_mail(3))
    lay(inbox / "Mail" / "dovecot-uidlist", b"3 V1 N4")
    rows = collect()
    assert subjects(rows) == ["Invoice 1", "Invoice 2"]
    assert rows[1]["message"]["folder"] == f"{inbox}/Mail/;UNIQUE=1700000001.M2P1.host"
    new.rename(inbox / "Mail" / "cur" / "1700000001.M2P1.host:2,FS")
    seen = Seen()
    assert collect(seen) == []
    assert seen.known == 2


def test_an_archive_is_kept_and_what_is_in_it_is_taken(inbox: Path, collect: Collector, store: DocumentStore) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("one.pdf", PDF)
        archive.writestr("two.xml", b"<?xml version='1.0'?><x/>")
    place = lay(inbox / "bills.zip", packed.getvalue())
    (row,) = collect()
    itself, one, two = row["sightings"]
    assert (itself["settled"]["reason_code"], itself["file_name"]) == ("container", "bills.zip")
    assert [one["location"], two["location"]] == [f"{place}/;SECTION=1", f"{place}/;SECTION=2"]
    assert (one["file_name"], one["settled"], store.read(one["document_sha256"])) == ("one.pdf", None, PDF)
    assert row["message"] is None
    assert collect() == []


def test_an_archive_that_cannot_be_opened_is_a_document_with_a_flag(inbox: Path, collect: Collector) -> None:
    lay(inbox / "broken.zip", b"PK\x03\x04 and nothing else")
    (row,) = collect()
    (one,) = row["sightings"]
    assert (one["settled"], one["file_name"], one["media_type"]) == (None, "broken.zip", "application/zip")
    assert [flag["rule_id"] for flag in one["flags"]] == ["INTAKE-CONTAINER"]
