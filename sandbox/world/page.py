"""Where each word of a paper stands on an A4 page, for the PDF and the picture alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from sandbox.world.papers import Company, Paper

WIDTH, HEIGHT = 595, 842
LINES_PER_PAGE = 26


@dataclass(frozen=True, slots=True)
class Word:
    """A piece of text; ``x`` and ``y`` in points from the top left corner."""

    x: int
    y: int
    text: str
    size: int = 9


Page = tuple[Word, ...]


def pages(paper: Paper, title: str | None = None) -> tuple[Page, ...]:
    """Return the paper's pages: letterhead, a table of lines, the sums on the last page."""
    heading = title or {"invoice": "INVOICE", "credit_note": "CREDIT NOTE"}[paper.kind]
    starts = range(0, max(len(paper.lines), 1), LINES_PER_PAGE)
    count = len(starts)
    made = []
    for number, start in enumerate(starts, 1):
        words = list(_letterhead(paper, heading))
        words += _table(paper, start)
        if number == count:
            words += _sums(paper)
        words.append(Word(500, 820, f"Page {number} of {count}", 7))
        made.append(tuple(words))
    return tuple(made)


def letter(lines: list[str]) -> tuple[Page, ...]:
    """Return one page with these lines of plain text."""
    return (tuple(Word(60, 80 + 16 * number, line, 10) for number, line in enumerate(lines)),)


def _letterhead(paper: Paper, heading: str) -> Iterator[Word]:
    yield Word(50, 50, paper.seller.name, 14)
    yield from _address(50, 66, paper.seller)
    yield Word(50, 128, "Bill to:", 8)
    yield Word(50, 140, paper.buyer.name, 10)
    yield from _address(50, 152, paper.buyer)
    facts = [("Number", paper.number), ("Date", paper.issued.isoformat())]
    if paper.due:
        facts.append(("Due", paper.due.isoformat()))
    if paper.order_number:
        facts.append(("Order", paper.order_number))
    if paper.corrects:
        facts.append(("Corrects", paper.corrects))
    yield Word(380, 50, heading, 18)
    for row, (name, value) in enumerate(facts):
        yield Word(380, 76 + 13 * row, f"{name}:")
        yield Word(440, 76 + 13 * row, value)


def _address(x: int, y: int, company: Company) -> Iterator[Word]:
    yield Word(x, y, company.street)
    yield Word(x, y + 12, f"{company.postcode} {company.city}, {company.country}")
    yield Word(x, y + 24, f"VAT ID {company.vat_id}", 8)


def _table(paper: Paper, start: int) -> Iterator[Word]:
    for x, name in ((50, "Item"), (300, "Quantity"), (370, "Price"), (440, "VAT %"), (490, "Amount")):
        yield Word(x, 220, name, 8)
    for row, line in enumerate(paper.lines[start : start + LINES_PER_PAGE]):
        y = 238 + 16 * row
        cells = (line.name, f"{line.quantity} {line.unit}", str(line.price), str(line.rate), str(paper.net_of(line)))
        for x, text in zip((50, 300, 370, 440, 490), cells, strict=True):
            yield Word(x, y, text)


def _sums(paper: Paper) -> Iterator[Word]:
    rows: list[tuple[str, Decimal]] = [("Sum of lines", paper.line_sum)]
    rows += [(adjustment.reason, adjustment.signed) for adjustment in paper.adjustments]
    rows.append(("Net", paper.net))
    rows += [(f"VAT {part.rate}% on {part.taxable}", part.tax) for part in paper.taxes]
    rows.append(("Total", paper.gross))
    if paper.prepaid:
        rows.append(("Paid in advance", -paper.prepaid))
    rows.append(("Amount due", paper.payable))
    for row, (name, amount) in enumerate(rows):
        yield Word(340, 666 + 13 * row, name)
        yield Word(480, 666 + 13 * row, f"{amount} {paper.currency}")
    if paper.seller.iban:
        yield Word(50, 690, f"IBAN {paper.seller.iban}", 8)
    if paper.terms:
        yield Word(50, 704, paper.terms, 8)
    if paper.exemption:
        yield Word(50, 718, paper.exemption, 8)
