"""How a ledger of an earlier version becomes one of this version, all in the transaction that opens it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from sqlalchemy import Boolean, Connection, Integer, String, column, insert, select, table, text

from invoices.ledger.columns import Instant
from invoices.ledger.tables import spending

SCHEMA_VERSION = "3"


def migrate(connection: Connection, version: str) -> str:
    """Bring a ledger of ``version`` as far as this program knows the way, and return the version it has then."""
    while version in _STEPS:
        version, step = _STEPS[version]
        step(connection)
    return version


def _from_1(connection: Connection) -> None:
    """Batches, runs, caps and prices came with version 2; what was charged before counts under the caps as well."""
    for statement in (
        "ALTER TABLE extractions ADD COLUMN batch_id VARCHAR(32)",
        "ALTER TABLE extractions ADD COLUMN run_id VARCHAR(80)",
        "ALTER TABLE extractions ADD COLUMN pages_reserved INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE extractions ADD COLUMN counted_on VARCHAR(10)",
        "ALTER TABLE extractions ADD COLUMN page_price_amount VARCHAR(40)",
        "ALTER TABLE extractions ADD COLUMN page_price_currency VARCHAR(3)",
        "UPDATE extractions SET pages_reserved = pages_charged",
        "CREATE INDEX ix_extractions_batch_id ON extractions (batch_id)",
    ):
        connection.execute(text(statement))
    asked = table(
        "extractions", column("extracted_by", String), column("requested_at", Instant),
        column("pages_charged", Integer), column("possible_double_charge", Boolean),
    )  # fmt: skip
    charged: Counter[tuple[str, str]] = Counter()
    for row in connection.execute(select(asked).where(asked.c.pages_charged > 0)):
        day = f"{row.requested_at:%Y-%m-%d}"  # in UTC
        for period in (f"day:{day}", f"month:{day[:7]}"):
            charged[row.extracted_by, period] += row.pages_charged * (2 if row.possible_double_charge else 1)
    spending.create(connection)
    for (vendor, period), pages in charged.items():
        connection.execute(insert(spending).values(vendor=vendor, period=period, pages=pages))


def _from_2(connection: Connection) -> None:
    """Mails came with version 3, in tables of their own; sightings tell what they were in."""
    for name, kind in (
        ("message_key", "VARCHAR(32)"), ("section", "VARCHAR(80)"), ("declared_type", "VARCHAR(120)"),
        ("original_sender", "VARCHAR"), ("left_out", "VARCHAR(60)"), ("entity", "VARCHAR"), ("cost_centre", "VARCHAR"),
    ):  # fmt: skip
        connection.execute(text(f"ALTER TABLE sightings ADD COLUMN {name} {kind}"))
    connection.execute(text("CREATE INDEX ix_sightings_message_key ON sightings (message_key)"))


_STEPS: Mapping[str, tuple[str, Callable[[Connection], None]]] = {
    "1": ("2", _from_1),
    "2": ("3", _from_2),
}  # from → (to, how)
