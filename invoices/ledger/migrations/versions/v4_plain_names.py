"""Plain names: ``validate`` for ``judge``, one word for each outcome of a mail, and columns named for what they hold."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"
branch_labels = None
depends_on = None

COLUMNS = (
    ("candidates", "judged_at", "validated_at"),
    ("candidates", "judged_by", "decided_by"),
    ("claims", "until", "expires_at"),
    ("sightings", "left_out", "skip_reason_code"),
    ("messages", "left_out", "skipped_parts"),
)
VALUES = (
    ("documents", "stage", "read", "extract_local"),
    ("documents", "stage", "ask", "extract_remote"),
    ("documents", "stage", "judge", "validate"),
    ("documents", "reason_code", "cannot_be_judged", "cannot_be_validated"),
    ("messages", "outcome", "taken", "collected"),
    ("messages", "outcome", "nothing", "no_documents"),
    ("messages", "outcome", "left", "skipped"),
    ("messages", "outcome", "set_aside", "quarantined"),
    ("messages", "action", "due", "pending"),
)
IS_PENDING = "action = 'pending' or outcome in ('waiting', 'too_large')"


def upgrade() -> None:
    """Rename columns and values, and have the next load rebuild the warehouse, whose columns change their names too."""
    if op.get_bind().dialect.name == "postgresql":  # SQLite keeps texts of any length in any column
        op.alter_column("documents", "stage", type_=sa.String(20))
    for table, old, new in COLUMNS:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
    for table, column, old, new in VALUES:
        values = sa.table(table, sa.column(column))
        op.execute(values.update().where(values.c[column] == old).values({column: new}))
    op.drop_index("messages_owed", "messages")
    op.create_index(
        "messages_pending", "messages",
        ["source_name", "folder", "uidvalidity", "uid", "action", "outcome", "byte_count"],
        sqlite_where=sa.text(IS_PENDING), postgresql_where=sa.text(IS_PENDING),
    )  # fmt: skip
    op.execute("UPDATE counters SET value = 0 WHERE name = 'loaded_revision'")
