"""The ledger's tables. Every row carries the ``revision`` of the transaction that wrote it last."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    Table,
    text,
)

from invoices.ledger.column_types import SanitisedText, UtcDateTime

metadata = MetaData()


def _build_revision_column() -> Column[int]:
    return Column("revision", BigInteger, nullable=False, index=True)


def _build_partial_index_options(condition: str) -> dict[str, Any]:
    """Return a partial index's condition; SQLite uses it only for a query that has the same condition as text."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


counters = Table(
    "counters",
    metadata,
    Column("name", SanitisedText(40), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

notes = Table(
    "notes",
    metadata,
    Column("name", SanitisedText(40), primary_key=True),
    Column("value", SanitisedText(), nullable=False),
)

documents = Table(
    "documents",
    metadata,
    Column("document_sha256", SanitisedText(64), primary_key=True),
    Column("sequence", BigInteger, nullable=False, unique=True),
    Column("media_type", SanitisedText(120), nullable=False),
    Column("byte_count", BigInteger, nullable=False),
    Column("page_count", Integer),
    Column("first_seen_at", UtcDateTime, nullable=False),
    Column("stage", SanitisedText(20), nullable=False),  # what is next: extract_local, extract_remote, validate, done
    Column("state", SanitisedText(20), nullable=False),
    Column("reason_code", SanitisedText(60), nullable=False),
    Column("reason", SanitisedText(), nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
    _build_revision_column(),
)
PENDING_DOCUMENT_CONDITION = "stage <> 'done'"
Index(
    "documents_pending",
    documents.c.stage,
    documents.c.sequence,
    **_build_partial_index_options(PENDING_DOCUMENT_CONDITION),
)
Index("documents_by_state", documents.c.state, documents.c.reason_code)

sightings = Table(
    "sightings",
    metadata,
    Column("sighting_id", SanitisedText(32), primary_key=True),
    Column("document_sha256", SanitisedText(64), nullable=False, index=True),
    Column("source_name", SanitisedText(40), nullable=False),
    Column("source_kind", SanitisedText(20), nullable=False),
    Column("location", SanitisedText(), nullable=False),
    Column("file_name", SanitisedText()),
    Column("sender", SanitisedText()),
    Column("subject", SanitisedText()),
    Column("message_id", SanitisedText()),
    Column("received_at", UtcDateTime),
    Column("seen_at", UtcDateTime, nullable=False),
    Column(
        "fingerprint", SanitisedText(80)
    ),  # what tells without reading that the same place still shows the same bytes
    Column("message_key", SanitisedText(32), index=True),  # of the mail that it was in
    Column("section", SanitisedText(80)),  # where in the mail or archive
    Column("declared_type", SanitisedText(120)),
    Column("original_sender", SanitisedText()),  # of the forwarded mail that it was in
    Column("skip_reason_code", SanitisedText(60)),  # the reason code with which the source set it aside at once
    Column("entity", SanitisedText()),
    Column("cost_centre", SanitisedText()),
    _build_revision_column(),
)
Index("sightings_by_place", sightings.c.source_name, sightings.c.location)

messages = Table(
    "messages",
    metadata,
    Column("message_key", SanitisedText(32), primary_key=True),  # of source and place
    Column("source_name", SanitisedText(40), nullable=False),
    Column("folder", SanitisedText(), nullable=False),  # of the account; of a mail in a file, the file
    Column("uidvalidity", BigInteger),  # none of these two for a mail in a file
    Column("uid", BigInteger),
    Column("content_sha256", SanitisedText(64), index=True),  # of the whole mail as it came; none if it was not fetched
    Column("message_id", SanitisedText()),  # what follows is what the mail says of itself
    Column("sender", SanitisedText()),
    Column("reply_to", SanitisedText()),
    Column("subject", SanitisedText()),
    Column("received_at", UtcDateTime),
    Column("byte_count", BigInteger),
    Column("authentication", SanitisedText(200)),  # what our own servers found, or unknown
    Column(
        "outcome", SanitisedText(12), nullable=False
    ),  # collected, no_documents, skipped, quarantined, too_large, waiting
    Column("reason", SanitisedText()),
    Column("document_count", Integer, nullable=False),
    Column("skipped_parts", SanitisedText()),  # JSON: how many parts by reason code
    Column("fingerprint", SanitisedText(80)),  # of a mail in a file
    Column("action", SanitisedText(10), nullable=False),  # on the server: none, pending, done, failed
    Column("acted_at", UtcDateTime),
    Column("seen_at", UtcDateTime, nullable=False),
    _build_revision_column(),
)
Index("messages_by_place", messages.c.source_name, messages.c.folder, messages.c.uidvalidity, messages.c.uid)
PENDING_MAIL_CONDITION = "action = 'pending' or outcome in ('waiting', 'too_large')"
Index(  # with all that is asked about them, or SQLite goes through every mail of the folder
    "messages_pending", messages.c.source_name, messages.c.folder, messages.c.uidvalidity, messages.c.uid,
    messages.c.action, messages.c.outcome, messages.c.byte_count, **_build_partial_index_options(PENDING_MAIL_CONDITION),
)  # fmt: skip

mail_folders = Table(
    "mail_folders",
    metadata,
    Column("source_name", SanitisedText(40), primary_key=True),
    Column("folder", SanitisedText(200), primary_key=True),
    Column("uidvalidity", BigInteger, nullable=False),
    Column("uid_next", BigInteger, nullable=False),  # every mail below it is in ``messages``
    Column("rules", SanitisedText(64), nullable=False),  # by which the mails below it were taken or left
)

source_visits = Table(
    "source_visits",
    metadata,
    Column("source_name", SanitisedText(40), primary_key=True),
    Column("visited_at", UtcDateTime, nullable=False),
    Column("succeeded_at", UtcDateTime),
    Column("problem", SanitisedText()),
)

extractions = Table(
    "extractions",
    metadata,
    Column("extraction_id", SanitisedText(32), primary_key=True),
    Column("document_sha256", SanitisedText(64), nullable=False, index=True),
    Column("extracted_by", SanitisedText(40), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("status", SanitisedText(12), nullable=False),  # intended, refused, unknown, submitted, answered, failed
    Column("remote_id", SanitisedText(200)),
    Column("payload", SanitisedText()),
    Column("message", SanitisedText()),
    Column("batch_id", SanitisedText(32), index=True),  # asked together with others: extraction_batches
    Column("run_id", SanitisedText(80)),  # the run whose cap it counts against
    Column("pages_reserved", Integer, nullable=False, server_default="0"),  # what it may cost while that is open
    Column("pages_charged", Integer, nullable=False),
    Column("counted_on", SanitisedText(10)),  # the day, UTC, against whose caps the pages count
    Column("page_price_amount", SanitisedText(40)),  # a decimal, as it was set when it was asked
    Column("page_price_currency", SanitisedText(3)),
    Column("possible_double_charge", Boolean, nullable=False),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("submitted_at", UtcDateTime),
    Column("answered_at", UtcDateTime),
    _build_revision_column(),
)
Index(
    "extractions_open",
    extractions.c.status,
    **_build_partial_index_options("status in ('intended', 'unknown', 'submitted')"),
)

extraction_batches = Table(
    "extraction_batches",
    metadata,
    Column("batch_id", SanitisedText(32), primary_key=True),  # of its documents and the configuration
    Column("extracted_by", SanitisedText(40), nullable=False),
    Column("configuration", SanitisedText(80), nullable=False),  # what is asked; an open batch keeps it
    Column("session_generation", Integer, nullable=False),
    Column("generation", Integer, nullable=False),  # of the submission; raised only after one that has ended
    Column("status", SanitisedText(12), nullable=False),  # uploading, submitting, submitted, concluded
    Column("remote_id", SanitisedText(200)),
    Column("message", SanitisedText()),
    Column("document_count", Integer, nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),  # the session of this generation
    Column("submitted_at", UtcDateTime),
    _build_revision_column(),
)

claims = Table(
    "claims",
    metadata,
    Column("document_sha256", SanitisedText(64), primary_key=True),
    Column("holder", SanitisedText(80), nullable=False, index=True),
    Column("expires_at", UtcDateTime, nullable=False),
)

spending = Table(
    "spending",
    metadata,
    Column("vendor", SanitisedText(40), primary_key=True),
    Column("period", SanitisedText(100), primary_key=True),  # day:2026-11-21, month:2026-11, run:…
    Column("pages", BigInteger, nullable=False),  # charged, or reserved for what is open
)

candidates = Table(
    "candidates",
    metadata,
    Column("invoice_id", SanitisedText(32), primary_key=True),
    Column("document_sha256", SanitisedText(64), nullable=False, index=True),
    Column("ordinal", Integer, nullable=False),
    Column("verdict", SanitisedText(20), nullable=False),
    Column("number_key", SanitisedText(64), index=True),
    Column("content_key", SanitisedText(64), index=True),
    Column("invoice_number", SanitisedText()),
    Column(
        "body", SanitisedText(), nullable=False
    ),  # JSON: the candidate with its lines and taxes, decimals as strings
    Column("validated_at", UtcDateTime, nullable=False),
    Column("decided_by", SanitisedText(80), nullable=False),
    _build_revision_column(),
)

findings = Table(
    "findings",
    metadata,
    Column("finding_id", SanitisedText(32), primary_key=True),
    Column("invoice_id", SanitisedText(32), index=True),
    Column("document_sha256", SanitisedText(64), nullable=False, index=True),
    Column("rule_id", SanitisedText(60), nullable=False),
    Column("severity", SanitisedText(10), nullable=False),
    Column("message", SanitisedText(), nullable=False),
    Column("checked_at", UtcDateTime, nullable=False),
    _build_revision_column(),
)

receipts = Table(
    "receipts",
    metadata,
    Column("invoice_id", SanitisedText(32), primary_key=True),
    Column("publisher", SanitisedText(40), primary_key=True),
    Column("receipt_id", SanitisedText(60), nullable=False),
    Column("status", SanitisedText(12), nullable=False),  # pending, waiting, sending, held, published, failed
    Column("remote_id", SanitisedText(60)),
    Column("body_sha256", SanitisedText(64)),
    Column("reason_code", SanitisedText(60)),
    Column("reason", SanitisedText()),
    Column("first_sent_at", UtcDateTime),
    Column("published_at", UtcDateTime),
    Column("changed_at", UtcDateTime, nullable=False),
    _build_revision_column(),
)
UNPUBLISHED_RECEIPT_CONDITION = "status in ('pending', 'waiting', 'sending')"
Index("receipts_open", receipts.c.status, **_build_partial_index_options(UNPUBLISHED_RECEIPT_CONDITION))

export_batches = Table(
    "export_batches",
    metadata,
    Column("batch_id", SanitisedText(40), primary_key=True),
    Column("status", SanitisedText(10), nullable=False),  # assigned, issued
    Column("created_at", UtcDateTime, nullable=False),
    Column("manifest_sha256", SanitisedText(64)),
    _build_revision_column(),
)

exported_invoices = Table(
    "exported_invoices",
    metadata,
    Column("invoice_id", SanitisedText(32), primary_key=True),
    Column("batch_id", SanitisedText(40), index=True),
    _build_revision_column(),
)
Index("exports_open", exported_invoices.c.invoice_id, **_build_partial_index_options("batch_id is null"))
