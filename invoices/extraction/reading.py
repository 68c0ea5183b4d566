"""Reading locally: what a document says by itself, at no cost, is written before anybody is paid."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from invoices.documents.reading import Readers, Reading
from invoices.documents.store import DocumentStore
from invoices.ledger import Ledger, Transaction
from invoices.ledger.documents import Pending, State, settle
from invoices.ledger.extractions import record_answer
from invoices.model import extraction_id

EXTRACTOR = "einvoice"
CONFIGURATION = "1"  # raised when the payload's shape changes
WRITE_EVERY = 100  # documents per transaction


def read_documents(
    ledger: Ledger,
    store: DocumentStore,
    readers: Readers,
    documents: Sequence[Pending],
    done: Callable[[int], None] = lambda _: None,
) -> Counter[str]:
    """Read documents in limited processes and write for each what comes next; return how many had which outcome.

    ``done`` is told how many were just written.
    """
    outcomes: Counter[str] = Counter()
    held: list[tuple[Pending, Reading]] = []
    for document, reading in zip(
        documents, readers.read_many(store.path(d.document_sha256) for d in documents), strict=True
    ):
        held.append((document, reading))
        outcomes[reading.outcome] += 1
        if len(held) == WRITE_EVERY:
            _write(ledger, held)
            done(len(held))
            held = []
    _write(ledger, held)
    done(len(held))
    return outcomes


def _write(ledger: Ledger, held: Iterable[tuple[Pending, Reading]]) -> None:
    with ledger.transaction() as tx:
        for document, reading in held:
            _write_one(tx, document.document_sha256, reading)


def _write_one(tx: Transaction, document: str, reading: Reading) -> None:
    write = partial(settle, tx, document, media_type=reading.media_type, page_count=reading.page_count)
    if reading.outcome == "einvoice":
        extraction = extraction_id(document, EXTRACTOR, CONFIGURATION)
        record_answer(tx, extraction, document, EXTRACTOR, json.dumps(reading.payload, ensure_ascii=False))
        write(stage="judge", state="waiting", reason_code="read", reason="Read as an e-invoice; not judged yet.")
    elif reading.outcome == "needs_extraction":
        reason = reading.reason or "No structured data inside; an extraction service has to read it."
        write(stage="ask", state="waiting", reason_code=reading.reason_code or "needs_extraction", reason=reason)
    else:
        state: State = "not_invoice" if reading.outcome == "not_invoice" else "quarantined"
        reason = reading.reason or reading.outcome
        write(stage="done", state=state, reason_code=reading.reason_code or reading.outcome, reason=reason)
