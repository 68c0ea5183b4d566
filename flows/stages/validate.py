"""Validate: turn the answers into canonical candidates and check them against named rules; every outcome is a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import pyarrow as pa

from expectations.validation import CRITICAL_RULE_IDS, WARNING_RULE_IDS
from flows.bisect_batch import process_with_bisection
from flows.official_outcomes import build_official_outcomes, read_official_outcomes
from flows.validation_batches import (
    MAX_BYTES_PER_DOCUMENT,
    MAX_RECORDS_PER_DOCUMENT,
    iter_validation_batches,
    weigh_documents,
)
from flows.work_queue import count_waiting_documents
from invoices.app import App
from invoices.ledger.documents import DocumentState, PendingDocument, set_document_state
from invoices.ledger.extractions import AnswerWeight, StoredAnswer, list_latest_answers
from invoices.ledger.official_results import OfficialResult
from invoices.ledger.stage_attempts import record_stage_attempt, remove_stage_attempts
from invoices.ledger.validations import list_possible_duplicates
from invoices.run_report import RunReport
from transforms.candidate_batch import EXTRACTIONS_SCHEMA, iter_candidate_batches

PROGRESS_LABEL, UNIT = "Validating", "documents"
NO_TAX_IDS_REMARK = "No tax id of your own company is set (company.tax_ids): every invoice counts as an expense."
KILLED_REASON = (
    "The process that validated it was killed twice while it worked on this document alone, probably because memory "
    "ran out. See how much memory the program may use; then: invoices retry"
)

Batch = list[PendingDocument]


def count_pending(app: App) -> int | None:
    """Return how many documents are answered and not validated."""
    return count_waiting_documents(app, "validate")


def iter_pending_batches(app: App, _report: RunReport) -> Iterator[Batch]:
    """Yield the answered documents that are not validated, in batches by weight and by earlier attempts."""
    return iter_validation_batches(app)


def process_batch(app: App, batch: Batch, report: RunReport) -> None:
    """Build the candidates, validate them, and record verdicts, findings and the state of each document.

    A document that cannot be validated is quarantined, and the rest of its batch is validated. So is a document whose
    validation has killed its process twice; one with too many invoices and lines goes to review.

    Raises:
        ContractError: nothing in the batch can be validated, so the documents are not the cause.
    """
    if not app.settings.company.tax_ids and NO_TAX_IDS_REMARK not in report.remarks:
        report.remarks.append(NO_TAX_IDS_REMARK)
    with _track_attempt(app, _set_aside_documents(app, batch, report)) as document_hashes:
        with app.ledger.open_snapshot() as connection:
            stored_answers = list_latest_answers(connection, document_hashes)
        official_results = read_official_outcomes(app, stored_answers)
        for answer, error in process_with_bisection(
            stored_answers, partial(_validate_answers, app, report, official_results)
        ):
            reason = f"The extracted data cannot be validated: {error}"
            _set_aside(app, report, answer.document_sha256, "quarantined", "cannot_be_validated", reason)
    report.advance_progress(len(batch))


def format_too_heavy(weight: AnswerWeight) -> str:
    """Return why an answer is too heavy to be validated."""
    return (
        f"The extracted data has about {weight.record_count:,} invoices, lines and other records in "
        f"{weight.byte_count:,} bytes; a document may have {MAX_RECORDS_PER_DOCUMENT:,} in {MAX_BYTES_PER_DOCUMENT:,}. "
        "Nothing of it was booked: ask the sender to split it."
    )


def _set_aside_documents(app: App, batch: Batch, report: RunReport) -> list[str]:
    """End the documents that are not to be validated; return the hashes of the others."""
    remaining: list[str] = []
    for weighed in weigh_documents(app, batch):
        document_sha256 = weighed.document.document_sha256
        if weighed.is_too_heavy:
            _set_aside(app, report, document_sha256, "review", "too_many_records", format_too_heavy(weighed.weight))
        elif weighed.has_killed_alone:
            _set_aside(app, report, document_sha256, "quarantined", "validation_killed", KILLED_REASON)
        else:
            remaining.append(document_sha256)
    return remaining


def _set_aside(
    app: App, report: RunReport, document_sha256: str, state: DocumentState, reason_code: str, reason: str
) -> None:
    with app.begin_leased_transaction("validate") as tx:
        set_document_state(tx, document_sha256, stage="done", state=state, reason_code=reason_code, reason=reason)
        remove_stage_attempts(tx, "validate", [document_sha256])
    report.problems.append(f"document {document_sha256[:12]}: {reason}")


@contextmanager
def _track_attempt(app: App, document_hashes: list[str]) -> Iterator[list[str]]:
    """Record that the work on these documents begins, and remove that at its end; what remains was killed."""
    if document_hashes:
        with app.begin_leased_transaction("validate") as tx:
            record_stage_attempt(tx, "validate", document_hashes)
    try:
        yield document_hashes
    except MemoryError:
        raise  # the attempt stays: the next run takes smaller batches
    except BaseException:
        with app.ledger.begin_log_transaction() as tx:
            remove_stage_attempts(tx, "validate", document_hashes)
        raise


def _validate_answers(
    app: App, report: RunReport, official_results: Sequence[OfficialResult], stored_answers: Sequence[StoredAnswer]
) -> None:
    from expectations.validation import validate_candidates
    from flows.verdict_recorder import build_validated_slice, record_validated_slices

    def read_known_keys(keys: Iterable[str]) -> list[Mapping[str, Any]]:
        with app.ledger.open_snapshot() as connection:
            return list_possible_duplicates(connection, keys)

    candidate_batches = iter_candidate_batches(
        pa.Table.from_pylist([asdict(answer) for answer in stored_answers], schema=EXTRACTIONS_SCHEMA),
        read_known_keys,
        app.settings.company.tax_ids,
        CRITICAL_RULE_IDS,
        app.ledger.now(),
        WARNING_RULE_IDS,
        official=build_official_outcomes(official_results, {answer.document_sha256 for answer in stored_answers}),
    )
    slices = [build_validated_slice(batch, validate_candidates(batch)) for batch in candidate_batches]
    with app.begin_leased_transaction("validate") as tx:
        report.verdicts += record_validated_slices(tx, slices)
        remove_stage_attempts(tx, "validate", [answer.document_sha256 for answer in stored_answers])
