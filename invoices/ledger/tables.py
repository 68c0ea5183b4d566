"""The ledger's tables. ``revision`` is the number of the transaction that last wrote a row."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, Table, false, text

from invoices.ledger.column_types import SanitisedText, UtcDateTime

metadata = MetaData()


def _build_revision_column() -> Column[int]:
    return Column("revision", BigInteger, nullable=False, index=True)


def _build_partial_index_options(condition: str) -> dict[str, Any]:
    """Return the options of a partial index; SQLite uses it only for queries with the same condition as text."""
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
    Column("stage", SanitisedText(20), nullable=False),  # the next one: extract_local, extract_remote, validate, done
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
    Column("fingerprint", SanitisedText(80)),  # shows without reading whether the location has the same bytes
    Column("message_key", SanitisedText(32), index=True),  # of the mail that contained it
    Column("section", SanitisedText(80)),  # position in the mail or archive
    Column("declared_type", SanitisedText(120)),
    Column("original_sender", SanitisedText()),  # of the forwarded mail that contained it
    Column("skip_reason_code", SanitisedText(60)),  # why the source skipped it; none for a document
    Column("entity", SanitisedText()),
    Column("cost_centre", SanitisedText()),
    Column("embedded_in", SanitisedText(64)),  # the e-invoice that it came out of
    _build_revision_column(),
)
Index("sightings_by_place", sightings.c.source_name, sightings.c.location)

messages = Table(
    "messages",
    metadata,
    Column("message_key", SanitisedText(32), primary_key=True),  # of the source and the location
    Column("source_name", SanitisedText(40), nullable=False),
    Column("folder", SanitisedText(), nullable=False),  # of the account; for a mail in a file, the path of the file
    Column("uidvalidity", BigInteger),  # this and uid are null for a mail in a file
    Column("uid", BigInteger),
    Column("content_sha256", SanitisedText(64), index=True),  # of the whole mail; null if not fetched
    Column("message_id", SanitisedText()),  # from here to received_at: as stated in the mail
    Column("sender", SanitisedText()),
    Column("reply_to", SanitisedText()),
    Column("subject", SanitisedText()),
    Column("received_at", UtcDateTime),
    Column("byte_count", BigInteger),
    Column("authentication", SanitisedText(200)),  # the result of our own servers, or unknown
    # outcome: collected, no_documents, skipped, quarantined, too_large, waiting
    Column("outcome", SanitisedText(12), nullable=False),
    Column("reason", SanitisedText()),
    Column("document_count", Integer, nullable=False),
    Column("skipped_parts", SanitisedText()),  # JSON: number of parts by reason code
    Column("fingerprint", SanitisedText(80)),  # of a mail in a file
    Column("action", SanitisedText(10), nullable=False),  # on the server: none, pending, done, failed
    Column("acted_at", UtcDateTime),
    Column("seen_at", UtcDateTime, nullable=False),
    _build_revision_column(),
)
Index("messages_by_place", messages.c.source_name, messages.c.folder, messages.c.uidvalidity, messages.c.uid)
PENDING_MAIL_CONDITION = "action = 'pending' or outcome in ('waiting', 'too_large')"
Index(  # has every column of the queries, or SQLite would read every mail of the folder
    "messages_pending", messages.c.source_name, messages.c.folder, messages.c.uidvalidity, messages.c.uid,
    messages.c.action, messages.c.outcome, messages.c.byte_count,
    **_build_partial_index_options(PENDING_MAIL_CONDITION),
)  # fmt: skip

mail_folders = Table(
    "mail_folders",
    metadata,
    Column("source_name", SanitisedText(40), primary_key=True),
    Column("folder", SanitisedText(200), primary_key=True),
    Column("uidvalidity", BigInteger, nullable=False),
    Column("uid_next", BigInteger, nullable=False),  # every mail below it is in messages
    Column("rules", SanitisedText(64), nullable=False),  # digest of the mail rules that decided about them
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
    Column("batch_id", SanitisedText(32), index=True),  # of extraction_batches, if it is in a batch
    Column("run_id", SanitisedText(80)),  # the run under whose cap it counts
    Column("pages_reserved", Integer, nullable=False, server_default="0"),  # what may be charged while the job is open
    Column("pages_charged", Integer, nullable=False),
    Column("counted_on", SanitisedText(10)),  # the UTC day under whose caps the pages count
    Column("page_price_amount", SanitisedText(40)),  # a decimal, as set at the time of the request
    Column("page_price_currency", SanitisedText(3)),
    Column("possible_double_charge", Boolean, nullable=False),
    Column("is_superseded", Boolean, nullable=False, server_default=false()),  # failed or free, and retried
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

Index(  # the latest answers of a vendor, without reading all
    "extractions_answered", extractions.c.extracted_by, extractions.c.answered_at,
    **_build_partial_index_options("status = 'answered'"),
)  # fmt: skip

extraction_batches = Table(
    "extraction_batches",
    metadata,
    Column("batch_id", SanitisedText(32), primary_key=True),  # derived from its documents and the configuration
    Column("extracted_by", SanitisedText(40), nullable=False),
    Column("configuration", SanitisedText(80), nullable=False),  # of the request; an open batch keeps it
    Column("session_generation", Integer, nullable=False),
    Column("generation", Integer, nullable=False),  # of the submission; incremented only after one that has ended
    Column("status", SanitisedText(12), nullable=False),  # uploading, submitting, submitted, concluded
    Column("remote_id", SanitisedText(200)),
    Column("message", SanitisedText()),
    Column("document_count", Integer, nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),  # the upload session of this generation
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

stage_leases = Table(  # at most one worker on this ledger works on a stage that acts outside
    "stage_leases",
    metadata,
    Column("stage", SanitisedText(20), primary_key=True),
    Column("holder", SanitisedText(80), nullable=False),
    Column("token", BigInteger, nullable=False),  # incremented by each holder; an earlier token records nothing
    Column("expires_at", UtcDateTime, nullable=False),
)

stage_attempts = Table(  # begun and not ended: what is here when a process starts has ended an earlier one, or runs
    "stage_attempts",
    metadata,
    Column("document_sha256", SanitisedText(64), primary_key=True),
    Column("stage", SanitisedText(20), primary_key=True),
    Column("attempts", Integer, nullable=False),
    Column("attempts_alone", Integer, nullable=False, server_default="0"),  # of these, with no other document
    Column("document_count", Integer, nullable=False, server_default="1"),  # in the batch of the last attempt
    Column("started_at", UtcDateTime, nullable=False),
)

spending = Table(
    "spending",
    metadata,
    Column("vendor", SanitisedText(40), primary_key=True),
    Column("period", SanitisedText(100), primary_key=True),  # day:2026-11-21, month:2026-11, run:…
    Column("pages", BigInteger, nullable=False),  # charged, or reserved for open jobs
)

candidates = Table(
    "candidates",
    metadata,
    Column("invoice_id", SanitisedText(32), primary_key=True),
    Column("document_sha256", SanitisedText(64), nullable=False, index=True),
    Column("ordinal", Integer, nullable=False),
    Column("verdict", SanitisedText(20), nullable=False),
    Column("invoice_number", SanitisedText()),
    Column("duplicate_of", SanitisedText(32), index=True),  # the other candidate that a finding about duplicates names
    Column("body", SanitisedText(), nullable=False),  # JSON: candidate, lines and taxes, decimals as strings
    Column("validated_at", UtcDateTime, nullable=False),
    Column("decided_by", SanitisedText(80), nullable=False),
    _build_revision_column(),
)

candidate_keys = Table(  # by which a candidate is found when it arrives again in other bytes
    "candidate_keys",
    metadata,
    Column("invoice_id", SanitisedText(32), primary_key=True),
    Column("key", SanitisedText(64), primary_key=True),
)
Index("candidate_keys_by_key", candidate_keys.c.key)

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

official_results = Table(
    "official_results",
    metadata,
    Column("document_sha256", SanitisedText(64), primary_key=True),
    Column("rule_set", SanitisedText(40), primary_key=True),  # empty: none is for this document
    Column("rule_set_version", SanitisedText(40), primary_key=True),
    Column("standard", SanitisedText(40), nullable=False),
    Column("table_version", SanitisedText(16), nullable=False),  # of the table by which the rule set was chosen
    Column("status", SanitisedText(20), nullable=False),  # valid, invalid, not_applicable, not_run
    Column("reason", SanitisedText(), nullable=False),
    Column("failed_rules", SanitisedText(), nullable=False),  # JSON: a list of failed rules per invoice
    Column("checked_at", UtcDateTime, nullable=False),
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
    Column("first_missed_at", UtcDateTime),  # by the vendor's clock: the first look since then that did not find it
    Column("refused_under", SanitisedText(64)),  # SHA-256 of the settings with which the vendor refused it
    Column("published_at", UtcDateTime),
    Column("changed_at", UtcDateTime, nullable=False),
    _build_revision_column(),
)
UNPUBLISHED_RECEIPT_CONDITION = "status in ('pending', 'waiting', 'sending')"
Index("receipts_open", receipts.c.status, **_build_partial_index_options(UNPUBLISHED_RECEIPT_CONDITION))

remote_receipts = (
    Table(  # receipts of ours that the vendor has and this ledger did not publish: it is older, or not alone
        "remote_receipts",
        metadata,
        Column("publisher", SanitisedText(40), primary_key=True),
        Column("receipt_id", SanitisedText(60), primary_key=True),
        Column("remote_id", SanitisedText(60), nullable=False),
        Column("found_at", UtcDateTime, nullable=False),
    )
)

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
