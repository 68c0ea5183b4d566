"""How a batch ends: what is written about each of its documents, a few hundred at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from invoices.clients.invoicedataextraction_com import Extraction
from invoices.errors import InvoicesError
from invoices.extraction.batches.answers import BatchAnswer, DocumentAnswer, payload, take_apart
from invoices.extraction.batches.batch import Batch, file_name
from invoices.extraction.batches.prompt import VERSION
from invoices.extraction.desk import Desk, as_json
from invoices.extraction.queue import Queue
from invoices.ledger import Transaction
from invoices.ledger.extraction_batches import advance_batch
from invoices.ledger.extraction_pieces import Answered, answer_all, mark_submitted, open_documents
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
            known = advance_batch(tx, batch.id, "submitted", remote_id=remote_id, submitted_at=tx.at)
            mark_submitted(tx, batch.id, list(batch.documents), remote_id, reason)
            self._desk.asked.calls += 1
        batch.known = known

    def completed(self, batch: Batch, extraction: Extraction, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write what was answered about each document, and what it cost: one credit for each page that was read."""
        answer = take_apart(extraction, rows, _names(batch))
        charges = self._charges(batch, extraction, answer)
        told = {sha256: answer.documents[file_name(one)] for sha256, one in batch.documents.items()}
        for some in _pieces(list(told)):
            kept = {sha256: self._kept(batch, extraction, sha256, told[sha256]) for sha256 in some}
            with self._desk.ledger.transaction() as tx:
                still_open = open_documents(tx.connection, batch.id)
                self._write(tx, {sha256: told[sha256] for sha256 in some if sha256 in still_open}, kept, charges)
            self._queue.concluded(*some)
        self.close(batch, None)
        self._compare(extraction, answer)

    def failed(self, batch: Batch, documents: Collection[str], code: str, told: str) -> None:
        """End a batch whose task failed, uncharged: these documents cannot be read, the others may be asked anew."""
        reason = f"{self._desk.vendor} could not read it: {told}"
        with self._desk.ledger.transaction() as tx:
            for sha256 in sorted(documents):
                self._desk.failed_in(tx, sha256, code, reason, pages_charged=0)
            for sha256 in batch.documents.keys() - set(documents):
                advance(tx, self._desk.extraction_id(sha256), "refused", message=told, batch_id=None)
            advance_batch(tx, batch.id, "concluded", message=told)
        self._queue.concluded(*documents)

    def cancelled(self, batch: Batch, extraction: Extraction) -> None:
        """Give the documents to a person: the work that was done is charged (contract sheet 02 §8)."""
        deducted = extraction.credits_deducted
        told = f"{deducted} credits were deducted" if deducted is not None else "what was deducted is not told"
        reason = f"The extraction was cancelled at {self._desk.vendor} ({extraction.cancellation_reason}); {told}."
        charges = self._shared(batch, deducted)
        self._give_to_person(batch, "extraction_cancelled", reason, charges, is_told=deducted is not None)

    def unfetched(self, batch: Batch, extraction: Extraction, error: InvoicesError) -> None:
        """Give up an answer that was paid for and cannot be had."""
        reason = f"{self._desk.vendor} has no output of the extraction {extraction.id}: {error}"
        charges = self._charges(batch, extraction, take_apart(extraction, (), _names(batch)))
        self._give_to_person(batch, "extraction_lost", reason, charges, is_told=extraction.pages is not None)

    def lost(self, batch: Batch, error: InvoicesError) -> None:
        """Give up an extraction that the vendor does not tell about (any more); the worst is counted."""
        reason = f"{self._desk.vendor} does not tell about the extraction {batch.known.remote_id}: {error}"
        self._give_to_person(batch, "extraction_lost", reason, self._shared(batch, None))

    def stuck(self, batch: Batch, extraction: Extraction) -> None:
        """Give up waiting; what was submitted may still be charged, so the worst is counted."""
        reason = f"{self._desk.vendor} still says {extraction.status!r}."
        self._give_to_person(batch, "extraction_stuck", reason, self._shared(batch, None))

    def close(self, batch: Batch, message: str | None) -> None:
        """Write that nothing more comes of a batch."""
        with self._desk.ledger.transaction() as tx:
            batch.known = advance_batch(tx, batch.id, "concluded", message=message)

    def _kept(self, batch: Batch, extraction: Extraction, sha256: str, answer: DocumentAnswer) -> str | None:
        """Return the answer about a document as it is kept, or None where there is none."""
        if not answer.pages_read and not answer.rows:
            return None
        document = batch.documents[sha256]
        name, pages = file_name(document), document.page_count
        return as_json(payload(extraction, answer, name, _names(batch) - {name}, prompt=VERSION, page_count=pages))

    def _write(
        self,
        tx: Transaction,
        told: Mapping[str, DocumentAnswer],
        kept: Mapping[str, str | None],
        charges: Mapping[str, int],
    ) -> None:
        """Write about each document what was answered, or that nothing was."""
        desk, asked = self._desk, self._desk.asked
        answered = [
            Answered(desk.extraction_id(sha256), sha256, answer, charges[sha256])
            for sha256 in told
            if (answer := kept[sha256]) is not None
        ]
        answer_all(tx, answered, f"Answered by {desk.vendor}; not judged yet.")
        for sha256 in (sha256 for sha256 in told if kept[sha256] is None):
            code, reason = _silence(told[sha256])
            desk.failed_in(tx, sha256, code, f"{desk.vendor}: {reason}"[:1000], pages_charged=charges[sha256])
        asked.answered += len(answered)
        asked.pages += sum(charges[sha256] for sha256 in told)

    def _charges(self, batch: Batch, extraction: Extraction, answer: BatchAnswer) -> dict[str, int]:
        """Return by hash what was charged: the pages that were read, or a share of all where none are told."""
        if extraction.pages is None:
            return self._shared(batch, extraction.credits_deducted)
        told = answer.documents
        return {sha256: len(set(told[file_name(one)].pages_read)) for sha256, one in batch.documents.items()}

    def _shared(self, batch: Batch, deducted: int | None) -> dict[str, int]:
        """Return the pages of each document by hash, or its share of what was deducted where that is told."""
        pages = {sha256: self._desk.pages(batch.documents[sha256]) for sha256 in sorted(batch.documents)}
        if deducted is None:
            return pages
        for sha256, count in pages.items():
            pages[sha256] = min(count, deducted)
            deducted -= pages[sha256]
        pages[max(pages)] += deducted  # more than the pages we know of
        return pages

    def _compare(self, extraction: Extraction, answer: BatchAnswer) -> None:
        """Tell where the vendor's own numbers do not agree with each other."""
        deducted, pages = extraction.credits_deducted, sum(len(one.pages_read) for one in answer.documents.values())
        if deducted is not None and extraction.pages is not None and deducted != pages:
            text = f"deducted {deducted} credits, but says that it read {pages} pages (extraction {extraction.id})"
            self._desk.asked.problems.append(f"{self._desk.vendor} {text}")
        if answer.strangers:
            named = ", ".join(repr(name[:100]) for name in sorted(answer.strangers)[:MOST_STRANGERS])
            text = f"answers about files that it was not asked about: {named} (extraction {extraction.id})"
            self._desk.asked.problems.append(f"{self._desk.vendor} {text}")

    def _give_to_person(
        self, batch: Batch, code: str, reason: str, charges: Mapping[str, int], *, is_told: bool = False
    ) -> None:
        """Set aside what is not concluded; ``is_told`` says that the vendor told the charges."""
        self._desk.asked.problems.append(f"{len(batch.documents)} documents: {reason}")
        for some in _pieces(sorted(batch.documents)):
            with self._desk.ledger.transaction() as tx:
                for sha256 in sorted(open_documents(tx.connection, batch.id).intersection(some)):
                    self._desk.set_aside_in(tx, sha256, code, reason, pages_charged=charges[sha256])
                    self._desk.asked.pages += charges[sha256] if is_told else 0
            self._queue.concluded(*some)
        self.close(batch, reason)


def _silence(answer: DocumentAnswer) -> tuple[str, str]:
    """Return why nothing was answered about a file: a code and a sentence."""
    told = "; ".join(f"page {one['page']}: {one['message'] or one['code']}" for one in answer.pages_failed)
    return ("pages_failed", told) if told else ("answer_incomplete", "it says nothing about this file")


def _names(batch: Batch) -> set[str]:
    """Return the names of all files that were submitted."""
    return {*(file_name(document) for document in batch.documents.values()), *batch.concluded_names}


def _pieces(items: Sequence[str]) -> Iterable[Sequence[str]]:
    return (items[start : start + WRITE_EVERY] for start in range(0, len(items), WRITE_EVERY))
