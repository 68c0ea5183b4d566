"""A paper of the sample world and its sums: companies, lines, allowances, and an invoice that adds itself up.

The sums are those of EN 16931-1 (BR-CO-10 to BR-CO-17, BR-S-08 and its like), computed here on their own, so that a
reader that gets them wrong is not excused by the same mistake.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

WITHOUT_MINOR_UNIT = frozenset({"JPY", "KRW", "ISK"})


@dataclass(frozen=True, slots=True)
class Company:
    """A fictional company; ``email`` is under a reserved domain."""

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
    def signed(self) -> Decimal:
        return self.amount if self.is_charge else -self.amount


@dataclass(frozen=True, slots=True)
class Line:
    """An invoice line (BG-25); ``rate`` in percent, ``price`` for ``per`` units."""

    name: str
    quantity: Decimal
    price: Decimal
    category: str = "S"
    rate: Decimal = Decimal(0)
    unit: str = "C62"
    per: Decimal = Decimal(1)
    adjustments: tuple[Adjustment, ...] = ()


@dataclass(frozen=True, slots=True)
class TaxSum:
    """One VAT breakdown (BG-23)."""

    category: str
    rate: Decimal
    taxable: Decimal
    tax: Decimal
    reason: str | None = None


@dataclass(frozen=True)
class Paper:
    """An invoice or credit note; ``misprints`` overwrites single sums to make one that does not hold."""

    number: str
    issued: dt.date
    seller: Company
    buyer: Company
    lines: tuple[Line, ...]
    currency: str = "EUR"
    kind: Literal["invoice", "credit_note"] = "invoice"
    due: dt.date | None = None
    terms: str | None = None
    adjustments: tuple[Adjustment, ...] = ()
    prepaid: Decimal = Decimal(0)
    order_number: str | None = None
    note: str | None = None
    delivered: dt.date | None = None
    corrects: str | None = None
    exemption: str | None = None
    misprints: Mapping[str, Decimal] = field(default_factory=dict)

    def rounded(self, amount: Decimal) -> Decimal:
        """Return the amount at the currency's minor unit, half up."""
        unit = Decimal(1) if self.currency in WITHOUT_MINOR_UNIT else Decimal("0.01")
        return amount.quantize(unit, rounding=ROUND_HALF_UP)

    def net_of(self, line: Line) -> Decimal:
        """Return the line's net amount (BT-131): quantity × price ÷ base, less allowances, plus charges."""
        gross = self.rounded(line.quantity * line.price / line.per)
        return gross + sum((adjustment.signed for adjustment in line.adjustments), Decimal(0))

    @property
    def line_sum(self) -> Decimal:
        return self._sum("line_sum", self.rounded(sum((self.net_of(line) for line in self.lines), Decimal(0))))

    @property
    def allowance_sum(self) -> Decimal:
        return self.rounded(sum((a.amount for a in self.adjustments if not a.is_charge), Decimal(0)))

    @property
    def charge_sum(self) -> Decimal:
        return self.rounded(sum((a.amount for a in self.adjustments if a.is_charge), Decimal(0)))

    @property
    def taxes(self) -> tuple[TaxSum, ...]:
        """Return one breakdown per category and rate, in the order in which the lines first name them."""
        taxable: dict[tuple[str, Decimal], Decimal] = {}
        for line in self.lines:
            key = (line.category, line.rate)
            taxable[key] = taxable.get(key, Decimal(0)) + self.net_of(line)
        for adjustment in self.adjustments:
            key = (adjustment.category, adjustment.rate)
            taxable[key] = taxable.get(key, Decimal(0)) + adjustment.signed
        return tuple(self._tax_sum(category, rate, amount) for (category, rate), amount in taxable.items())

    def _tax_sum(self, category: str, rate: Decimal, amount: Decimal) -> TaxSum:
        reason = None if category in {"S", "Z"} else self.exemption
        return TaxSum(category, rate, self.rounded(amount), self.rounded(amount * rate / 100), reason)

    @property
    def net(self) -> Decimal:
        return self._sum("net", self.line_sum - self.allowance_sum + self.charge_sum)

    @property
    def tax(self) -> Decimal:
        return self._sum("tax", self.rounded(sum((part.tax for part in self.taxes), Decimal(0))))

    @property
    def gross(self) -> Decimal:
        return self._sum("gross", self.net + self.tax)

    @property
    def payable(self) -> Decimal:
        return self._sum("payable", self.gross - self.prepaid)

    def _sum(self, name: str, amount: Decimal) -> Decimal:
        return self.misprints.get(name, amount)
