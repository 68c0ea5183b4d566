"""Decimals of each currency (the minor units of ISO 4217, from the package ``iso4217``), rounding and formatting."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from iso4217 import Currency

# Codes without minor units (gold, test codes, ...) are left out, so that they get 2 like unknown codes.
MINOR_DIGITS = {currency.code: currency.exponent for currency in Currency if currency.exponent is not None}


def get_minor_digits(currency: str) -> int:
    """Return the decimals of a currency; 2 for a code that ISO 4217 does not have or that has no minor unit."""
    return MINOR_DIGITS.get(currency, 2)


def get_minor_unit(currency: str) -> Decimal:
    """Return the smallest amount of a currency: 0.01 for most, 1 for JPY, 0.001 for KWD."""
    return Decimal(1).scaleb(-get_minor_digits(currency))


def round_to_minor_unit(amount: Decimal, currency: str) -> Decimal:
    """Return ``amount`` rounded to the currency's minor unit, halves away from zero."""
    return amount.quantize(get_minor_unit(currency), ROUND_HALF_UP)


def format_money(amount: Decimal, currency: str) -> str:
    """Return an amount for people, never rounded: ``6,312.50 DKK``, ``198,750 JPY``, ``0.125 EUR``.

    It has the currency's own decimals, or more if the amount has more. Raises ValueError for NaN and infinity.
    """
    if not amount.is_finite():
        raise ValueError(f"{amount} is not an amount of money")
    whole, _, fraction = f"{amount:,f}".partition(".")
    fraction = fraction.rstrip("0").ljust(get_minor_digits(currency), "0")
    return f"{whole}.{fraction} {currency}" if fraction else f"{whole} {currency}"
