"""Files inside an e-invoice are documents of their own, scanned, and never paid for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from invoices.documents.document_reader_pool import DocumentReaderPool
from invoices.documents.malware import EICAR_TEST_STRING
from invoices.documents.malware_scanner import MalwareScanner
from invoices.documents.store import DocumentStore
from invoices.extraction.local_extraction import extract_documents_locally
from invoices.ledger import Ledger
from invoices.ledger.documents import find_document_row, list_pending_documents, list_sighting_rows
from invoices.ledger.extractions import list_extraction_rows
from invoices.ledger.sightings import STORE_SOURCE_KIND, Sighting, record_sighting
from invoices.model import compute_document_sha256
from invoices.settings import Settings
from sandbox.process import Sandbox
from tests.embedded_file_fixtures import build_ubl_invoice
from tests.integration.extraction.extraction_fixtures import ExtractionHarness
from tests.integration.extraction.extractor_chain_fixtures import SMARTBILLS, ChainHarness
from tests.integration.extraction.test_local_extraction import build_blank_pdf, build_png

PAGE = build_png()
PAGE_FILE = ("copy.png", "image/png", PAGE)


@pytest.fixture
def store(app_settings: Settings) -> DocumentStore:
    """An empty store."""
    return DocumentStore(app_settings.documents_directory)


@pytest.fixture
def show(ledger: Ledger, store: DocumentStore) -> Callable[..., str]:
    """A function that lets a source show a document at a location; it returns the document's hash."""

    def show_document(content: bytes, location: str = "a.xml", section: str | None = None, kind: str = "folder") -> str:
        sha256 = store.put(content)
        with ledger.begin_transaction() as tx:
            sighting = Sighting(
                (sha256[:16] + location)[:32], sha256, "application/octet-stream", len(content), "inbox", kind,
                location, section=section, entity="North",
            )  # fmt: skip
            record_sighting(tx, sighting)
        return sha256

    return show_document


def extract_waves(ledger: Ledger, store: DocumentStore, scanner: MalwareScanner | None = None) -> None:
    """Read what waits, then what came out of it, until nothing is left, as the stage does."""
    last_sequence = 0
    with DocumentReaderPool(worker_count=1, use_title_ocr=False) as readers:
        while True:
            with ledger.open_snapshot() as connection:
                documents = list_pending_documents(connection, "extract_local", 100, last_sequence)
            if not documents:
                return
            extract_documents_locally(ledger, store, readers, documents, scanner=scanner)
            last_sequence = documents[-1].sequence


def read_state(ledger: Ledger, sha256: str) -> tuple[str, str, str]:
    with ledger.open_snapshot() as connection:
        row = find_document_row(connection, sha256)
    assert row is not None
    return row["stage"], row["state"], row["reason_code"]


def read_sightings(ledger: Ledger, sha256: str) -> list[Mapping[str, Any]]:
    with ledger.open_snapshot() as connection:
        return list(list_sighting_rows(connection, sha256))


def build_scanner(tmp_path: Any, script: str) -> MalwareScanner:
    program = tmp_path / "scanner.py"
    program.write_text(script)
    return MalwareScanner((sys.executable, str(program)))


SUPPORTING = ("done", "not_invoice", "supporting_document")


def test_a_page_inside_an_invoice_is_a_supporting_document_with_its_origin(
    ledger: Ledger, store: DocumentStore, show: Callable[..., str]
) -> None:
    blank = build_blank_pdf()
    invoice = show(build_ubl_invoice(PAGE_FILE, ("blank.pdf", "application/pdf", blank)))
    extract_waves(ledger, store)
    assert read_state(ledger, invoice) == ("validate", "waiting", "read")
    for content in (PAGE, blank):
        assert read_state(ledger, compute_document_sha256(content)) == SUPPORTING
    (sighting,) = read_sightings(ledger, compute_document_sha256(PAGE))
    assert store.read(compute_document_sha256(PAGE)) == PAGE
    names = ("location", "section", "file_name", "embedded_in", "skip_reason_code", "declared_type", "entity")
    assert [sighting[name] for name in names] == [
        "a.xml/;SECTION=1", "1", "copy.png", invoice, "supporting_document", "image/png", "North"
    ]  # fmt: skip


def test_a_page_inside_an_attachment_of_a_mail_has_the_section_of_both(
    ledger: Ledger, store: DocumentStore, show: Callable[..., str]
) -> None:
    show(build_ubl_invoice(PAGE_FILE), "/INBOX;UID=1/;SECTION=2", section="2")
    extract_waves(ledger, store)
    (sighting,) = read_sightings(ledger, compute_document_sha256(PAGE))
    assert (sighting["location"], sighting["section"]) == ("/INBOX;UID=1/;SECTION=2/1", "2/1")


@pytest.mark.parametrize("is_first", [True, False])
def test_a_page_that_also_comes_by_itself_is_extracted(
    ledger: Ledger, store: DocumentStore, show: Callable[..., str], is_first: bool
) -> None:
    if is_first:
        show(PAGE, "page.png")
        extract_waves(ledger, store)
    show(build_ubl_invoice(PAGE_FILE))
    extract_waves(ledger, store)
    if not is_first:
        show(PAGE, "page.png")
        extract_waves(ledger, store)
    state = read_state(ledger, compute_document_sha256(PAGE))
    assert state == ("extract_remote", "waiting", "needs_extraction")


