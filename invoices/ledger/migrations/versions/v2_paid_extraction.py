"""Version 2: extraction batches, claims, spending and page prices; earlier charges count under the caps too."""

from __future__ import annotations

import datetime as dt
from collections import Counter

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables and columns for paid extraction by several workers."""
    op.create_table(
        "claims",
        sa.Column("document_sha256", sa.String(64), nullable=False),
        sa.Column("holder", sa.String(80), nullable=False),
        sa.Column("until", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("document_sha256"),
    )
    op.create_index("ix_claims_holder", "claims", ["holder"])
    op.create_table(
        "extraction_batches",
        sa.Column("batch_id", sa.String(32), nullable=False),
        sa.Column("extracted_by", sa.String(40), nullable=False),
        sa.Column("configuration", sa.String(80), nullable=False),
        sa.Column("session_generation", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("remote_id", sa.String(200), nullable=True),
        sa.Column("message", sa.String(), nullable=True),
        sa.Column("document_count", sa.Integer(), nullable=False),
        sa.Column("opened_at", INSTANT, nullable=False),
        sa.Column("submitted_at", INSTANT, nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id"),
    )
    op.create_index("ix_extraction_batches_revision", "extraction_batches", ["revision"])
    op.create_table(
        "spending",
        sa.Column("vendor", sa.String(40), nullable=False),
        sa.Column("period", sa.String(100), nullable=False),
        sa.Column("pages", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("vendor", "period"),
    )
    op.add_column("extractions", sa.Column("batch_id", sa.String(32), nullable=True))
    op.add_column("extractions", sa.Column("run_id", sa.String(80), nullable=True))
    op.add_column("extractions", sa.Column("pages_reserved", sa.Integer(), server_default="0", nullable=False))
    op.add_column("extractions", sa.Column("counted_on", sa.String(10), nullable=True))
    op.add_column("extractions", sa.Column("page_price_amount", sa.String(40), nullable=True))
    op.add_column("extractions", sa.Column("page_price_currency", sa.String(3), nullable=True))
    op.create_index("ix_extractions_batch_id", "extractions", ["batch_id"])
    op.execute("UPDATE extractions SET pages_reserved = pages_charged")
    count_charges_of_version_1()


def count_charges_of_version_1() -> None:
    """Count each page charged so far for its UTC day and month; twice where a double charge is possible."""
    extractions = sa.table(
        "extractions", sa.column("extracted_by", sa.String), sa.column("requested_at", INSTANT),
        sa.column("pages_charged", sa.Integer), sa.column("possible_double_charge", sa.Boolean),
    )  # fmt: skip
    spending = sa.table("spending", *(sa.column(name) for name in ("vendor", "period", "pages")))
    pages_by_period: Counter[tuple[str, str]] = Counter()
    for row in op.get_bind().execute(sa.select(extractions).where(extractions.c.pages_charged > 0)):
        requested_at = row.requested_at.astimezone(dt.UTC) if row.requested_at.tzinfo else row.requested_at
        day = f"{requested_at:%Y-%m-%d}"
        for period in (f"day:{day}", f"month:{day[:7]}"):
            pages_by_period[row.extracted_by, period] += row.pages_charged * (2 if row.possible_double_charge else 1)
    rows = [{"vendor": vendor, "period": period, "pages": pages} for (vendor, period), pages in pages_by_period.items()]
    op.bulk_insert(spending, rows)
