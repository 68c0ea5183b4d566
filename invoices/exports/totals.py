"""Control totals: the sums that an accountant compares with what the import screen shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from invoices.exports.cells import exact_sum, plain

BILL_AMOUNTS = ("net_amount", "tax_amount", "total_amount", "payable_amount")
TAX_AMOUNTS = ("taxable_amount", "tax_amount")

Record = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class CurrencyTotal:
    """The booked sums of one currency; ``missing`` counts, per amount, the invoices that do not state it."""

    currency: str
    invoice_count: int
    amounts: dict[str, Decimal]
    missing: dict[str, int]


@dataclass(frozen=True, slots=True)
class TaxTotal:
    """The booked sums of one currency, tax rate (percent) and tax category; None where the invoices state none."""

    currency: str
    tax_rate: str | None
    tax_category: str | None
    tax_line_count: int
    amounts: dict[str, Decimal]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a batch holds and adds up to, whether its tables are as rendered or as read back from its files."""

    counts: dict[str, int]
    kinds: dict[str, int]
    directions: dict[str, int]
    totals: list[CurrencyTotal]
    tax_totals: list[TaxTotal]


def summarise(bills: Sequence[Record], lines: Sequence[Record], taxes: Sequence[Record]) -> Summary:
    """Return the summary of rows by column name, empty cells being None or empty text.

    Raises ArithmeticError where an amount is no number, which only a file changed by hand can hold.
    """
    return Summary(
        counts={"invoices": len(bills), "lines": len(lines), "tax_lines": len(taxes)},
        kinds={kind: len(group) for (kind,), group in _groups(bills, "kind")},
        directions={direction: len(group) for (direction,), group in _groups(bills, "direction")},
        totals=[
            CurrencyTotal(currency, len(group), _sums(group, BILL_AMOUNTS), _missing(group))
            for (currency,), group in _groups(bills, "currency")
        ],
        tax_totals=[
            TaxTotal(currency, rate or None, category or None, len(group), _sums(group, TAX_AMOUNTS))
            for (currency, rate, category), group in _groups(taxes, "currency", "tax_rate", "tax_category")
        ],
    )


def _groups(records: Iterable[Record], *names: str) -> list[tuple[tuple[str, ...], list[Record]]]:
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in records:
        groups[tuple(_key(record[name]) for name in names)].append(record)
    return sorted(groups.items(), key=lambda item: item[0])


def _key(value: object) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    return "" if value is None else str(value)


def _sums(group: Sequence[Record], names: Sequence[str]) -> dict[str, Decimal]:
    return {name: exact_sum(_stated(group, name)) for name in names}


def _stated(group: Sequence[Record], name: str) -> list[Decimal]:
    return [Decimal(str(record[name])) for record in group if record[name] not in (None, "")]


def _missing(group: Sequence[Record]) -> dict[str, int]:
    missing = {name: len(group) - len(_stated(group, name)) for name in BILL_AMOUNTS}
    return {name: count for name, count in missing.items() if count}
