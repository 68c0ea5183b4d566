"""What is told about a PDF beside what it is: flags, and the reasons why a person has to look before anybody pays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pikepdf

from invoices.documents.harm import is_malware_test
from invoices.documents.outcomes import Reading, because, flagged, shown
from invoices.documents.pdf.actions import actions, switched_off_layers, trap
from invoices.documents.pdf.agreement import disagreement
from invoices.documents.pdf.attachments import listed_files
from invoices.documents.pdf.damage import forgiving
from invoices.documents.pdf.pages import Pages, look_at
from invoices.documents.pdf.signatures import signature_problems
from invoices.documents.sniffing import EXECUTABLE, media_type
from invoices.errors import DocumentError

PDF = "application/pdf"
_TELLING = re.compile(
    r"\d{3}|\d[.,]\d{2}|\b[A-Z]{2}\d{2}\s?[A-Z0-9]{4}|\b(?:ignore|disregard|instructions?|system prompt)\b",
    re.IGNORECASE,
)
_QUOTED = 60  # characters of hidden text
_LONGEST_DOUBT = 300


def examined(reading: Reading, pdf: pikepdf.Pdf, path: Path) -> Reading:
    """Return the reading of a PDF with its flags, and with what keeps it from being accepted without a person.

    Such doubts are named in the payload of an e-invoice, for the rules; a page that would be asked about is for a
    person before anybody is paid. Raises DocumentError: ``hostile_pdf``, ``malware_test``.
    """
    flags = list(_action_flags(pdf))
    flags += _inner_flags(pdf)
    _refuse_trap(pdf)
    doubts: list[tuple[str, str]] = []
    is_wanted = reading.outcome in {"einvoice", "needs_extraction"}
    if is_wanted and (pages := look_at(path)) is not None:
        flags += _hidden_flags(pages, doubts)
        if reading.payload and len(reading.payload["invoices"]) == 1:
            difference = disagreement(reading.payload["invoices"][0], pages)
            doubts += [("xml_pdf_mismatch", difference)] if difference else []
    flags += _signature_flags(pdf, path, doubts if is_wanted else [])
    return flagged(_doubted(reading, doubts), *flags)


def _doubted(reading: Reading, doubts: list[tuple[str, str]]) -> Reading:
    if not doubts:
        return reading
    if reading.payload is not None:
        told = {name: shown(reason, _LONGEST_DOUBT) for name, reason in doubts}
        return replace(reading, payload={**reading.payload, "doubts": told})
    reason_code, reason = doubts[0]
    return because(reason_code, PDF, reason, reading.page_count)


def _action_flags(pdf: pikepdf.Pdf) -> Iterator[tuple[str, str]]:
    found: set[str] = set()
    layers = 0
    with forgiving():
        found = actions(pdf)
    with forgiving():
        layers = switched_off_layers(pdf)
    if acting := sorted(found - {"URI"}):
        yield "PDF-ACTIVE", f"the PDF holds actions: {', '.join(acting)}"
    if "URI" in found:
        yield "PDF-LINKS", "the PDF links to addresses outside; none of them is ever called"
    if layers:
        yield "PDF-HIDDEN-TEXT", f"the PDF has layers that are not shown: {layers}"


def _inner_flags(pdf: pikepdf.Pdf) -> Iterator[tuple[str, str]]:
    for name, stream in listed_files(pdf):
        content = b""
        with forgiving():
            content = stream.read_bytes()
        if is_malware_test(content):
            raise DocumentError(f"the attachment {shown(name)!r} is the test file of malware scanners",
                                reason_code="malware_test")  # fmt: skip
        if media_type(content) == EXECUTABLE:
            yield "PDF-ACTIVE", f"the PDF carries a program: {shown(name)!r}"


def _refuse_trap(pdf: pikepdf.Pdf) -> None:
    found = None
    with forgiving():
        found = trap(pdf)
    if found:
        raise DocumentError(found, reason_code="hostile_pdf")


def _hidden_flags(pages: Pages, doubts: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    if not pages.hidden or pages.scanned:
        return
    told = "; ".join(f"{kind}: {shown(text, _QUOTED)!r}" for kind, text in sorted(pages.hidden.items()))
    if any(_TELLING.search(text) for text in pages.hidden.values()):
        doubts.append(("hidden_text", f"text that cannot be seen is on the page: {told}"))
    yield "PDF-HIDDEN-TEXT", f"text that cannot be seen is on the page: {told}"


def _signature_flags(pdf: pikepdf.Pdf, path: Path, doubts: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    problems: list[str] = []
    is_broken = False
    with forgiving():
        problems, is_broken = signature_problems(pdf, path)
    if is_broken:
        doubts.append(("broken_signature", f"the PDF is signed, and {problems[-1]}"))
    yield from (("PDF-SIGNATURE", f"the PDF is signed, and {problem}") for problem in problems)
