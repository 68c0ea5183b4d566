"""Version 6: which e-invoice a document came out of; the latest answers of a vendor are found by an index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "6"
down_revision = "5"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and the index."""
    op.add_column("sightings", sa.Column("embedded_in", sa.String(64)))
    answered = sa.text("status = 'answered'")
    op.create_index(
        "extractions_answered", "extractions", ["extracted_by", "answered_at"],
        sqlite_where=answered, postgresql_where=answered,
    )  # fmt: skip
