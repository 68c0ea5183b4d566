"""Local extraction: e-invoices are read at no cost, before any document is submitted to a paid extractor."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial

from invoices.documents.containers.opened_container import Flag
from invoices.documents.content_sniffing import UNKNOWN_TYPE
from invoices.documents.document_reader_pool import DocumentReaderPool, DocumentReading, Outcome
from invoices.documents.malware_scanner import MalwareScanner, ScanResult
from invoices.documents.official_rules.results import RuleRun
from invoices.documents.official_rules.rule_checker_pool import RuleCheckerPool
from invoices.documents.official_rules.rule_sets import compute_table_version
from invoices.documents.outcomes import RETRIED_REASON_CODES, build_reading
from invoices.documents.store import DocumentStore
from invoices.extraction.embedded_documents import (
    mark_supporting_documents,
    record_embedded_documents,
    scan_embedded_files,
)
from invoices.extraction.official_checks import list_lasting_results, submit_check
from invoices.ledger import Ledger, Transaction
from invoices.ledger.documents import DocumentState, PendingDocument, set_document_state
from invoices.ledger.extractions import record_free_answer
from invoices.ledger.flags import record_flags
from invoices.ledger.official_results import OfficialResult, record_official_results
from invoices.ledger.sightings import filter_mail_body_documents
from invoices.ledger.stage_attempts import list_stage_attempts, record_stage_attempt, remove_stage_attempts
from invoices.model import compute_extraction_id

EXTRACTOR = "einvoice"
CONFIGURATION = "1"  # raised when the payload's shape changes
DOCUMENTS_PER_TRANSACTION = 100
MAX_UNWRITTEN_BYTES = 16 * 1024 * 1024  # of documents whose readings are in memory
STATE_BY_OUTCOME: Mapping[Outcome, DocumentState] = {
    "not_invoice": "not_invoice",
    "review": "review",
    "unreadable": "quarantined",
}
NOT_SCANNED_CODE = "not_scanned"
TEXT_REASON_CODES = {
    "unsupported_type",
    "other_xml",
    "malformed_xml",
    "encoding_mismatch",
}  # an HTML fragment may get any of them


@dataclass(slots=True)
class LocalExtractionResult:
    """The number of documents per outcome, and why some of them wait, by hash."""

    outcome_counts: Counter[str] = field(default_factory=Counter)
    unscanned_reasons: dict[str, str] = field(default_factory=dict)  # the malware scanner failed
    retry_reasons: dict[str, str] = field(default_factory=dict)  # the reader was stopped or crashed for the first time


def extract_documents_locally(
    ledger: Ledger,
    store: DocumentStore,
    readers: DocumentReaderPool,
    documents: Sequence[PendingDocument],
    on_progress: Callable[[int], None] = lambda _: None,
    scanner: MalwareScanner | None = None,
    rule_checkers: RuleCheckerPool | None = None,
) -> LocalExtractionResult:
    """Read documents in restricted processes and record the next stage of each.

    ``on_progress`` receives the number of documents just recorded. A document in which ``scanner`` finds malware is
    never opened; one at which the scanner fails waits. A document whose reader was stopped or crashed waits, too, for
    one more attempt in a later run; only if that fails it is quarantined. While the next documents are read,
    ``rule_checkers`` checks the e-invoices against the official rules; the results are recorded with the readings.
    """
    result = LocalExtractionResult()
    scan = scanner.scan_files([store.get_path(d.document_sha256) for d in documents]) if scanner else ScanResult()
    result.unscanned_reasons = {
        document.document_sha256: scan.waiting_reasons[path]
        for document in documents
        if (path := store.get_path(document.document_sha256)) in scan.waiting_reasons
    }
    scanned_documents = [d for d in documents if d.document_sha256 not in result.unscanned_reasons]
    clean_hashes = [
        document.document_sha256
        for document in scanned_documents
        if store.get_path(document.document_sha256) not in scan.infected_readings
    ]
    with store.open_batch() as store_batch:
        readings = readers.read_in_order(map(store.get_path, clean_hashes), clean_hashes, store_batch)
        unwritten: list[tuple[PendingDocument, DocumentReading]] = []
        checks: dict[str, Future[list[RuleRun]]] = {}
        unwritten_bytes = 0
        for document in scanned_documents:
            reading = scan.infected_readings.get(store.get_path(document.document_sha256)) or next(readings)
            if reading.media_type == UNKNOWN_TYPE:  # it was not opened to its end; the source has detected its type
                reading = replace(reading, media_type=document.media_type)
            unwritten.append((document, reading))
            if rule_checkers and reading.outcome == "einvoice" and reading.payload:
                path, syntax = store.get_path(document.document_sha256), reading.payload["syntax"]
                checks[document.document_sha256] = submit_check(rule_checkers, path, document.document_sha256, syntax)
            unwritten_bytes += document.byte_count
            if len(unwritten) == DOCUMENTS_PER_TRANSACTION or unwritten_bytes > MAX_UNWRITTEN_BYTES:
                store_batch.flush()
                official_results = _collect_official_results(rule_checkers, checks)
                scanned = _scan_embedded_files(unwritten, store, scanner, result)
                _record_readings(ledger, scanned, result, official_results)
                on_progress(len(unwritten))
                unwritten, unwritten_bytes, checks = [], 0, {}
        store_batch.flush()
        official_results = _collect_official_results(rule_checkers, checks)
        _record_readings(ledger, _scan_embedded_files(unwritten, store, scanner, result), result, official_results)
        on_progress(len(unwritten))
    _record_unscanned(ledger, result)
    return result


def _scan_embedded_files(
    document_readings: Sequence[tuple[PendingDocument, DocumentReading]],
    store: DocumentStore,
    scanner: MalwareScanner | None,
    result: LocalExtractionResult,
) -> list[tuple[PendingDocument, DocumentReading]]:
    """Return the readings with what the scanner finds in embedded files; those that wait for it are in ``result``."""
    if scanner is None:
        return list(document_readings)
    scanned = []
    for document, reading in document_readings:
        scanned_reading, waiting_reason = scan_embedded_files(reading, store, scanner)
        if waiting_reason is None:
            scanned.append((document, scanned_reading))
        else:
            result.unscanned_reasons[document.document_sha256] = waiting_reason
    return scanned


def _collect_official_results(
    rule_checkers: RuleCheckerPool | None, checks: Mapping[str, Future[list[RuleRun]]]
) -> list[OfficialResult]:
    """Return the results of the checks that were begun, once all of them have ended."""
    if rule_checkers is None:
        return []
    table_version = compute_table_version(rule_checkers.rule_sets)
    return [
        result
        for document_sha256, future in checks.items()
        for result in list_lasting_results(document_sha256, future.result(), table_version)
    ]


def _record_unscanned(ledger: Ledger, result: LocalExtractionResult) -> None:
    if not result.unscanned_reasons:
        return
    with ledger.begin_transaction() as tx:
        for document_sha256, reason in result.unscanned_reasons.items():
            _record_waiting(tx, document_sha256, NOT_SCANNED_CODE, reason)
            result.outcome_counts["waiting"] += 1


def _record_readings(
    ledger: Ledger,
    document_readings: Sequence[tuple[PendingDocument, DocumentReading]],
    result: LocalExtractionResult,
    official_results: Sequence[OfficialResult],
) -> None:
    with ledger.begin_transaction() as tx:
        hashes = [document.document_sha256 for document, _ in document_readings]
        attempted_hashes = {a.document_sha256 for a in list_stage_attempts(tx.connection, "extract_local", hashes)}
        for document_sha256, reading in mark_supporting_documents(tx, _mark_mail_bodies(tx, document_readings)):
            if reading.reason_code in RETRIED_REASON_CODES and document_sha256 not in attempted_hashes:
                record_stage_attempt(tx, "extract_local", [document_sha256])
                reason = f"{reading.reason}; the next run tries once more"
                _record_waiting(tx, document_sha256, reading.reason_code, reason)
                result.retry_reasons[document_sha256] = reason
                result.outcome_counts["waiting"] += 1
            else:
                _record_reading(tx, document_sha256, reading)
                result.outcome_counts[reading.outcome] += 1
        record_official_results(tx, official_results)
        remove_stage_attempts(tx, "extract_local", attempted_hashes)


def _record_waiting(tx: Transaction, document_sha256: str, reason_code: str, reason: str) -> None:
    set_document_state(
        tx, document_sha256, stage="extract_local", state="waiting", reason_code=reason_code, reason=reason
    )


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
    record_embedded_documents(tx, document_sha256, reading)
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
