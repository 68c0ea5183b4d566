"""Control totals: the sums that an accountant compares with those of the import."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from invoices.exports.cells import format_decimal, sum_exactly

BILL_AMOUNTS = ("net_amount", "tax_amount", "total_amount", "payable_amount")
TAX_AMOUNTS = ("taxable_amount", "tax_amount")

Record = Mapping[str, object]
Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CurrencyTotal:
    """The booked sums of one currency; ``missing_counts`` has, per amount, the number of invoices without it."""

    currency: str
    invoice_count: int
    amounts: dict[str, Decimal]
    missing_counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class TaxTotal:
    """The booked sums of one currency, tax rate (percent) and tax category; None if the invoices state none."""

    currency: str
    tax_rate: str | None
    tax_category: str | None
    tax_line_count: int
    amounts: dict[str, Decimal]


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """The counts and sums of a batch, from its tables as rendered or as read back from its files."""

    counts: dict[str, int]
    kinds: dict[str, int]
    directions: dict[str, int]
    totals: list[CurrencyTotal]
    tax_totals: list[TaxTotal]


class BatchSummariser:
    """Adds up a batch row by row; a row has its cells by column name, an empty one is None or an empty text."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._counts = {"invoices": 0, "lines": 0, "tax_lines": 0}
        self._kinds: Counter[str] = Counter()
        self._directions: Counter[str] = Counter()
        self._totals: dict[Key, _AmountSums] = defaultdict(lambda: _AmountSums(BILL_AMOUNTS))
        self._tax_totals: dict[Key, _AmountSums] = defaultdict(lambda: _AmountSums(TAX_AMOUNTS))

    def add_bill(self, bill: Record) -> None:
        """Add a row of an invoice; raise ArithmeticError if an amount is not a number."""
        self._counts["invoices"] += 1
        self._kinds.update(_build_key(bill, "kind"))
        self._directions.update(_build_key(bill, "direction"))
        self._totals[_build_key(bill, "currency")].add(bill)

    def add_line(self, _line: Record) -> None:
        """Add a row of an invoice line."""
        self._counts["lines"] += 1

    def add_tax_line(self, tax_line: Record) -> None:
        """Add a row of a tax; raise ArithmeticError if an amount is not a number."""
        self._counts["tax_lines"] += 1
        self._tax_totals[_build_key(tax_line, "currency", "tax_rate", "tax_category")].add(tax_line)

    def build_summary(self) -> BatchSummary:
        """Return the counts and sums of all rows so far, ordered by their keys."""
        return BatchSummary(
            counts=dict(self._counts),
            kinds=dict(sorted(self._kinds.items())),
            directions=dict(sorted(self._directions.items())),
            totals=[
                CurrencyTotal(
                    currency,
                    sums.row_count,
                    sums.amounts,
                    {name: count for name, count in sums.missing.items() if count},
                )
                for (currency,), sums in sorted(self._totals.items(), key=lambda item: item[0])
            ],
            tax_totals=[
                TaxTotal(currency, rate or None, category or None, sums.row_count, sums.amounts)
                for (currency, rate, category), sums in sorted(self._tax_totals.items(), key=lambda item: item[0])
            ],
        )


def summarise_batch(bills: Iterable[Record], lines: Iterable[Record], taxes: Iterable[Record]) -> BatchSummary:
    """Return the summary of rows by column name.

    Raises ArithmeticError if an amount is not a number, which can only happen in a file changed by hand.
    """
    summariser = BatchSummariser()
    for rows, add_row in (
        (bills, summariser.add_bill), (lines, summariser.add_line), (taxes, summariser.add_tax_line)
    ):  # fmt: skip
        for row in rows:
            add_row(row)
    return summariser.build_summary()


class _AmountSums:
    """The number of rows, the exact sum of each amount, and the number of rows without it."""

    def __init__(self, names: Sequence[str]) -> None:
        self.row_count = 0
        self.amounts = dict.fromkeys(names, Decimal(0))
        self.missing = dict.fromkeys(names, 0)

    def add(self, record: Record) -> None:
        self.row_count += 1
        for name, total in self.amounts.items():
            if record[name] in (None, ""):
                self.missing[name] += 1
            else:
                self.amounts[name] = sum_exactly((total, Decimal(str(record[name]))))


def _build_key(record: Record, *names: str) -> Key:
    """Return the values under ``names`` as texts; None and "" are equal."""
    values = [record[name] for name in names]
    return tuple(format_decimal(value) if isinstance(value, Decimal) else str(value or "") for value in values)
