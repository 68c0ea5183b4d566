"""Hostile and odd PDFs, made here: small bytes, large trouble."""

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

UBL = """<Invoice xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"
  xmlns:b="urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2"
  xmlns:a="urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2"><b:ID>{number}</b:ID>
  <a:PaymentMeans><b:PaymentMeansCode>58</b:PaymentMeansCode><a:PayeeFinancialAccount><b:ID>{iban}</b:ID>
  </a:PayeeFinancialAccount></a:PaymentMeans><a:LegalMonetaryTotal>
  <b:PayableAmount currencyID="EUR">{payable}</b:PayableAmount></a:LegalMonetaryTotal></Invoice>"""
LINES = ("INVOICE R-7", "Net 1.000,00", "Tax 250,00", "Total 1.250,00 EUR", "IBAN DE02 1203 0000 0000 2020 51")
CHANGED_DIGEST = "00" * 32


def xml(number: str = "R-7", payable: str = "1250.00", iban: str = "DE02120300000000202051") -> bytes:
    return UBL.format(number=number, payable=payable, iban=iban).encode()


def page(*lines: str, draw: Callable[[canvas.Canvas], None] = lambda _: None, times: int = 1) -> bytes:
    """A PDF whose pages show these lines, and what else is drawn."""
    out = io.BytesIO()
    drawn = canvas.Canvas(out, pagesize=A4)
    for _ in range(times):
        for row, line in enumerate(lines):
            drawn.drawString(60, 780 - 16 * row, line)
        draw(drawn)
        drawn.showPage()
    drawn.save()
    return out.getvalue()


def changed(content: bytes, change: Callable[[pikepdf.Pdf], None], **options: object) -> bytes:
    with pikepdf.open(io.BytesIO(content)) as pdf:
        change(pdf)
        out = io.BytesIO()
        pdf.save(out, **options)  # type: ignore[arg-type]
        return out.getvalue()


def with_files(content: bytes, files: dict[str, bytes]) -> bytes:
    def attach(pdf: pikepdf.Pdf) -> None:
        for name, data in files.items():
            pdf.attachments[name] = data

    return changed(content, attach)


def hybrid(*lines: str, **stated: str) -> bytes:
    return with_files(page(*(lines or LINES)), {"factur-x.xml": xml(**stated)})


@cache
def hollow(megabytes: int, times: int = 2) -> bytes:
    """Zeros deflated as often: with twice, a few hundred bytes for each gigabyte."""
    packer = zlib.compressobj(9)
    block = bytes(1 << 20)
    packed = b"".join(packer.compress(block) for _ in range(megabytes)) + packer.flush()
    for _ in range(times - 1):
        packed = zlib.compress(packed, 9)
    return packed


def bomb(megabytes: int, *, attached: bool) -> bytes:
    """A PDF with a stream that unfolds to that much: its attachment, or what is drawn on its page."""

    def plant(pdf: pikepdf.Pdf) -> None:
        twice = Array([Name.FlateDecode, Name.FlateDecode])
        stream = pikepdf.Stream(pdf, hollow(megabytes), Filter=twice)
        if not attached:
            pdf.pages[0].Contents = stream
            return
        file = Dictionary(Type=Name.Filespec, F="factur-x.xml", EF=Dictionary(F=stream))
        pdf.Root.AF = pdf.make_indirect(Array([pdf.make_indirect(file)]))

    return changed(page("x"), plant, compress_streams=False, stream_decode_level=pikepdf.StreamDecodeLevel.none)


def tree(count: int, kids: bytes, more: bytes = b"") -> bytes:
    """A PDF with a page tree of one's own making; object 3 is a page."""
    return (
        b"%%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Count %d/Kids[%s]>>endobj\n"
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\n%strailer<</Root 1 0 R>>\n%%%%EOF"
        % (count, kids, more)
    )


def with_action(kind: str) -> Callable[[pikepdf.Pdf], None]:
    """A change that makes a PDF do something: when it is opened, or where one clicks."""

    def plant(pdf: pikepdf.Pdf) -> None:
        if kind == "URI":
            action = Dictionary(S=Name.URI, URI=String("http://127.0.0.1:9/"))
            link = Dictionary(Type=Name.Annot, Subtype=Name.Link, Rect=Array([0, 0, 9, 9]), A=action)
            pdf.pages[0].Annots = Array([pdf.make_indirect(link)])
        elif kind == "Launch":
            pdf.Root.OpenAction = Dictionary(S=Name.Launch, F=String("calc.exe"))
        else:
            pdf.Root.OpenAction = Dictionary(S=Name.JavaScript, JS=String("app.alert(1)"))

    return plant


def with_hidden(kind: str, text: str) -> Callable[[canvas.Canvas], None]:
    """What draws a text that nobody sees."""

    def draw(drawn: canvas.Canvas) -> None:
        if kind == "white on white":
            drawn.setFillColorRGB(1, 1, 1)
        words = drawn.beginText(60, -400 if kind == "off the page" else 300)
        words.setFont("Helvetica", 1 if kind == "too small to be read" else 12)
        words.setTextRenderMode(3 if kind == "invisible" else 0)
        words.textLine(text)
        drawn.drawText(words)

    return draw


def switch_layer_off(pdf: pikepdf.Pdf) -> None:
    layer = pdf.make_indirect(Dictionary(Type=Name.OCG, Name=String("other")))
    pdf.Root.OCProperties = Dictionary(OCGs=Array([layer]), D=Dictionary(OFF=Array([layer])))


def signed(content: bytes, *, digest: str | None = None) -> bytes:
    """The PDF with a signature field; the digest in it is the file's own, unless another one is given."""

    def plant(pdf: pikepdf.Pdf) -> None:
        places = Array([0, 1_111_111_111, 1_222_222_222, 1_333_333_333])
        value = Dictionary(Type=Name.Sig, Filter=Name("/Adobe.PPKLite"), SubFilter=Name("/adbe.pkcs7.detached"),
                           ByteRange=places, Contents=String(bytes(128)))  # fmt: skip
        field = pdf.make_indirect(Dictionary(FT=Name.Sig, T=String("s"), V=pdf.make_indirect(value)))
        pdf.Root.AcroForm = Dictionary(Fields=Array([field]), SigFlags=3)

    made = changed(content, plant)
    start = made.index(b"<" + b"00" * 128 + b">")
    end = start + 2 + 256
    for number, mark in ((start, b"1111111111"), (end, b"1222222222"), (len(made) - end, b"1333333333")):
        made = made.replace(mark, b"%10d" % number, 1)
    own = hashlib.sha256(made[:start] + made[end:]).hexdigest()
    attribute = "06092a864886f70d010904" + "3122" + "0420" + (digest or own)
    return made[: start + 1] + attribute.ljust(256, "0").encode() + made[end - 1 :]


def with_encoding(name: str) -> Callable[[pikepdf.Pdf], None]:
    """A change that names a font's encoding."""

    def plant(pdf: pikepdf.Pdf) -> None:
        font = Dictionary(Type=Name.Font, Subtype=Name.Type0, BaseFont=Name.F, Encoding=Name("/" + name))
        pdf.pages[0].obj.Resources = Dictionary(Font=Dictionary(F1=font))

    return plant
