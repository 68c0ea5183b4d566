"""Bad input in a batch with good input: collected, read, validated and loaded together, and the good is unaffected."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pikepdf
import pytest

from flows.reports.history import format_history, list_document_histories
from flows.stages import collect, extract_local, load, validate
from invoices.app import App
from invoices.documents.containers.opened_container import Flag
from invoices.documents.malware import EICAR_TEST_STRING
from invoices.ledger import Ledger
from invoices.ledger.changes import get_latest_revision
from invoices.ledger.flags import record_flags
from invoices.ledger.validations import list_finding_rows
from invoices.run_report import RunReport
from invoices.settings import InboxSettings, Settings
from sandbox import get_samples_directory
from sandbox.sample_manifest import load_manifest
from tests.integration.documents.bad_pdf_builder import (
    INVOICE_LINES,
    WRONG_DIGEST,
    attach_files,
    build_action_inserter,
    build_hidden_text_drawer,
    build_hybrid_pdf,
    build_page_tree,
    build_pdf,
    build_pdf_bomb,
    build_ubl,
    sign_pdf,
    transform_pdf,
)
from transforms.loading.release import get_published_database_path

VALID_EINVOICES = [
    (get_samples_directory() / row["path"]).read_bytes()
    for row in sorted(load_manifest(), key=lambda row: row["kind"].startswith("pdf"))
    if row["expected_state"] == "accepted" and row["kind"].startswith(("ubl", "cii", "pdf+cii"))
]
GOOD_FILES = {f"good{number}.xml": content for number, content in enumerate(VALID_EINVOICES[:20])}


def replace_page(content: bytes) -> bytes:
    """Return the e-invoice of a PDF on a page with a smaller total."""
    with pikepdf.open(io.BytesIO(content)) as pdf:
        einvoice = pdf.attachments["factur-x.xml"].get_file().read_bytes()
    return attach_files(build_pdf("INVOICE", "Net 0,84", "Tax 0,16", "Total 1,00"), {"factur-x.xml": einvoice})


BAD_FILES = {
    "B-22": (b"", "review", "empty_file"),
    "B-22 half": (build_hybrid_pdf()[: len(build_hybrid_pdf()) // 2], "review", "truncated"),
    "B-24": (build_pdf_bomb(300, attached=True), "quarantined", "reader_memory"),
    "B-25": (build_page_tree(2, b"2 0 R 3 0 R"), "quarantined", "damaged_pdf"),
    "B-27": (transform_pdf(VALID_EINVOICES[-1], build_action_inserter("JavaScript")), "accepted", "accepted"),
    "B-28": (replace_page(VALID_EINVOICES[-2]), "review", "XML-PDF-MISMATCH"),
    "B-29": (
        attach_files(build_pdf(*INVOICE_LINES), {"a.xml": build_ubl("1"), "b.xml": build_ubl("2")}),
        "review",
        "conflicting_einvoices",
    ),
    "B-31": (
        build_pdf(*INVOICE_LINES, draw=build_hidden_text_drawer("invisible", "Total 9.999,00")),
        "review",
        "hidden_text",
    ),
    "B-32": (sign_pdf(build_pdf(*INVOICE_LINES), digest=WRONG_DIGEST), "review", "broken_signature"),
    "B-38": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "quarantined", "active_content"),
    "B-43": (b"MZ\x90\x00" + bytes(200), "quarantined", "executable"),
    "B-44": (EICAR_TEST_STRING, "quarantined", "malware_test"),
    "B-46": (b"<!DOCTYPE x SYSTEM 'http://127.0.0.1:9/'><x/>", "review", "hostile_xml"),
    "B-48": (b"<a>" * 200_000, "review", "hostile_xml"),
}
STATE_QUERY = "select file_name, state, d.reason_code from core.documents d join raw.sightings using (document_sha256)"


def run_stages(app: App) -> None:
    report = RunReport()
    with app.hold_stage_lease("validate"):
        for stage in (collect, extract_local, validate, load):
            for batch in stage.iter_pending_batches(app, report):
                stage.process_batch(app, batch, report)


def open_app(home: Path, files: dict[str, bytes]) -> App:
    settings = Settings(home=home, inbox=InboxSettings(settle_seconds=0))
    settings.inbox_directory.mkdir(parents=True)
    for name, content in files.items():
        (settings.inbox_directory / name).write_bytes(content)
    return App(settings, prepare_vendor_settings=lambda _exit_stack: settings)


def query_warehouse(app: App, sql: str) -> list[Any]:
    with duckdb.connect(
        str(get_published_database_path(app.settings.warehouse_directory)), read_only=True
    ) as connection:
        return sorted(connection.sql(sql).fetchall())


@pytest.fixture(scope="module")
def mixed_batch_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An application that processed good and bad files in one run."""
    bad_files = {f"{row}.pdf": content for row, (content, _, _) in BAD_FILES.items()}
    with open_app(tmp_path_factory.mktemp("together"), GOOD_FILES | bad_files) as app:
        run_stages(app)
        yield app


