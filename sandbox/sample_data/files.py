"""Every sample file: its path, its content and the result that is expected for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sandbox.sample_data import bad_files, cii, invoices, page_image, page_layout, pdf, ubl, zugferd1
from sandbox.sample_data.documents import SampleInvoice

ExpectedState = Literal["accepted", "review", "quarantined", "duplicate", "not_invoice"]

NEEDS_MODEL = "only a model can read it"


@dataclass(frozen=True, slots=True)
class SampleFile:
    """One file; ``model_result`` is what a model extracts from it: the document, nothing, or a failure.

    ``expected_state`` is None for a leftover file: a program left it beside the documents, and no source collects it.
    ``unreadable_fields`` are fields that no model can read.
    """

    path: str
    content: bytes
    kind: str
    expected_state: ExpectedState | None
    explanation: str
    invoice: SampleInvoice | None = None
    doc_type: str | None = None
    model_result: Literal["document", "nothing", "failure"] = "document"
    unreadable_fields: tuple[str, ...] = ()
    is_leftover: bool = False


def build_sample_files() -> list[SampleFile]:
    """Return all sample files, in the order of their paths."""
    files = [
        *_iter_hybrid_pdfs(),
        *_iter_xml_invoices(),
        *_iter_unstructured_files(),
        *_iter_repeated_invoices(),
        *iter_bad_files(),
        *(
            SampleFile(
                path,
                content,
                "leftover",
                None,
                "dropped by a program",
                doc_type="other",
                model_result="nothing",
                is_leftover=True,
            )
            for path, content in bad_files.LEFTOVER_FILES.items()
        ),
    ]
    return sorted(files, key=lambda file: file.path)


def build_hybrid_pdf(
    invoice: SampleInvoice, xml: bytes, attachment_name: str, relationship: str = "Alternative"
) -> bytes:
    """Return a PDF of the invoice with its XML attached."""
    return pdf.attach_xml(
        pdf.build_text_pdf(page_layout.build_pages(invoice), invoice.number),
        attachment_name,
        xml,
        relationship=relationship,
    )


def _iter_hybrid_pdfs() -> Iterator[SampleFile]:
    for path, invoice, profile, attachment_name in (
        ("tools/MW-2026-0101.pdf", invoices.DRILLS, "EN 16931", "factur-x.xml"),
        ("tools/MW-2026-0102.pdf", invoices.SANDERS, "EXTENDED", "factur-x.xml"),
        ("tools/MW-2026-0140.pdf", invoices.TRADE_FAIR, "EN 16931", "factur-x.xml"),
        ("tools/MW-2026-0177.pdf", invoices.TOOL_CARE, "BASIC", "factur-x.xml"),
        ("office/2026/RE-26-00317.pdf", invoices.STATIONERY, "BASIC", "factur-x.xml"),
        ("office/2026/RE-26-00418.pdf", invoices.DESKS, "XRECHNUNG", "xrechnung.xml"),
        ("office/2026/RE-26-00871.pdf", invoices.SUMMER_PAPER, "ZUGFERD 2.0 BASIC", "zugferd-invoice.xml"),
        ("utilities/2026-03.pdf", invoices.ELECTRICITY_MARCH, "EN 16931", "factur-x.xml"),
        ("eu/FR/FA-2026-0058.pdf", invoices.CARDBOARD, "BASIC", "factur-x.xml"),
        ("eu/FR/FA-2026-0091.pdf", invoices.LABELS, "BASIC WL", "factur-x.xml"),
        ("eu/FR/FA-2026-0102.pdf", invoices.BRANCH_PAPER, "MINIMUM", "factur-x.xml"),
    ):
        relationship = "Data" if profile in {"MINIMUM", "BASIC WL"} else "Alternative"
        content = build_hybrid_pdf(invoice, cii.render_cii_invoice(invoice, profile), attachment_name, relationship)
        yield SampleFile(
            path, content, f"pdf+cii {profile}", "accepted", f"{profile} in a PDF; every sum holds", invoice
        )
    for path, invoice, profile in (
        ("utilities/2026-02.pdf", invoices.ELECTRICITY, "comfort"),
        ("eu/AT/2026-117.pdf", invoices.BEANS, "basic"),
    ):
        content = build_hybrid_pdf(invoice, zugferd1.render_zugferd1_invoice(invoice, profile), "ZUGFeRD-invoice.xml")
        yield SampleFile(path, content, f"pdf+zugferd1 {profile}", "accepted", "ZUGFeRD 1.0; every sum holds", invoice)


def _iter_xml_invoices() -> Iterator[SampleFile]:
    for path, invoice, customization in (
        ("eu/SE/EV-20261.xml", invoices.WINCHES, "PEPPOL"),
        ("eu/SE/EV-K-2026-3.xml", invoices.WINCHES_CREDIT, "PEPPOL"),
        ("overseas/SSF-2026-0907.xml", invoices.OCEAN, "PEPPOL"),
        ("overseas/SSF-2026-1033.xml", invoices.HARBOUR, "EN 16931"),
        ("overseas/RS-2026-033.xml", invoices.VASES, "EN 16931"),
        ("eu/ES/F26-0455.xml", invoices.POSTERS, "PEPPOL"),
        ("eu/NL/VL-600123.xml", invoices.PALLETS, "PEPPOL"),
        ("office/2026/RG-26-00009.xml", invoices.DESKS_CREDIT, "XRECHNUNG"),
        ("outgoing/BH-2026-0001.xml", invoices.SALE_TO_SHOP, "PEPPOL"),
    ):
        document_type = "CreditNote" if invoice.kind == "credit_note" else "Invoice"
        content = ubl.render_ubl_invoice(invoice, customization)
        yield SampleFile(
            path, content, f"ubl {document_type}", "accepted", f"UBL {document_type}; every sum holds", invoice
        )
    for path, invoice, profile in (
        ("eu/IT/2026-12-A.xml", invoices.LOGO_WORK, "EN 16931"),
        ("eu/NL/VL-600188.xml", invoices.WAREHOUSING, "EN 16931"),
        ("eu/AT/2026-402.xml", invoices.AUTUMN_BEANS, "XRECHNUNG"),
        ("overseas/UT-4471.xml", invoices.MOVEMENTS, "EN 16931"),
        ("tools/MW-G-2026-0007.xml", invoices.DRILLS_CREDIT, "EN 16931"),
        ("outgoing/BH-2026-0002.xml", invoices.SALE_AT_HOME, "XRECHNUNG"),
    ):
        yield SampleFile(
            path,
            cii.render_cii_invoice(invoice, profile),
            f"cii {profile}",
            "accepted",
            "CII; every sum holds",
            invoice,
        )


def _iter_unstructured_files() -> Iterator[SampleFile]:
    for path, invoice in (
        ("overseas/cloud/PC-0000181.pdf", invoices.CLOUD_JANUARY),
        ("overseas/cloud/PC-0000204.pdf", invoices.CLOUD_FEBRUARY),
        ("eu/AT/PR-2026-19.pdf", invoices.CLEANING),
        ("eu/ES/F26-0502.pdf", invoices.FLYERS),
        ("overseas/RS-2026-041.pdf", invoices.TEAPOTS),
    ):
        content = pdf.build_text_pdf(page_layout.build_pages(invoice), invoice.number)
        yield SampleFile(path, content, "text pdf", "accepted", f"text; {NEEDS_MODEL}", invoice)
    for path, invoice, degrees in (
        ("scans/scan0001.png", invoices.REPAIR, 0.7),
        ("scans/scan0002.png", invoices.STRAPS, -0.5),
        ("scans/scan0003.jpg", invoices.COURIER, 1.1),
        ("scans/IMG_2044.JPG", invoices.SKETCHES, -1.6),
    ):
        picture = page_image.render_scan(page_layout.build_pages(invoice)[0], degrees=degrees, seed=path)
        content = page_image.encode_png(picture) if path.endswith("png") else page_image.encode_jpeg(picture)
        yield SampleFile(path, content, "scan", "accepted", f"a picture; {NEEDS_MODEL}", invoice)
    for path, invoice, unreadable_fields in (
        ("scans/batch/scan0004.pdf", invoices.CRANE, ()),
        ("scans/batch/scan0005.pdf", invoices.SMUDGED, ("invoice_number",)),
    ):
        jpeg = page_image.encode_jpeg(
            page_image.render_scan(page_layout.build_pages(invoice)[0], degrees=0.4, seed=path)
        )
        content = pdf.build_image_pdf(jpeg, *page_image.IMAGE_SIZE)
        expected_state: ExpectedState = "quarantined" if unreadable_fields else "accepted"
        explanation = (
            "the number is a smudge: BR-02 cannot hold" if unreadable_fields else f"a scan in a PDF; {NEEDS_MODEL}"
        )
        yield SampleFile(
            path, content, "scanned pdf", expected_state, explanation, invoice, unreadable_fields=unreadable_fields
        )
    picture = page_image.render_scan(page_layout.build_pages(invoices.PHOTOGRAPHED)[0], degrees=2.5, seed="photo")
    yield SampleFile(
        "scans/IMG_2051.jpg",
        page_image.encode_jpeg(picture),
        "scan",
        "accepted",
        f"a photograph; {NEEDS_MODEL}",
        invoices.PHOTOGRAPHED,
    )


def _iter_repeated_invoices() -> Iterator[SampleFile]:
    drills_pdf = build_hybrid_pdf(invoices.DRILLS, cii.render_cii_invoice(invoices.DRILLS), "factur-x.xml")
    yield SampleFile(
        "tools/copies/MW-2026-0101 (1).pdf", drills_pdf, "pdf+cii EN 16931", "accepted",
        "the same bytes as tools/MW-2026-0101.pdf: one document, seen twice", invoices.DRILLS,
    )  # fmt: skip
    remade_pdf = pdf.attach_xml(
        pdf.build_text_pdf(page_layout.build_pages(invoices.SANDERS, "DUPLICATE OF INVOICE"), "copy"),
        "factur-x.xml", cii.render_cii_invoice(invoices.SANDERS, "EXTENDED"),
    )  # fmt: skip
    yield SampleFile(
        "tools/copies/MW-2026-0102 again.pdf", remade_pdf, "pdf+cii EXTENDED", "duplicate",
        "the XML of tools/MW-2026-0102.pdf in a re-made PDF", invoices.SANDERS,
    )  # fmt: skip
    yield SampleFile(
        "eu/SE/resent/EV-20261.xml", ubl.render_ubl_invoice(invoices.WINCHES, pretty=False), "ubl Invoice", "duplicate",
        "eu/SE/EV-20261.xml, serialised anew without indentation", invoices.WINCHES,
    )  # fmt: skip
    yield SampleFile(
        "office/2026/RE-26-00317_corrected.xml",
        cii.render_cii_invoice(invoices.NUMBER_AGAIN),
        "cii EN 16931",
        "review",
        "the number of office/2026/RE-26-00317.pdf from the same supplier, with another amount",
        invoices.NUMBER_AGAIN,
    )


def iter_bad_files() -> Iterator[SampleFile]:
    """Yield the files that are broken, locked, hostile or not invoices."""
    wrong_total_xml = cii.render_cii_invoice(invoices.WRONG_TOTAL)
    yield SampleFile(
        "tools/MW-2026-0155.pdf",
        build_hybrid_pdf(invoices.WRONG_TOTAL, wrong_total_xml, "factur-x.xml"),
        "pdf+cii EN 16931",
        "quarantined",
        "the total is not net plus tax: BR-CO-15",
        invoices.WRONG_TOTAL,
    )
    yield SampleFile(
        "office/2026/RE-26-00640.xml", ubl.render_ubl_invoice(invoices.WRONG_LINE_SUM), "ubl Invoice", "quarantined",
        "the lines do not add up to the line sum: BR-CO-10", invoices.WRONG_LINE_SUM,
    )  # fmt: skip
    encrypted_pdf = pdf.encrypt_pdf(
        pdf.build_text_pdf(page_layout.build_pages(invoices.LOCKED), invoices.LOCKED.number), "opensesame"
    )
    yield _build_unreadable_file(
        "office/2026/RE-26-00702.pdf", encrypted_pdf, "encrypted pdf", "needs a password that nobody sent", "review"
    )
    whole_pdf = build_hybrid_pdf(invoices.TORN, cii.render_cii_invoice(invoices.TORN), "factur-x.xml")
    yield _build_unreadable_file(
        "tools/MW-2026-0191.pdf",
        whole_pdf[: len(whole_pdf) // 2],
        "truncated pdf",
        "half of the file is missing",
        "review",
    )
    whole_xml = ubl.render_ubl_invoice(invoices.POSTERS)
    yield _build_unreadable_file(
        "eu/ES/F26-0455-b.xml",
        whole_xml[: len(whole_xml) * 3 // 5],
        "truncated xml",
        "the XML ends in the middle",
        "review",
    )
    yield _build_unreadable_file("scans/empty.pdf", b"", "empty file", "there are no bytes in it", "review")
    yield _build_unreadable_file(
        "eu/entities.xml", bad_files.ENTITY_BOMB, "entity bomb", "declares entities that grow without end", "review"
    )
    yield _build_non_invoice_file(
        "orders/PO-7060.xml",
        ubl.render_ubl_order(invoices.ORDER),
        "ubl Order",
        "an order, not an invoice",
        invoices.ORDER,
    )
    order_pdf = pdf.build_text_pdf(page_layout.build_pages(invoices.ORDER, "PURCHASE ORDER"), "PO-7060")
    yield _build_non_invoice_file(
        "orders/PO-7060.pdf", order_pdf, "text pdf", "an order, not an invoice", invoices.ORDER
    )
    letter_pdf = pdf.build_text_pdf(page_layout.build_letter_pages(bad_files.LETTER_LINES), "letter")
    yield _build_non_invoice_file("tools/price letter.pdf", letter_pdf, "text pdf", "a letter, not an invoice")
    yield _build_non_invoice_file(
        "tools/logo.png", page_image.render_logo_png(), "logo", "the logo of a mail signature"
    )
    yield _build_unreadable_file(
        "tools/readme.txt", bad_files.TEXT_NOTE, "text file", "a note: no type of file that holds invoices", "review"
    )
    yield _build_unreadable_file(
        "scans/invoice.pdf.exe", bad_files.FAKE_PROGRAM, "program", "a program under the name of an invoice"
    )


def _build_unreadable_file(
    path: str, content: bytes, kind: str, explanation: str, expected_state: ExpectedState = "quarantined"
) -> SampleFile:
    return SampleFile(path, content, kind, expected_state, explanation, model_result="failure")


def _build_non_invoice_file(
    path: str, content: bytes, kind: str, explanation: str, order: SampleInvoice | None = None
) -> SampleFile:
    doc_type = "order" if order else "other"
    return SampleFile(path, content, kind, "not_invoice", explanation, doc_type=doc_type, model_result="nothing")
