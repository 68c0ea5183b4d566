"""Pieces of a batch, many documents in one statement: who is in it, who was answered, what all of them wait for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, bindparam, insert, select, text, update

from invoices.ledger.documents import Pending, chunks
from invoices.ledger.extraction_batches import advance_batch
from invoices.ledger.extractions import Job, Terms, advance, batch_jobs, intend
from invoices.ledger.ledger import Transaction
from invoices.ledger.spending import adjust, day_of, reserve
from invoices.ledger.tables import claims, documents, extractions

IS_OPEN = "status in ('intended', 'unknown', 'submitted')"  # as text, so that SQLite uses the index of this condition


def open_documents(connection: Connection, batch: str) -> set[str]:
    """Return the documents of a batch whose answer has not been written."""
    rows = select(extractions.c.document_sha256).where(extractions.c.batch_id == batch, text(IS_OPEN))
    return set(connection.scalars(rows))


def known_among(connection: Connection, wanted: Iterable[str]) -> list[Pending]:
    """Return the documents, whatever they wait for, in the order of arrival."""
    found: list[Pending] = []
    for some in chunks(wanted):
        columns = (documents.c[name] for name in Pending.__slots__)
        rows = connection.execute(select(*columns).where(documents.c.document_sha256.in_(some)))
        found += [Pending(*row) for row in rows]
    return sorted(found, key=lambda document: document.sequence)


def mark_submitted(tx: Transaction, batch: str, hashes: Sequence[str], remote_id: str, reason: str) -> None:
    """Write that these documents of a batch were submitted; what they may cost was counted when that was intended.

    Another worker may have written the answer about some of them meanwhile: those stay as they are.
    """
    submitted = {"status": "submitted", "remote_id": remote_id, "submitted_at": tx.at, "revision": tx.revision}
    stands = {"stage": "ask", "state": "waiting", "reason_code": "submitted", "reason": reason}
    for some in chunks(sorted(open_documents(tx.connection, batch).intersection(hashes))):
        mine = extractions.c.document_sha256.in_(some) & (extractions.c.batch_id == batch)
        tx.connection.execute(update(extractions).where(mine).values(**submitted))
        tx.connection.execute(
            update(documents)
            .where(documents.c.document_sha256.in_(some))
            .values(**stands, changed_at=tx.at, revision=tx.revision)
        )


def mark_sent(tx: Transaction, batch: str, *, is_sent: bool) -> None:
    """Write whether a batch may have arrived from now on, or surely has not."""
    before, after = ("intended", "unknown") if is_sent else ("unknown", "intended")
    mine = (extractions.c.batch_id == batch) & (extractions.c.status == before)
    tx.connection.execute(update(extractions).where(mine).values(status=after, revision=tx.revision))


def release_unsent(tx: Transaction, batch: str, message: str) -> None:
    """Let the documents of a batch that has surely not arrived be asked about elsewhere; nothing was charged."""
    for job in batch_jobs(tx.connection, batch):
        if job.is_open and not job.may_have_arrived:
            advance(tx, job.extraction_id, "refused", message=message, batch_id=None)
    if not open_documents(tx.connection, batch):
        advance_batch(tx, batch, "concluded", message=message)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A document that is about to be asked about, and how many pages it may cost."""

    extraction_id: str
    document_sha256: str
    pages: int


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as it is kept, and what it cost."""

    extraction_id: str
    document_sha256: str
    payload: str
    pages_charged: int


def held_among(tx: Transaction, holder: str, wanted: Iterable[str]) -> set[str]:
    """Return which of the documents ``holder`` still has in hand."""
    held: set[str] = set()
    for some in chunks(wanted):
        mine = claims.c.document_sha256.in_(some) & (claims.c.holder == holder) & (claims.c.until > tx.at)
        held.update(tx.connection.scalars(select(claims.c.document_sha256).where(mine)))
    return held


def intend_all(
    tx: Transaction, terms: Terms, wanted: Sequence[Wanted], *, run: str, batch: str, generation: int
) -> None:
    """Write what ``intend`` writes for each of them; raises CapReached, and then the transaction has to be undone."""
    known = _jobs_by_id(tx.connection, [one.extraction_id for one in wanted])
    for one in (one for one in wanted if one.extraction_id in known):
        intend(
            tx, terms, one.extraction_id, one.document_sha256, pages=one.pages, run=run, batch=batch,
            generation=generation,
        )  # fmt: skip
    fresh = [one for one in wanted if one.extraction_id not in known]
    if not fresh:
        return
    reserve(tx, terms.extracted_by, sum(one.pages for one in fresh), terms.caps, run)
    price = None if terms.page_price is None else format(terms.page_price, "f")
    same = {
        "extracted_by": terms.extracted_by, "status": "intended", "generation": generation, "batch_id": batch,
        "run_id": run, "counted_on": day_of(tx.at), "pages_charged": 0, "possible_double_charge": False,
        "page_price_amount": price, "page_price_currency": terms.page_price_currency if price else None,
        "revision": tx.revision, "requested_at": tx.at,
    }  # fmt: skip
    rows = [
        {
            **same,
            "extraction_id": one.extraction_id,
            "document_sha256": one.document_sha256,
            "pages_reserved": one.pages,
        }
        for one in fresh
    ]
    tx.connection.execute(insert(extractions), rows)


def answer_all(tx: Transaction, answered: Sequence[Answered], reason: str) -> None:
    """Write answers and what they cost; their documents wait to be judged, for this ``reason``."""
    if not answered:
        return
    before = _jobs_by_id(tx.connection, [one.extraction_id for one in answered])
    changed = update(extractions).where(extractions.c.extraction_id == bindparam("this"))
    tx.connection.execute(
        changed.values(
            status="answered", payload=bindparam("told"), pages_charged=bindparam("pages"), answered_at=tx.at,
            revision=tx.revision,
        ),
        [{"this": one.extraction_id, "told": one.payload, "pages": one.pages_charged} for one in answered],
    )  # fmt: skip
    _count(tx, [(before[one.extraction_id], one.pages_charged) for one in answered])
    stands = {"stage": "judge", "state": "waiting", "reason_code": "answered", "reason": reason}
    for some in chunks(one.document_sha256 for one in answered):
        theirs = update(documents).where(documents.c.document_sha256.in_(some))
        tx.connection.execute(theirs.values(**stands, changed_at=tx.at, revision=tx.revision))


def _count(tx: Transaction, charged: Iterable[tuple[Job, int]]) -> None:
    """Let the pages that were charged count in place of those that were reserved."""
    differences: Counter[tuple[str, str, str | None]] = Counter()
    for job, pages in charged:
        after = replace(job, status="answered", pages_charged=pages)
        where = (job.extracted_by, job.counted_on or day_of(job.requested_at), job.run_id)
        differences[where] += after.pages_counted - job.pages_counted
    for (extractor, day, run), difference in differences.items():
        adjust(tx, extractor, difference, day, run)


def _jobs_by_id(connection: Connection, wanted: Iterable[str]) -> dict[str, Job]:
    found: dict[str, Job] = {}
    for some in chunks(wanted):
        columns = (extractions.c[name] for name in Job.__slots__)
        rows = connection.execute(select(*columns).where(extractions.c.extraction_id.in_(some)))
        found |= {row.extraction_id: Job(*row) for row in rows}
    return found
