"""The layout of an invoice on A4 pages, used for PDFs and images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from sandbox.sample_data.documents import Company, SampleInvoice

WIDTH, HEIGHT = 595, 842
LINES_PER_PAGE = 26


@dataclass(frozen=True, slots=True)
class TextRun:
    """A piece of text; ``x`` and ``y`` in points from the top left corner."""

    x: int
    y: int
    text: str
    font_size: int = 9


Page = tuple[TextRun, ...]


def build_pages(invoice: SampleInvoice, title: str | None = None) -> tuple[Page, ...]:
    """Return the pages of an invoice: letterhead, a table of lines, and the sums on the last page."""
    heading = title or {"invoice": "INVOICE", "credit_note": "CREDIT NOTE"}[invoice.kind]
    start_indexes = range(0, max(len(invoice.lines), 1), LINES_PER_PAGE)
    page_count = len(start_indexes)
    pages = []
    for page_number, start_index in enumerate(start_indexes, 1):
        text_runs = list(_build_letterhead(invoice, heading))
        text_runs += _build_line_table(invoice, start_index)
        if page_number == page_count:
            text_runs += _build_totals(invoice)
        text_runs.append(TextRun(500, 820, f"Page {page_number} of {page_count}", 7))
        pages.append(tuple(text_runs))
    return tuple(pages)


def build_letter_pages(lines: list[str]) -> tuple[Page, ...]:
    """Return one page with these lines of plain text."""
    return (tuple(TextRun(60, 80 + 16 * number, line, 10) for number, line in enumerate(lines)),)


def _build_letterhead(invoice: SampleInvoice, heading: str) -> Iterator[TextRun]:
    yield TextRun(50, 50, invoice.seller.name, 14)
    yield from _build_address(50, 66, invoice.seller)
    yield TextRun(50, 128, "Bill to:", 8)
    yield TextRun(50, 140, invoice.buyer.name, 10)
    yield from _build_address(50, 152, invoice.buyer)
    reference_fields = [("Number", invoice.number), ("Date", invoice.issue_date.isoformat())]
    if invoice.due_date:
        reference_fields.append(("Due", invoice.due_date.isoformat()))
    if invoice.order_number:
        reference_fields.append(("Order", invoice.order_number))
    if invoice.corrected_invoice_number:
        reference_fields.append(("Corrects", invoice.corrected_invoice_number))
    yield TextRun(380, 50, heading, 18)
    for row, (name, value) in enumerate(reference_fields):
        yield TextRun(380, 76 + 13 * row, f"{name}:")
        yield TextRun(440, 76 + 13 * row, value)


def _build_address(x: int, y: int, company: Company) -> Iterator[TextRun]:
    yield TextRun(x, y, company.street)
    yield TextRun(x, y + 12, f"{company.postcode} {company.city}, {company.country}")
    yield TextRun(x, y + 24, f"VAT ID {company.vat_id}", 8)


def _build_line_table(invoice: SampleInvoice, start_index: int) -> Iterator[TextRun]:
    for x, name in ((50, "Item"), (300, "Quantity"), (370, "Price"), (440, "VAT %"), (490, "Amount")):
        yield TextRun(x, 220, name, 8)
    for row, line in enumerate(invoice.lines[start_index : start_index + LINES_PER_PAGE]):
        y = 238 + 16 * row
        cells = (
            line.name,
            f"{line.quantity} {line.unit}",
            str(line.price),
            str(line.rate),
            str(invoice.compute_line_net(line)),
        )
        for x, text in zip((50, 300, 370, 440, 490), cells, strict=True):
            yield TextRun(x, y, text)


def _build_totals(invoice: SampleInvoice) -> Iterator[TextRun]:
    rows: list[tuple[str, Decimal]] = [("Sum of lines", invoice.line_sum)]
    rows += [(adjustment.reason, adjustment.signed_amount) for adjustment in invoice.adjustments]
    rows.append(("Net", invoice.net))
    rows += [
        (f"VAT {tax_breakdown.rate}% on {tax_breakdown.taxable}", tax_breakdown.tax)
        for tax_breakdown in invoice.tax_breakdowns
    ]
    rows.append(("Total", invoice.gross))
    if invoice.prepaid_amount:
        rows.append(("Paid in advance", -invoice.prepaid_amount))
    rows.append(("Amount due", invoice.payable))
    for row, (name, amount) in enumerate(rows):
        yield TextRun(340, 666 + 13 * row, name)
        yield TextRun(480, 666 + 13 * row, f"{amount} {invoice.currency}")
    if invoice.seller.iban:
        yield TextRun(50, 690, f"IBAN {invoice.seller.iban}", 8)
    if invoice.terms:
        yield TextRun(50, 704, invoice.terms, 8)
    if invoice.exemption_reason:
        yield TextRun(50, 718, invoice.exemption_reason, 8)
