"""Files as readings: PDFs with and without an e-invoice, pictures, and files that are not processed."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pikepdf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen import canvas

from invoices.documents.format_dispatch import read_document_file
from invoices.documents.outcomes import REASON_CODES

UBL_TEMPLATE = """<Invoice xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"
  xmlns:b="urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2"
  xmlns:a="urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2"><b:ID>{number}</b:ID>
  <a:LegalMonetaryTotal><b:PayableAmount currencyID="EUR">{payable}</b:PayableAmount></a:LegalMonetaryTotal>
  </Invoice>"""
PROSE = "The committee met on Monday and discussed the colour of the fence at considerable length."


def build_ubl(number: str = "A1", payable: str = "10.00") -> bytes:
    return UBL_TEMPLATE.format(number=number, payable=payable).encode()


def build_pdf(*lines: str, page_count: int = 1) -> bytes:
    """Return a PDF whose pages show these lines."""
    buffer = io.BytesIO()
    pdf_canvas = canvas.Canvas(buffer, pagesize=A4)
    for _ in range(page_count):
        for row, line in enumerate(lines):
            pdf_canvas.drawString(60, 780 - 16 * row, line)
        pdf_canvas.showPage()
    pdf_canvas.save()
    return buffer.getvalue()


def attach_files(content: bytes, **files: bytes) -> bytes:
    """Return the PDF with attachments; ``__`` in a name stands for a dot."""
    with pikepdf.open(io.BytesIO(content)) as pdf:
        for name, data in files.items():
            pdf.attachments[name.replace("__", ".")] = data
        return save_pdf(pdf)


def save_pdf(pdf: pikepdf.Pdf, **options: object) -> bytes:
    buffer = io.BytesIO()
    pdf.save(buffer, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def build_blank_pdf(page_count: int = 1) -> bytes:
    with pikepdf.new() as pdf:
        for _ in range(page_count):
            pdf.add_blank_page()
        return save_pdf(pdf)


def build_pdf_with_repeated_page(page_count: int) -> bytes:
    """Return a PDF whose page tree lists the same page ``page_count`` times."""
    return (b"%%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Count %d/Kids[%s]>>endobj\n"
            b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\ntrailer<</Root 1 0 R>>\n%%%%EOF"
            % (page_count, b"3 0 R " * page_count))  # fmt: skip


def build_image(width: int, height: int, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (width, height), 255).save(buffer, form)
    return buffer.getvalue()


def read_content(folder: Path, content: bytes) -> tuple[str, str | None]:
    path = folder / "document"
    path.write_bytes(content)
    reading = read_document_file(path)
    assert (reading.payload is not None) == (reading.outcome == "einvoice")
    return reading.outcome, reading.reason_code


def test_an_invoice_attached_to_a_pdf_is_its_payload(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(attach_files(build_pdf("Invoice"), factur_x__xml=build_ubl("A7")))
    reading = read_document_file(tmp_path / "a.pdf")
    assert (reading.outcome, reading.media_type, reading.page_count) == ("einvoice", "application/pdf", 1)
    assert reading.payload is not None
    assert (reading.payload["source"], reading.payload["attachment_name"]) == ("pdf_attachment", "factur_x.xml")
    assert reading.payload["invoices"][0]["invoice_number"] == "A7"


def test_two_invoices_that_agree_are_one_and_two_that_differ_go_to_review(tmp_path: Path) -> None:
    same = attach_files(build_pdf("x"), a__xml=build_ubl(payable="10.00"), b__xml=build_ubl(payable="10.0"))
    assert read_content(tmp_path, same) == ("einvoice", None)
    other = attach_files(build_pdf("x"), a__xml=build_ubl(payable="10.00"), b__xml=build_ubl(payable="100.00"))
    assert read_content(tmp_path, other) == ("review", "conflicting_einvoices")


def test_an_attached_order_makes_the_pdf_an_order(tmp_path: Path) -> None:
    assert read_content(tmp_path, attach_files(build_pdf("x"), order__xml=b"<Order/>")) == ("not_invoice", "order")


def test_a_pdf_with_an_unsupported_attached_format_goes_to_a_model(tmp_path: Path) -> None:
    finvoice = b"<Finvoice/>"
    outcome_and_reason = read_content(tmp_path, attach_files(build_pdf("Factura 1"), a__xml=finvoice))
    assert outcome_and_reason == ("needs_extraction", "unsupported_einvoice")


def test_a_pdf_with_a_damaged_attached_invoice_goes_to_a_model(tmp_path: Path) -> None:
    content = attach_files(build_pdf("Invoice 1, total 5.00"), **{"factur-x__xml": b"<?xml version='1.0'?><Invoice"})
    assert read_content(tmp_path, content) == ("needs_extraction", "damaged_einvoice")


def test_other_attachments_are_ignored(tmp_path: Path) -> None:
    content = attach_files(
        build_pdf("Invoice"), a__xml=build_ubl(), data__xml=b"<more/>", photo__png=build_image(300, 300)
    )
    assert read_content(tmp_path, content) == ("einvoice", None)


@pytest.mark.parametrize(
    "lines",
    [
        ("INVOICE", "Total 12.00"),
        ("Purchase order 7", "Invoice to: Main Street 1"),
        ("Purchase order", "Invoice 5"), ("Purchase order: PO-7", "VAT 19%", "Total 12.00"),
        ("Rechnung Nr. 5",), ("Fattura n. 5",), ("Factuur",), ("FAKTURA VAT",), ("Quittung",),
        ("Thank you for your visit on this lovely Monday in our little shop", "Coffee 3.50"),
        ("Too short to tell",),
    ],
)  # fmt: skip
def test_a_text_that_may_be_an_invoice_goes_to_a_model(tmp_path: Path, lines: tuple[str, ...]) -> None:
    assert read_content(tmp_path, build_pdf(*lines)) == ("needs_extraction", None)


@pytest.mark.parametrize(
    ("lines", "reason_code"),
    [
        (("Lieferschein 4711", PROSE), "delivery"),
        (("Purchase Order PO-9", PROSE), "order"),
        (("Angebot 12", PROSE), "quotation"),
        (("Expense Report", "Total 2100.00"), "expense_report"),
        (("Validierungsbericht elektronische Rechnung", PROSE), "validation_report"),
        (("Shop Ltd", "PURCHASE ORDER", "Number PO-1", "Bill to: Buyer", "VAT 19%", "Total 12.00"), "order"),
        (("Prices rise in July, dear customers; this letter asks for no payment at all.",), "no_invoice_text"),
        ((PROSE, PROSE), "no_invoice_text"),
    ],
)
def test_a_text_that_is_certainly_no_invoice_is_recognised(
    tmp_path: Path, lines: tuple[str, ...], reason_code: str
) -> None:
    assert read_content(tmp_path, build_pdf(*lines)) == ("not_invoice", reason_code)


def test_a_text_with_unread_pages_goes_to_a_model(tmp_path: Path) -> None:
    assert read_content(tmp_path, build_pdf(PROSE, page_count=4)) == ("needs_extraction", None)


def test_a_blank_page_is_blank_and_one_that_does_not_decode_is_damaged(tmp_path: Path) -> None:
    assert read_content(tmp_path, build_blank_pdf()) == ("review", "blank_page")
    with pikepdf.open(io.BytesIO(build_blank_pdf())) as pdf:
        pdf.pages[0].Contents = pikepdf.Stream(pdf, b"this is not deflated", Filter=pikepdf.Name("/FlateDecode"))
        broken = save_pdf(pdf, compress_streams=False)
    assert read_content(tmp_path, broken) == ("unreadable", "damaged_pdf")


def test_only_a_user_password_prevents_reading(tmp_path: Path) -> None:
    with pikepdf.open(io.BytesIO(build_pdf("Invoice, total 3.00"))) as pdf:
        locked = save_pdf(pdf, encryption=pikepdf.Encryption(owner="o", user="u"))
        open_to_read = save_pdf(pdf, encryption=pikepdf.Encryption(owner="o", user=""))
    assert read_content(tmp_path, locked) == ("review", "encrypted")
    assert read_content(tmp_path, open_to_read) == ("needs_extraction", None)


@pytest.mark.parametrize(
    ("content", "reason_code"),
    [
        (b"", "empty_file"),
        (b"%PDF-1.7\n1 0 obj\n<<", "truncated"),
        (b"%PDF-1.7\nnothing\n%%EOF\n", "damaged_pdf"),
        (build_blank_pdf(page_count=201), "too_many_pages"),
        (build_pdf_with_repeated_page(50_000), "too_many_pages"),
        (b"\x7fELF....", "executable"),
        (b"PK\x03\x04....", "unsupported_type"),
        (b"<html><body>your invoice</body></html>", "unsupported_type"),
        (b"just words", "unsupported_type"),
        (b"GIF89a......", "unsupported_type"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "active_content"),
        (b"From: a@example.com\r\nTo: b@example.com\r\n\r\nhello", "mail_unsupported"),
        (b"\x78\x9f\x3e\x22......", "mail_unsupported"),
        (b"-----BEGIN PKCS7-----\n", "unsupported_einvoice"),
        (build_image(800, 800)[:60], "truncated"),
        (build_image(800, 800)[:20], "damaged_image"),
        (b"<a>", "malformed_xml"),
    ],
)
def test_unreadable_files_are_not_processed_and_get_a_reason_code(
    tmp_path: Path, content: bytes, reason_code: str
) -> None:
    assert read_content(tmp_path, content) == (REASON_CODES[reason_code][0], reason_code)
    assert REASON_CODES[reason_code][0] in {"review", "unreadable"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (build_image(900, 1200), ("needs_extraction", None)),
        (build_image(900, 1200, "JPEG"), ("needs_extraction", None)),
        (build_image(64, 64), ("not_invoice", "logo")),
        (build_image(1600, 90), ("not_invoice", "logo")),
        (build_image(7100, 7100), ("review", "too_large")),
    ],
)
def test_pictures_are_classified_by_their_size(
    tmp_path: Path, content: bytes, expected: tuple[str, str | None]
) -> None:
    assert read_content(tmp_path, content) == expected


def test_a_large_file_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "large.pdf"
    path.write_bytes(build_pdf("Invoice"))
    assert read_document_file(path, max_bytes=100).reason_code == "too_large"


def test_reading_does_not_wait_for_something_that_is_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert [read_document_file(tmp_path / name).reason_code for name in ("pipe", ".", "missing")] == ["not_a_file"] * 3


FILE_FRAGMENTS = st.sampled_from([
    b"%PDF-1.4\n", b"<?xml version='1.0'?>", b"<a>", b"</a>", b"1 0 obj<<", b">>endobj", b"trailer<</Root 1 0 R>>",
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"%%EOF", b"From: a\nTo: b\n",
])  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.lists(st.one_of(st.binary(max_size=60), FILE_FRAGMENTS), max_size=8).map(b"".join))
def test_any_bytes_end_in_a_reading(tmp_path: Path, content: bytes) -> None:
    outcome, reason_code = read_content(tmp_path, content)
    assert reason_code is None or outcome in {REASON_CODES[reason_code][0], "needs_extraction"}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_invoice_pdf_ends_in_a_reading_and_never_as_not_invoice(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(SAMPLE_PDF)
    for _ in range(data.draw(st.integers(1, 8))):
        start = data.draw(st.integers(0, len(content) - 1))
        content[start : start + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=12))
    outcome, _ = read_content(tmp_path, bytes(content))
    assert outcome != "not_invoice"


SAMPLE_PDF = attach_files(build_pdf("INVOICE 77", "Total 10.00 EUR"), a__xml=build_ubl())
