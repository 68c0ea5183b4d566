"""How many decimals each currency has: the minor units of ISO 4217."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

_CODES_BY_MINOR_DIGITS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_MINOR_DIGITS_BY_CODE = {code: digits for digits, codes in _CODES_BY_MINOR_DIGITS.items() for code in codes.split()}


def get_minor_digits(currency: str) -> int:
    """Return the decimals of a currency: 2 for most, and for a code that is not in the list."""
    return _MINOR_DIGITS_BY_CODE.get(currency, 2)


def get_minor_unit(currency: str) -> Decimal:
    """Return the smallest amount of a currency: 0.01 for most, 1 for JPY, 0.001 for KWD."""
    return Decimal(1).scaleb(-get_minor_digits(currency))


def round_to_minor_unit(amount: Decimal, currency: str) -> Decimal:
    """Return ``amount`` at the currency's minor unit, halves away from zero as commerce does."""
    return amount.quantize(get_minor_unit(currency), ROUND_HALF_UP)


def format_money(amount: Decimal, currency: str) -> str:
    """Return an amount as a person reads it: ``6,312.50 DKK``, ``198,750 JPY``; never rounded.

    It has the decimals of its currency, or 2 if the currency is unknown; an amount with more decimals shows them all.
    """
    decimals = f"{amount:f}".partition(".")[2].rstrip("0")
    return f"{amount:,.{max(get_minor_digits(currency), len(decimals))}f} {currency}"
