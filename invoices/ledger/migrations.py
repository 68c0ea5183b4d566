"""How a ledger of an earlier version becomes one of this version: statements, all in the transaction that opens it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, text

SCHEMA_VERSION = "2"

_STEPS: Mapping[str, tuple[str, Sequence[str]]] = {  # from → (to, statements that SQLite and PostgreSQL both know)
    "1": (
        "2",
        (
            "ALTER TABLE extractions ADD COLUMN batch_id VARCHAR(32)",
            "ALTER TABLE extractions ADD COLUMN run_id VARCHAR(80)",
            "ALTER TABLE extractions ADD COLUMN pages_reserved INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE extractions ADD COLUMN counted_on VARCHAR(10)",
            "ALTER TABLE extractions ADD COLUMN page_price_amount VARCHAR(40)",
            "ALTER TABLE extractions ADD COLUMN page_price_currency VARCHAR(3)",
            "CREATE INDEX ix_extractions_batch_id ON extractions (batch_id)",
        ),
    ),
}


def migrate(connection: Connection, version: str) -> str:
    """Bring a ledger of ``version`` as far as this program knows the way, and return the version it has then."""
    while version in _STEPS:
        version, statements = _STEPS[version]
        for statement in statements:
            connection.execute(text(statement))
    return version
