"""Find silent sources: sources and suppliers with no new document for much longer than is usual for them."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb

from invoices.documents.outcomes import sanitise_for_display
from transforms.loading.release import get_published_database_path


@dataclass(frozen=True, slots=True)
class SilentSource:
    """A source or supplier that is silent for unusually long; pauses are in whole days."""

    kind: str
    name: str
    last_on: dt.date
    usual_pause_days: int

    def to_json(self) -> dict[str, object]:
        """Return the fields as values for JSON."""
        return asdict(self) | {"last_on": self.last_on.isoformat()}

    def __str__(self) -> str:
        usual_interval = "every day" if self.usual_pause_days <= 1 else f"every {self.usual_pause_days} days"
        name = sanitise_for_display(self.name)
        return f"{self.kind} {name!r}: last document on {self.last_on}, usually one {usual_interval}"


def query_silent_sources(warehouse_directory: Path, today: dt.date, pause_factor: float) -> list[SilentSource]:
    """Return, from the published warehouse, who is silent for more than ``pause_factor`` times the usual pause."""
    if not get_published_database_path(warehouse_directory).exists():
        return []
    with duckdb.connect(get_published_database_path(warehouse_directory), read_only=True) as connection:
        if not connection.execute("from duckdb_tables() where table_name = 'arrival_rhythm'").fetchall():
            return []  # published by an earlier version
        rows = connection.execute(
            "select kind, coalesce(name, key), last_on, usual_pause_day_count from marts.arrival_rhythm "
            "where usual_pause_day_count is not null "
            "and date_diff('day', last_on, $1::date) > $2::double * greatest(usual_pause_day_count, 1) order by all",
            [today, pause_factor],
        ).fetchall()
    return [SilentSource(*row) for row in rows]
