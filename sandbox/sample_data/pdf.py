"""PDF files with the same bytes on every run: text pages, images of pages, attached XML, encryption.

Streams are uncompressed, ids come from the content and dates are fixed, so that the bytes depend neither on the clock
nor on the version of a compressor.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import pikepdf
from pikepdf import Array, Dictionary, Name, String
from reportlab.pdfgen.canvas import Canvas

from sandbox.sample_data.page_layout import HEIGHT, WIDTH, Page

FIXED_TIMESTAMP = "D:20260101000000Z"


def build_text_pdf(pages: Sequence[Page], title: str) -> bytes:
    """Return a PDF with a text layer."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=(WIDTH, HEIGHT), invariant=1, pageCompression=0)
    canvas.setTitle(title)
    for page in pages:
        for text_run in page:
            canvas.setFont("Helvetica", text_run.font_size)
            canvas.drawString(text_run.x, HEIGHT - text_run.y, text_run.text)
        canvas.showPage()
    canvas.save()
    with pikepdf.open(buffer) as pdf:
        return _serialise_pdf(pdf)


def build_image_pdf(jpeg: bytes, width: int, height: int) -> bytes:
    """Return a PDF whose only page is a grey JPEG without a text layer, as a scanner makes it."""
    with pikepdf.new() as pdf:
        pdf.add_blank_page(page_size=(WIDTH, HEIGHT))
        image = pdf.make_stream(jpeg)
        image.Type, image.Subtype, image.Filter = Name.XObject, Name.Image, Name.DCTDecode
        image.Width, image.Height, image.BitsPerComponent, image.ColorSpace = width, height, 8, Name.DeviceGray
        page = pdf.pages[0]
        page.Resources = Dictionary(XObject=Dictionary(Scan=image))
        page.Contents = pdf.make_stream(f"q {WIDTH} 0 0 {HEIGHT} 0 0 cm /Scan Do Q".encode())
        return _serialise_pdf(pdf)


def attach_xml(content: bytes, name: str, xml: bytes, *, relationship: str = "Alternative") -> bytes:
    """Return the PDF with an XML file attached like Factur-X and ZUGFeRD: in EmbeddedFiles and as associated file."""
    with pikepdf.open(io.BytesIO(content)) as pdf:
        embedded_file = pdf.make_stream(xml)
        embedded_file.Type, embedded_file.Subtype = Name.EmbeddedFile, Name("/text/xml")
        embedded_file.Params = Dictionary(Size=len(xml), ModDate=String(FIXED_TIMESTAMP))
        file_specification = pdf.make_indirect(
            Dictionary(
                Type=Name.Filespec,
                F=String(name),
                UF=String(name),
                Desc=String("Invoice data"),
                AFRelationship=Name(f"/{relationship}"),
                EF=Dictionary(F=embedded_file, UF=embedded_file),
            )
        )
        pdf.Root.Names = Dictionary(EmbeddedFiles=Dictionary(Names=Array([String(name), file_specification])))
        pdf.Root.AF = Array([file_specification])
        return _serialise_pdf(pdf)


def encrypt_pdf(content: bytes, password: str) -> bytes:
    """Return the PDF with a user password (RC4, the only PDF encryption without random numbers)."""
    with pikepdf.open(io.BytesIO(content)) as pdf:
        _set_fixed_metadata(pdf)
        buffer = io.BytesIO()
        encryption = pikepdf.Encryption(user=password, owner=f"{password}-owner", R=3, aes=False, metadata=False)
        pdf.save(buffer, static_id=True, encryption=encryption, compress_streams=False)
        return buffer.getvalue()


def _set_fixed_metadata(pdf: pikepdf.Pdf) -> None:
    for key, value in (
        ("/CreationDate", FIXED_TIMESTAMP),
        ("/ModDate", FIXED_TIMESTAMP),
        ("/Producer", "sample world"),
    ):
        pdf.docinfo[Name(key)] = String(value)


def _serialise_pdf(pdf: pikepdf.Pdf) -> bytes:
    _set_fixed_metadata(pdf)
    buffer = io.BytesIO()
    pdf.save(
        buffer,
        deterministic_id=True,
        compress_streams=False,
        stream_decode_level=pikepdf.StreamDecodeLevel.none,
        object_stream_mode=pikepdf.ObjectStreamMode.disable,
    )
    return buffer.getvalue()
