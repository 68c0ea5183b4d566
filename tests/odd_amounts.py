"""Amounts as vendors may state them: in ten dialects, as odd JSON values, and off by some cents."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

DIALECTS: dict[str, Callable[[str], str]] = {  # from an amount like 1,250,000.50
    "en": lambda text: text,
    "de": lambda text: text.translate(str.maketrans(",.", ".,")),
    "fr": lambda text: text.replace(",", "\u202f").replace(".", ","),
    "ch": lambda text: text.replace(",", "’"),
    "se": lambda text: text.replace(",", "\xa0").replace(".", ",") + " kr",
    "plain": lambda text: text.replace(",", ""),
    "sign before": lambda text: "€ " + text,
    "code after": lambda text: text + " EUR",
    "dollars": lambda text: "US$" + text,
    "comma": lambda text: text.replace(",", "").replace(".", ","),
}
ODD_JSON_VALUES = [
    "NaN", "Infinity", "-Infinity", "1e400", "1e2", "-1E-7", "9" * 80, "0.1234567", "true", "false", "[]", "{}", "[1]",
    '{"amount": 1}', "[[1]]", '"NaN"', '"1e3"', '"twelve"', '"1,250"', '"1.250"', '"1..0"', '"0x10"', '"１２"',
    '"1 EUR 2"', '"--5"', '"(5"', '"99999999999999999999.99"',
]  # fmt: skip
BLANKS = ['""', '" "', '"\\u00a0"', '"\\ufeff"', '"\\t\\n"', '"\\u2003"', '"\\u200b"', "null"]
MISSING = "(missing)"
"""No JSON value: the field is left out."""
SHIFTS = [sign * Decimal(cents) / 100 for cents in range(1, 101) for sign in (1, -1)]
