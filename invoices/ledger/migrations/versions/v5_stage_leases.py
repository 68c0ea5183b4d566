"""Version 5: leases of stages, attempts that have not ended, retries, what the vendor of receipts has, the ledger's id.

The keys of candidates have a table of their own. The revision that was loaded is no longer here: each warehouse has its
own, with the id of the ledger.
"""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import op

INSTANT = sa.DateTime(timezone=True)

revision = "5"
down_revision = "4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables and the column."""
    op.create_table(
        "stage_leases",
        sa.Column("stage", sa.String(20), primary_key=True),
        sa.Column("holder", sa.String(80), nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
    )
    op.create_table(
        "stage_attempts",
        sa.Column("document_sha256", sa.String(64), primary_key=True),
        sa.Column("stage", sa.String(20), primary_key=True),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("attempts_alone", sa.Integer, nullable=False, server_default="0"),
        sa.Column("document_count", sa.Integer, nullable=False, server_default="1"),
        sa.Column("started_at", INSTANT, nullable=False),
    )
    op.add_column("extractions", sa.Column("is_superseded", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("receipts", sa.Column("first_missed_at", INSTANT))
    op.add_column("receipts", sa.Column("refused_under", sa.String(64)))
    op.create_table(
        "remote_receipts",
        sa.Column("publisher", sa.String(40), primary_key=True),
        sa.Column("receipt_id", sa.String(60), primary_key=True),
        sa.Column("remote_id", sa.String(60), nullable=False),
        sa.Column("found_at", INSTANT, nullable=False),
    )
    _create_candidate_keys()
    notes = sa.table("notes", sa.column("name"), sa.column("value"))
    op.execute(notes.insert().values(name="ledger_id", value=uuid.uuid4().hex))
    op.execute("DELETE FROM counters WHERE name = 'loaded_revision'")


def _create_candidate_keys() -> None:
    """Move the keys of candidates into a table of their own; more keys than these come with the next validation."""
    op.create_table(
        "candidate_keys",
        sa.Column("invoice_id", sa.String(32), primary_key=True),
        sa.Column("key", sa.String(64), primary_key=True),
    )
    op.create_index("candidate_keys_by_key", "candidate_keys", ["key"])
    op.execute(
        "INSERT INTO candidate_keys (invoice_id, key) "
        "SELECT invoice_id, number_key FROM candidates WHERE number_key IS NOT NULL "
        "UNION SELECT invoice_id, content_key FROM candidates WHERE content_key IS NOT NULL"
    )
    for name in ("number_key", "content_key"):
        op.drop_index(f"ix_candidates_{name}", "candidates")
        op.drop_column("candidates", name)
    op.add_column("candidates", sa.Column("duplicate_of", sa.String(32)))
    op.create_index("ix_candidates_duplicate_of", "candidates", ["duplicate_of"])
