"""Mail files in a folder (.eml, mbox and Maildir), opened like the mails of a mailbox; and other containers."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from invoices.documents.containers.container_opener_pool import ContainerOpenerPool
from invoices.documents.store import DocumentStore
from invoices.ledger import Ledger
from invoices.ledger.mails import record_arrivals
from invoices.ledger.sightings import list_fingerprints_by_location
from invoices.settings.sources import FolderSettings
from sources.arrivals import from_row
from sources.folder import FolderScanState, build_folder_source
from tests.integration.sources.folder.folder_fixtures import SETTLED_TIMESTAMP, Row, hash_content, write_settled_file

FROM_LINE = b"From billing@supplier.example Mon Jan  5 10:00:00 2026\n"
PDF_CONTENT = b"%PDF-1.7 the bill "


class Collector:
    """Collects as a run does, and records every row in the ledger."""

    def __init__(self, inbox: Path, store: DocumentStore, opener_pool: ContainerOpenerPool, ledger: Ledger) -> None:
        self.inbox, self.store, self.opener_pool, self.ledger = inbox, store, opener_pool, ledger

    def get_known_fingerprints(self, locations: Sequence[str]) -> dict[str, set[str]]:
        with self.ledger.open_snapshot() as connection:
            return list_fingerprints_by_location(connection, "inbox", locations)

    def __call__(
        self, scan_state: FolderScanState | None = None, max_rows: int | None = None, **folder_options: Any
    ) -> list[Row]:
        settings = FolderSettings(name="inbox", url=str(self.inbox), **folder_options)
        rows: list[Row] = []
        for row in build_folder_source(
            settings, self.store, self.opener_pool, self.get_known_fingerprints, scan_state, lambda _seconds: None
        ):
            if len(rows) == max_rows:
                break
            with self.ledger.begin_transaction() as tx:
                record_arrivals(tx, [from_row(row)])
            rows.append(row)
        return rows


@pytest.fixture
def collector(inbox: Path, store: DocumentStore, opener_pool: ContainerOpenerPool, ledger: Ledger) -> Collector:
    """A collector for the inbox."""
    return Collector(inbox, store, opener_pool, ledger)


def build_mail(number: int = 1, text: str = "Please find our invoice attached.") -> bytes:
    message = EmailMessage()
    message["From"], message["To"] = "billing@supplier.example", "books@example.org"
    message["Subject"], message["Message-ID"] = f"Invoice {number}", f"<{number}@supplier.example>"
    message.set_content(text)
    message.add_attachment(PDF_CONTENT + str(number).encode(), "application", "pdf", filename=f"bill{number}.pdf")
    message.set_boundary(f"boundary{number}")
    return message.as_bytes()


def build_mbox(*mails: bytes) -> bytes:
    return b"".join(FROM_LINE + mail.rstrip(b"\n") + b"\n\n" for mail in mails)


def list_subjects(rows: list[Row]) -> list[str]:
    return [row["message"]["subject"] for row in rows]


def list_document_hashes(rows: list[Row]) -> list[str]:
    return [sighting["document_sha256"] for row in rows for sighting in row["sightings"]]


def test_an_eml_is_opened_as_a_mail_whatever_its_name(inbox: Path, collector: Collector, store: DocumentStore) -> None:
    path = write_settled_file(inbox / "Acme" / "saved.txt", build_mail())
    (row,) = collector(sub_folders=("entity",))
    (sighting_row,) = row["sightings"]
    assert row["message"]["folder"] == str(path)
    assert (row["message"]["subject"], row["message"]["uid"], row["message"]["authentication"]) == (
        "Invoice 1", None, "unknown",
    )  # fmt: skip
    assert (sighting_row["document_sha256"], sighting_row["file_name"], sighting_row["sender"]) == (
        hash_content(PDF_CONTENT + b"1"), "bill1.pdf", "billing@supplier.example",
    )  # fmt: skip
    assert (sighting_row["message_key"], sighting_row["entity"]) == (row["message"]["message_key"], "Acme")
    assert hash_content(build_mail()) not in store
    assert collector() == []


def test_a_mail_that_cannot_be_opened_is_quarantined_as_a_whole(
    inbox: Path, collector: Collector, store: DocumentStore
) -> None:
    broken = b"From: a@b.example\nSubject: x\nContent-Type: multipart/mixed; boundary=x\n\nno parts here\n"
    write_settled_file(inbox / "broken.eml", broken)
    (row,) = collector()
    (sighting_row,) = row["sightings"]
    assert row["message"]["outcome"] == "quarantined"
    assert (sighting_row["document_sha256"], sighting_row["file_name"]) == (hash_content(broken), "broken.eml")
    assert store.read(hash_content(broken)) == broken


def test_the_mails_of_an_mbox_are_collected_one_by_one(inbox: Path, collector: Collector, store: DocumentStore) -> None:
    content = build_mbox(*(build_mail(number) for number in (1, 2, 3)))
    write_settled_file(inbox / "archive.mbox", content)
    rows = collector()
    assert list_subjects(rows) == ["Invoice 1", "Invoice 2", "Invoice 3"]
    assert list_document_hashes(rows) == [hash_content(PDF_CONTENT + str(number).encode()) for number in (1, 2, 3)]
    assert hash_content(content) not in store
    scan_state = FolderScanState()
    assert collector(scan_state) == []
    assert scan_state.known_count == 1


def test_only_new_mails_of_a_grown_mbox_are_collected(inbox: Path, collector: Collector, ledger: Ledger) -> None:
    write_settled_file(inbox / "archive.mbox", build_mbox(build_mail(1), build_mail(2)))
    collector()
    write_settled_file(inbox / "archive.mbox", build_mbox(build_mail(1), build_mail(2), build_mail(3)))
    again = collector()
    assert list_subjects(again) == ["Invoice 2", "Invoice 3"]  # the last one had carried the fingerprint of the file
    with ledger.open_snapshot() as connection:
        assert connection.exec_driver_sql("select count(*) from messages").scalar() == 3
        assert connection.exec_driver_sql("select count(*) from sightings").scalar() == 3
    assert collector() == []


def test_an_mbox_continues_where_a_killed_run_stopped(inbox: Path, collector: Collector) -> None:
    write_settled_file(inbox / "archive.mbox", build_mbox(*(build_mail(number) for number in range(1, 6))))
    assert list_subjects(collector(max_rows=2)) == ["Invoice 1", "Invoice 2"]
    assert list_subjects(collector()) == ["Invoice 3", "Invoice 4", "Invoice 5"]


def test_marks_and_positions_in_an_mbox_do_not_change_a_mail(inbox: Path, collector: Collector, ledger: Ledger) -> None:
    read = build_mail(2).replace(b"\n\n", b"\nStatus: RO\nX-UID: 7\n\n", 1)
    write_settled_file(inbox / "archive.mbox", build_mbox(build_mail(1), build_mail(2), build_mail(2), build_mail(3)))
    collector()
    write_settled_file(inbox / "archive.mbox", build_mbox(read, build_mail(2), build_mail(3)))  # one deleted, one read
    collector()
    with ledger.open_snapshot() as connection:
        assert connection.exec_driver_sql("select count(*) from messages").scalar() == 4


def test_a_sentence_that_begins_with_from_does_not_end_a_mail(inbox: Path, collector: Collector) -> None:
    text = "Dear all,\n\nFrom 9:30 on we meet.\n\n>From Monday on not.\n"
    write_settled_file(inbox / "archive.mbox", build_mbox(build_mail(1, text), build_mail(2)))
    assert list_subjects(collector()) == ["Invoice 1", "Invoice 2"]


def test_an_mbox_of_many_blocks_is_split_correctly(inbox: Path, collector: Collector) -> None:
    sizes = (700_000, 349_000, 1_000, 1_048_000, 40)
    mails = [build_mail(number, "x" * 70 + "\n" + "y\n" * (size // 2)) for number, size in enumerate(sizes, 1)]
    write_settled_file(inbox / "archive.mbox", build_mbox(*mails))
    rows = collector()
    assert [row["message"]["content_sha256"] for row in rows] == [
        hash_content(mail.rstrip(b"\n") + b"\n") for mail in mails
    ]


def test_an_mbox_written_to_meanwhile_yields_whole_mails_and_is_finished_later(
    inbox: Path, collector: Collector
) -> None:
    path = write_settled_file(inbox / "archive.mbox", build_mbox(*(build_mail(number) for number in (1, 2))))
    opener_pool, scan_state = collector.opener_pool, FolderScanState()

    class AppendingOpener:
        detect_file_type = staticmethod(collector.opener_pool.detect_file_type)
        find_from_lines = staticmethod(collector.opener_pool.find_from_lines)
        remove_status_fields = staticmethod(collector.opener_pool.remove_status_fields)
        unescape_from_lines = staticmethod(collector.opener_pool.unescape_from_lines)

        def open_container(self, *arguments: Any) -> Any:
            with path.open("ab") as mbox:
                mbox.write(build_mbox(build_mail(3)))
            return opener_pool.open_container(*arguments)

    collector.opener_pool = AppendingOpener()  # type: ignore[assignment]  # all that the source uses
    assert collector(scan_state) == []
    assert scan_state.changing_files == [str(path)]
    collector.opener_pool = opener_pool
    os.utime(path, (SETTLED_TIMESTAMP, SETTLED_TIMESTAMP))
    assert list_subjects(collector())[:3] == ["Invoice 1", "Invoice 2", "Invoice 3"]


def test_a_maildir_yields_its_mails_and_flags_do_not_change_a_mail(inbox: Path, collector: Collector) -> None:
    for name in ("cur", "new", "tmp"):
        (inbox / "Mail" / name).mkdir(parents=True)
    write_settled_file(inbox / "Mail" / "cur" / "1700000000.M1P1.host:2,S", build_mail(1))
    new = write_settled_file(inbox / "Mail" / "new" / "1700000001.M2P1.host", build_mail(2))
    write_settled_file(inbox / "Mail" / "tmp" / "1700000002.M3P1.host", build_mail(3))
    write_settled_file(inbox / "Mail" / "dovecot-uidlist", b"3 V1 N4")
    rows = collector()
    assert list_subjects(rows) == ["Invoice 1", "Invoice 2"]
    assert rows[1]["message"]["folder"] == f"{inbox}/Mail/;UNIQUE=1700000001.M2P1.host"
    new.rename(inbox / "Mail" / "cur" / "1700000001.M2P1.host:2,FS")
    scan_state = FolderScanState()
    assert collector(scan_state) == []
    assert scan_state.known_count == 2


def test_an_archive_is_stored_and_its_files_are_collected(
    inbox: Path, collector: Collector, store: DocumentStore
) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("one.pdf", PDF_CONTENT)
        archive.writestr("two.xml", b"<?xml version='1.0'?><x/>")
    path = write_settled_file(inbox / "bills.zip", packed.getvalue())
    (row,) = collector()
    archive_row, first_row, second_row = row["sightings"]
    assert (archive_row["settled"]["reason_code"], archive_row["file_name"]) == ("container", "bills.zip")
    assert [first_row["location"], second_row["location"]] == [f"{path}/;SECTION=1", f"{path}/;SECTION=2"]
    assert (first_row["file_name"], first_row["settled"], store.read(first_row["document_sha256"])) == (
        "one.pdf",
        None,
        PDF_CONTENT,
    )
    assert row["message"] is None
    assert collector() == []


def test_an_archive_that_cannot_be_opened_is_a_document_with_a_flag(inbox: Path, collector: Collector) -> None:
    write_settled_file(inbox / "broken.zip", b"PK\x03\x04 and nothing else")
    (row,) = collector()
    (sighting_row,) = row["sightings"]
    assert (sighting_row["settled"], sighting_row["file_name"], sighting_row["media_type"]) == (
        None,
        "broken.zip",
        "application/zip",
    )
    assert [flag["rule_id"] for flag in sighting_row["flags"]] == ["INTAKE-CONTAINER"]
