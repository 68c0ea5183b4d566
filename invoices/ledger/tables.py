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

from invoices.ledger.columns import Instant, Words

metadata = MetaData()


def _revision() -> Column[int]:
    return Column("revision", BigInteger, nullable=False, index=True)


def _where(condition: str) -> dict[str, Any]:
    """Return a partial index's condition; SQLite uses it only for a query that has the same condition as text."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


counters = Table(
    "counters", metadata, Column("name", Words(40), primary_key=True), Column("value", BigInteger, nullable=False)
)

notes = Table("notes", metadata, Column("name", Words(40), primary_key=True), Column("value", Words(), nullable=False))

documents = Table(
    "documents",
    metadata,
    Column("document_sha256", Words(64), primary_key=True),
    Column("sequence", BigInteger, nullable=False, unique=True),
    Column("media_type", Words(120), nullable=False),
    Column("byte_count", BigInteger, nullable=False),
    Column("page_count", Integer),
    Column("first_seen_at", Instant, nullable=False),
    Column("stage", Words(10), nullable=False),  # what is next: read, ask, judge, done
    Column("state", Words(20), nullable=False),
    Column("reason_code", Words(60), nullable=False),
    Column("reason", Words(), nullable=False),
    Column("changed_at", Instant, nullable=False),
    _revision(),
)
IS_PENDING = "stage <> 'done'"
Index("documents_pending", documents.c.stage, documents.c.sequence, **_where(IS_PENDING))
Index("documents_by_state", documents.c.state, documents.c.reason_code)

sightings = Table(
    "sightings",
    metadata,
    Column("sighting_id", Words(32), primary_key=True),
    Column("document_sha256", Words(64), nullable=False, index=True),
    Column("source_name", Words(40), nullable=False),
    Column("source_kind", Words(20), nullable=False),
    Column("location", Words(), nullable=False),
    Column("file_name", Words()),
    Column("sender", Words()),
    Column("subject", Words()),
    Column("message_id", Words()),
    Column("received_at", Instant),
    Column("seen_at", Instant, nullable=False),
    Column("fingerprint", Words(80)),  # what tells without reading that the same place still shows the same bytes
    Column("message_key", Words(32), index=True),  # of the mail that it was in
    Column("section", Words(80)),  # where in the mail or archive
    Column("declared_type", Words(120)),
    Column("original_sender", Words()),  # of the forwarded mail that it was in
    Column("left_out", Words(60)),  # the reason code with which the source set it aside at once
    Column("entity", Words()),
    Column("cost_centre", Words()),
    _revision(),
)
Index("sightings_by_place", sightings.c.source_name, sightings.c.location)

messages = Table(
    "messages",
    metadata,
    Column("message_key", Words(32), primary_key=True),  # of source and place
    Column("source_name", Words(40), nullable=False),
    Column("folder", Words(), nullable=False),  # of the account; of a mail in a file, the file
    Column("uidvalidity", BigInteger),  # none of these two for a mail in a file
    Column("uid", BigInteger),
    Column("content_sha256", Words(64), index=True),  # of the whole mail as it came; none if it was not fetched
    Column("message_id", Words()),  # what follows is what the mail says of itself
    Column("sender", Words()),
    Column("reply_to", Words()),
    Column("subject", Words()),
    Column("received_at", Instant),
    Column("byte_count", BigInteger),
    Column("authentication", Words(200)),  # what our own servers found, or unknown
    Column("outcome", Words(12), nullable=False),  # taken, nothing, left, set_aside, too_large, waiting
    Column("reason", Words()),
    Column("document_count", Integer, nullable=False),
    Column("left_out", Words()),  # JSON: how many parts by reason code
    Column("fingerprint", Words(80)),  # of a mail in a file
    Column("action", Words(10), nullable=False),  # on the server: none, due, done, failed
    Column("acted_at", Instant),
    Column("seen_at", Instant, nullable=False),
    _revision(),
)
Index("messages_by_place", messages.c.source_name, messages.c.folder, messages.c.uidvalidity, messages.c.uid)
IS_OWED = "action = 'due' or outcome in ('waiting', 'too_large')"
Index(  # with all that is asked about them, or SQLite goes through every mail of the folder
    "messages_owed", messages.c.source_name, messages.c.folder, messages.c.uidvalidity, messages.c.uid,
    messages.c.action, messages.c.outcome, messages.c.byte_count, **_where(IS_OWED),
)  # fmt: skip

mail_folders = Table(
    "mail_folders",
    metadata,
    Column("source_name", Words(40), primary_key=True),
    Column("folder", Words(200), primary_key=True),
    Column("uidvalidity", BigInteger, nullable=False),
    Column("uid_next", BigInteger, nullable=False),  # every mail below it is in ``messages``
    Column("rules", Words(64), nullable=False),  # by which the mails below it were taken or left
)

source_visits = Table(
    "source_visits",
    metadata,
    Column("source_name", Words(40), primary_key=True),
    Column("visited_at", Instant, nullable=False),
    Column("succeeded_at", Instant),
    Column("problem", Words()),
)

extractions = Table(
    "extractions",
    metadata,
    Column("extraction_id", Words(32), primary_key=True),
    Column("document_sha256", Words(64), nullable=False, index=True),
    Column("extracted_by", Words(40), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("status", Words(12), nullable=False),  # intended, refused, unknown, submitted, answered, failed
    Column("remote_id", Words(200)),
    Column("payload", Words()),
    Column("message", Words()),
    Column("batch_id", Words(32), index=True),  # asked together with others: extraction_batches
    Column("run_id", Words(80)),  # the run whose cap it counts against
    Column("pages_reserved", Integer, nullable=False, server_default="0"),  # what it may cost while that is open
    Column("pages_charged", Integer, nullable=False),
    Column("counted_on", Words(10)),  # the day, UTC, against whose caps the pages count
    Column("page_price_amount", Words(40)),  # a decimal, as it was set when it was asked
    Column("page_price_currency", Words(3)),
    Column("possible_double_charge", Boolean, nullable=False),
    Column("requested_at", Instant, nullable=False),
    Column("submitted_at", Instant),
    Column("answered_at", Instant),
    _revision(),
)
Index("extractions_open", extractions.c.status, **_where("status in ('intended', 'unknown', 'submitted')"))

extraction_batches = Table(
    "extraction_batches",
    metadata,
    Column("batch_id", Words(32), primary_key=True),  # of its documents and the configuration
    Column("extracted_by", Words(40), nullable=False),
    Column("configuration", Words(80), nullable=False),  # what is asked; an open batch keeps it
    Column("session_generation", Integer, nullable=False),
    Column("generation", Integer, nullable=False),  # of the submission; raised only after one that has ended
    Column("status", Words(12), nullable=False),  # uploading, submitting, submitted, concluded
    Column("remote_id", Words(200)),
    Column("message", Words()),
    Column("document_count", Integer, nullable=False),
    Column("opened_at", Instant, nullable=False),  # the session of this generation
    Column("submitted_at", Instant),
    _revision(),
)

claims = Table(
    "claims",
    metadata,
    Column("document_sha256", Words(64), primary_key=True),
    Column("holder", Words(80), nullable=False, index=True),
    Column("until", Instant, nullable=False),
)

spending = Table(
    "spending",
    metadata,
    Column("vendor", Words(40), primary_key=True),
    Column("period", Words(100), primary_key=True),  # day:2026-11-21, month:2026-11, run:…
    Column("pages", BigInteger, nullable=False),  # charged, or reserved for what is open
)

candidates = Table(
    "candidates",
    metadata,
    Column("invoice_id", Words(32), primary_key=True),
    Column("document_sha256", Words(64), nullable=False, index=True),
    Column("ordinal", Integer, nullable=False),
    Column("verdict", Words(20), nullable=False),
    Column("number_key", Words(64), index=True),
    Column("content_key", Words(64), index=True),
    Column("invoice_number", Words()),
    Column("body", Words(), nullable=False),  # JSON: the candidate with its lines and taxes, decimals as strings
    Column("judged_at", Instant, nullable=False),
    Column("judged_by", Words(80), nullable=False),
    _revision(),
)

findings = Table(
    "findings",
    metadata,
    Column("finding_id", Words(32), primary_key=True),
    Column("invoice_id", Words(32), index=True),
    Column("document_sha256", Words(64), nullable=False, index=True),
    Column("rule_id", Words(60), nullable=False),
    Column("severity", Words(10), nullable=False),
    Column("message", Words(), nullable=False),
    Column("checked_at", Instant, nullable=False),
    _revision(),
)

receipts = Table(
    "receipts",
    metadata,
    Column("invoice_id", Words(32), primary_key=True),
    Column("publisher", Words(40), primary_key=True),
    Column("receipt_id", Words(60), nullable=False),
    Column("status", Words(12), nullable=False),  # pending, waiting, sending, held, published, failed
    Column("remote_id", Words(60)),
    Column("body_sha256", Words(64)),
    Column("reason_code", Words(60)),
    Column("reason", Words()),
    Column("first_sent_at", Instant),
    Column("published_at", Instant),
    Column("changed_at", Instant, nullable=False),
    _revision(),
)
IS_OPEN = "status in ('pending', 'waiting', 'sending')"
Index("receipts_open", receipts.c.status, **_where(IS_OPEN))

export_batches = Table(
    "export_batches",
    metadata,
    Column("batch_id", Words(40), primary_key=True),
    Column("status", Words(10), nullable=False),  # assigned, issued
    Column("created_at", Instant, nullable=False),
    Column("manifest_sha256", Words(64)),
    _revision(),
)

exported_invoices = Table(
    "exported_invoices",
    metadata,
    Column("invoice_id", Words(32), primary_key=True),
    Column("batch_id", Words(40), index=True),
    _revision(),
)
Index("exports_open", exported_invoices.c.invoice_id, **_where("batch_id is null"))
