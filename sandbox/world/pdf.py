"""PDF files with the same bytes on every run: text pages, pictures of pages, attached XML, a locked one.

Streams are stored uncompressed, ids come from the content and dates are fixed, so that neither the clock nor the
version of a compressor shows.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import pikepdf
from pikepdf import Array, Dictionary, Name, String
from reportlab.pdfgen.canvas import Canvas

from sandbox.world.page import HEIGHT, WIDTH, Page

MADE_AT = "D:20260101000000Z"


def text_pages(pages: Sequence[Page], title: str) -> bytes:
    """Return a PDF with a text layer."""
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=(WIDTH, HEIGHT), invariant=1, pageCompression=0)
    canvas.setTitle(title)
    for page in pages:
        for word in page:
            canvas.setFont("Helvetica", word.size)
            canvas.drawString(word.x, HEIGHT - word.y, word.text)
        canvas.showPage()
    canvas.save()
    with pikepdf.open(out) as pdf:
        return _saved(pdf)


def picture_page(jpeg: bytes, width: int, height: int) -> bytes:
    """Return a PDF whose only page is a grey JPEG, as a scanner sends it: there is no text to read."""
    with pikepdf.new() as pdf:
        pdf.add_blank_page(page_size=(WIDTH, HEIGHT))
        image = pdf.make_stream(jpeg)
        image.Type, image.Subtype, image.Filter = Name.XObject, Name.Image, Name.DCTDecode
        image.Width, image.Height, image.BitsPerComponent, image.ColorSpace = width, height, 8, Name.DeviceGray
        page = pdf.pages[0]
        page.Resources = Dictionary(XObject=Dictionary(Scan=image))
        page.Contents = pdf.make_stream(f"q {WIDTH} 0 0 {HEIGHT} 0 0 cm /Scan Do Q".encode())
        return _saved(pdf)


def with_attachment(content: bytes, name: str, xml: bytes, *, relationship: str = "Alternative") -> bytes:
    """Return the PDF with an XML attached as Factur-X and ZUGFeRD do: in EmbeddedFiles, and as associated file."""
    with pikepdf.open(io.BytesIO(content)) as pdf:
        embedded = pdf.make_stream(xml)
        embedded.Type, embedded.Subtype = Name.EmbeddedFile, Name("/text/xml")
        embedded.Params = Dictionary(Size=len(xml), ModDate=String(MADE_AT))
        specification = pdf.make_indirect(
            Dictionary(
                Type=Name.Filespec,
                F=String(name),
                UF=String(name),
                Desc=String("Invoice data"),
                AFRelationship=Name(f"/{relationship}"),
                EF=Dictionary(F=embedded, UF=embedded),
            )
        )
        pdf.Root.Names = Dictionary(EmbeddedFiles=Dictionary(Names=Array([String(name), specification])))
        pdf.Root.AF = Array([specification])
        return _saved(pdf)


def locked(content: bytes, password: str) -> bytes:
    """Return the PDF behind a user password (RC4, the one PDF encryption that draws no random numbers)."""
    with pikepdf.open(io.BytesIO(content)) as pdf:
        _date(pdf)
        out = io.BytesIO()
        key = pikepdf.Encryption(user=password, owner=f"{password}-owner", R=3, aes=False, metadata=False)
        pdf.save(out, static_id=True, encryption=key, compress_streams=False)
        return out.getvalue()


def _date(pdf: pikepdf.Pdf) -> None:
    for key, value in (("/CreationDate", MADE_AT), ("/ModDate", MADE_AT), ("/Producer", "sample world")):
        pdf.docinfo[Name(key)] = String(value)


def _saved(pdf: pikepdf.Pdf) -> bytes:
    _date(pdf)
    out = io.BytesIO()
    pdf.save(
        out,
        deterministic_id=True,
        compress_streams=False,
        stream_decode_level=pikepdf.StreamDecodeLevel.none,
        object_stream_mode=pikepdf.ObjectStreamMode.disable,
    )
    return out.getvalue()
