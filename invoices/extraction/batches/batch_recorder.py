"""How a batch ends: what is written about each of its documents, a few hundred at a time."""

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
from invoices.extraction.document_queue import DocumentQueue
from invoices.extraction.extraction_recorder import ExtractionRecorder, to_exact_json
from invoices.ledger import Transaction
from invoices.ledger.extraction_batch_documents import (
    CompletedExtraction,
    list_open_document_hashes,
    mark_documents_submitted,
    record_answers,
)
from invoices.ledger.extraction_batches import update_extraction_batch
from invoices.ledger.extractions import update_extraction

DOCUMENTS_PER_TRANSACTION = 200  # documents per transaction
MAX_UNKNOWN_FILES_SHOWN = 5  # named in a message


class BatchRecorder:
    """Writes the ends of batches; what it was killed in the middle of is written by the next look at the batch."""

    def __init__(self, recorder: ExtractionRecorder, document_queue: DocumentQueue) -> None:
        """Take where to write, and who is told what is concluded."""
        self._recorder, self._document_queue = recorder, document_queue

    def record_submission(self, batch: Batch, remote_id: str) -> None:
        """Write the vendor's id of the submission; every document waits for its answer."""
        reason = f"Submitted to {self._recorder.vendor} with {len(batch.documents)} documents; not answered yet."
        with self._recorder.ledger.begin_transaction() as tx:
            record = update_extraction_batch(tx, batch.id, "submitted", remote_id=remote_id, submitted_at=tx.timestamp)
            mark_documents_submitted(tx, batch.id, list(batch.documents), remote_id, reason)
            self._recorder.report.submissions += 1
        batch.record = record

    def record_completed_batch(self, batch: Batch, extraction: Extraction, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write what was answered about each document, and what it cost: one credit for each page that was read."""
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
        """End a batch whose task failed, uncharged: these documents cannot be read, the others may be asked anew."""
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
        """Give the documents to a person: the work that was done is charged (contract sheet 02 §8)."""
        credits_deducted = extraction.credits_deducted
        deduction = (
            f"{credits_deducted} credits were deducted"
            if credits_deducted is not None
            else "what was deducted is not told"
        )
        reason = (
            f"The extraction was cancelled at {self._recorder.vendor} ({extraction.cancellation_reason}); {deduction}."
        )
        charged_pages = self._estimate_charged_pages(batch, credits_deducted)
        self._record_batch_quarantine(
            batch, "extraction_cancelled", reason, charged_pages, is_charge_reported=credits_deducted is not None
        )

    def record_missing_output(self, batch: Batch, extraction: Extraction, error: InvoicesError) -> None:
        """Give up an answer that was paid for and cannot be had."""
        reason = f"{self._recorder.vendor} has no output of the extraction {extraction.id}: {error}"
        charged_pages = self._count_charged_pages(
            batch, extraction, split_answer_by_document(extraction, (), _list_submitted_file_names(batch))
        )
        self._record_batch_quarantine(
            batch, "extraction_lost", reason, charged_pages, is_charge_reported=extraction.pages is not None
        )

    def record_lost_extraction(self, batch: Batch, error: InvoicesError) -> None:
        """Give up an extraction that the vendor does not tell about (any more); the worst is counted."""
        reason = f"{self._recorder.vendor} does not tell about the extraction {batch.record.remote_id}: {error}"
        self._record_batch_quarantine(batch, "extraction_lost", reason, self._estimate_charged_pages(batch, None))

    def record_stuck_extraction(self, batch: Batch, extraction: Extraction) -> None:
        """Give up waiting; what was submitted may still be charged, so the worst is counted."""
        reason = f"{self._recorder.vendor} still says {extraction.status!r}."
        self._record_batch_quarantine(batch, "extraction_stuck", reason, self._estimate_charged_pages(batch, None))

    def close_batch(self, batch: Batch, message: str | None) -> None:
        """Write that nothing more comes of a batch."""
        with self._recorder.ledger.begin_transaction() as tx:
            batch.record = update_extraction_batch(tx, batch.id, "concluded", message=message)

    def _serialise_document_answer(
        self, batch: Batch, extraction: Extraction, sha256: str, answer: DocumentAnswer
    ) -> str | None:
        """Return the answer about a document as it is kept, or None where there is none."""
        if not answer.pages_read and not answer.rows:
            return None
        document = batch.documents[sha256]
        name, page_count = build_upload_name(document), document.page_count
        return to_exact_json(
            build_payload(
                extraction,
                answer,
                name,
                _list_submitted_file_names(batch) - {name},
                prompt_version=PROMPT_VERSION,
                page_count=page_count,
            )
        )

    def _record_document_answers(
        self,
        tx: Transaction,
        answers_by_hash: Mapping[str, DocumentAnswer],
        payloads: Mapping[str, str | None],
        charged_pages: Mapping[str, int],
    ) -> None:
        """Write about each document what was answered, or that nothing was."""
        recorder, report = self._recorder, self._recorder.report
        answered = [
            CompletedExtraction(recorder.get_extraction_id(sha256), sha256, document_payload, charged_pages[sha256])
            for sha256 in answers_by_hash
            if (document_payload := payloads[sha256]) is not None
        ]
        record_answers(tx, answered, f"Answered by {recorder.vendor}; not judged yet.")
        for sha256 in (sha256 for sha256 in answers_by_hash if payloads[sha256] is None):
            reason_code, reason = _explain_missing_answer(answers_by_hash[sha256])
            recorder.record_failure_in(
                tx, sha256, reason_code, f"{recorder.vendor}: {reason}"[:1000], pages_charged=charged_pages[sha256]
            )
        report.answered += len(answered)
        report.pages_charged += sum(charged_pages[sha256] for sha256 in answers_by_hash)

    def _count_charged_pages(self, batch: Batch, extraction: Extraction, batch_answer: BatchAnswer) -> dict[str, int]:
        """Return by hash what was charged: the pages that were read, or a share of all where none are told."""
        if extraction.pages is None:
            return self._estimate_charged_pages(batch, extraction.credits_deducted)
        answers_by_name = batch_answer.documents
        return {
            sha256: len(set(answers_by_name[build_upload_name(document)].pages_read))
            for sha256, document in batch.documents.items()
        }

    def _estimate_charged_pages(self, batch: Batch, credits_deducted: int | None) -> dict[str, int]:
        """Return the pages of each document by hash, or its share of what was deducted where that is told."""
        pages = {
            sha256: self._recorder.count_billable_pages(batch.documents[sha256]) for sha256 in sorted(batch.documents)
        }
        if credits_deducted is None:
            return pages
        for sha256, count in pages.items():
            pages[sha256] = min(count, credits_deducted)
            credits_deducted -= pages[sha256]
        pages[max(pages)] += credits_deducted  # more than the pages we know of
        return pages

    def _report_vendor_inconsistencies(self, extraction: Extraction, batch_answer: BatchAnswer) -> None:
        """Tell where the vendor's own numbers do not agree with each other."""
        credits_deducted, pages = (
            extraction.credits_deducted,
            sum(len(document_answer.pages_read) for document_answer in batch_answer.documents.values()),
        )
        if credits_deducted is not None and extraction.pages is not None and credits_deducted != pages:
            problem = (
                f"deducted {credits_deducted} credits, but says that it read {pages} pages (extraction {extraction.id})"
            )
            self._recorder.report.problems.append(f"{self._recorder.vendor} {problem}")
        if batch_answer.unknown_files:
            named_files = ", ".join(
                repr(name[:100]) for name in sorted(batch_answer.unknown_files)[:MAX_UNKNOWN_FILES_SHOWN]
            )
            problem = f"answers about files that it was not asked about: {named_files} (extraction {extraction.id})"
            self._recorder.report.problems.append(f"{self._recorder.vendor} {problem}")

    def _record_batch_quarantine(
        self,
        batch: Batch,
        reason_code: str,
        reason: str,
        charged_pages: Mapping[str, int],
        *,
        is_charge_reported: bool = False,
    ) -> None:
        """Set aside what is not concluded; ``is_told`` says that the vendor told the charges."""
        self._recorder.report.problems.append(f"{len(batch.documents)} documents: {reason}")
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
    """Return why nothing was answered about a file: a code and a sentence."""
    page_messages = "; ".join(
        f"page {failed_page['page']}: {failed_page['message'] or failed_page['code']}"
        for failed_page in answer.pages_failed
    )
    return (
        ("pages_failed", page_messages) if page_messages else ("answer_incomplete", "it says nothing about this file")
    )


def _list_submitted_file_names(batch: Batch) -> set[str]:
    """Return the names of all files that were submitted."""
    return {*(build_upload_name(document) for document in batch.documents.values()), *batch.concluded_file_names}


def _split_into_chunks(items: Sequence[str]) -> Iterable[Sequence[str]]:
    return (
        items[start : start + DOCUMENTS_PER_TRANSACTION] for start in range(0, len(items), DOCUMENTS_PER_TRANSACTION)
    )
