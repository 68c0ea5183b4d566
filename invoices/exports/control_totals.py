"""Control totals: the sums that an accountant compares with those of the import."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from invoices.exports.cells import format_decimal, sum_exactly

BILL_AMOUNTS = ("net_amount", "tax_amount", "total_amount", "payable_amount")
TAX_AMOUNTS = ("taxable_amount", "tax_amount")

Record = Mapping[str, object]


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


def summarise_batch(bills: Sequence[Record], lines: Sequence[Record], taxes: Sequence[Record]) -> BatchSummary:
    """Return the summary of rows by column name; an empty cell is None or an empty text.

    Raises ArithmeticError if an amount is not a number, which can only happen in a file changed by hand.
    """
    return BatchSummary(
        counts={"invoices": len(bills), "lines": len(lines), "tax_lines": len(taxes)},
        kinds={kind: len(group) for (kind,), group in _group_records(bills, "kind")},
        directions={direction: len(group) for (direction,), group in _group_records(bills, "direction")},
        totals=[
            CurrencyTotal(
                currency,
                len(group),
                _sum_amounts(group, BILL_AMOUNTS),
                {name: missing for name in BILL_AMOUNTS if (missing := len(group) - len(_list_amounts(group, name)))},
            )
            for (currency,), group in _group_records(bills, "currency")
        ],
        tax_totals=[
            TaxTotal(currency, rate or None, category or None, len(group), _sum_amounts(group, TAX_AMOUNTS))
            for (currency, rate, category), group in _group_records(taxes, "currency", "tax_rate", "tax_category")
        ],
    )


def _group_records(records: Iterable[Record], *names: str) -> list[tuple[tuple[str, ...], list[Record]]]:
    """Return (key, records) for each combination of values under ``names``, ordered by key; None and "" are equal."""
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in records:
        values = [record[name] for name in names]
        key = tuple(format_decimal(value) if isinstance(value, Decimal) else str(value or "") for value in values)
        groups[key].append(record)
    return sorted(groups.items(), key=lambda item: item[0])


def _sum_amounts(group: Sequence[Record], names: Sequence[str]) -> dict[str, Decimal]:
    return {name: sum_exactly(_list_amounts(group, name)) for name in names}


def _list_amounts(group: Sequence[Record], name: str) -> list[Decimal]:
    return [Decimal(str(record[name])) for record in group if record[name] not in (None, "")]
