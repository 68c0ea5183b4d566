"""Counts as a person reads them: ``1 page``, ``12,345 pages``."""

from __future__ import annotations


def format_count(number: int, noun: str, plural: str | None = None) -> str:
    """Return the number with its noun; ``plural`` is needed where it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def format_unit_count(number: int, units: str) -> str:
    """Return the number with a unit that is given in the plural: ``1 batch``, ``12 batches``."""
    singular = units.removesuffix("es") if units.endswith("ches") else units.removesuffix("s")
    return format_count(number, singular, units)
