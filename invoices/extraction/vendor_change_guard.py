"""Stops asking a vendor whose answers lack fields that they used to have, before more pages are paid for."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol

from invoices.extraction.extraction_recorder import ExtractionRecorder
from invoices.extraction.resilience.field_drift import PILOT_DOCUMENTS, FieldDriftDetector
from invoices.extraction.resilience.retry import VendorSuspended
from invoices.ledger import Ledger
from invoices.ledger.documents import PendingDocument
from invoices.ledger.extractions import ExtractionJob
from invoices.ledger.vendor_changes import (
    MissingField,
    list_answers_about,
    list_recent_answers,
    read_vendor_changes,
    record_missing_fields,
)

AssignedDocument = tuple[PendingDocument, Sequence[ExtractionJob]]  # with its earlier jobs
_MAX_NAMED_FIELDS = 3
_CLOCK_GRANULARITY = dt.timedelta(milliseconds=50)


class GuardedExtractor(Protocol):
    """Extracts documents with one vendor."""

    recorder: ExtractionRecorder

    def extract_documents(self, documents: Sequence[PendingDocument], on_progress: Callable[[int], None]) -> None:
        """Extract the documents; raise VendorSuspended when the vendor must not be called again in this run."""
        ...


class VendorChangeGuard:
    """Compares the answers of a run with each vendor's earlier ones; the first documents of a run are a pilot."""

    def __init__(self, ledger: Ledger) -> None:
        """Keep the ledger; earlier answers are read when a vendor is first asked."""
        self._ledger = ledger
        self._detectors: dict[str, FieldDriftDetector] = {}
        self._first_asked_at: dict[str, dt.datetime] = {}

    def extract_documents(
        self, extractor: GuardedExtractor, assigned: Sequence[AssignedDocument], on_progress: Callable[[int], None]
    ) -> None:
        """Extract the documents, a few first where earlier answers exist to compare theirs with.

        Documents that were submitted before are paid for, so their answers are fetched in any case.

        Raises:
            VendorSuspended: fields are missing that used to be there, or the vendor must not be called for other
                reasons. The documents that were not submitted wait.
        """
        name = extractor.recorder.extractor
        submitted = [document for document, jobs in assigned if _has_submitted_job(jobs, name)]
        submitted_hashes = {document.document_sha256 for document in submitted}
        remaining = [document for document, _ in assigned if document.document_sha256 not in submitted_hashes]
        with self._ledger.open_snapshot() as connection:
            known_missing_fields = read_vendor_changes(connection, name).missing_fields
        if known_missing_fields:
            if submitted:
                extractor.extract_documents(submitted, on_progress)
            if remaining:
                _suspend_vendor(extractor.recorder, remaining, known_missing_fields)
            return
        detector = self._get_detector(name)
        while submitted or remaining:
            size = PILOT_DOCUMENTS if detector.needs_pilot else len(remaining)
            wave, remaining, submitted = [*submitted, *remaining[:size]], remaining[size:], []
            extractor.extract_documents(wave, on_progress)
            self._compare_answers(extractor.recorder, detector, wave, remaining)

    def _get_detector(self, name: str) -> FieldDriftDetector:
        if name not in self._detectors:
            with self._ledger.open_snapshot() as connection:
                changes = read_vendor_changes(connection, name)
                earlier_answers = [
                    answer
                    for answer in list_recent_answers(connection, name)
                    if not any(start <= answer.answered_at <= end for start, end in changes.excluded_periods)
                ]
                self._detectors[name] = FieldDriftDetector(earlier_answers, changes.accepted_at)
                self._first_asked_at[name] = dt.datetime.now(dt.UTC) - _CLOCK_GRANULARITY
        return self._detectors[name]

    def _compare_answers(
        self,
        recorder: ExtractionRecorder,
        detector: FieldDriftDetector,
        documents: Sequence[PendingDocument],
        remaining: Sequence[PendingDocument],
    ) -> None:
        since = self._first_asked_at[recorder.extractor]
        hashes = [document.document_sha256 for document in documents]
        with self._ledger.open_snapshot() as connection:
            detector.add_answers(list_answers_about(connection, recorder.extractor, hashes, since))
        missing_fields = detector.list_missing_fields()
        if missing_fields:
            with self._ledger.begin_transaction() as tx:
                record_missing_fields(tx, recorder.extractor, missing_fields, since)
            _suspend_vendor(recorder, remaining, missing_fields)


def describe_missing_fields(vendor: str, name: str, missing_fields: Sequence[MissingField]) -> str:
    """Return in a sentence which fields of a vendor's answers are missing, and what to do."""
    fields = "; ".join(map(str, missing_fields[:_MAX_NAMED_FIELDS]))
    if len(missing_fields) > _MAX_NAMED_FIELDS:
        fields += f"; and {len(missing_fields) - _MAX_NAMED_FIELDS} more fields"
    return (
        f"{vendor} answers differently: {fields}. It is not asked until you decide (runbook 3, step 5): "
        f"invoices extraction accept-change {name}"
    )


def _suspend_vendor(
    recorder: ExtractionRecorder, documents: Sequence[PendingDocument], missing_fields: Sequence[MissingField]
) -> NoReturn:
    reason = describe_missing_fields(recorder.vendor, recorder.extractor, missing_fields)
    recorder.report.problems.append(reason)
    recorder.record_waiting_reason([document.document_sha256 for document in documents], "contract_changed", reason)
    raise VendorSuspended("contract_changed", reason, is_problem=True)


def _has_submitted_job(jobs: Sequence[ExtractionJob], name: str) -> bool:
    return any(job.extracted_by == name and job.status == "submitted" for job in jobs)
