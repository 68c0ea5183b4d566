"""Version 3: tables for mails, mail folders and visits to sources; a sighting names the mail that it was in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables and columns for mailboxes."""
    op.create_table(
        "mail_folders",
        sa.Column("source_name", sa.String(40), nullable=False),
        sa.Column("folder", sa.String(200), nullable=False),
        sa.Column("uidvalidity", sa.BigInteger(), nullable=False),
        sa.Column("uid_next", sa.BigInteger(), nullable=False),
        sa.Column("rules", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("source_name", "folder"),
    )
    op.create_table(
        "messages",
        sa.Column("message_key", sa.String(32), nullable=False),
        sa.Column("source_name", sa.String(40), nullable=False),
        sa.Column("folder", sa.String(), nullable=False),
        sa.Column("uidvalidity", sa.BigInteger(), nullable=True),
        sa.Column("uid", sa.BigInteger(), nullable=True),
        sa.Column("content_sha256", sa.String(64), nullable=True),
        sa.Column("message_id", sa.String(), nullable=True),
        sa.Column("sender", sa.String(), nullable=True),
        sa.Column("reply_to", sa.String(), nullable=True),
        sa.Column("subject", sa.String(), nullable=True),
        sa.Column("received_at", INSTANT, nullable=True),
        sa.Column("byte_count", sa.BigInteger(), nullable=True),
        sa.Column("authentication", sa.String(200), nullable=True),
        sa.Column("outcome", sa.String(12), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("document_count", sa.Integer(), nullable=False),
        sa.Column("left_out", sa.String(), nullable=True),
        sa.Column("fingerprint", sa.String(80), nullable=True),
        sa.Column("action", sa.String(10), nullable=False),
        sa.Column("acted_at", INSTANT, nullable=True),
        sa.Column("seen_at", INSTANT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("message_key"),
    )
    op.create_index("ix_messages_content_sha256", "messages", ["content_sha256"])
    op.create_index("ix_messages_revision", "messages", ["revision"])
    op.create_index("messages_by_place", "messages", ["source_name", "folder", "uidvalidity", "uid"])
    op.create_index(
        "messages_owed",
        "messages",
        ["source_name", "folder", "uidvalidity", "uid", "action", "outcome", "byte_count"],
        sqlite_where=sa.text("action = 'due' or outcome in ('waiting', 'too_large')"),
        postgresql_where=sa.text("action = 'due' or outcome in ('waiting', 'too_large')"),
    )
    op.create_table(
        "source_visits",
        sa.Column("source_name", sa.String(40), nullable=False),
        sa.Column("visited_at", INSTANT, nullable=False),
        sa.Column("succeeded_at", INSTANT, nullable=True),
        sa.Column("problem", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("source_name"),
    )
    op.add_column("sightings", sa.Column("message_key", sa.String(32), nullable=True))
    op.add_column("sightings", sa.Column("section", sa.String(80), nullable=True))
    op.add_column("sightings", sa.Column("declared_type", sa.String(120), nullable=True))
    op.add_column("sightings", sa.Column("original_sender", sa.String(), nullable=True))
    op.add_column("sightings", sa.Column("left_out", sa.String(60), nullable=True))
    op.add_column("sightings", sa.Column("entity", sa.String(), nullable=True))
    op.add_column("sightings", sa.Column("cost_centre", sa.String(), nullable=True))
    op.create_index("ix_sightings_message_key", "sightings", ["message_key"])
