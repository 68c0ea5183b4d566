"""The files inside an e-invoice as documents: scanned before the e-invoice is recorded, and never paid for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from invoices.documents.containers.opened_container import ContainerPart, Flag
from invoices.documents.containers.unpack_budget import MAX_EINVOICE_DEPTH
from invoices.documents.document_reader_pool import DocumentReading
from invoices.documents.embedded_threats import add_threats, build_threat
from invoices.documents.malware_scanner import MalwareScanner
from invoices.documents.outcomes import build_reading
from invoices.documents.store import DocumentStore
from invoices.ledger import Transaction
from invoices.ledger.documents import InitialState, filter_pending_documents, list_sighting_rows, set_document_state
from invoices.ledger.flags import record_flags
from invoices.ledger.sightings import (
    SUPPORTING_DOCUMENT_CODE,
    Sighting,
    count_embedding_levels,
    find_containing_einvoices,
    record_sightings,
)
from invoices.model import NOT_INVOICE_REASONS, compute_sighting_id
from invoices.model.locations import MAX_PART_LOCATION_BYTES, MAX_SECTION_BYTES, build_part_location, truncate_with_hash

MAX_RECORDED_LOCATIONS = 20  # of one e-invoice

# What a person must know about a file although an e-invoice beside it states the invoice.
_KEPT_REASON_CODES = frozenset({
    "malware", "malware_test", "executable", "active_content", "hostile_xml", "hostile_pdf", "archive_limits",
    "unsupported_einvoice", "conflicting_einvoices", "not_a_file", "altered", "reader_timeout", "reader_memory",
    "reader_crashed",
})  # fmt: skip
_COPIED_COLUMNS = (
    "source_name", "source_kind", "sender", "subject", "message_id", "received_at", "message_key", "original_sender",
    "entity", "cost_centre",
)  # fmt: skip


def scan_embedded_files(
    reading: DocumentReading, store: DocumentStore, scanner: MalwareScanner
) -> tuple[DocumentReading, str | None]:
    """Return the reading with what the scanner finds in its embedded files, and why it has to wait for the scanner."""
    if reading.embedded_files is None:
        return reading, None
    parts_by_path = {
        store.get_path(sha256): part
        for part, sha256 in zip(reading.embedded_files.parts, reading.embedded_files.part_hashes, strict=True)
    }
    scan = scanner.scan_files(parts_by_path)
    if scan.waiting_reasons:
        return reading, next(iter(scan.waiting_reasons.values()))
    threats = [
        build_threat(parts_by_path[path].file_name, "malware", infected_reading.reason)
        for path, infected_reading in scan.infected_readings.items()
    ]
    return add_threats(reading, threats), None


def record_embedded_documents(tx: Transaction, document_sha256: str, reading: DocumentReading) -> None:
    """Record the files inside an e-invoice as documents, with a sighting for each place where it was seen.

    At a depth of more than three e-invoices within each other, they get a flag instead.
    """
    container = reading.embedded_files
    if container is None:
        return
    levels = count_embedding_levels(tx.connection, document_sha256, MAX_EINVOICE_DEPTH)
    if levels >= MAX_EINVOICE_DEPTH:
        message = f"more than {MAX_EINVOICE_DEPTH} e-invoices within each other; what is inside was not taken out"
        record_flags(tx, document_sha256, [Flag("FILE-EMBEDDED", message)])
        return
    rows = list_sighting_rows(tx.connection, document_sha256)[:MAX_RECORDED_LOCATIONS]
    parts = list(zip(container.parts, container.part_hashes, container.byte_counts, strict=True))
    record_sightings(
        tx,
        [
            _build_sighting(row, document_sha256, part, sha256, byte_count)
            for row in rows
            for part, sha256, byte_count in parts
            if sha256 != document_sha256
        ],
    )
    _withdraw_from_paid_extraction(tx, container.part_hashes)


def mark_supporting_documents(
    tx: Transaction, readings: Iterable[tuple[str, DocumentReading]]
) -> list[tuple[str, DocumentReading]]:
    """Return hashes with readings; what only came inside e-invoices, and is none itself, is a supporting document."""
    readings = list(readings)
    containing_hashes = find_containing_einvoices(tx.connection, [sha256 for sha256, _ in readings])
    marked = []
    for sha256, reading in readings:
        is_kept = reading.outcome == "einvoice" or reading.reason_code in _KEPT_REASON_CODES
        if sha256 in containing_hashes and not is_kept:
            reason = _describe_supporting_document(containing_hashes[sha256], reading.reason)
            supporting = build_reading(SUPPORTING_DOCUMENT_CODE, reading.media_type, reason, reading.page_count)
            reading = replace(supporting, flags=reading.flags)
        marked.append((sha256, reading))
    return marked


def _describe_supporting_document(containing_sha256: str, detail: str | None = None) -> str:
    meaning = NOT_INVOICE_REASONS[SUPPORTING_DOCUMENT_CODE]
    return f"{meaning}: it came out of document {containing_sha256[:12]}" + (f" ({detail})" if detail else "")


def _withdraw_from_paid_extraction(tx: Transaction, document_hashes: Iterable[str]) -> None:
    """Settle files that wait for an extractor, because a restored ledger did not say where they came from."""
    waiting = {d.document_sha256 for d in filter_pending_documents(tx.connection, "extract_remote", document_hashes)}
    for sha256, containing_sha256 in find_containing_einvoices(tx.connection, waiting).items():
        set_document_state(
            tx, sha256, stage="done", state="not_invoice", reason_code=SUPPORTING_DOCUMENT_CODE,
            reason=_describe_supporting_document(containing_sha256),
        )  # fmt: skip


def _build_sighting(
    row: Mapping[str, Any], containing_sha256: str, part: ContainerPart, sha256: str, byte_count: int
) -> Sighting:
    """Return the sighting of one embedded file, at one place where its e-invoice was seen."""
    section, location = part.section, build_part_location(row["location"], part.section)
    if row["section"]:
        section = f"{row['section']}/{part.section}"
        location = truncate_with_hash(f"{row['location']}/{part.section}", MAX_PART_LOCATION_BYTES)
    return Sighting(
        sighting_id=compute_sighting_id(row["source_name"], location, sha256),
        document_sha256=sha256,
        media_type=part.media_type,
        byte_count=byte_count,
        location=location,
        file_name=part.file_name,
        section=truncate_with_hash(section, MAX_SECTION_BYTES),
        declared_type=part.declared_type or None,
        embedded_in=containing_sha256,
        settled=_build_settled_state(part.skip_reason_code),
        flags=list(part.flags),
        **{name: row[name] for name in _COPIED_COLUMNS},
    )


def _build_settled_state(skip_reason_code: str | None) -> InitialState | None:
    if skip_reason_code is None:
        return None
    return InitialState("not_invoice", skip_reason_code, NOT_INVOICE_REASONS[skip_reason_code])
