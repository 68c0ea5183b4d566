"""Export batches for tests: rendered into memory, and a varied batch whose bytes must never change."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

from invoices.exports import BatchHeader, render_batch_folder, sort_for_export
from invoices.model import Invoice, Line, Party, Tax


def render_batch_files(
    batch: BatchHeader, invoices: Iterable[Invoice], *, byte_order_mark: bool = True
) -> dict[str, bytes]:
    """Return the files of a batch of few invoices, in any order, by name: in the order in which they are written."""
    with tempfile.TemporaryDirectory() as name:
        rendered = render_batch_folder(Path(name), batch, sort_for_export(invoices), byte_order_mark=byte_order_mark)
        assert sorted(path.name for path in Path(name).iterdir()) == sorted(rendered)
        return {file_name: (Path(name) / file_name).read_bytes() for file_name in rendered}


def build_varied_invoices(count: int) -> list[Invoice]:
    """Return invoices of all kinds of values, always the same ones for a number."""
    return [_build_varied_invoice(number) for number in range(count)]


def _build_varied_invoice(number: int) -> Invoice:
    amount = Decimal(number * 37 - 500).scaleb(-(number % 5))
    return Invoice(
        invoice_id=f"i{number * 7919 % 100_003:06d}",
        document_sha256=f"{number:064x}",
        ordinal=1 + number % 3,
        kind=("invoice", "credit_note", "receipt")[number % 3],
        direction=("expense", "revenue")[number % 2],
        invoice_number=("R-", "=", "@", "+", "")[number % 5] + str(number),
        issued_on=dt.date(1899 if number % 50 == 0 else 2026, 1 + number % 12, 1 + number % 28),
        currency=("EUR", "JPY", "KWD", "CHF")[number % 4],
        total_amount=amount,
        due_on=dt.date(2026, 12, 1 + number % 28) if number % 3 else None,
        order_number=None if number % 4 else f"O\x07-{number}",
        net_amount=amount if number % 6 else None,
        discount_amount=Decimal("0.10") if number % 7 == 0 else None,
        tax_amount=Decimal(123456789012) / 8 if number % 11 == 0 else Decimal(0),
        payable_amount=Decimal("12345678901234.5678") if number % 13 == 0 else amount,
        supplier=Party(("Müller & Söhne", "=Ltd\tA", None, "株式会社")[number % 4], "DE123456789", "DE", None),
        customer=Party("We" if number % 2 else None, None, None),
        lines=tuple(
            Line(
                line,
                f"Part {line % 9} <{number}> \"'&\r\n" if line % 5 else None,
                Decimal(line) / 4,
                "C62",
                Decimal("1.005"),
                amount * line,
                Decimal(19),
                None,
            )
            for line in range(1, 1 + number % 23)
        ),
        taxes=tuple(
            Tax(("S", "E", None)[tax], (Decimal("19.0"), None, Decimal(7))[tax], amount, Decimal(tax))
            for tax in range(number % 4 if number % 4 < 3 else 0)
        ),
    )
