"""Local extraction: e-invoices are read at no cost, before any document is submitted to a paid extractor."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from invoices.documents.containers.opened_container import Flag
from invoices.documents.document_reader_pool import DocumentReaderPool, DocumentReading, Outcome
from invoices.documents.malware_scanner import MalwareScanner
from invoices.documents.outcomes import build_reading
from invoices.documents.store import DocumentStore
from invoices.ledger import Ledger, Transaction
from invoices.ledger.documents import DocumentState, PendingDocument, set_document_state
from invoices.ledger.extractions import record_free_answer
from invoices.ledger.flags import record_flags
from invoices.ledger.sightings import filter_mail_body_documents
from invoices.model import compute_extraction_id

EXTRACTOR = "einvoice"
CONFIGURATION = "1"  # raised when the payload's shape changes
DOCUMENTS_PER_TRANSACTION = 100
STATE_BY_OUTCOME: Mapping[Outcome, DocumentState] = {
    "not_invoice": "not_invoice",
    "review": "review",
    "unreadable": "quarantined",
}
TEXT_REASON_CODES = {
    "unsupported_type",
    "other_xml",
    "malformed_xml",
    "encoding_mismatch",
}  # an HTML fragment may get any of them


def extract_documents_locally(
    ledger: Ledger,
    store: DocumentStore,
    readers: DocumentReaderPool,
    documents: Sequence[PendingDocument],
    on_progress: Callable[[int], None] = lambda _: None,
    scanner: MalwareScanner | None = None,
) -> Counter[str]:
    """Read documents in restricted processes and record the next stage of each; return the number per outcome.

    ``on_progress`` receives the number of documents just recorded. A document in which ``scanner`` finds malware is
    never opened.

    Raises:
        TransientError: the scanner does not work; no document is read.
    """
    outcome_counts: Counter[str] = Counter()
    unwritten: list[tuple[PendingDocument, DocumentReading]] = []
    infected_readings = (
        {} if scanner is None else scanner.find_infected_files(store.get_path(d.document_sha256) for d in documents)
    )
    clean_paths = (path for d in documents if (path := store.get_path(d.document_sha256)) not in infected_readings)
    readings = readers.read_in_order(clean_paths)
    for document in documents:
        reading = infected_readings.get(store.get_path(document.document_sha256)) or next(readings)
        unwritten.append((document, reading))
        if len(unwritten) == DOCUMENTS_PER_TRANSACTION:
            outcome_counts += _record_readings(ledger, unwritten)
            on_progress(len(unwritten))
            unwritten = []
    outcome_counts += _record_readings(ledger, unwritten)
    on_progress(len(unwritten))
    return outcome_counts


def _record_readings(
    ledger: Ledger, document_readings: Sequence[tuple[PendingDocument, DocumentReading]]
) -> Counter[str]:
    outcome_counts: Counter[str] = Counter()
    with ledger.begin_transaction() as tx:
        for document, reading in _mark_mail_bodies(tx, document_readings):
            _record_reading(tx, document, reading)
            outcome_counts[reading.outcome] += 1
    return outcome_counts


def _mark_mail_bodies(
    tx: Transaction, document_readings: Sequence[tuple[PendingDocument, DocumentReading]]
) -> list[tuple[str, DocumentReading]]:
    """Return hashes with readings; mail bodies, which their bytes do not show, get the reading ``mail_body``."""
    text_hashes = [
        document.document_sha256 for document, reading in document_readings if reading.reason_code in TEXT_REASON_CODES
    ]
    mail_body_hashes = filter_mail_body_documents(tx.connection, text_hashes)
    classified: list[tuple[str, DocumentReading]] = []
    for document, reading in document_readings:
        if document.document_sha256 in mail_body_hashes:
            reading = replace(build_reading("mail_body", document.media_type), flags=reading.flags)
        classified.append((document.document_sha256, reading))
    return classified


def _record_reading(tx: Transaction, document_sha256: str, reading: DocumentReading) -> None:
    record_flags(tx, document_sha256, [Flag(*flag) for flag in reading.flags])
    set_state = partial(
        set_document_state, tx, document_sha256, media_type=reading.media_type, page_count=reading.page_count
    )
    if reading.outcome == "einvoice":
        einvoice_extraction_id = compute_extraction_id(document_sha256, EXTRACTOR, CONFIGURATION)
        record_free_answer(
            tx, einvoice_extraction_id, document_sha256, EXTRACTOR, json.dumps(reading.payload, ensure_ascii=False)
        )
        set_state(
            stage="validate", state="waiting", reason_code="read", reason="Read as an e-invoice; not validated yet."
        )
    elif reading.outcome == "needs_extraction":
        reason = reading.reason or "No structured data inside; it needs an extraction service."
        set_state(
            stage="extract_remote",
            state="waiting",
            reason_code=reading.reason_code or "needs_extraction",
            reason=reason,
        )
    else:
        reason = reading.reason or reading.outcome
        reason_code = reading.reason_code or reading.outcome
        set_state(stage="done", state=STATE_BY_OUTCOME[reading.outcome], reason_code=reason_code, reason=reason)
