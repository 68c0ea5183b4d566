"""Builders of hostile and unusual PDFs."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Callable
from functools import cache

import pikepdf
from pikepdf import Array, Dictionary, Name, String
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen import canvas

UBL_TEMPLATE = """<Invoice xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"
  xmlns:b="urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2"
  xmlns:a="urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2"><b:ID>{number}</b:ID>
  <a:PaymentMeans><b:PaymentMeansCode>58</b:PaymentMeansCode><a:PayeeFinancialAccount><b:ID>{iban}</b:ID>
  </a:PayeeFinancialAccount></a:PaymentMeans><a:LegalMonetaryTotal>
  <b:PayableAmount currencyID="EUR">{payable}</b:PayableAmount></a:LegalMonetaryTotal></Invoice>"""
INVOICE_LINES = ("INVOICE R-7", "Net 1.000,00", "Tax 250,00", "Total 1.250,00 EUR", "IBAN DE02 1203 0000 0000 2020 51")
WRONG_DIGEST = "00" * 32


def build_ubl(number: str = "R-7", payable: str = "1250.00", iban: str = "DE02120300000000202051") -> bytes:
    return UBL_TEMPLATE.format(number=number, payable=payable, iban=iban).encode()


def build_pdf(*lines: str, draw: Callable[[canvas.Canvas], None] = lambda _: None, page_count: int = 1) -> bytes:
    """Return a PDF whose pages show these lines and what ``draw`` adds."""
    buffer = io.BytesIO()
    pdf_canvas = canvas.Canvas(buffer, pagesize=A4)
    for _ in range(page_count):
        for row, line in enumerate(lines):
            pdf_canvas.drawString(60, 780 - 16 * row, line)
        draw(pdf_canvas)
        pdf_canvas.showPage()
    pdf_canvas.save()
    return buffer.getvalue()


def transform_pdf(content: bytes, change: Callable[[pikepdf.Pdf], None], **options: object) -> bytes:
    with pikepdf.open(io.BytesIO(content)) as pdf:
        change(pdf)
        buffer = io.BytesIO()
        pdf.save(buffer, **options)  # type: ignore[arg-type]
        return buffer.getvalue()


def attach_files(content: bytes, files: dict[str, bytes]) -> bytes:
    def add_attachments(pdf: pikepdf.Pdf) -> None:
        for name, data in files.items():
            pdf.attachments[name] = data

    return transform_pdf(content, add_attachments)


def build_hybrid_pdf(*lines: str, **ubl_values: str) -> bytes:
    return attach_files(build_pdf(*(lines or INVOICE_LINES)), {"factur-x.xml": build_ubl(**ubl_values)})


@cache
def compress_zeros(megabytes: int, rounds: int = 2) -> bytes:
    """Return zeros deflated ``rounds`` times; two rounds give a few hundred bytes per gigabyte."""
    compressor = zlib.compressobj(9)
    block = bytes(1 << 20)
    compressed = b"".join(compressor.compress(block) for _ in range(megabytes)) + compressor.flush()
    for _ in range(rounds - 1):
        compressed = zlib.compress(compressed, 9)
    return compressed


def build_pdf_bomb(megabytes: int, *, attached: bool) -> bytes:
    """Return a PDF with a stream that decompresses to ``megabytes``: an attachment, or the content of its page."""

    def insert_bomb(pdf: pikepdf.Pdf) -> None:
        filters = Array([Name.FlateDecode, Name.FlateDecode])
        stream = pikepdf.Stream(pdf, compress_zeros(megabytes), Filter=filters)
        if not attached:
            pdf.pages[0].Contents = stream
            return
        file = Dictionary(Type=Name.Filespec, F="factur-x.xml", EF=Dictionary(F=stream))
        pdf.Root.AF = pdf.make_indirect(Array([pdf.make_indirect(file)]))

    return transform_pdf(
        build_pdf("x"), insert_bomb, compress_streams=False, stream_decode_level=pikepdf.StreamDecodeLevel.none
    )


def build_page_tree(count: int, kids: bytes, extra_objects: bytes = b"") -> bytes:
    """Return a PDF with the given page tree; object 3 is a page."""
    return (
        b"%%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Count %d/Kids[%s]>>endobj\n"
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\n%strailer<</Root 1 0 R>>\n%%%%EOF"
        % (count, kids, extra_objects)
    )


def build_action_inserter(kind: str) -> Callable[[pikepdf.Pdf], None]:
    """Return a change that adds an action to a PDF, on opening or on a click."""

    def insert_action(pdf: pikepdf.Pdf) -> None:
        if kind == "URI":
            action = Dictionary(S=Name.URI, URI=String("http://127.0.0.1:9/"))
            link = Dictionary(Type=Name.Annot, Subtype=Name.Link, Rect=Array([0, 0, 9, 9]), A=action)
            pdf.pages[0].Annots = Array([pdf.make_indirect(link)])
        elif kind == "Launch":
            pdf.Root.OpenAction = Dictionary(S=Name.Launch, F=String("calc.exe"))
        else:
            pdf.Root.OpenAction = Dictionary(S=Name.JavaScript, JS=String("app.alert(1)"))

    return insert_action


def build_hidden_text_drawer(kind: str, text: str) -> Callable[[canvas.Canvas], None]:
    """Return a function that draws a hidden text."""

    def write_hidden_text(pdf_canvas: canvas.Canvas) -> None:
        if kind == "white on white":
            pdf_canvas.setFillColorRGB(1, 1, 1)
        text_object = pdf_canvas.beginText(60, -400 if kind == "off the page" else 300)
        text_object.setFont("Helvetica", 1 if kind == "too small to be read" else 12)
        text_object.setTextRenderMode(3 if kind == "invisible" else 0)
        text_object.textLine(text)
        pdf_canvas.drawText(text_object)

    return write_hidden_text


def hide_layer(pdf: pikepdf.Pdf) -> None:
    layer = pdf.make_indirect(Dictionary(Type=Name.OCG, Name=String("other")))
    pdf.Root.OCProperties = Dictionary(OCGs=Array([layer]), D=Dictionary(OFF=Array([layer])))


def sign_pdf(content: bytes, *, digest: str | None = None) -> bytes:
    """Return the PDF with a signature field; its digest is the file's own unless ``digest`` is given."""

    def insert_signature(pdf: pikepdf.Pdf) -> None:
        byte_range = Array([0, 1_111_111_111, 1_222_222_222, 1_333_333_333])
        value = Dictionary(Type=Name.Sig, Filter=Name("/Adobe.PPKLite"), SubFilter=Name("/adbe.pkcs7.detached"),
                           ByteRange=byte_range, Contents=String(bytes(128)))  # fmt: skip
        field = pdf.make_indirect(Dictionary(FT=Name.Sig, T=String("s"), V=pdf.make_indirect(value)))
        pdf.Root.AcroForm = Dictionary(Fields=Array([field]), SigFlags=3)

    pdf_bytes = transform_pdf(content, insert_signature)
    start = pdf_bytes.index(b"<" + b"00" * 128 + b">")
    end = start + 2 + 256
    for number, placeholder in ((start, b"1111111111"), (end, b"1222222222"), (len(pdf_bytes) - end, b"1333333333")):
        pdf_bytes = pdf_bytes.replace(placeholder, b"%10d" % number, 1)
    actual_digest = hashlib.sha256(pdf_bytes[:start] + pdf_bytes[end:]).hexdigest()
    attribute = "06092a864886f70d010904" + "3122" + "0420" + (digest or actual_digest)
    return pdf_bytes[: start + 1] + attribute.ljust(256, "0").encode() + pdf_bytes[end - 1 :]


def build_encoding_inserter(name: str) -> Callable[[pikepdf.Pdf], None]:
    """Return a change that adds a font with this encoding."""

    def insert_font(pdf: pikepdf.Pdf) -> None:
        font = Dictionary(Type=Name.Font, Subtype=Name.Type0, BaseFont=Name.F, Encoding=Name("/" + name))
        pdf.pages[0].obj.Resources = Dictionary(Font=Dictionary(F1=font))

    return insert_font
