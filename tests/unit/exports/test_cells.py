"""Cells of exported files: text that no spreadsheet calculates, and exact numbers."""

from __future__ import annotations

import unicodedata
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.exports.cells import (
    count_significant_digits,
    format_decimal,
    remove_control_characters,
    restore_sanitised_formulas,
    sanitise_formulas,
    sum_exactly,
)

FORMULA_TRIGGERS = "=+-@\uff1d\uff0b\uff0d\uff20"
AMOUNTS = st.decimals(min_value=Decimal("-1e15"), max_value=Decimal("1e15"), places=6)
HOSTILE_TEXTS = st.text(alphabet=st.sampled_from(FORMULA_TRIGGERS + "'; \xa0\t\n,\"a1ü"), max_size=12)


@pytest.mark.parametrize("trigger", [*FORMULA_TRIGGERS, "\t", "\n"])
def test_text_that_starts_like_a_formula_gets_an_apostrophe(trigger: str) -> None:
    assert sanitise_formulas(f"{trigger}1+1") == f"'{trigger}1+1"


@pytest.mark.parametrize(
    "harmless", ["", "Müller & Söhne", "00123", "1E5", "'s-Hertogenbosch", "a = b", "INV-1", "a,=b"]
)
def test_harmless_text_is_not_changed(harmless: str) -> None:
    assert sanitise_formulas(harmless) == harmless


@pytest.mark.parametrize("separator", [";", "; ", "\t", "\n", ";\n"])
def test_a_formula_after_a_semicolon_tab_or_line_feed_gets_an_apostrophe_too(separator: str) -> None:
    sanitised = sanitise_formulas(f"paper{separator}=cmd|'/C calc'!A0")
    assert "=" not in {cell.lstrip(" ")[:1] for cell in sanitised.replace("\n", ";").replace("\t", ";").split(";")}


@given(HOSTILE_TEXTS)
def test_no_cell_of_sanitised_text_starts_with_a_formula(text: str) -> None:
    sanitised = sanitise_formulas(text)
    assert sanitised[:1] not in {*FORMULA_TRIGGERS, "\t", "\n"} - {""}
    assert all(
        cell[:1] not in set(FORMULA_TRIGGERS) for cell in sanitised.replace("\n", ";").replace("\t", ";").split(";")
    )


@given(HOSTILE_TEXTS | st.text())
def test_sanitised_text_is_restored_exactly(text: str) -> None:
    assert restore_sanitised_formulas(sanitise_formulas(text)) == text


@given(st.text(st.characters()))
def test_cleaned_text_has_no_control_characters_but_tabs_and_line_feeds(text: str) -> None:
    cleaned = remove_control_characters(text)
    assert {character for character in cleaned if unicodedata.category(character) in {"Cc", "Cs"}} <= {"\t", "\n"}
    assert remove_control_characters(cleaned) == cleaned
    cleaned.encode()


def test_line_ends_become_line_feeds_and_invalid_xml_characters_are_replaced() -> None:
    assert remove_control_characters("a\r\nb\rc\x00\x1b[31m\x85\ud800\uffff") == "a\nb\nc[31m\ufffd\ufffd"


@pytest.mark.parametrize(
    ("number", "digits", "text"),
    [
        ("12.5000", 2, "12.50"),
        ("12.345", 2, "12.345"),
        ("1E+3", 0, "1000"),
        ("1E-7", 2, "0.0000001"),
        ("-0.00", 2, "0.00"),
        ("0E+5", 0, "0"),
        ("5000.0000", 0, "5000"),
        ("-1.5", 3, "-1.500"),
        ("12345678901234567890123456789012345.123", 2, "12345678901234567890123456789012345.123"),
    ],
)
def test_numbers_are_written_plainly_with_the_minor_digits_and_no_more_zeros(
    number: str, digits: int, text: str
) -> None:
    assert format_decimal(Decimal(number), digits) == text


@given(AMOUNTS, st.integers(0, 4))
def test_a_written_number_is_the_number(number: Decimal, digits: int) -> None:
    written = format_decimal(number, digits)
    assert Decimal(written) == number
    assert len(written.partition(".")[2]) >= digits


@given(st.lists(AMOUNTS))
def test_a_sum_is_exact_whatever_the_decimal_context(amounts: list[Decimal]) -> None:
    with localcontext(prec=3):
        total = sum_exactly(amounts)
    assert Fraction(total) == sum(map(Fraction, amounts))


@pytest.mark.parametrize(("number", "count"), [("12.50", 3), ("1200", 2), ("0.001", 1), ("0", 0), ("-10.01", 4)])
def test_significant_digits_exclude_leading_and_trailing_zeros(number: str, count: int) -> None:
    assert count_significant_digits(Decimal(number)) == count
