"""How a batch ends: what is written about each of its documents, a few hundred at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from invoices.clients.invoicedataextraction_com import Extraction
from invoices.errors import ContractError
from invoices.extraction.batch_answers import DocumentAnswer, payload, take_apart
from invoices.extraction.batches import Batch, file_name
from invoices.extraction.desk import Desk
from invoices.extraction.prompt import VERSION
from invoices.extraction.queue import Queue
from invoices.ledger import Transaction
from invoices.ledger.documents import Pending, settle
from invoices.ledger.extraction_batches import advance_batch
from invoices.ledger.extractions import advance

WRITE_EVERY = 200  # documents per transaction
MOST_STRANGERS = 5  # named in a message


class Conclusions:
    """Writes the ends of batches; what it was killed in the middle of is written by the next look at the batch."""

    def __init__(self, desk: Desk, queue: Queue) -> None:
        """Take where to write, and who is told what is concluded."""
        self._desk, self._queue = desk, queue

    def submitted(self, batch: Batch, remote_id: str) -> None:
        """Write the vendor's id of the submission; every document waits for its answer."""
        reason = f"Submitted to {self._desk.vendor} with {len(batch.documents)} documents; not answered yet."
        with self._desk.ledger.transaction() as tx:
            batch.known = advance_batch(tx, batch.id, "submitted", remote_id=remote_id, submitted_at=tx.at)
            for sha256 in batch.documents:
                extraction = self._desk.extraction_id(sha256)
                advance(tx, extraction, "submitted", remote_id=remote_id, submitted_at=tx.at)
                settle(tx, sha256, stage="ask", state="waiting", reason_code="submitted", reason=reason)
            self._desk.asked.calls += 1

    def completed(self, batch: Batch, extraction: Extraction, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write what was answered about each document, and what it cost: one credit for each page that was read."""
        names = {file_name(document): document for document in batch.documents.values()}
        answer = take_apart(extraction, rows, names.keys())
        for some in _pieces(list(names)):
            with self._desk.ledger.transaction() as tx:
                for name in some:
                    self._write_answer(tx, extraction, names[name], answer.documents[name], names.keys() - {name})
            self._queue.concluded(*(names[name].document_sha256 for name in some))
        self.close(batch, None)
        self._compare(extraction, sum(len(one.pages_read) for one in answer.documents.values()), answer.strangers)

    def failed(self, batch: Batch, documents: Collection[str], code: str, reason: str) -> None:
        """Write that the vendor cannot read these documents; nothing was charged."""
        with self._desk.ledger.transaction() as tx:
            for sha256 in sorted(documents):
                self._desk.failed_in(tx, sha256, _reason_code(code), reason, pages_charged=0)
        self._queue.concluded(*documents)
        self.close(batch, reason)

    def release(self, batch: Batch, documents: Collection[str], message: str) -> None:
        """Take documents out of a batch whose task failed, uncharged, so that they may be asked about again."""
        with self._desk.ledger.transaction() as tx:
            for sha256 in documents:
                advance(tx, self._desk.extraction_id(sha256), "refused", message=message, batch_id=None)
            advance_batch(tx, batch.id, "concluded", message=message)

    def cancelled(self, batch: Batch, extraction: Extraction) -> None:
        """Give the documents to a person: the work that was done is charged (contract sheet 02 §8)."""
        deducted = extraction.credits_deducted
        told = f"{deducted} credits were deducted" if deducted is not None else "what was deducted is not told"
        reason = f"The extraction was cancelled at {self._desk.vendor} ({extraction.cancellation_reason}); {told}."
        self._give_to_person(batch, "extraction_cancelled", reason)

    def lost(self, batch: Batch, error: ContractError) -> None:
        """Give up an extraction that the vendor does not tell about (any more)."""
        reason = f"{self._desk.vendor} does not tell about the extraction {batch.known.remote_id}: {error}"
        self._give_to_person(batch, "extraction_lost", reason)

    def stuck(self, batch: Batch, extraction: Extraction) -> None:
        """Give up waiting; what was submitted may still be charged, so the worst is counted."""
        reason = f"{self._desk.vendor} still says {extraction.status!r}."
        self._give_to_person(batch, "extraction_stuck", reason)

    def close(self, batch: Batch, message: str | None) -> None:
        """Write that nothing more comes of a batch."""
        with self._desk.ledger.transaction() as tx:
            batch.known = advance_batch(tx, batch.id, "concluded", message=message)

    def _write_answer(
        self,
        tx: Transaction,
        extraction: Extraction,
        document: Pending,
        answer: DocumentAnswer,
        others: Collection[str],
    ) -> None:
        sha256, pages = document.document_sha256, len(answer.pages_read)
        if not answer.pages_read and not answer.rows:
            told = "; ".join(f"page {one['page']}: {one['message'] or one['code']}" for one in answer.pages_failed)
            code, reason = ("pages_failed", told) if told else ("answer_incomplete", "it says nothing about this file")
            self._desk.failed_in(tx, sha256, code, f"{self._desk.vendor}: {reason}"[:1000], pages_charged=0)
            return
        if extraction.pages is None:
            pages = self._desk.pages(document)
        kept = payload(extraction, answer, file_name(document), others, prompt=VERSION, page_count=document.page_count)
        self._desk.answered_in(tx, self._desk.extraction_id(sha256), sha256, kept, pages_charged=pages)
        self._desk.asked.pages += pages

    def _compare(self, extraction: Extraction, pages: int, strangers: Collection[str]) -> None:
        """Tell where the vendor's own numbers do not agree with each other."""
        deducted = extraction.credits_deducted
        if deducted is not None and extraction.pages is not None and deducted != pages:
            text = f"deducted {deducted} credits, but says that it read {pages} pages (extraction {extraction.id})"
            self._desk.asked.problems.append(f"{self._desk.vendor} {text}")
        if strangers:
            named = ", ".join(repr(name) for name in sorted(strangers)[:MOST_STRANGERS])
            text = f"answers about files that it was not asked about: {named} (extraction {extraction.id})"
            self._desk.asked.problems.append(f"{self._desk.vendor} {text}")

    def _give_to_person(self, batch: Batch, code: str, reason: str) -> None:
        self._desk.asked.problems.append(f"{len(batch.documents)} documents: {reason}")
        for some in _pieces(sorted(batch.documents)):
            with self._desk.ledger.transaction() as tx:
                for sha256 in some:
                    pages = self._desk.pages(batch.documents[sha256])
                    self._desk.set_aside_in(tx, sha256, code, reason, pages_charged=pages)
            self._queue.concluded(*some)
        self.close(batch, reason)


def _reason_code(code: str) -> str:
    known = {"ENCRYPTED_FILE": "encrypted", "FILE_PAGE_LIMIT_EXCEEDED": "too_many_pages", "NO_PAGES_FOUND": "no_pages"}
    return known.get(code, "extraction_failed")


def _pieces(items: Sequence[str]) -> Iterable[Sequence[str]]:
    return (items[start : start + WRITE_EVERY] for start in range(0, len(items), WRITE_EVERY))
