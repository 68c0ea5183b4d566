"""The content of cells: text that no spreadsheet calculates, and numbers in plain notation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow

_LINE_END = re.compile(r"\r\n?")
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_INVALID_XML_CHARACTERS = re.compile(r"[\ud800-\udfff\ufffe\uffff]")

# A cell starts at its first character. For a spreadsheet that separates cells by semicolons (Excel in most of Europe),
# one also starts after a semicolon, tab or line feed, because there a quote in the middle of a row protects nothing.
_FORMULA_START = r"[' \xa0]*[=+\-@\uff1d\uff0b\uff0d\uff20]"
_FORMULA_CELL_START = rf"(?:\A(?=[']*[\t\n]|{_FORMULA_START})|(?<=[;\t\n])(?={_FORMULA_START}))"
_ESCAPED_CELL_START = rf"(?:\A'(?=[']*[\t\n]|{_FORMULA_START})|(?<=[;\t\n])'(?={_FORMULA_START}))"
_FORMULA_CELL_PATTERN = re.compile(_FORMULA_CELL_START)
_ESCAPED_CELL_PATTERN = re.compile(_ESCAPED_CELL_START)

_EXACT_CONTEXT = Context(prec=200, traps=[Inexact, InvalidOperation, Overflow])


def remove_control_characters(text: str) -> str:
    """Return ``text`` without control characters except tabs and line feeds; any line end becomes one line feed."""
    return _INVALID_XML_CHARACTERS.sub("\ufffd", _CONTROL_CHARACTERS.sub("", _LINE_END.sub("\n", text)))


def sanitise_formulas(text: str) -> str:
    """Return ``text`` with an apostrophe before what a spreadsheet would treat as a formula (OWASP, CSV injection).

    These are ``= + - @`` and their full-width forms at the start of a cell, and a tab or line feed at the start of the
    text.
    """
    return _FORMULA_CELL_PATTERN.sub("'", text)


def restore_sanitised_formulas(text: str) -> str:
    """Return the text as it was before ``sanitise_formulas``."""
    return _ESCAPED_CELL_PATTERN.sub("", text)


def format_decimal(number: Decimal, min_decimals: int = 0) -> str:
    """Return ``number`` exactly and without exponent; beyond ``min_decimals`` decimals, trailing zeros are dropped."""
    integer_digits, _, fraction_digits = format(number.copy_abs(), "f").partition(".")
    fraction_digits = fraction_digits.rstrip("0").ljust(min_decimals, "0")
    sign = "-" if number < 0 else ""
    return sign + (integer_digits.lstrip("0") or "0") + ("." + fraction_digits if fraction_digits else "")


def count_significant_digits(number: Decimal) -> int:
    """Return how many digits are needed to write ``number``: 12.50 has three, 1200 has two."""
    return len(format_decimal(number).lstrip("-").replace(".", "").strip("0"))


def sum_exactly(amounts: Iterable[Decimal]) -> Decimal:
    """Return the exact sum, without rounding, whatever the caller's decimal context."""
    total = Decimal(0)
    for amount in amounts:
        total = _EXACT_CONTEXT.add(total, amount)
    return total
