"""Currencies have the decimals of ISO 4217, and amounts are printed exactly."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.model.currencies import MINOR_DIGITS, format_money, get_minor_digits


@pytest.mark.parametrize(
    ("currency", "digits"),
    [("EUR", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("XAU", 2), ("XXX", 2), ("EURO", 2), ("", 2)],
)
def test_decimals_are_those_of_iso_4217_and_otherwise_two(currency: str, digits: int) -> None:
    assert get_minor_digits(currency) == digits


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("6312.5", "DKK", "6,312.50 DKK"), ("198750", "JPY", "198,750 JPY"), ("198750.0000", "JPY", "198,750 JPY"),
        ("198750.5", "JPY", "198,750.5 JPY"), ("0.125", "EUR", "0.125 EUR"), ("-1234.5000", "EUR", "-1,234.50 EUR"),
        ("1E+3", "EUR", "1,000.00 EUR"), ("0", "KWD", "0.000 KWD"), ("1", "EURO", "1.00 EURO"),
    ],
)  # fmt: skip
def test_an_amount_is_printed_with_separators_and_its_decimals(amount: str, currency: str, text: str) -> None:
    assert format_money(Decimal(amount), currency) == text


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6), st.sampled_from(sorted(MINOR_DIGITS)))
def test_printing_never_rounds(amount: Decimal, currency: str) -> None:
    assert Decimal(format_money(amount, currency).split()[0].replace(",", "")) == amount


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-sNaN"])
def test_what_is_not_a_number_is_not_printed_as_money(amount: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        format_money(Decimal(amount), "EUR")
