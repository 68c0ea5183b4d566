"""Every file of the sample world: where it lies, what is in it, and what should become of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sandbox.world import cii, image, mishaps, page, pdf, ubl, zugferd1
from sandbox.world import invoices as of
from sandbox.world.papers import Paper

State = Literal["accepted", "review", "quarantined", "duplicate", "not_invoice"]

BY_MODEL = "only a model can read it"


@dataclass(frozen=True, slots=True)
class Scene:
    """One file; ``reads_as`` is what a model makes of it: the document, nothing at all, or a failure.

    ``state`` is None for a leftover: what programs drop beside documents, and a source does not collect;
    ``unreadable`` names fields that no model can make out.
    """

    path: str
    content: bytes
    kind: str
    state: State | None
    why: str
    paper: Paper | None = None
    doc_type: str | None = None
    reads_as: Literal["document", "nothing", "failure"] = "document"
    unreadable: tuple[str, ...] = ()
    is_leftover: bool = False


def scenes() -> list[Scene]:
    """Return the whole world, in the order of its paths."""
    everything = [*_hybrids(), *_documents_in_xml(), *_for_a_model(), *_again(), *mishaps_of_life(), *_leftovers()]
    return sorted(everything, key=lambda scene: scene.path)


def hybrid(paper: Paper, xml: bytes, name: str, relationship: str = "Alternative") -> bytes:
    """Return a page of the paper with its XML attached."""
    return pdf.with_attachment(pdf.text_pages(page.pages(paper), paper.number), name, xml, relationship=relationship)


def _hybrids() -> Iterator[Scene]:
    for path, paper, profile, name in (
        ("tools/MW-2026-0101.pdf", of.DRILLS, "EN 16931", "factur-x.xml"),
        ("tools/MW-2026-0102.pdf", of.SANDERS, "EXTENDED", "factur-x.xml"),
        ("tools/MW-2026-0140.pdf", of.TRADE_FAIR, "EN 16931", "factur-x.xml"),
        ("tools/MW-2026-0177.pdf", of.TOOL_CARE, "BASIC", "factur-x.xml"),
        ("office/2026/RE-26-00317.pdf", of.STATIONERY, "BASIC", "factur-x.xml"),
        ("office/2026/RE-26-00418.pdf", of.DESKS, "XRECHNUNG", "xrechnung.xml"),
        ("office/2026/RE-26-00871.pdf", of.SUMMER_PAPER, "ZUGFERD 2.0 BASIC", "zugferd-invoice.xml"),
        ("utilities/2026-03.pdf", of.ELECTRICITY_MARCH, "EN 16931", "factur-x.xml"),
        ("eu/FR/FA-2026-0058.pdf", of.CARDBOARD, "BASIC", "factur-x.xml"),
        ("eu/FR/FA-2026-0091.pdf", of.LABELS, "BASIC WL", "factur-x.xml"),
        ("eu/FR/FA-2026-0102.pdf", of.BRANCH_PAPER, "MINIMUM", "factur-x.xml"),
    ):
        relationship = "Data" if profile in {"MINIMUM", "BASIC WL"} else "Alternative"
        content = hybrid(paper, cii.render(paper, profile), name, relationship)
        yield Scene(path, content, f"pdf+cii {profile}", "accepted", f"{profile} in a PDF; every sum holds", paper)
    for path, paper, profile in (
        ("utilities/2026-02.pdf", of.ELECTRICITY, "comfort"),
        ("eu/AT/2026-117.pdf", of.BEANS, "basic"),
    ):
        content = hybrid(paper, zugferd1.render(paper, profile), "ZUGFeRD-invoice.xml")
        yield Scene(path, content, f"pdf+zugferd1 {profile}", "accepted", "ZUGFeRD 1.0; every sum holds", paper)


def _documents_in_xml() -> Iterator[Scene]:
    for path, paper, customization in (
        ("eu/SE/EV-20261.xml", of.WINCHES, "PEPPOL"),
        ("eu/SE/EV-K-2026-3.xml", of.WINCHES_CREDIT, "PEPPOL"),
        ("overseas/SSF-2026-0907.xml", of.OCEAN, "PEPPOL"),
        ("overseas/SSF-2026-1033.xml", of.HARBOUR, "EN 16931"),
        ("overseas/RS-2026-033.xml", of.VASES, "EN 16931"),
        ("eu/ES/F26-0455.xml", of.POSTERS, "PEPPOL"),
        ("eu/NL/VL-600123.xml", of.PALLETS, "PEPPOL"),
        ("office/2026/RG-26-00009.xml", of.DESKS_CREDIT, "XRECHNUNG"),
        ("outgoing/BH-2026-0001.xml", of.SALE_TO_SHOP, "PEPPOL"),
    ):
        document = "CreditNote" if paper.kind == "credit_note" else "Invoice"
        content = ubl.render(paper, customization)
        yield Scene(path, content, f"ubl {document}", "accepted", f"UBL {document}; every sum holds", paper)
    for path, paper, profile in (
        ("eu/IT/2026-12-A.xml", of.LOGO_WORK, "EN 16931"),
        ("eu/NL/VL-600188.xml", of.WAREHOUSING, "EN 16931"),
        ("eu/AT/2026-402.xml", of.AUTUMN_BEANS, "XRECHNUNG"),
        ("overseas/UT-4471.xml", of.MOVEMENTS, "EN 16931"),
        ("tools/MW-G-2026-0007.xml", of.DRILLS_CREDIT, "EN 16931"),
        ("outgoing/BH-2026-0002.xml", of.SALE_AT_HOME, "XRECHNUNG"),
    ):
        yield Scene(path, cii.render(paper, profile), f"cii {profile}", "accepted", "CII; every sum holds", paper)


def _for_a_model() -> Iterator[Scene]:
    for path, paper in (
        ("overseas/cloud/PC-0000181.pdf", of.CLOUD_JANUARY),
        ("overseas/cloud/PC-0000204.pdf", of.CLOUD_FEBRUARY),
        ("eu/AT/PR-2026-19.pdf", of.CLEANING),
        ("eu/ES/F26-0502.pdf", of.FLYERS),
        ("overseas/RS-2026-041.pdf", of.TEAPOTS),
    ):
        content = pdf.text_pages(page.pages(paper), paper.number)
        yield Scene(path, content, "text pdf", "accepted", f"text; {BY_MODEL}", paper)
    for path, paper, degrees in (
        ("scans/scan0001.png", of.REPAIR, 0.7),
        ("scans/scan0002.png", of.STRAPS, -0.5),
        ("scans/scan0003.jpg", of.COURIER, 1.1),
        ("scans/IMG_2044.JPG", of.SKETCHES, -1.6),
    ):
        picture = image.scan(page.pages(paper)[0], degrees=degrees, seed=path)
        content = image.png(picture) if path.endswith("png") else image.jpeg(picture)
        yield Scene(path, content, "scan", "accepted", f"a picture; {BY_MODEL}", paper)
    for path, paper, unreadable in (
        ("scans/batch/scan0004.pdf", of.CRANE, ()),
        ("scans/batch/scan0005.pdf", of.SMUDGED, ("invoice_number",)),
    ):
        jpeg = image.jpeg(image.scan(page.pages(paper)[0], degrees=0.4, seed=path))
        content = pdf.picture_page(jpeg, *image.SIZE)
        state: State = "quarantined" if unreadable else "accepted"
        why = "the number is a smudge: BR-02 cannot hold" if unreadable else f"a scan in a PDF; {BY_MODEL}"
        yield Scene(path, content, "scanned pdf", state, why, paper, unreadable=unreadable)
    picture = image.scan(page.pages(of.PHOTOGRAPHED)[0], degrees=2.5, seed="photo")
    yield Scene(
        "scans/IMG_2051.jpg", image.jpeg(picture), "scan", "accepted", f"a photograph; {BY_MODEL}", of.PHOTOGRAPHED
    )  # fmt: skip


def _again() -> Iterator[Scene]:
    drills = hybrid(of.DRILLS, cii.render(of.DRILLS), "factur-x.xml")
    yield Scene(
        "tools/copies/MW-2026-0101 (1).pdf", drills, "pdf+cii EN 16931", "accepted",
        "the same bytes as tools/MW-2026-0101.pdf: one document, seen twice", of.DRILLS,
    )  # fmt: skip
    remade = pdf.with_attachment(
        pdf.text_pages(page.pages(of.SANDERS, "DUPLICATE OF INVOICE"), "copy"),
        "factur-x.xml", cii.render(of.SANDERS, "EXTENDED"),
    )  # fmt: skip
    yield Scene(
        "tools/copies/MW-2026-0102 again.pdf", remade, "pdf+cii EXTENDED", "duplicate",
        "the XML of tools/MW-2026-0102.pdf in a re-made PDF", of.SANDERS,
    )  # fmt: skip
    yield Scene(
        "eu/SE/resent/EV-20261.xml", ubl.render(of.WINCHES, pretty=False), "ubl Invoice", "duplicate",
        "eu/SE/EV-20261.xml, serialised anew without indentation", of.WINCHES,
    )  # fmt: skip
    yield Scene(
        "office/2026/RE-26-00317_corrected.xml", cii.render(of.NUMBER_AGAIN), "cii EN 16931", "review",
        "the number of office/2026/RE-26-00317.pdf from the same supplier, with another amount", of.NUMBER_AGAIN,
    )  # fmt: skip


def mishaps_of_life() -> Iterator[Scene]:
    """Yield the documents that are broken, locked, hostile, or no invoices at all."""
    wrong = cii.render(of.WRONG_TOTAL)
    yield Scene(
        "tools/MW-2026-0155.pdf", hybrid(of.WRONG_TOTAL, wrong, "factur-x.xml"), "pdf+cii EN 16931", "quarantined",
        "the total is not net plus tax: BR-CO-15", of.WRONG_TOTAL,
    )  # fmt: skip
    yield Scene(
        "office/2026/RE-26-00640.xml", ubl.render(of.WRONG_LINE_SUM), "ubl Invoice", "quarantined",
        "the lines do not add up to the line sum: BR-CO-10", of.WRONG_LINE_SUM,
    )  # fmt: skip
    locked = pdf.locked(pdf.text_pages(page.pages(of.LOCKED), of.LOCKED.number), "opensesame")
    yield _broken("office/2026/RE-26-00702.pdf", locked, "encrypted pdf", "needs a password that nobody sent", "review")
    torn = hybrid(of.TORN, cii.render(of.TORN), "factur-x.xml")
    yield _broken(
        "tools/MW-2026-0191.pdf", torn[: len(torn) // 2], "truncated pdf", "half of the file is missing", "review"
    )
    half = ubl.render(of.POSTERS)
    yield _broken(
        "eu/ES/F26-0455-b.xml", half[: len(half) * 3 // 5], "truncated xml", "the XML ends in the middle", "review"
    )
    yield _broken("scans/empty.pdf", b"", "empty file", "there are no bytes in it", "review")
    yield _broken(
        "eu/entities.xml", mishaps.ENTITY_BOMB, "entity bomb", "declares entities that grow without end", "review"
    )
    yield _other("orders/PO-7060.xml", ubl.render_order(of.ORDER), "ubl Order", "an order, not an invoice", of.ORDER)
    order = pdf.text_pages(page.pages(of.ORDER, "PURCHASE ORDER"), "PO-7060")
    yield _other("orders/PO-7060.pdf", order, "text pdf", "an order, not an invoice", of.ORDER)
    letter = pdf.text_pages(page.letter(mishaps.LETTER), "letter")
    yield _other("tools/price letter.pdf", letter, "text pdf", "a letter, not an invoice")
    yield _other("tools/logo.png", image.logo(), "logo", "the logo of a mail signature")
    yield _broken(
        "tools/readme.txt", mishaps.NOTE, "text file", "a note: no type of file that holds invoices", "review"
    )
    yield _broken("scans/invoice.pdf.exe", mishaps.PROGRAM, "program", "a program under the name of an invoice")


def _leftovers() -> Iterator[Scene]:
    for path, content in mishaps.LEFTOVERS.items():
        yield Scene(path, content, "leftover", None, "dropped by a program", doc_type="other",
                    reads_as="nothing", is_leftover=True)  # fmt: skip


def _broken(path: str, content: bytes, kind: str, why: str, state: State = "quarantined") -> Scene:
    return Scene(path, content, kind, state, why, reads_as="failure")


def _other(path: str, content: bytes, kind: str, why: str, order: Paper | None = None) -> Scene:
    doc_type = "order" if order else "other"
    return Scene(path, content, kind, "not_invoice", why, doc_type=doc_type, reads_as="nothing")
