"""The accepted invoice: frozen, with exact amounts.

Field names are the column names of ``core.candidates``, ``core.candidate_lines`` and ``core.candidate_taxes``; the
comment behind each field is its business term in EN 16931-1. Amounts are in ``currency``, as the document states them:
the amounts of a credit note are positive if the document states them so.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

InvoiceKind = Literal["invoice", "credit_note", "receipt"]
Direction = Literal["expense", "revenue"]
Verdict = Literal["accepted", "review", "quarantined", "duplicate"]


@dataclass(frozen=True, slots=True)
class Party:
    """A supplier (BG-4) or customer (BG-7)."""

    name: str | None = None
    tax_id: str | None = None
    country: str | None = None
    iban: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """An invoice line (BG-25)."""

    line_number: int
    description: str | None = None
    quantity: Decimal | None = None
    unit: str | None = None
    unit_price_amount: Decimal | None = None
    net_amount: Decimal | None = None
    tax_rate: Decimal | None = None
    tax_amount: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Tax:
    """One VAT breakdown (BG-23): a category and rate; ``tax_rate`` is in percent."""

    tax_category: str | None
    tax_rate: Decimal | None
    taxable_amount: Decimal | None
    tax_amount: Decimal | None


@dataclass(frozen=True, slots=True)
class Invoice:
    """An accepted candidate."""

    invoice_id: str
    document_sha256: str
    ordinal: int
    kind: InvoiceKind
    direction: Direction
    invoice_number: str  # BT-1
    issued_on: dt.date  # BT-2
    currency: str  # BT-5, ISO 4217
    total_amount: Decimal  # BT-112, with tax
    due_on: dt.date | None = None  # BT-9
    order_number: str | None = None  # BT-13
    supplier: Party = Party()
    customer: Party = Party()
    net_amount: Decimal | None = None  # BT-109, without tax
    discount_amount: Decimal | None = None  # BT-107, sum of document allowances
    charge_amount: Decimal | None = None  # BT-108, sum of document charges
    tax_amount: Decimal | None = None  # BT-110
    prepaid_amount: Decimal | None = None  # BT-113
    payable_amount: Decimal | None = None  # BT-115
    lines: tuple[Line, ...] = ()
    taxes: tuple[Tax, ...] = ()

    @property
    def booking_sign(self) -> int:
        """-1 for a credit note, else 1; multiply a stated amount by it to get the amount to book."""
        return -1 if self.kind == "credit_note" else 1
