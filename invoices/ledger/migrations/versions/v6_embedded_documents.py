"""Version 6: which e-invoice a document came out of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "6"
down_revision = "5"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("sightings", sa.Column("embedded_in", sa.String(64)))
