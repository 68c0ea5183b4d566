"""Cuts the documents that wait for validation into batches: by the weight of their answers, and by earlier attempts.

What decides about memory is not the number of documents but what their answers hold: 20,000 invoices fit into a file of
1 MB. A batch whose process was killed is cut into halves by the next run, until one document is alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from flows.work_queue import iter_waiting_batches
from invoices.app import App
from invoices.ledger.documents import PendingDocument
from invoices.ledger.extractions import AnswerWeight, weigh_answers
from invoices.ledger.stage_attempts import StageAttempt, list_stage_attempts

STAGE: Literal["validate"] = "validate"
MAX_RECORDS_PER_BATCH = 25_000  # invoices, parties, lines, taxes and rows of the answers
MAX_BYTES_PER_BATCH = 16 * 1024 * 1024
MAX_RECORDS_PER_DOCUMENT = 100_000
MAX_BYTES_PER_DOCUMENT = 32 * 1024 * 1024
MAX_ATTEMPTS_ALONE = 2  # a document whose validation has killed the process so often, with no other, is quarantined
ATTEMPTS_IN_ORDER = 1  # a document with more attempts comes after all others, so that it keeps none from its validation

NO_WEIGHT = AnswerWeight(0, 0)


@dataclass(frozen=True, slots=True)
class WeighedDocument:
    """A document that waits for validation, the weight of its answer, and the attempts that did not end."""

    document: PendingDocument
    weight: AnswerWeight
    attempt: StageAttempt | None

    @property
    def is_too_heavy(self) -> bool:
        """Whether the answer is larger than what one document may hold."""
        return self.weight.record_count > MAX_RECORDS_PER_DOCUMENT or self.weight.byte_count > MAX_BYTES_PER_DOCUMENT

    @property
    def has_killed_alone(self) -> bool:
        """Whether its validation, with no other document, has killed the process too often."""
        return self.attempt is not None and self.attempt.attempts_alone >= MAX_ATTEMPTS_ALONE


def iter_validation_batches(app: App) -> Iterator[list[PendingDocument]]:
    """Yield the documents that wait for validation in batches, each document once, in order of arrival.

    Documents with more attempts than one that did not end come last.
    """
    deferred: list[WeighedDocument] = []
    for documents in iter_waiting_batches(app, STAGE):
        in_order: list[WeighedDocument] = []
        for weighed in weigh_documents(app, documents):
            has_repeated_attempts = weighed.attempt is not None and weighed.attempt.attempts > ATTEMPTS_IN_ORDER
            (deferred if has_repeated_attempts else in_order).append(weighed)
        yield from cut_into_batches(in_order, app.settings.batch_size)
    yield from cut_into_batches(deferred, app.settings.batch_size)


def weigh_documents(app: App, documents: Sequence[PendingDocument]) -> list[WeighedDocument]:
    """Return the documents with the weights of their answers and their attempts."""
    document_hashes = [document.document_sha256 for document in documents]
    with app.ledger.open_snapshot() as connection:
        weights = weigh_answers(connection, document_hashes)
        attempts = {
            attempt.document_sha256: attempt for attempt in list_stage_attempts(connection, STAGE, document_hashes)
        }
    return [
        WeighedDocument(
            document, weights.get(document.document_sha256, NO_WEIGHT), attempts.get(document.document_sha256)
        )
        for document in documents
    ]


def cut_into_batches(documents: Iterable[WeighedDocument], batch_size: int) -> Iterator[list[PendingDocument]]:
    """Yield the documents in batches of at most ``batch_size`` documents, and not heavier than the limits.

    A document heavier than the limits is alone. Documents of a batch that did not end are in batches of at most half
    its size, and not together with documents without attempts.
    """
    batch: list[PendingDocument] = []
    batch_limit = record_count = byte_count = 0
    for weighed in documents:
        limit = batch_size if weighed.attempt is None else max(1, weighed.attempt.document_count // 2)
        record_count += weighed.weight.record_count
        byte_count += weighed.weight.byte_count
        is_too_heavy = record_count > MAX_RECORDS_PER_BATCH or byte_count > MAX_BYTES_PER_BATCH
        if batch and (limit != batch_limit or len(batch) == limit or is_too_heavy):
            yield batch
            batch, record_count, byte_count = [], weighed.weight.record_count, weighed.weight.byte_count
        batch.append(weighed.document)
        batch_limit = limit
    if batch:
        yield batch
