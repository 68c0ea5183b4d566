"""Reading locally: what each kind of document becomes in the ledger, written once."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pypdfium2
import pytest
from PIL import Image

from invoices.documents.reading import Readers
from invoices.documents.scanning import Scanner
from invoices.documents.store import DocumentStore
from invoices.extraction.reading import WRITE_EVERY, read_documents
from invoices.ledger import Ledger
from invoices.ledger.changes import latest_revision
from invoices.ledger.documents import document_row, pending
from invoices.ledger.extractions import extraction_rows
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.settings import Settings

UBL = b"""<Invoice xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"
 xmlns:b="urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2"
 xmlns:a="urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2">
 <b:ID>R-7</b:ID><b:IssueDate>2026-03-04</b:IssueDate><b:DocumentCurrencyCode>EUR</b:DocumentCurrencyCode>
 <a:LegalMonetaryTotal><b:PayableAmount currencyID="EUR">119.10</b:PayableAmount></a:LegalMonetaryTotal></Invoice>"""


def picture() -> bytes:
    shown = io.BytesIO()
    Image.effect_noise((1000, 1400), 80).convert("RGB").save(shown, "PNG")
    return shown.getvalue()


def pdf() -> bytes:
    document, made = pypdfium2.PdfDocument.new(), io.BytesIO()
    document.new_page(200, 200)
    document.save(made)
    document.close()
    return made.getvalue()


@pytest.fixture
def store(home: Settings) -> DocumentStore:
    """An empty store."""
    return DocumentStore(home.documents_directory)


@pytest.fixture
def collect(ledger: Ledger, store: DocumentStore) -> Callable[..., list[str]]:
    """Puts contents into store and ledger, and tells their hashes."""

    def collected(*contents: bytes) -> list[str]:
        shas = [store.put(content) for content in contents]
        with ledger.transaction() as tx:
            for sha in shas:
                record_sighting(tx, Sighting(sha[:32], sha, "application/octet-stream", 1, "inbox", "folder", sha))
        return shas

    return collected


def read_all(ledger: Ledger, store: DocumentStore, told: list[int] | None = None) -> dict[str, int]:
    with ledger.reading() as connection:
        waiting = pending(connection, "read", 1_000)
    with Readers(workers=1, titles=False) as readers:
        return dict(read_documents(ledger, store, readers, waiting, (told if told is not None else []).append))


def test_each_kind_of_document_goes_where_it_belongs(
    ledger: Ledger, store: DocumentStore, collect: Callable[..., list[str]]
) -> None:
    einvoice, image, order, junk = collect(UBL, picture(), b"<order><id>1</id></order>", b"\0\1\2 no file" * 9)
    outcomes = read_all(ledger, store)
    assert sum(outcomes.values()) == 4
    with ledger.reading() as connection:
        rows = [document_row(connection, sha) for sha in (einvoice, image, order, junk)]
        (answer,) = extraction_rows(connection, einvoice)
    stands = [(row["stage"], row["state"]) for row in rows if row]
    assert stands[:2] == [("judge", "waiting"), ("ask", "waiting")]
    assert {stage for stage, _ in stands[2:]} == {"done"}
    assert [state for _, state in stands[2:]] == ["not_invoice", "review"]
    assert all(row and row["reason"] and row["reason_code"] for row in rows)
    assert (answer["extracted_by"], answer["pages_charged"]) == ("einvoice", 0)
    assert "119.10" in answer["payload"]
    assert isinstance(json.loads(answer["payload"]), dict)


def test_a_document_missing_from_the_store_harms_no_other(
    ledger: Ledger, store: DocumentStore, collect: Callable[..., list[str]]
) -> None:
    lost, sound = collect(b"lost", UBL)
    Path(store.path(lost)).unlink()
    read_all(ledger, store)
    with ledger.reading() as connection:
        rows = [document_row(connection, sha) for sha in (lost, sound)]
    assert [row["stage"] for row in rows if row] == ["done", "judge"]


def test_a_batch_is_written_in_pieces_and_read_once(
    ledger: Ledger, store: DocumentStore, collect: Callable[..., list[str]]
) -> None:
    collect(*(b"text %d" % number for number in range(WRITE_EVERY + 5)), pdf())
    told: list[int] = []
    read_all(ledger, store, told)
    assert [count for count in told if count] == [WRITE_EVERY, 6]
    with ledger.reading() as connection:
        before = latest_revision(connection)
        assert pending(connection, "read", 10) == []
    read_all(ledger, store)
    with ledger.reading() as connection:
        assert latest_revision(connection) == before


def test_what_a_scanner_finds_is_set_aside_unopened_and_the_others_are_read(
    ledger: Ledger, store: DocumentStore, collect: Callable[..., list[str]], tmp_path: Path
) -> None:
    program = tmp_path / "scanner.py"
    program.write_text("import sys; sys.exit(b'evil' in open(sys.argv[1], 'rb').read())")
    hashes = collect(UBL, b"%PDF-1.7 evil", b"<order><id>1</id></order>")
    with ledger.reading() as connection:
        waiting = pending(connection, "read", 10)
    with Readers(workers=1, titles=False) as readers:
        scanner = Scanner((sys.executable, "-I", str(program)))
        read_documents(ledger, store, readers, waiting, scanner=scanner)
    with ledger.reading() as connection:
        rows = [document_row(connection, sha) or {} for sha in hashes]
    assert [row["reason_code"] for row in rows] == ["read", "malware", "other_xml"]
    assert rows[1]["state"] == "quarantined"
