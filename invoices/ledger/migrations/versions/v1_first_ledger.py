"""Version 1: documents, sightings, extractions, candidates, findings, receipts and export batches."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables of the first ledger."""
    op.create_table(
        "candidates",
        sa.Column("invoice_id", sa.String(32), nullable=False),
        sa.Column("document_sha256", sa.String(64), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.String(20), nullable=False),
        sa.Column("number_key", sa.String(64), nullable=True),
        sa.Column("content_key", sa.String(64), nullable=True),
        sa.Column("invoice_number", sa.Text(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("judged_at", INSTANT, nullable=False),
        sa.Column("judged_by", sa.String(80), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("invoice_id"),
    )
    op.create_index("ix_candidates_content_key", "candidates", ["content_key"])
    op.create_index("ix_candidates_document_sha256", "candidates", ["document_sha256"])
    op.create_index("ix_candidates_number_key", "candidates", ["number_key"])
    op.create_index("ix_candidates_revision", "candidates", ["revision"])
    op.create_table(
        "counters",
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "documents",
        sa.Column("document_sha256", sa.String(64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.String(120), nullable=False),
        sa.Column("byte_count", sa.BigInteger(), nullable=False),
        sa.Column("page_count", sa.Integer(), nullable=True),
        sa.Column("first_seen_at", INSTANT, nullable=False),
        sa.Column("stage", sa.String(10), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("reason_code", sa.String(60), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("changed_at", INSTANT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("document_sha256"),
        sa.UniqueConstraint("sequence"),
    )
    op.create_index("documents_by_state", "documents", ["state", "reason_code"])
    op.create_index(
        "documents_pending",
        "documents",
        ["stage", "sequence"],
        sqlite_where=sa.text("stage <> 'done'"),
        postgresql_where=sa.text("stage <> 'done'"),
    )
    op.create_index("ix_documents_revision", "documents", ["revision"])
    op.create_table(
        "export_batches",
        sa.Column("batch_id", sa.String(40), nullable=False),
        sa.Column("status", sa.String(10), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("manifest_sha256", sa.String(64), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id"),
    )
    op.create_index("ix_export_batches_revision", "export_batches", ["revision"])
    op.create_table(
        "exported_invoices",
        sa.Column("invoice_id", sa.String(32), nullable=False),
        sa.Column("batch_id", sa.String(40), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("invoice_id"),
    )
    op.create_index(
        "exports_open",
        "exported_invoices",
        ["invoice_id"],
        sqlite_where=sa.text("batch_id is null"),
        postgresql_where=sa.text("batch_id is null"),
    )
    op.create_index("ix_exported_invoices_batch_id", "exported_invoices", ["batch_id"])
    op.create_index("ix_exported_invoices_revision", "exported_invoices", ["revision"])
    op.create_table(
        "extractions",
        sa.Column("extraction_id", sa.String(32), nullable=False),
        sa.Column("document_sha256", sa.String(64), nullable=False),
        sa.Column("extracted_by", sa.String(40), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("remote_id", sa.String(200), nullable=True),
        sa.Column("payload", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("pages_charged", sa.Integer(), nullable=False),
        sa.Column("possible_double_charge", sa.Boolean(), nullable=False),
        sa.Column("requested_at", INSTANT, nullable=False),
        sa.Column("submitted_at", INSTANT, nullable=True),
        sa.Column("answered_at", INSTANT, nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("extraction_id"),
    )
    op.create_index(
        "extractions_open",
        "extractions",
        ["status"],
        sqlite_where=sa.text("status in ('intended', 'unknown', 'submitted')"),
        postgresql_where=sa.text("status in ('intended', 'unknown', 'submitted')"),
    )
    op.create_index("ix_extractions_document_sha256", "extractions", ["document_sha256"])
    op.create_index("ix_extractions_revision", "extractions", ["revision"])
    op.create_table(
        "findings",
        sa.Column("finding_id", sa.String(32), nullable=False),
        sa.Column("invoice_id", sa.String(32), nullable=True),
        sa.Column("document_sha256", sa.String(64), nullable=False),
        sa.Column("rule_id", sa.String(60), nullable=False),
        sa.Column("severity", sa.String(10), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("checked_at", INSTANT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("finding_id"),
    )
    op.create_index("ix_findings_document_sha256", "findings", ["document_sha256"])
    op.create_index("ix_findings_invoice_id", "findings", ["invoice_id"])
    op.create_index("ix_findings_revision", "findings", ["revision"])
    op.create_table(
        "notes",
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "receipts",
        sa.Column("invoice_id", sa.String(32), nullable=False),
        sa.Column("publisher", sa.String(40), nullable=False),
        sa.Column("receipt_id", sa.String(60), nullable=False),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("remote_id", sa.String(60), nullable=True),
        sa.Column("body_sha256", sa.String(64), nullable=True),
        sa.Column("reason_code", sa.String(60), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("first_sent_at", INSTANT, nullable=True),
        sa.Column("published_at", INSTANT, nullable=True),
        sa.Column("changed_at", INSTANT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("invoice_id", "publisher"),
    )
    op.create_index("ix_receipts_revision", "receipts", ["revision"])
    op.create_index(
        "receipts_open",
        "receipts",
        ["status"],
        sqlite_where=sa.text("status in ('pending', 'waiting', 'sending')"),
        postgresql_where=sa.text("status in ('pending', 'waiting', 'sending')"),
    )
    op.create_table(
        "sightings",
        sa.Column("sighting_id", sa.String(32), nullable=False),
        sa.Column("document_sha256", sa.String(64), nullable=False),
        sa.Column("source_name", sa.String(40), nullable=False),
        sa.Column("source_kind", sa.String(20), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=True),
        sa.Column("sender", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=True),
        sa.Column("received_at", INSTANT, nullable=True),
        sa.Column("seen_at", INSTANT, nullable=False),
        sa.Column("fingerprint", sa.String(80), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sighting_id"),
    )
    op.create_index("ix_sightings_document_sha256", "sightings", ["document_sha256"])
    op.create_index("ix_sightings_revision", "sightings", ["revision"])
    op.create_index("sightings_by_place", "sightings", ["source_name", "location"])
