"""Version 4: plain names for columns, stages and the outcomes of mails, such as ``validate`` in place of ``judge``."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"
branch_labels = None
depends_on = None

# fmt: off
RENAMED_COLUMNS = (  # table, old name, new name
    ("candidates", "judged_at", "validated_at"),
    ("candidates", "judged_by", "decided_by"),
    ("claims", "until", "expires_at"),
    ("sightings", "left_out", "skip_reason_code"),
    ("messages", "left_out", "skipped_parts"),
)
REPLACED_VALUES = (  # table, column, old value, new value
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
# fmt: on
PENDING_MAIL_CONDITION = "action = 'pending' or outcome in ('waiting', 'too_large')"


def upgrade() -> None:
    """Rename the columns, replace the values, and have the next load rebuild the warehouse, which has the old names."""
    if op.get_bind().dialect.name == "postgresql":  # SQLite does not enforce the length of a text
        op.alter_column("documents", "stage", type_=sa.String(20))
    for table, old_name, new_name in RENAMED_COLUMNS:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old_name} TO {new_name}")
    for table, column, old_value, new_value in REPLACED_VALUES:
        target = sa.table(table, sa.column(column))
        op.execute(target.update().where(target.c[column] == old_value).values({column: new_value}))
    op.drop_index("messages_owed", "messages")
    op.create_index(
        "messages_pending",
        "messages",
        ["source_name", "folder", "uidvalidity", "uid", "action", "outcome", "byte_count"],
        sqlite_where=sa.text(PENDING_MAIL_CONDITION),
        postgresql_where=sa.text(PENDING_MAIL_CONDITION),
    )
    op.execute("UPDATE counters SET value = 0 WHERE name = 'loaded_revision'")
