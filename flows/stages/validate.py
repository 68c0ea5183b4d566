"""Validate: turn the answers into canonical candidates and check them against named rules; every outcome is a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import pyarrow as pa

from expectations.validation import CRITICAL_RULE_IDS
from flows.bisect_batch import process_with_bisection
from flows.work_queue import count_waiting_documents, iter_waiting_batches
from invoices.app import App
from invoices.ledger.documents import PendingDocument, set_document_state
from invoices.ledger.extractions import StoredAnswer, list_latest_answers
from invoices.ledger.validations import list_possible_duplicates
from invoices.run_report import RunReport
from transforms.candidate_batch import EXTRACTIONS_SCHEMA, build_candidate_batch

PROGRESS_LABEL, UNIT = "Validating", "documents"
NO_TAX_IDS_REMARK = "No tax id of your own company is set (company.tax_ids): every invoice counts as an expense."

Batch = list[PendingDocument]


def count_pending(app: App) -> int | None:
    """Return how many documents are answered and not validated."""
    return count_waiting_documents(app, "validate")


def iter_pending_batches(app: App, _report: RunReport) -> Iterator[Batch]:
    """Yield the answered documents that are not validated."""
    return iter_waiting_batches(app, "validate")


def process_batch(app: App, batch: Batch, report: RunReport) -> None:
    """Build the candidates, validate them, and record verdicts, findings and the state of each document.

    A document that cannot be validated is quarantined, and the rest of its batch is validated.

    Raises:
        ContractError: nothing in the batch can be validated, so the documents are not the cause.
    """
    if not app.settings.company.tax_ids and NO_TAX_IDS_REMARK not in report.remarks:
        report.remarks.append(NO_TAX_IDS_REMARK)
    with app.ledger.open_snapshot() as connection:
        stored_answers = list_latest_answers(connection, [document.document_sha256 for document in batch])
    for answer, error in process_with_bisection(stored_answers, partial(_validate_answers, app, report)):
        reason = f"The extracted data cannot be validated: {error}"
        with app.begin_leased_transaction("validate") as tx:
            set_document_state(
                tx,
                answer.document_sha256,
                stage="done",
                state="quarantined",
                reason_code="cannot_be_validated",
                reason=reason,
            )
        report.problems.append(f"document {answer.document_sha256[:12]}: {reason}")
    report.advance_progress(len(batch))


def _validate_answers(app: App, report: RunReport, stored_answers: Sequence[StoredAnswer]) -> None:
    from expectations.validation import validate_candidates
    from flows.verdict_recorder import record_verdicts

    def read_known_keys(number_keys: Iterable[str], content_keys: Iterable[str]) -> list[Mapping[str, Any]]:
        with app.ledger.open_snapshot() as connection:
            return list_possible_duplicates(connection, number_keys, content_keys)

    candidate_batch = build_candidate_batch(
        pa.Table.from_pylist([asdict(answer) for answer in stored_answers], schema=EXTRACTIONS_SCHEMA),
        read_known_keys,
        app.settings.company.tax_ids,
        CRITICAL_RULE_IDS,
        app.ledger.now(),
    )
    validation = validate_candidates(candidate_batch)
    with app.begin_leased_transaction("validate") as tx:
        report.verdicts += record_verdicts(tx, candidate_batch, validation)
