"""How the ledger keeps instants and texts, the same on every database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from sqlalchemy import DateTime, Dialect, String, TypeDecorator


class UtcDateTime(TypeDecorator[dt.datetime]):
    """An aware UTC instant; SQLite, which knows no zones, keeps it as naive UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """Return UTC, naive where the database knows no zones; a naive instant is a bug and raises ValueError."""
        utc = _convert_to_utc(value)
        return utc.replace(tzinfo=None) if utc and dialect.name == "sqlite" else utc

    def bind_processor(self, dialect: Dialect) -> Callable[[dt.datetime | None], Any]:
        """Return what makes a value of an instant, in one call where SQLAlchemy would take three."""
        return _format_for_sqlite if dialect.name == "sqlite" else _convert_to_utc

    def process_result_value(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:  # noqa: ARG002  SQLAlchemy's signature
        """Return the instant with its zone, UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


class SanitisedText(TypeDecorator[str]):
    """A text, with U+FFFD for what a database refuses and others send us: NUL, and half a character.

    A comparison with such a column finds what was kept, for the same is done to what is looked for.
    """

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002  SQLAlchemy's signature
        """Return the text as it can be kept."""
        return _replace_unstorable_characters(value)

    def bind_processor(self, dialect: Dialect) -> Callable[[str | None], str | None]:  # noqa: ARG002  as above
        """Return what makes a value of a text, in one call where SQLAlchemy would take two."""
        return _replace_unstorable_characters


def _convert_to_utc(value: dt.datetime | None) -> dt.datetime | None:
    if value is not None and value.tzinfo is None:
        raise ValueError(f"a naive instant reached the ledger: {value!r}")
    return value.astimezone(dt.UTC) if value is not None and value.tzinfo is not dt.UTC else value


def _format_for_sqlite(value: dt.datetime | None) -> str | None:
    """Return UTC as SQLAlchemy keeps it in SQLite: ``2026-08-01 10:00:00.000000``."""
    utc = _convert_to_utc(value)
    return utc.replace(tzinfo=None).isoformat(" ", "microseconds") if utc else None


def _replace_unstorable_characters(value: str | None) -> str | None:
    if value is None or (value.isascii() and "\0" not in value):
        return value
    return value.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
