"""Exact arithmetic on amounts that are still texts, for totals that a format defines as a sum and does not state."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

_PLAIN_DECIMAL = re.compile(r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})")  # as xsd:decimal, bounded


def parse_plain_decimal(text: str | None) -> Decimal | None:
    """Return the value of a plain decimal, None for any other text and for None."""
    return Decimal(text) if text is not None and _PLAIN_DECIMAL.fullmatch(text) else None


def sum_decimal_texts(texts: Iterable[str | None]) -> str | None:
    """Return the exact sum of the stated texts; None if there are none, or one is not a plain decimal."""
    stated_texts = [text for text in texts if text is not None]
    values = [value for text in stated_texts if (value := parse_plain_decimal(text)) is not None]
    return format_plain_decimal(sum(values, Decimal(0))) if values and len(values) == len(stated_texts) else None


def subtract_decimal_texts(minuend: str | None, subtrahend: str | None) -> str | None:
    """Return the exact difference, the minuend itself if nothing is to be subtracted; None if one has no value."""
    if subtrahend is None:
        return minuend
    return sum_decimal_texts([minuend, negate_decimal_text(subtrahend)]) if minuend is not None else None


def negate_decimal_text(text: str | None) -> str | None:
    """Return a plain decimal with the opposite sign; any other text unchanged, so that nobody takes it for a value."""
    value = parse_plain_decimal(text)
    return text if value is None else format_plain_decimal(-value)


def convert_fraction_to_percent(text: str | None) -> str | None:
    """Return a fraction such as 0.160000 in percent (16); any other text unchanged."""
    value = parse_plain_decimal(text)
    if value is None:
        return text
    percent = format_plain_decimal(value * 100)
    return percent.rstrip("0").rstrip(".") if "." in percent else percent


def is_zero_text(text: str | None) -> bool:
    """Return whether the text is a plain decimal of the value 0."""
    return parse_plain_decimal(text) == 0


def format_plain_decimal(value: Decimal) -> str:
    """Return a decimal without an exponent; zero has no sign."""
    return format(abs(value) if value == 0 else value, "f")
