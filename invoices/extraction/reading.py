"""Reading locally: what a document says by itself, at no cost, is written before anybody is paid."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from invoices.documents.outcomes import because
from invoices.documents.reading import Outcome, Readers, Reading
from invoices.documents.scanning import Scanner
from invoices.documents.store import DocumentStore
from invoices.documents.unwrapping.parts import Flag
from invoices.ledger import Ledger, Transaction
from invoices.ledger.documents import Pending, State, settle
from invoices.ledger.extractions import record_answer
from invoices.ledger.flags import record_flags
from invoices.ledger.sightings import texts_of_mails
from invoices.model import extraction_id

EXTRACTOR = "einvoice"
CONFIGURATION = "1"  # raised when the payload's shape changes
WRITE_EVERY = 100  # documents per transaction
STATES: Mapping[Outcome, State] = {"not_invoice": "not_invoice", "review": "review", "unreadable": "quarantined"}
OF_TEXTS = {"unsupported_type", "other_xml", "malformed_xml", "encoding_mismatch"}  # also of HTML in pieces


def read_documents(
    ledger: Ledger,
    store: DocumentStore,
    readers: Readers,
    documents: Sequence[Pending],
    done: Callable[[int], None] = lambda _: None,
    scanner: Scanner | None = None,
) -> Counter[str]:
    """Read documents in limited processes and write for each what comes next; return how many had which outcome.

    ``done`` is told how many were just written. Where a ``scanner`` finds malware, nobody opens the document.
    Raises TransientError where the scanner does not work: then nothing more is read.
    """
    outcomes: Counter[str] = Counter()
    held: list[tuple[Pending, Reading]] = []
    infected = {} if scanner is None else scanner.infected(store.path(d.document_sha256) for d in documents)
    clean = (path for d in documents if (path := store.path(d.document_sha256)) not in infected)
    readings = readers.read_many(clean)
    for document in documents:
        reading = infected.get(store.path(document.document_sha256)) or next(readings)
        held.append((document, reading))
        if len(held) == WRITE_EVERY:
            outcomes += _write(ledger, held)
            done(len(held))
            held = []
    outcomes += _write(ledger, held)
    done(len(held))
    return outcomes


def _write(ledger: Ledger, held: Sequence[tuple[Pending, Reading]]) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    with ledger.transaction() as tx:
        for document, reading in _with_texts(tx, held):
            _write_one(tx, document, reading)
            outcomes[reading.outcome] += 1
    return outcomes


def _with_texts(tx: Transaction, held: Sequence[tuple[Pending, Reading]]) -> list[tuple[str, Reading]]:
    """Return hashes with readings; what came as the text of a mail is told as such, which its bytes do not show."""
    texts = texts_of_mails(tx.connection, [one.document_sha256 for one, read in held if read.reason_code in OF_TEXTS])
    return [
        (
            one.document_sha256,
            replace(because("mail_body", one.media_type), flags=reading.flags)
            if one.document_sha256 in texts
            else reading,
        )
        for one, reading in held
    ]


def _write_one(tx: Transaction, document: str, reading: Reading) -> None:
    record_flags(tx, document, [Flag(*flag) for flag in reading.flags])
    write = partial(settle, tx, document, media_type=reading.media_type, page_count=reading.page_count)
    if reading.outcome == "einvoice":
        extraction = extraction_id(document, EXTRACTOR, CONFIGURATION)
        record_answer(tx, extraction, document, EXTRACTOR, json.dumps(reading.payload, ensure_ascii=False))
        write(stage="judge", state="waiting", reason_code="read", reason="Read as an e-invoice; not judged yet.")
    elif reading.outcome == "needs_extraction":
        reason = reading.reason or "No structured data inside; an extraction service has to read it."
        write(stage="ask", state="waiting", reason_code=reading.reason_code or "needs_extraction", reason=reason)
    else:
        reason = reading.reason or reading.outcome
        reason_code = reading.reason_code or reading.outcome
        write(stage="done", state=STATES[reading.outcome], reason_code=reason_code, reason=reason)