def test_a_page_of_which_a_restored_ledger_has_lost_the_origin_is_not_paid_for(
    ledger: Ledger, store: DocumentStore, show: Callable[..., str]
) -> None:
    page = show(PAGE, "store/1", kind=STORE_SOURCE_KIND)
    extract_waves(ledger, store)
    assert read_state(ledger, page)[0] == "extract_remote"
    show(build_ubl_invoice(PAGE_FILE), "store/2", kind=STORE_SOURCE_KIND)
    extract_waves(ledger, store)
    assert read_state(ledger, page) == SUPPORTING


def test_an_invoice_inside_an_invoice_is_read_locally(
    ledger: Ledger, store: DocumentStore, show: Callable[..., str]
) -> None:
    inner = build_ubl_invoice(number="INNER-1")
    show(build_ubl_invoice(("inner.xml", "application/xml", inner)))
    extract_waves(ledger, store)
    sha256 = compute_document_sha256(inner)
    assert read_state(ledger, sha256)[0] == "validate"
    with ledger.open_snapshot() as connection:
        (answer,) = list_extraction_rows(connection, sha256)
    assert (answer["extracted_by"], answer["pages_charged"], "INNER-1" in answer["payload"]) == ("einvoice", 0, True)


def test_invoices_within_each_other_are_taken_out_to_a_limited_depth(
    ledger: Ledger, store: DocumentStore, show: Callable[..., str]
) -> None:
    contents = [build_ubl_invoice(number="0")]
    for number in range(1, 6):
        contents.append(build_ubl_invoice(("inner.xml", "application/xml", contents[-1]), number=str(number)))
    show(contents[-1])
    extract_waves(ledger, store)
    with ledger.open_snapshot() as connection:
        known = [find_document_row(connection, compute_document_sha256(content)) is not None for content in contents]
    assert known == [False, False, True, True, True, True]


def test_malware_inside_an_invoice_is_quarantined_and_named_in_its_payload(
    ledger: Ledger, store: DocumentStore, show: Callable[..., str]
) -> None:
    invoice = show(build_ubl_invoice(("report.com", "application/pdf", EICAR_TEST_STRING)))
    extract_waves(ledger, store)
    assert read_state(ledger, compute_document_sha256(EICAR_TEST_STRING)) == ("done", "quarantined", "malware_test")
    with ledger.open_snapshot() as connection:
        (answer,) = list_extraction_rows(connection, invoice)
    assert '"embedded_malware": "the embedded file \'report.com\'' in answer["payload"]


def test_the_scanner_sees_a_file_inside_before_its_invoice_goes_on(
    ledger: Ledger, store: DocumentStore, show: Callable[..., str], tmp_path: Any
) -> None:
    script = "import sys; data = open(sys.argv[1], 'rb').read(); sys.exit(data.startswith(b'evil'))"
    invoice = show(build_ubl_invoice(("evil.txt", "text/plain", b"evil" * 50)))
    extract_waves(ledger, store, build_scanner(tmp_path, script))
    assert read_state(ledger, compute_document_sha256(b"evil" * 50)) == ("done", "quarantined", "malware")
    with ledger.open_snapshot() as connection:
        (answer,) = list_extraction_rows(connection, invoice)
    assert "embedded_malware" in answer["payload"]
    assert "'evil.txt'" in answer["payload"]


def test_an_invoice_waits_for_the_scanner_of_its_files(
    ledger: Ledger, store: DocumentStore, show: Callable[..., str], tmp_path: Any
) -> None:
    script = "import sys; data = open(sys.argv[1], 'rb').read(); sys.exit(2 * data.startswith(b'slow'))"
    invoice = show(build_ubl_invoice(("slow.txt", "text/plain", b"slow" * 50)))
    extract_waves(ledger, store, build_scanner(tmp_path, script))
    assert read_state(ledger, invoice) == ("extract_local", "waiting", "not_scanned")
    extract_waves(ledger, store, build_scanner(tmp_path, "pass"))
    assert read_state(ledger, invoice)[0] == "validate"
    assert read_state(ledger, compute_document_sha256(b"slow" * 50)) == SUPPORTING


def test_only_a_page_that_comes_by_itself_is_in_the_journal_of_charges(
    ledger: Ledger, store: DocumentStore, show: Callable[..., str], sandbox: Sandbox, app_settings: Settings
) -> None:
    chain_harness = ChainHarness(ExtractionHarness(ledger, store, sandbox), app_settings, {})
    chain_harness.update_sandbox_settings(SMARTBILLS, read_strangers=True)
    show(build_ubl_invoice(PAGE_FILE))
    extract_waves(ledger, store)
    chain_harness.run_extraction()
    assert chain_harness.list_charged_documents(SMARTBILLS) == []
    page = show(PAGE, "page.png")
    extract_waves(ledger, store)
    chain_harness.run_extraction()
    assert chain_harness.list_charged_documents(SMARTBILLS) == [page]
