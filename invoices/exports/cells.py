"""What a cell may hold: text that no spreadsheet calculates, and numbers in plain notation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow

_LINE_END = re.compile(r"\r\n?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_OUTSIDE_XML = re.compile(r"[\ud800-\udfff\ufffe\uffff]")

# A cell begins at its first character; it also begins behind a semicolon, tab or line feed for a spreadsheet that
# separates by semicolons (Excel in most of Europe), because there a quote in the middle of a row protects nothing.
_CALCULATED = r"[' \xa0]*[=+\-@\uff1d\uff0b\uff0d\uff20]"
_BEGINS = rf"(?:\A(?=[']*[\t\n]|{_CALCULATED})|(?<=[;\t\n])(?={_CALCULATED}))"
_RESTORES = rf"(?:\A'(?=[']*[\t\n]|{_CALCULATED})|(?<=[;\t\n])'(?={_CALCULATED}))"
_BEGIN = re.compile(_BEGINS)
_RESTORE = re.compile(_RESTORES)

_EXACT = Context(prec=200, traps=[Inexact, InvalidOperation, Overflow])


def clean(text: str) -> str:
    """Return ``text`` without control characters; tabs and line feeds stay, any line end becomes one line feed."""
    return _OUTSIDE_XML.sub("\ufffd", _CONTROL.sub("", _LINE_END.sub("\n", text)))


def neutralise(text: str) -> str:
    """Return ``text`` with an apostrophe before whatever a spreadsheet would take for a formula (OWASP, CSV injection).

    That is ``= + - @`` and their full-width forms where a cell begins, and a tab or line feed at the very beginning.
    """
    return _BEGIN.sub("'", text)


def restore(text: str) -> str:
    """Return the text that ``neutralise`` was given."""
    return _RESTORE.sub("", text)


def plain(number: Decimal, digits: int = 0) -> str:
    """Return ``number`` exactly and without exponent: at least ``digits`` decimals, no further trailing zeros."""
    whole, _, fraction = format(number.copy_abs(), "f").partition(".")
    fraction = fraction.rstrip("0").ljust(digits, "0")
    sign = "-" if number < 0 else ""
    return sign + (whole.lstrip("0") or "0") + ("." + fraction if fraction else "")


def significant_digits(number: Decimal) -> int:
    """Return how many digits are needed to write ``number``: 12.50 has three, 1200 has two."""
    return len(plain(number).lstrip("-").replace(".", "").strip("0"))


def exact_sum(amounts: Iterable[Decimal]) -> Decimal:
    """Return the exact sum; nothing is rounded, whatever the caller's decimal context."""
    result = Decimal(0)
    for amount in amounts:
        result = _EXACT.add(result, amount)
    return result
