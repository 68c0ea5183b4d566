"""Local extraction: the state of each kind of document in the ledger, recorded once."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from PIL import Image

from invoices.documents.document_reader_pool import DocumentReaderPool, ProcessLimits
from invoices.documents.malware_scanner import MalwareScanner
from invoices.documents.store import DocumentStore
from invoices.extraction.local_extraction import DOCUMENTS_PER_TRANSACTION, extract_documents_locally
from invoices.ledger import Ledger
from invoices.ledger.changes import get_latest_revision
from invoices.ledger.documents import find_document_row, list_pending_documents
from invoices.ledger.extractions import list_extraction_rows
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.ledger.stage_attempts import list_stage_attempts, record_stage_attempt
from invoices.settings import Settings

UBL_CONTENT = b"""<Invoice xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"
 xmlns:b="urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2"
 xmlns:a="urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2">
 <b:ID>R-7</b:ID><b:IssueDate>2026-03-04</b:IssueDate><b:DocumentCurrencyCode>EUR</b:DocumentCurrencyCode>
 <a:LegalMonetaryTotal><b:PayableAmount currencyID="EUR">119.10</b:PayableAmount></a:LegalMonetaryTotal></Invoice>"""


def build_png() -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((1000, 1400), 80).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def build_blank_pdf() -> bytes:
    document, buffer = pypdfium2.PdfDocument.new(), io.BytesIO()
    document.new_page(200, 200)
    document.save(buffer)
    document.close()
    return buffer.getvalue()


@pytest.fixture
def store(app_settings: Settings) -> DocumentStore:
    """An empty store."""
    return DocumentStore(app_settings.documents_directory)


@pytest.fixture
def add_documents(ledger: Ledger, store: DocumentStore) -> Callable[..., list[str]]:
    """A function that adds contents to the store and the ledger, and returns their hashes."""

    def store_contents(*contents: bytes) -> list[str]:
        hashes = [store.put(content) for content in contents]
        with ledger.begin_transaction() as tx:
            for sha256 in hashes:
                record_sighting(
                    tx, Sighting(sha256[:32], sha256, "application/octet-stream", 1, "inbox", "folder", sha256)
                )
        return hashes

    return store_contents


def extract_all(
    ledger: Ledger,
    store: DocumentStore,
    progress: list[int] | None = None,
    scanner: MalwareScanner | None = None,
    limits: ProcessLimits | None = None,
) -> dict[str, int]:
    with ledger.open_snapshot() as connection:
        pending_documents = list_pending_documents(connection, "extract_local", 1_000)
    with DocumentReaderPool(worker_count=1, limits=limits, use_title_ocr=False) as readers:
        return dict(
            extract_documents_locally(
                ledger, store, readers, pending_documents, (progress if progress is not None else []).append, scanner
            ).outcome_counts
        )


def test_each_kind_of_document_gets_its_stage_and_state(
    ledger: Ledger, store: DocumentStore, add_documents: Callable[..., list[str]]
) -> None:
    einvoice, image, order, junk = add_documents(
        UBL_CONTENT, build_png(), b"<order><id>1</id></order>", b"\0\1\2 no file" * 9
    )
    outcomes = extract_all(ledger, store)
    assert sum(outcomes.values()) == 4
    with ledger.open_snapshot() as connection:
        rows = [find_document_row(connection, sha) for sha in (einvoice, image, order, junk)]
        (answer,) = list_extraction_rows(connection, einvoice)
    states = [(row["stage"], row["state"]) for row in rows if row]
    assert states[:2] == [("validate", "waiting"), ("extract_remote", "waiting")]
    assert {stage for stage, _ in states[2:]} == {"done"}
    assert [state for _, state in states[2:]] == ["not_invoice", "review"]
    assert all(row and row["reason"] and row["reason_code"] for row in rows)
    assert (answer["extracted_by"], answer["pages_charged"]) == ("einvoice", 0)
    assert "119.10" in answer["payload"]
    assert isinstance(json.loads(answer["payload"]), dict)


def test_a_document_missing_from_the_store_does_not_affect_others(
    ledger: Ledger, store: DocumentStore, add_documents: Callable[..., list[str]]
) -> None:
    lost, sound = add_documents(b"lost", UBL_CONTENT)
    Path(store.get_path(lost)).unlink()
    extract_all(ledger, store)
    with ledger.open_snapshot() as connection:
        rows = [find_document_row(connection, sha) for sha in (lost, sound)]
    assert [row["stage"] for row in rows if row] == ["done", "validate"]


def test_a_batch_is_recorded_in_several_transactions_and_read_once(
    ledger: Ledger, store: DocumentStore, add_documents: Callable[..., list[str]]
) -> None:
    add_documents(*(b"text %d" % number for number in range(DOCUMENTS_PER_TRANSACTION + 5)), build_blank_pdf())
    progress: list[int] = []
    extract_all(ledger, store, progress)
    assert [count for count in progress if count] == [DOCUMENTS_PER_TRANSACTION, 6]
    with ledger.open_snapshot() as connection:
        before = get_latest_revision(connection)
        assert list_pending_documents(connection, "extract_local", 10) == []
    extract_all(ledger, store)
    with ledger.open_snapshot() as connection:
        assert get_latest_revision(connection) == before


def list_rows(ledger: Ledger, hashes: list[str]) -> list[Mapping[str, Any]]:
    with ledger.open_snapshot() as connection:
        return [find_document_row(connection, sha256) or {} for sha256 in hashes]


def test_a_document_whose_bytes_were_changed_in_the_store_is_not_opened(
    ledger: Ledger, store: DocumentStore, add_documents: Callable[..., list[str]]
) -> None:
    altered, sound = add_documents(UBL_CONTENT, UBL_CONTENT.replace(b"R-7", b"R-8"))
    store.get_path(altered).write_bytes(UBL_CONTENT.replace(b"119.10", b"999.10"))
    extract_all(ledger, store)
    rows = list_rows(ledger, [altered, sound])
    assert [(row["state"], row["reason_code"]) for row in rows] == [("quarantined", "altered"), ("waiting", "read")]


def test_a_document_that_takes_too_long_is_tried_once_more_in_a_later_run(
    ledger: Ledger, store: DocumentStore, add_documents: Callable[..., list[str]]
) -> None:
    slow, unlucky = hashes = add_documents(b"<a>" + b"<b c='d'/>" * 400_000 + b"</a>", UBL_CONTENT)
    tight, generous = ProcessLimits(seconds=0.02), ProcessLimits()
    with ledger.begin_transaction() as tx:
        record_stage_attempt(tx, "extract_local", [unlucky])  # its reader was stopped once
    states = []
    for limits in (tight, tight, generous):
        extract_all(ledger, store, limits=limits if limits is tight else generous)
        states.append([(row["state"], row["reason_code"]) for row in list_rows(ledger, hashes)])
        if len(states) == 1:
            assert "tries once more" in list_rows(ledger, [slow])[0]["reason"]
            assert list_rows(ledger, [slow])[0]["media_type"] == "application/octet-stream"  # as the source detected it
    assert [state[0] for state in states] == [
        ("waiting", "reader_timeout"), ("quarantined", "reader_timeout"), ("quarantined", "reader_timeout")
    ]  # fmt: skip
    with ledger.open_snapshot() as connection:
        assert list_stage_attempts(connection, "extract_local", hashes) == []


SCANNER_PROGRAM = """
import pathlib, sys
content = pathlib.Path(sys.argv[1]).read_bytes()
with open(__file__ + ".log", "a") as log: log.write(sys.argv[1] + "\\n")
sys.exit(2 if b"unscannable" in content else b"evil" in content)
"""


@pytest.fixture
def scanner(tmp_path: Path) -> MalwareScanner:
    """A scanner that finds "evil", fails at "unscannable", and keeps a log of the paths."""
    program = tmp_path / "scanner.py"
    program.write_text(SCANNER_PROGRAM)
    return MalwareScanner((sys.executable, "-I", str(program)))


def test_malware_is_quarantined_unopened_and_other_documents_are_read(
    ledger: Ledger, store: DocumentStore, add_documents: Callable[..., list[str]], scanner: MalwareScanner
) -> None:
    hashes = add_documents(UBL_CONTENT, b"%PDF-1.7 evil", b"<order><id>1</id></order>")
    extract_all(ledger, store, scanner=scanner)
    rows = list_rows(ledger, hashes)
    assert [row["reason_code"] for row in rows] == ["read", "malware", "other_xml"]
    assert rows[1]["state"] == "quarantined"


def test_a_document_at_which_the_scanner_fails_waits_and_the_others_are_read(
    ledger: Ledger, store: DocumentStore, add_documents: Callable[..., list[str]], scanner: MalwareScanner
) -> None:
    hashes = add_documents(b"unscannable", UBL_CONTENT, b"%PDF-1.7 evil")
    assert extract_all(ledger, store, scanner=scanner)["waiting"] == 1
    rows = list_rows(ledger, hashes)
    assert [row["reason_code"] for row in rows] == ["not_scanned", "read", "malware"]
    assert (rows[0]["stage"], rows[0]["state"]) == ("extract_local", "waiting")
    assert "exited with status 2" in rows[0]["reason"]
    assert scanner.down_reason is None


def test_after_five_failures_in_a_row_the_scanner_is_down_and_nothing_more_is_opened(
    ledger: Ledger, store: DocumentStore, add_documents: Callable[..., list[str]], scanner: MalwareScanner
) -> None:
    hashes = add_documents(*(b"unscannable %d" % number for number in range(5)), UBL_CONTENT)
    extract_all(ledger, store, scanner=scanner)
    assert {row["reason_code"] for row in list_rows(ledger, hashes)} == {"not_scanned"}
    assert "5 times in a row" in str(scanner.down_reason)
    scanned_paths = Path(f"{scanner.command[-1]}.log").read_text().split()
    assert scanned_paths == [str(store.get_path(sha256)) for sha256 in hashes[:5]]


def test_a_scanner_that_cannot_be_started_is_down_at_once(
    ledger: Ledger, store: DocumentStore, add_documents: Callable[..., list[str]], tmp_path: Path
) -> None:
    (sha256,) = add_documents(UBL_CONTENT)
    scanner = MalwareScanner((str(tmp_path / "missing"),))
    extract_all(ledger, store, scanner=scanner)
    assert list_rows(ledger, [sha256])[0]["reason_code"] == "not_scanned"
    assert "cannot be started" in str(scanner.down_reason)
