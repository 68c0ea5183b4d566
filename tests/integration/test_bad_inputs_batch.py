"""Bad input in a batch of good ones: collected, read, judged and loaded together, and the good ones do not notice."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pikepdf
import pytest
from bad_pdfs import CHANGED_DIGEST, LINES, bomb, hybrid, page, signed, tree, with_action, with_files, with_hidden, xml
from bad_pdfs import changed as altered

from flows.explaining import as_text, stories
from flows.stages import collect, judge, load, read
from invoices.documents.harm import MALWARE_TEST
from invoices.documents.unwrapping.parts import Flag
from invoices.house import House
from invoices.ledger import Ledger
from invoices.ledger.changes import latest_revision
from invoices.ledger.flags import record_flags
from invoices.ledger.judgements import finding_rows
from invoices.report import Report
from invoices.settings import Inbox, Settings
from sandbox import samples_directory
from sandbox.samples import manifest
from transforms.loading.release import published_path

SOUND = [
    (samples_directory() / row["path"]).read_bytes()
    for row in sorted(manifest(), key=lambda row: row["kind"].startswith("pdf"))
    if row["expected_state"] == "accepted" and row["kind"].startswith(("ubl", "cii", "pdf+cii"))
]
GOOD = {f"good{number}.xml": content for number, content in enumerate(SOUND[:20])}


def with_other_page(content: bytes) -> bytes:
    """The e-invoice of a PDF, on a page that is about less money."""
    with pikepdf.open(io.BytesIO(content)) as pdf:
        einvoice = pdf.attachments["factur-x.xml"].get_file().read_bytes()
    return with_files(page("INVOICE", "Net 0,84", "Tax 0,16", "Total 1,00"), {"factur-x.xml": einvoice})


BAD = {
    "B-22": (b"", "review", "empty_file"),
    "B-22 half": (hybrid()[: len(hybrid()) // 2], "review", "truncated"),
    "B-24": (bomb(300, attached=True), "quarantined", "reader_memory"),
    "B-25": (tree(2, b"2 0 R 3 0 R"), "quarantined", "damaged_pdf"),
    "B-27": (altered(SOUND[-1], with_action("JavaScript")), "accepted", "accepted"),
    "B-28": (with_other_page(SOUND[-2]), "review", "XML-PDF-MISMATCH"),
    "B-29": (with_files(page(*LINES), {"a.xml": xml("1"), "b.xml": xml("2")}), "review", "conflicting_einvoices"),
    "B-31": (page(*LINES, draw=with_hidden("invisible", "Total 9.999,00")), "review", "hidden_text"),
    "B-32": (signed(page(*LINES), digest=CHANGED_DIGEST), "review", "broken_signature"),
    "B-38": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "quarantined", "active_content"),
    "B-43": (b"MZ\x90\x00" + bytes(200), "quarantined", "executable"),
    "B-44": (MALWARE_TEST, "quarantined", "malware_test"),
    "B-46": (b"<!DOCTYPE x SYSTEM 'http://127.0.0.1:9/'><x/>", "review", "hostile_xml"),
    "B-48": (b"<a>" * 200_000, "review", "hostile_xml"),
}
STATED = "select file_name, state, d.reason_code from core.documents d join raw.sightings using (document_sha256)"


def run(house: House) -> None:
    report = Report()
    for stage in (collect, read, judge, load):
        for batch in stage.pending(house, report):  # type: ignore[attr-defined]
            stage.work(house, batch, report)  # type: ignore[attr-defined]


def opened(home: Path, files: dict[str, bytes]) -> House:
    settings = Settings(home=home, inbox=Inbox(settle_seconds=0))
    settings.inbox_directory.mkdir(parents=True)
    for name, content in files.items():
        (settings.inbox_directory / name).write_bytes(content)
    return House(settings, vendors=lambda _closing: settings)


def said(house: House, question: str) -> list[Any]:
    with duckdb.connect(str(published_path(house.settings.warehouse_directory)), read_only=True) as connection:
        return sorted(connection.sql(question).fetchall())


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house that took good and bad files in one run."""
    bad = {f"{row}.pdf": content for row, (content, _, _) in BAD.items()}
    with opened(tmp_path_factory.mktemp("together"), GOOD | bad) as house:
        run(house)
        yield house


def test_twenty_good_documents_do_not_notice_the_bad_ones(together: House, tmp_path: Path) -> None:
    question = (
        "select file_name, c.* exclude (received_at, judged_at) "
        "from core.invoices c join raw.sightings using (document_sha256)"
    )
    with opened(tmp_path / "alone", GOOD) as alone:
        run(alone)
        expected = said(alone, question)
    assert len(expected) == 20
    assert [row for row in said(together, question) if row[0].startswith("good")] == expected


@pytest.mark.parametrize("row", BAD)
def test_each_bad_document_stands_where_it_has_to(together: House, row: str) -> None:
    _, state, reason_code = BAD[row]
    ((_, found, why),) = [one for one in said(together, STATED) if one[0] == f"{row}.pdf"]
    assert (found, why) == (state, reason_code)


def test_b28_a_mismatch_is_a_finding_of_the_candidate_that_keeps_it_from_being_accepted(together: House) -> None:
    question = (
        "select verdict, severity from core.findings join core.candidates using (invoice_id) "
        "where rule_id = 'XML-PDF-MISMATCH'"
    )
    assert said(together, question) == [("review", "warning")]


def test_flags_are_findings_of_the_document_alone(together: House) -> None:
    question = "select rule_id, severity, invoice_id from core.findings where invoice_id is null"
    assert set(said(together, question)) == {
        ("PDF-ACTIVE", "info", None), ("PDF-HIDDEN-TEXT", "info", None), ("PDF-SIGNATURE", "info", None),
    }  # fmt: skip


def test_flags_are_in_the_story_of_a_document(together: House) -> None:
    told = as_text(*stories(together, "B-27.pdf"))
    assert "info: PDF-ACTIVE: the PDF holds actions: JavaScript" in told
    assert "now accepted" in told


def test_what_is_for_a_person_is_shown_with_what_is_quarantined(together: House) -> None:
    waiting = said(together, "select reason_code, state from core.quarantine where invoice_id is null")
    assert ("hidden_text", "review") in waiting
    assert ("executable", "quarantined") in waiting


def test_a_flag_is_written_once_and_judging_leaves_it(ledger: Ledger) -> None:
    flags = [Flag("PDF-LINKS", "one"), Flag("PDF-LINKS", "two"), Flag("PDF-LINKS", "one")]
    for _ in range(2):
        with ledger.transaction() as tx:
            record_flags(tx, "d" * 64, flags)
        with ledger.reading() as connection:
            rows = finding_rows(connection, "d" * 64)
            revision = latest_revision(connection)
    assert sorted(row["message"] for row in rows) == ["one", "two"]
    assert {(row["severity"], row["invoice_id"]) for row in rows} == {("info", None)}
    assert {row["revision"] for row in rows} == {revision} == {1}
