"""Version 7: what the official rules say about a document."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "7"
down_revision = "6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "official_results",
        sa.Column("document_sha256", sa.String(64), primary_key=True),
        sa.Column("rule_set", sa.String(40), primary_key=True),
        sa.Column("rule_set_version", sa.String(40), primary_key=True),
        sa.Column("standard", sa.String(40), nullable=False),
        sa.Column("table_version", sa.String(16), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("failed_rules", sa.Text, nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
    )
