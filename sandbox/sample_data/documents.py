"""Sample invoices as values: companies, lines, allowances, and an invoice that computes its own sums.

The sums follow EN 16931-1 (BR-CO-10 to BR-CO-17, BR-S-08 and similar rules). They are computed here independently of
the application, so that a mistake there does not go unnoticed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

CURRENCIES_WITHOUT_MINOR_UNIT = frozenset({"JPY", "KRW", "ISK"})


@dataclass(frozen=True, slots=True)
class Company:
    """A fictional company; the domain of ``email`` is reserved."""

    name: str
    vat_id: str
    street: str
    city: str
    postcode: str
    country: str
    email: str
    contact: str = "Accounts"
    phone: str = "+49 30 00000000"
    iban: str = ""

    @property
    def address(self) -> str:
        return f"{self.street}, {self.postcode} {self.city}, {self.country}"


@dataclass(frozen=True, slots=True)
class Adjustment:
    """An allowance, or a charge, on a line (BG-27, BG-28) or on the document (BG-20, BG-21)."""

    amount: Decimal
    reason: str
    is_charge: bool = False
    category: str = "S"
    rate: Decimal = Decimal(0)
    percent: Decimal | None = None
    basis: Decimal | None = None

    @property
    def signed_amount(self) -> Decimal:
        return self.amount if self.is_charge else -self.amount


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """An invoice line (BG-25); ``rate`` in percent, ``price`` for ``price_base_quantity`` units."""

    name: str
    quantity: Decimal
    price: Decimal
    category: str = "S"
    rate: Decimal = Decimal(0)
    unit: str = "C62"
    price_base_quantity: Decimal = Decimal(1)
    adjustments: tuple[Adjustment, ...] = ()


@dataclass(frozen=True, slots=True)
class TaxBreakdown:
    """One VAT breakdown (BG-23)."""

    category: str
    rate: Decimal
    taxable: Decimal
    tax: Decimal
    reason: str | None = None


@dataclass(frozen=True)
class SampleInvoice:
    """An invoice or credit note; ``misprints`` overwrites single sums to make a wrong invoice."""

    number: str
    issue_date: dt.date
    seller: Company
    buyer: Company
    lines: tuple[InvoiceLine, ...]
    currency: str = "EUR"
    kind: Literal["invoice", "credit_note"] = "invoice"
    due_date: dt.date | None = None
    terms: str | None = None
    adjustments: tuple[Adjustment, ...] = ()
    prepaid_amount: Decimal = Decimal(0)
    order_number: str | None = None
    note: str | None = None
    delivery_date: dt.date | None = None
    corrected_invoice_number: str | None = None
    exemption_reason: str | None = None
    misprints: Mapping[str, Decimal] = field(default_factory=dict)

    def round_amount(self, amount: Decimal) -> Decimal:
        """Return the amount rounded half up to the currency's minor unit."""
        unit = Decimal(1) if self.currency in CURRENCIES_WITHOUT_MINOR_UNIT else Decimal("0.01")
        return amount.quantize(unit, rounding=ROUND_HALF_UP)

    def compute_line_net(self, line: InvoiceLine) -> Decimal:
        """Return the line's net amount (BT-131): quantity × price ÷ base, less allowances, plus charges."""
        gross = self.round_amount(line.quantity * line.price / line.price_base_quantity)
        return gross + sum((adjustment.signed_amount for adjustment in line.adjustments), Decimal(0))

    @property
    def line_sum(self) -> Decimal:
        return self._apply_misprint(
            "line_sum", self.round_amount(sum((self.compute_line_net(line) for line in self.lines), Decimal(0)))
        )

    @property
    def allowance_sum(self) -> Decimal:
        return self.round_amount(sum((a.amount for a in self.adjustments if not a.is_charge), Decimal(0)))

    @property
    def charge_sum(self) -> Decimal:
        return self.round_amount(sum((a.amount for a in self.adjustments if a.is_charge), Decimal(0)))

    @property
    def tax_breakdowns(self) -> tuple[TaxBreakdown, ...]:
        """Return one breakdown per category and rate, in the order in which the lines first name them."""
        taxable: dict[tuple[str, Decimal], Decimal] = {}
        for line in self.lines:
            key = (line.category, line.rate)
            taxable[key] = taxable.get(key, Decimal(0)) + self.compute_line_net(line)
        for adjustment in self.adjustments:
            key = (adjustment.category, adjustment.rate)
            taxable[key] = taxable.get(key, Decimal(0)) + adjustment.signed_amount
        return tuple(self._build_tax_breakdown(category, rate, amount) for (category, rate), amount in taxable.items())

    def _build_tax_breakdown(self, category: str, rate: Decimal, amount: Decimal) -> TaxBreakdown:
        reason = None if category in {"S", "Z"} else self.exemption_reason
        return TaxBreakdown(category, rate, self.round_amount(amount), self.round_amount(amount * rate / 100), reason)

    @property
    def net(self) -> Decimal:
        return self._apply_misprint("net", self.line_sum - self.allowance_sum + self.charge_sum)

    @property
    def tax(self) -> Decimal:
        return self._apply_misprint(
            "tax", self.round_amount(sum((tax_breakdown.tax for tax_breakdown in self.tax_breakdowns), Decimal(0)))
        )

    @property
    def gross(self) -> Decimal:
        return self._apply_misprint("gross", self.net + self.tax)

    @property
    def payable(self) -> Decimal:
        return self._apply_misprint("payable", self.gross - self.prepaid_amount)

    def _apply_misprint(self, name: str, amount: Decimal) -> Decimal:
        return self.misprints.get(name, amount)
