"""Generated invoices for the benchmark: distinct, deterministic, with correct sums."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

CENT = Decimal("0.01")
SUPPLIER_COUNT = 200

# country of the supplier: its currency, its tax rates in percent
COUNTRIES = {
    "DE": ("EUR", ("19", "7")),
    "FR": ("EUR", ("20", "10", "5.5")),
    "NL": ("EUR", ("21", "9")),
    "SE": ("SEK", ("25", "12", "6")),
    "PL": ("PLN", ("23", "8")),
    "CH": ("CHF", ("8.1", "2.6")),
    "GB": ("GBP", ("20", "5")),
}
GOODS = ("Copper bracket", "Paper, A4 & A3", "Maintenance", "Oak panel", "Server hours", "Coffee", "Courier", "Rivets")


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One line; ``net`` is quantity × price, rounded to cents."""

    name: str
    quantity: Decimal
    price: Decimal
    rate: Decimal

    @property
    def net(self) -> Decimal:
        """The line's net amount."""
        return (self.quantity * self.price).quantize(CENT, ROUND_HALF_UP)


@dataclass(frozen=True, slots=True)
class GeneratedInvoice:
    """One invoice, with all values of both syntaxes."""

    number: str
    issued: dt.date
    due: dt.date
    supplier: int
    country: str
    currency: str
    lines: tuple[InvoiceLine, ...]

    @property
    def net(self) -> Decimal:
        """The total without tax."""
        return sum((line.net for line in self.lines), Decimal(0))

    @property
    def taxes(self) -> list[tuple[Decimal, Decimal, Decimal]]:
        """Rate, taxable amount and tax of each rate."""
        rates = sorted({line.rate for line in self.lines})
        taxable = {rate: sum((line.net for line in self.lines if line.rate == rate), Decimal(0)) for rate in rates}
        return [(rate, base, (base * rate / 100).quantize(CENT, ROUND_HALF_UP)) for rate, base in taxable.items()]

    @property
    def tax(self) -> Decimal:
        """The tax total."""
        return sum((tax for _, _, tax in self.taxes), Decimal(0))


def generate_invoice(index: int) -> GeneratedInvoice:
    """Return the invoice of this index."""
    supplier = _pick_number(index, "supplier", SUPPLIER_COUNT)
    country = list(COUNTRIES)[supplier % len(COUNTRIES)]
    currency, rates = COUNTRIES[country]
    issued = dt.date(2025, 1, 1) + dt.timedelta(days=_pick_number(index, "day", 360))
    return GeneratedInvoice(
        number=f"B{issued.year}-{index:06d}",
        issued=issued,
        due=issued + dt.timedelta(days=(14, 30, 60)[_pick_number(index, "term", 3)]),
        supplier=supplier,
        country=country,
        currency=currency,
        lines=tuple(_generate_line(index, position, rates) for position in range(1 + _pick_number(index, "lines", 5))),
    )


def _generate_line(index: int, position: int, rates: tuple[str, ...]) -> InvoiceLine:
    key = f"{position}"
    return InvoiceLine(
        name=f"{GOODS[_pick_number(index, 'goods' + key, len(GOODS))]} {_pick_number(index, 'size' + key, 500)}",
        quantity=Decimal(1 + _pick_number(index, "quantity" + key, 400)) / 4,
        price=Decimal(50 + _pick_number(index, "price" + key, 100_000)) / 100,
        rate=Decimal(rates[_pick_number(index, "rate" + key, len(rates))]),
    )


def _pick_number(index: int, salt: str, below: int) -> int:
    """Return a pseudo-random number in [0, below) that depends only on ``index`` and ``salt``."""
    return int.from_bytes(hashlib.sha256(f"{index}/{salt}".encode()).digest()[:8]) % below