def test_twenty_good_documents_are_not_affected_by_the_bad_ones(mixed_batch_app: App, tmp_path: Path) -> None:
    query = (
        "select file_name, c.* exclude (received_at, validated_at) "
        "from core.invoices c join raw.sightings using (document_sha256)"
    )
    with open_app(tmp_path / "alone", GOOD_FILES) as alone:
        run_stages(alone)
        expected = query_warehouse(alone, query)
    assert len(expected) == 20
    assert [row for row in query_warehouse(mixed_batch_app, query) if row[0].startswith("good")] == expected


@pytest.mark.parametrize("row", BAD_FILES)
def test_each_bad_document_has_the_expected_state(mixed_batch_app: App, row: str) -> None:
    _, state, reason_code = BAD_FILES[row]
    ((_, actual_state, actual_code),) = [
        row_values for row_values in query_warehouse(mixed_batch_app, STATE_QUERY) if row_values[0] == f"{row}.pdf"
    ]
    assert (actual_state, actual_code) == (state, reason_code)


def test_b28_a_mismatch_is_a_finding_that_sends_the_candidate_to_review(mixed_batch_app: App) -> None:
    query = (
        "select verdict, severity from core.findings join core.candidates using (invoice_id) "
        "where rule_id = 'XML-PDF-MISMATCH'"
    )
    assert query_warehouse(mixed_batch_app, query) == [("review", "warning")]


def test_flags_are_findings_of_the_document_alone(mixed_batch_app: App) -> None:
    query = "select rule_id, severity, invoice_id from core.findings where invoice_id is null"
    assert set(query_warehouse(mixed_batch_app, query)) == {
        ("PDF-ACTIVE", "info", None), ("PDF-HIDDEN-TEXT", "info", None), ("PDF-SIGNATURE", "info", None),
    }  # fmt: skip


def test_flags_are_in_the_history_of_a_document(mixed_batch_app: App) -> None:
    text = format_history(*list_document_histories(mixed_batch_app, "B-27.pdf"))
    assert "info: PDF-ACTIVE: the PDF holds actions: JavaScript" in text
    assert "now accepted" in text


def test_documents_for_review_are_listed_with_the_quarantined_ones(mixed_batch_app: App) -> None:
    quarantine_rows = query_warehouse(
        mixed_batch_app, "select reason_code, state from core.quarantine where invoice_id is null"
    )
    assert ("hidden_text", "review") in quarantine_rows
    assert ("executable", "quarantined") in quarantine_rows


def test_a_flag_is_recorded_once(ledger: Ledger) -> None:
    flags = [Flag("PDF-LINKS", "one"), Flag("PDF-LINKS", "two"), Flag("PDF-LINKS", "one")]
    for _ in range(2):
        with ledger.begin_transaction() as tx:
            record_flags(tx, "d" * 64, flags)
        with ledger.open_snapshot() as connection:
            rows = list_finding_rows(connection, "d" * 64)
            revision = get_latest_revision(connection)
    assert sorted(row["message"] for row in rows) == ["one", "two"]
    assert {(row["severity"], row["invoice_id"]) for row in rows} == {("info", None)}
    assert {row["revision"] for row in rows} == {revision} == {1}
