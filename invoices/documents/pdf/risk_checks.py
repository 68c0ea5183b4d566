"""The flags of a PDF, and the doubts that require a person's review before anybody pays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pikepdf

from invoices.documents.content_sniffing import EXECUTABLE_TYPE, detect_media_type
from invoices.documents.malware import has_eicar_test_string
from invoices.documents.outcomes import DocumentReading, add_flags, build_reading, sanitise_for_display
from invoices.documents.pdf.actions import count_hidden_layers, find_font_path_exploit, list_external_action_kinds
from invoices.documents.pdf.attachments import list_attachments
from invoices.documents.pdf.page_inspection import PageInspection, inspect_pages
from invoices.documents.pdf.signatures import check_signatures
from invoices.documents.pdf.tolerated_errors import ignore_broken_pdf_errors
from invoices.documents.pdf.xml_page_comparison import find_xml_page_mismatch
from invoices.errors import DocumentError

PDF_TYPE = "application/pdf"
_RISKY_TEXT_PATTERN = re.compile(
    r"\d{3}|\d[.,]\d{2}|\b[A-Z]{2}\d{2}\s?[A-Z0-9]{4}|\b(?:ignore|disregard|instructions?|system prompt)\b",
    re.IGNORECASE,
)
_MAX_QUOTED_CHARS = 60  # of hidden text
_MAX_DOUBT_CHARS = 300


def apply_risk_checks(reading: DocumentReading, pdf: pikepdf.Pdf, path: Path) -> DocumentReading:
    """Return the reading of a PDF with its flags and doubts.

    Doubts prevent acceptance without a person: in the payload of an e-invoice they are input of the rules; a PDF that
    would go to a paid model is sent to review instead. Raises DocumentError: ``hostile_pdf``, ``malware_test``.
    """
    flags = list(_list_action_flags(pdf))
    flags += _list_attachment_flags(pdf)
    _refuse_font_path_exploit(pdf)
    doubts: list[tuple[str, str]] = []
    is_possible_invoice = reading.outcome in {"einvoice", "needs_extraction"}
    if is_possible_invoice and (pages := inspect_pages(path)) is not None:
        flags += _list_hidden_text_flags(pages, doubts)
        if reading.payload and len(reading.payload["invoices"]) == 1:
            mismatch = find_xml_page_mismatch(reading.payload["invoices"][0], pages)
            doubts += [("xml_pdf_mismatch", mismatch)] if mismatch else []
    flags += _list_signature_flags(pdf, path, doubts if is_possible_invoice else [])
    return add_flags(_add_doubts(reading, doubts), *flags)


def _add_doubts(reading: DocumentReading, doubts: list[tuple[str, str]]) -> DocumentReading:
    if not doubts:
        return reading
    if reading.payload is not None:
        doubt_texts = reading.payload.get("doubts", {}) | {
            name: sanitise_for_display(reason, _MAX_DOUBT_CHARS) for name, reason in doubts
        }
        return replace(reading, payload={**reading.payload, "doubts": doubt_texts})
    reason_code, reason = doubts[0]
    return build_reading(reason_code, PDF_TYPE, reason, reading.page_count)


def _list_action_flags(pdf: pikepdf.Pdf) -> Iterator[tuple[str, str]]:
    action_kinds: set[str] = set()
    hidden_layer_count = 0
    with ignore_broken_pdf_errors():
        action_kinds = list_external_action_kinds(pdf)
    with ignore_broken_pdf_errors():
        hidden_layer_count = count_hidden_layers(pdf)
    if active_kinds := sorted(action_kinds - {"URI"}):
        yield "PDF-ACTIVE", f"the PDF holds actions: {', '.join(active_kinds)}"
    if "URI" in action_kinds:
        yield "PDF-LINKS", "the PDF links to external addresses; none of them is called"
    if hidden_layer_count:
        yield "PDF-HIDDEN-TEXT", f"the PDF has layers that are not shown: {hidden_layer_count}"


def _list_attachment_flags(pdf: pikepdf.Pdf) -> Iterator[tuple[str, str]]:
    for name, stream in list_attachments(pdf):
        content = b""
        with ignore_broken_pdf_errors():
            content = stream.read_bytes()
        if has_eicar_test_string(content):
            raise DocumentError(f"the attachment {sanitise_for_display(name)!r} is the test file of malware scanners",
                                reason_code="malware_test")  # fmt: skip
        if detect_media_type(content) == EXECUTABLE_TYPE:
            yield "PDF-ACTIVE", f"the PDF contains a program: {sanitise_for_display(name)!r}"


def _refuse_font_path_exploit(pdf: pikepdf.Pdf) -> None:
    exploit = None
    with ignore_broken_pdf_errors():
        exploit = find_font_path_exploit(pdf)
    if exploit:
        raise DocumentError(exploit, reason_code="hostile_pdf")


def _list_hidden_text_flags(pages: PageInspection, doubts: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    if not pages.hidden_text_by_kind or pages.has_scan:
        return
    quoted_texts = "; ".join(
        f"{kind}: {sanitise_for_display(text, _MAX_QUOTED_CHARS)!r}"
        for kind, text in sorted(pages.hidden_text_by_kind.items())
    )
    message = f"text that cannot be seen is on the page: {quoted_texts}"
    if any(_RISKY_TEXT_PATTERN.search(text) for text in pages.hidden_text_by_kind.values()):
        doubts.append(("hidden_text", message))
    yield "PDF-HIDDEN-TEXT", message


def _list_signature_flags(pdf: pikepdf.Pdf, path: Path, doubts: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    problems: list[str] = []
    is_broken = False
    with ignore_broken_pdf_errors():
        problems, is_broken = check_signatures(pdf, path)
    if is_broken:
        doubts.append(("broken_signature", f"the PDF is signed, and {problems[-1]}"))
    yield from (("PDF-SIGNATURE", f"the PDF is signed, and {problem}") for problem in problems)
