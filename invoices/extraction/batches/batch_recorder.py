"""Records the submissions and outcomes of batches, a few hundred documents per transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from invoices.clients.invoicedataextraction_com import Extraction
from invoices.errors import InvoicesError
from invoices.extraction.batches.batch import Batch, build_upload_name
from invoices.extraction.batches.batch_answer import (
    BatchAnswer,
    DocumentAnswer,
    build_payload,
    split_answer_by_document,
)
from invoices.extraction.batches.prompt import PROMPT_VERSION
from invoices.extraction.document_queue import DocumentQueue, format_document_count
from invoices.extraction.extraction_recorder import ExtractionRecorder, to_exact_json
from invoices.ledger import Transaction
from invoices.ledger.extraction_batch_documents import (
    CompletedExtraction,
    list_open_document_hashes,
    mark_documents_submitted,
    record_answers_and_charges,
)
from invoices.ledger.extraction_batches import update_extraction_batch
from invoices.ledger.extractions import update_extraction

DOCUMENTS_PER_TRANSACTION = 200
MAX_UNKNOWN_FILES_SHOWN = 5  # in a message


class BatchRecorder:
    """Records batches in the ledger; if it is killed half way, the next poll of the batch records the rest."""

    def __init__(self, recorder: ExtractionRecorder, document_queue: DocumentQueue) -> None:
        """Keep where to record, and the queue in which documents are marked as concluded."""
        self._recorder, self._document_queue = recorder, document_queue

    def record_submission(self, batch: Batch, remote_id: str) -> None:
        """Record the vendor's id of the submission; all documents wait for its answer."""
        document_count = format_document_count(len(batch.documents))
        reason = f"Submitted to {self._recorder.vendor} in a batch of {document_count}; not answered yet."
        with self._recorder.ledger.begin_transaction() as tx:
            record = update_extraction_batch(tx, batch.id, "submitted", remote_id=remote_id, submitted_at=tx.timestamp)
            mark_documents_submitted(tx, batch.id, list(batch.documents), remote_id, reason)
            self._recorder.report.submissions += 1
        batch.record = record

    def record_completed_batch(self, batch: Batch, extraction: Extraction, rows: Sequence[Mapping[str, Any]]) -> None:
        """Record the answer and the charge of each document: one credit for each page that was read."""
        batch_answer = split_answer_by_document(extraction, rows, _list_submitted_file_names(batch))
        charged_pages = self._count_charged_pages(batch, extraction, batch_answer)
        answers_by_hash = {
            sha256: batch_answer.documents[build_upload_name(document)] for sha256, document in batch.documents.items()
        }
        for chunk in _split_into_chunks(list(answers_by_hash)):
            payloads = {
                sha256: self._serialise_document_answer(batch, extraction, sha256, answers_by_hash[sha256])
                for sha256 in chunk
            }
            with self._recorder.ledger.begin_transaction() as tx:
                open_hashes = list_open_document_hashes(tx.connection, batch.id)
                self._record_document_answers(
                    tx,
                    {sha256: answers_by_hash[sha256] for sha256 in chunk if sha256 in open_hashes},
                    payloads,
                    charged_pages,
                )
            self._document_queue.mark_concluded(*chunk)
        self.close_batch(batch, None)
        self._report_vendor_inconsistencies(extraction, batch_answer)

    def record_failed_batch(
        self, batch: Batch, unreadable_hashes: Collection[str], reason_code: str, message: str
    ) -> None:
        """Conclude a batch whose task failed without charge.

        Documents in ``unreadable_hashes`` fail; the others may be submitted again.
        """
        reason = f"{self._recorder.vendor} could not read it: {message}"
        with self._recorder.ledger.begin_transaction() as tx:
            for sha256 in sorted(unreadable_hashes):
                self._recorder.record_failure_in(tx, sha256, reason_code, reason, pages_charged=0)
            for sha256 in batch.documents.keys() - set(unreadable_hashes):
                update_extraction(
                    tx, self._recorder.get_extraction_id(sha256), "refused", message=message, batch_id=None
                )
            update_extraction_batch(tx, batch.id, "concluded", message=message)
        self._document_queue.mark_concluded(*unreadable_hashes)

    def record_cancelled_batch(self, batch: Batch, extraction: Extraction) -> None:
        """Quarantine the documents of a cancelled extraction; finished work is charged (contract sheet 02 §8)."""
        credits_deducted = extraction.credits_deducted
        charge = "unknown" if credits_deducted is None else f"{credits_deducted:,}"
        reason = (
            f"The extraction was cancelled at {self._recorder.vendor} "
            f"({extraction.cancellation_reason or 'no reason given'}); credits deducted: {charge}."
        )
        charged_pages = self._estimate_charged_pages(batch, credits_deducted)
        self._record_batch_quarantine(
            batch, "extraction_cancelled", reason, charged_pages, is_charge_reported=credits_deducted is not None
        )

    def record_missing_output(self, batch: Batch, extraction: Extraction, error: InvoicesError) -> None:
        """Quarantine the documents of a batch whose output is charged but no longer available."""
        reason = f"{self._recorder.vendor} has no output for extraction {extraction.id!r}: {error}"
        charged_pages = self._count_charged_pages(
            batch, extraction, split_answer_by_document(extraction, (), _list_submitted_file_names(batch))
        )
        self._record_batch_quarantine(
            batch, "extraction_lost", reason, charged_pages, is_charge_reported=extraction.pages is not None
        )

    def record_lost_extraction(self, batch: Batch, error: InvoicesError) -> None:
        """Quarantine the documents of an extraction without readable responses; all their pages count as charged."""
        reason = (
            f"{self._recorder.vendor} gives no readable answer about extraction {batch.record.remote_id!r}: {error}"
        )
        self._record_batch_quarantine(batch, "extraction_lost", reason, self._estimate_charged_pages(batch, None))

    def record_stuck_extraction(self, batch: Batch, extraction: Extraction) -> None:
        """Quarantine the documents of an overdue extraction; it may be charged, so all their pages count."""
        reason = f"{self._recorder.vendor} still reports the status {extraction.status!r} after the deadline."
        self._record_batch_quarantine(batch, "extraction_stuck", reason, self._estimate_charged_pages(batch, None))

    def close_batch(self, batch: Batch, message: str | None) -> None:
        """Record that the batch is concluded."""
        with self._recorder.ledger.begin_transaction() as tx:
            batch.record = update_extraction_batch(tx, batch.id, "concluded", message=message)

    def _serialise_document_answer(
        self, batch: Batch, extraction: Extraction, sha256: str, answer: DocumentAnswer
    ) -> str | None:
        """Return the stored payload of a document, or None when the answer has nothing about it."""
        if not answer.pages_read and not answer.rows:
            return None
        document = batch.documents[sha256]
        name = build_upload_name(document)
        payload = build_payload(
            extraction, answer, name, _list_submitted_file_names(batch) - {name},
            prompt_version=PROMPT_VERSION, page_count=document.page_count,
        )  # fmt: skip
        return to_exact_json(payload)

    def _record_document_answers(
        self,
        tx: Transaction,
        answers_by_hash: Mapping[str, DocumentAnswer],
        payloads: Mapping[str, str | None],
        charged_pages: Mapping[str, int],
    ) -> None:
        """Record the answer of each document, or its failure when it has none."""
        recorder, report = self._recorder, self._recorder.report
        answered = [
            CompletedExtraction(recorder.get_extraction_id(sha256), sha256, document_payload, charged_pages[sha256])
            for sha256 in answers_by_hash
            if (document_payload := payloads[sha256]) is not None
        ]
        record_answers_and_charges(tx, answered, f"Answered by {recorder.vendor}; not validated yet.")
        for sha256 in (sha256 for sha256 in answers_by_hash if payloads[sha256] is None):
            reason_code, reason = _explain_missing_answer(answers_by_hash[sha256])
            recorder.record_failure_in(
                tx, sha256, reason_code, f"{recorder.vendor}: {reason}"[:1000], pages_charged=charged_pages[sha256]
            )
        report.answered += len(answered)
        report.pages_charged += sum(charged_pages[sha256] for sha256 in answers_by_hash)

    def _count_charged_pages(self, batch: Batch, extraction: Extraction, batch_answer: BatchAnswer) -> dict[str, int]:
        """Return the charged pages by hash: the pages read, or an estimate if the vendor does not report pages."""
        if extraction.pages is None:
            return self._estimate_charged_pages(batch, extraction.credits_deducted)
        answers_by_name = batch_answer.documents
        return {
            sha256: len(set(answers_by_name[build_upload_name(document)].pages_read))
            for sha256, document in batch.documents.items()
        }

    def _estimate_charged_pages(self, batch: Batch, credits_deducted: int | None) -> dict[str, int]:
        """Return the pages of each document by hash, or its share of ``credits_deducted`` if reported."""
        pages = {
            sha256: self._recorder.count_billable_pages(batch.documents[sha256]) for sha256 in sorted(batch.documents)
        }
        if credits_deducted is None:
            return pages
        for sha256, count in pages.items():
            pages[sha256] = min(count, credits_deducted)
            credits_deducted -= pages[sha256]
        pages[max(pages)] += credits_deducted  # a deduction beyond the known pages
        return pages

    def _report_vendor_inconsistencies(self, extraction: Extraction, batch_answer: BatchAnswer) -> None:
        """Report a problem where the vendor's own numbers contradict each other."""
        vendor, problems = self._recorder.vendor, self._recorder.report.problems
        credits_deducted = extraction.credits_deducted
        pages = sum(len(document_answer.pages_read) for document_answer in batch_answer.documents.values())
        if credits_deducted is not None and extraction.pages is not None and credits_deducted != pages:
            problems.append(
                f"{vendor} reports different numbers for extraction {extraction.id!r}: "
                f"{credits_deducted:,} credits deducted, {pages:,} pages read."
            )
        if batch_answer.unknown_files:
            named_files = ", ".join(
                repr(name[:100]) for name in sorted(batch_answer.unknown_files)[:MAX_UNKNOWN_FILES_SHOWN]
            )
            problems.append(f"{vendor} returned files that were not in extraction {extraction.id!r}: {named_files}.")

    def _record_batch_quarantine(
        self,
        batch: Batch,
        reason_code: str,
        reason: str,
        charged_pages: Mapping[str, int],
        *,
        is_charge_reported: bool = False,
    ) -> None:
        """Quarantine the documents that are still open.

        ``is_charge_reported`` says that ``charged_pages`` come from the vendor, and so count in the report.
        """
        self._recorder.report.problems.append(f"{format_document_count(len(batch.documents))}: {reason}")
        for chunk in _split_into_chunks(sorted(batch.documents)):
            with self._recorder.ledger.begin_transaction() as tx:
                for sha256 in sorted(list_open_document_hashes(tx.connection, batch.id).intersection(chunk)):
                    self._recorder.record_quarantine_in(
                        tx, sha256, reason_code, reason, pages_charged=charged_pages[sha256]
                    )
                    self._recorder.report.pages_charged += charged_pages[sha256] if is_charge_reported else 0
            self._document_queue.mark_concluded(*chunk)
        self.close_batch(batch, reason)


def _explain_missing_answer(answer: DocumentAnswer) -> tuple[str, str]:
    """Return the reason code and the reason why a file has no answer."""
    page_messages = "; ".join(
        f"page {failed_page['page'] or '(unknown)'}: "
        f"{failed_page['message'] or failed_page['code'] or 'no reason given'}"
        for failed_page in answer.pages_failed
    )
    if page_messages:
        return "pages_failed", page_messages
    return "answer_incomplete", "the answer has nothing about this file"


def _list_submitted_file_names(batch: Batch) -> set[str]:
    """Return the names of all files that were submitted."""
    return {*(build_upload_name(document) for document in batch.documents.values()), *batch.concluded_file_names}


def _split_into_chunks(items: Sequence[str]) -> Iterable[Sequence[str]]:
    return (
        items[start : start + DOCUMENTS_PER_TRANSACTION] for start in range(0, len(items), DOCUMENTS_PER_TRANSACTION)
    )
