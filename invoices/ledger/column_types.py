"""Column types for instants and texts that behave the same on SQLite and PostgreSQL."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from sqlalchemy import DateTime, Dialect, String, TypeDecorator


class UtcDateTime(TypeDecorator[dt.datetime]):
    """An aware UTC instant; SQLite has no time zones and stores it as naive UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """Return the instant in UTC, naive for SQLite; raises ValueError for a naive instant, which is a bug."""
        utc = _convert_to_utc(value)
        return utc.replace(tzinfo=None) if utc and dialect.name == "sqlite" else utc

    def bind_processor(self, dialect: Dialect) -> Callable[[dt.datetime | None], Any]:
        """Return the function that converts an instant, in one call instead of SQLAlchemy's three."""
        return _format_for_sqlite if dialect.name == "sqlite" else _convert_to_utc

    def process_result_value(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:  # noqa: ARG002  SQLAlchemy's signature
        """Return the instant as an aware UTC datetime."""
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


class SanitisedText(TypeDecorator[str]):
    """A text in which U+FFFD replaces what a database refuses: NUL and lone surrogates.

    Texts compared with such a column are converted in the same way, so stored texts are found again.
    """

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002  SQLAlchemy's signature
        """Return the text as it can be stored."""
        return _replace_unstorable_characters(value)

    def bind_processor(self, dialect: Dialect) -> Callable[[str | None], str | None]:  # noqa: ARG002  as above
        """Return the function that converts a text, in one call instead of SQLAlchemy's two."""
        return _replace_unstorable_characters


def _convert_to_utc(value: dt.datetime | None) -> dt.datetime | None:
    if value is not None and value.tzinfo is None:
        raise ValueError(f"the ledger needs an instant with a time zone, not the naive instant {value!r}")
    return value.astimezone(dt.UTC) if value is not None and value.tzinfo is not dt.UTC else value


def _format_for_sqlite(value: dt.datetime | None) -> str | None:
    """Return the instant as SQLAlchemy stores it in SQLite: ``2026-08-01 10:00:00.000000``, in UTC."""
    utc = _convert_to_utc(value)
    return utc.replace(tzinfo=None).isoformat(" ", "microseconds") if utc else None


def _replace_unstorable_characters(value: str | None) -> str | None:
    if value is None or (value.isascii() and "\0" not in value):
        return value
    return value.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
