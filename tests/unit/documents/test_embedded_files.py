"""Files inside e-invoices of every format are taken out, and what is dangerous about them is said."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence

import pytest

from invoices.documents.containers.unpack_budget import MAX_EINVOICE_DEPTH
from invoices.documents.einvoice import embedded_files
from invoices.documents.malware import EICAR_TEST_STRING
from invoices.documents.outcomes import DocumentReading
from invoices.documents.xml_reader import read_xml_document
from tests.embedded_file_fixtures import (
    EmbeddedFileSpec,
    build_cfdi_invoice,
    build_cii_invoice,
    build_facturae_invoice,
    build_fatturapa_invoice,
    build_ubl_invoice,
)

PDF = b"%PDF-1.4\n" + b"1 0 obj << >> endobj\n" * 20 + b"%%EOF"
PDF_FILE = ("copy.pdf", "application/pdf", PDF)
BOMB = b'<!DOCTYPE a [<!ENTITY b "bbbbbbbb">]><Invoice>&b;</Invoice>'


def build_zip(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def list_parts(reading: DocumentReading) -> list[tuple[str, str, str | None]]:
    parts = reading.embedded_files.parts if reading.embedded_files else []
    return [(part.section, part.media_type, part.file_name) for part in parts]


def read_doubts(reading: DocumentReading) -> dict[str, str]:
    return dict((reading.payload or {}).get("doubts", {}))


@pytest.mark.parametrize(
    "build_invoice",
    [
        lambda files: build_ubl_invoice(*files), build_cii_invoice, build_fatturapa_invoice, build_cfdi_invoice,
        build_facturae_invoice,
    ],
    ids=["ubl", "cii", "fatturapa", "cfdi", "facturae"],
)  # fmt: skip
def test_each_format_gives_its_files_with_their_bytes_and_names(
    build_invoice: Callable[[Sequence[EmbeddedFileSpec]], bytes],
) -> None:
    picture = ("page.png", "image/png", b"\x89PNG\r\n\x1a\n" + bytes(300))
    reading = read_xml_document(build_invoice([PDF_FILE, picture]))
    assert list_parts(reading) == [("1", "application/pdf", "copy.pdf"), ("2", "image/png", "page.png")]
    assert list(reading.embedded_contents) == [PDF, picture[2]]
    assert read_doubts(reading) == {}


def test_an_invoice_without_files_has_none() -> None:
    reading = read_xml_document(build_ubl_invoice())
    assert (reading.embedded_files, reading.flags, "attachments" in (reading.payload or {})) == (None, (), False)


def test_the_names_of_the_files_are_in_the_payload() -> None:
    reading = read_xml_document(build_ubl_invoice(PDF_FILE, ("t.zip", "application/zip", build_zip(a=b"hours"))))
    assert (reading.payload or {})["attachments"] == ["copy.pdf", "t.zip"]
    assert list_parts(reading)[1:] == [("2", "application/zip", "t.zip"), ("2/1", "text/plain", "a")]


@pytest.mark.parametrize(
    ("content", "doubt", "words"),
    [
        (EICAR_TEST_STRING, "embedded_malware", "'bad.pdf': the test file"),
        (b"MZ" + bytes(200), "embedded_malware", "'bad.pdf': a program"),
        (build_zip(inside=EICAR_TEST_STRING), "embedded_malware", "'inside': the test file"),
        (build_ubl_invoice(("deep.txt", "text/plain", EICAR_TEST_STRING)), "embedded_malware", "'deep.txt'"),
        (b"{\\rtf1 \\objdata 00}", "embedded_active_content", "'bad.pdf': a type of file that can hold programs"),
    ],
)
def test_a_dangerous_file_is_a_doubt_that_names_it(content: bytes, doubt: str, words: str) -> None:
    reading = read_xml_document(build_ubl_invoice(PDF_FILE, ("bad.pdf", "application/pdf", content)))
    assert reading.outcome == "einvoice"
    assert words in read_doubts(reading)[doubt]
    assert any(rule_id == "FILE-EMBEDDED" and words in message for rule_id, message in reading.flags)


def test_a_threat_in_a_format_that_is_not_read_is_a_flag() -> None:
    reading = read_xml_document(
        b'<Facturae xmlns="urn:facturae"><Attachment><AttachmentData>'
        + build_ubl_invoice(("x", "", EICAR_TEST_STRING)).split(b'filename="x">')[1].split(b"</")[0]
        + b"</AttachmentData></Attachment></Facturae>"
    )
    assert reading.embedded_contents == [EICAR_TEST_STRING]
    assert [rule_id for rule_id, _ in reading.flags] == ["FILE-EMBEDDED"]


def test_a_file_of_another_type_than_declared_is_flagged_and_kept() -> None:
    reading = read_xml_document(build_ubl_invoice(("hours.csv", "text/csv", PDF)))
    assert reading.embedded_files is not None
    (part,) = reading.embedded_files.parts
    assert part.media_type == "application/pdf"
    assert [flag.rule_id for flag in part.flags][:1] == ["INTAKE-NAME"]


@pytest.mark.parametrize(
    ("text", "words"), [("not base64!", "is not base64"), ("", "is empty"), ("  \n", "is empty")]
)  # fmt: skip
def test_what_cannot_be_taken_out_is_flagged(text: str, words: str) -> None:
    content = build_ubl_invoice(("x.pdf", "application/pdf", b"?")).replace(b"Pw==\n", text.encode())
    reading = read_xml_document(content)
    assert reading.outcome == "einvoice"
    assert not list_parts(reading)
    assert [(rule_id, words in message) for rule_id, message in reading.flags] == [("FILE-EMBEDDED", True)]


def test_an_xml_bomb_inside_is_a_document_and_hurts_nothing() -> None:
    reading = read_xml_document(build_ubl_invoice(("bomb.xml", "application/xml", BOMB)))
    assert (reading.outcome, read_doubts(reading)) == ("einvoice", {})
    assert list(reading.embedded_contents) == [BOMB]


def test_a_zip_bomb_inside_stays_closed_with_a_flag() -> None:
    bomb = build_zip(zeros=bytes(40_000_000))
    reading = read_xml_document(build_ubl_invoice(("bomb.zip", "application/zip", bomb)))
    assert reading.embedded_files is not None
    assert [(part.skip_reason_code, part.flags[0].rule_id) for part in reading.embedded_files.parts] == [
        (None, "INTAKE-CONTAINER")
    ]
    assert list(reading.embedded_contents) == [bomb]


def test_the_number_of_files_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [(f"{number}.pdf", "application/pdf", PDF) for number in range(embedded_files.MAX_EMBEDDED_FILES + 5)]
    reading = read_xml_document(build_ubl_invoice(*files))
    assert len(list_parts(reading)) == embedded_files.MAX_EMBEDDED_FILES
    assert "more than 100" in reading.flags[0][1]


def test_the_size_of_all_files_together_is_limited() -> None:
    half = b"%PDF-" + bytes(embedded_files.MAX_EMBEDDED_BYTES // 2)
    content = build_ubl_invoice(("a.pdf", "application/pdf", b"1"), ("b.pdf", "application/pdf", b"2"))
    root = embedded_files.parse_untrusted_xml(content)
    for element in root.iter("{*}EmbeddedDocumentBinaryObject"):
        element.text = (half + bytes(10) if element.get("filename") == "a.pdf" else half).hex()  # any base64 letters
    files = embedded_files.extract_embedded_files(root)
    assert len(files.parts) < 2
    assert "is too large" in files.problems[-1]


def test_invoices_within_each_other_are_searched_to_a_limited_depth() -> None:
    content = build_ubl_invoice(("deep.txt", "text/plain", EICAR_TEST_STRING))
    for _ in range(MAX_EINVOICE_DEPTH):
        content = build_ubl_invoice(("inner.xml", "application/xml", content))
    assert "embedded_malware" in read_doubts(read_xml_document(content))
    content = build_ubl_invoice(("inner.xml", "application/xml", content))
    assert read_doubts(read_xml_document(content)) == {}


def test_a_code_or_hash_of_zatca_is_no_file() -> None:
    hash_text = b"NWZlY2ViNjZmZmM4NmYzOGQ5NTI3ODZjNmQ2OTZjNzk="
    content = build_ubl_invoice(("PIH", "text/plain", hash_text)).replace(b' filename="PIH"', b"")
    assert list_parts(read_xml_document(content)) == []
