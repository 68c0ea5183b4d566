"""Judgements: the candidates found in a document, their verdicts, and the rules that did not hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, delete, insert, or_, select

from invoices.ledger.documents import chunks
from invoices.ledger.ledger import Transaction
from invoices.ledger.tables import candidates, export_batches, exported_invoices, findings, receipts
from invoices.model import receipt_id

COUNTING = ("accepted", "review")  # a quarantined candidate does not make a later, sound one its duplicate


@dataclass(frozen=True, slots=True)
class Candidate:
    """A judged candidate; ``body`` is JSON with the candidate's columns, ``lines`` and ``taxes``."""

    invoice_id: str
    document_sha256: str
    ordinal: int
    verdict: str
    number_key: str | None
    content_key: str | None
    invoice_number: str | None
    body: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that did not hold."""

    invoice_id: str | None
    document_sha256: str
    rule_id: str
    severity: str
    message: str


def record_judgement(
    tx: Transaction, judged: Sequence[Candidate], broken: Sequence[Finding], judged_by: str, publishers: Sequence[str]
) -> None:
    """Write the candidates of some documents and their findings, in place of earlier ones.

    Accepted ones join the outbox of each publisher and the queue of the exports in the same transaction.
    """
    for some in chunks(c.invoice_id for c in judged):
        tx.connection.execute(delete(candidates).where(candidates.c.invoice_id.in_(some)))
        tx.connection.execute(delete(findings).where(findings.c.invoice_id.in_(some)))
    stamp = {"judged_at": tx.at, "judged_by": judged_by}
    _insert(tx, candidates, [{name: getattr(c, name) for name in Candidate.__slots__} | stamp for c in judged])
    _insert(tx, findings, [_finding(tx, f) for f in broken])
    accepted = [c.invoice_id for c in judged if c.verdict == "accepted"]
    queued = _already(tx, exported_invoices, accepted)
    _insert(tx, exported_invoices, [{"invoice_id": invoice} for invoice in accepted if invoice not in queued])
    for publisher in publishers:
        queued = _already(tx, receipts, accepted, receipts.c.publisher == publisher)
        new = [i for i in accepted if i not in queued]
        _insert(tx, receipts, [_receipt(tx, invoice, publisher) for invoice in new])


def _already(tx: Transaction, queue: Table, invoices: list[str], *conditions: ColumnElement[bool]) -> set[str]:
    queued: set[str] = set()
    for some in chunks(invoices):
        queued.update(
            tx.connection.scalars(select(queue.c.invoice_id).where(queue.c.invoice_id.in_(some), *conditions))
        )
    return queued


def _insert(tx: Transaction, table: Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        tx.connection.execute(insert(table), [row | {"revision": tx.revision} for row in rows])


def _receipt(tx: Transaction, invoice: str, publisher: str) -> dict[str, Any]:
    return {
        "invoice_id": invoice, "publisher": publisher, "receipt_id": receipt_id(invoice), "status": "pending",
        "changed_at": tx.at,
    }  # fmt: skip


def known_keys(
    connection: Connection, number_keys: Iterable[str], content_keys: Iterable[str]
) -> list[Mapping[str, Any]]:
    """Return keys, ``invoice_id`` and ``invoice_number`` of the earlier candidates that have one of these keys."""
    found: dict[str, Mapping[str, Any]] = {}
    columns = [candidates.c[name] for name in ("number_key", "content_key", "invoice_id", "invoice_number")]
    for column, keys in ((candidates.c.number_key, number_keys), (candidates.c.content_key, content_keys)):
        for some in chunks(keys):
            rows = connection.execute(
                select(*columns).where(column.in_(some), candidates.c.verdict.in_(COUNTING))
            ).mappings()
            found |= {row["invoice_id"]: dict(row) for row in rows}
    return [found[invoice] for invoice in sorted(found)]


def candidate_rows(connection: Connection, document: str) -> list[Mapping[str, Any]]:
    """Return the candidates of a document, in its order."""
    rows = connection.execute(
        select(candidates).where(candidates.c.document_sha256 == document).order_by(candidates.c.ordinal)
    ).mappings()
    return [dict(row) for row in rows]


def finding_rows(connection: Connection, document: str) -> list[Mapping[str, Any]]:
    """Return the rules that did not hold for a document."""
    rows = connection.execute(
        select(findings).where(findings.c.document_sha256 == document).order_by(findings.c.rule_id)
    ).mappings()
    return [dict(row) for row in rows]


def receipt_rows(connection: Connection, invoice: str) -> list[Mapping[str, Any]]:
    """Return the receipts of an invoice."""
    rows = connection.execute(select(receipts).where(receipts.c.invoice_id == invoice)).mappings()
    return [dict(row) for row in rows]


def export_rows(connection: Connection, invoice: str) -> list[Mapping[str, Any]]:
    """Return the export batch of an invoice, if it is in one."""
    rows = connection.execute(
        select(export_batches)
        .join(exported_invoices, exported_invoices.c.batch_id == export_batches.c.batch_id)
        .where(exported_invoices.c.invoice_id == invoice)
    ).mappings()
    return [dict(row) for row in rows]


def document_of(connection: Connection, identity: str) -> list[str]:
    """Return the documents of the candidates whose id or invoice number is ``identity``; up to ten."""
    rows = connection.scalars(
        select(candidates.c.document_sha256)
        .where(or_(candidates.c.invoice_id == identity, candidates.c.invoice_number == identity))
        .distinct()
        .limit(10)
    )
    return list(rows)


def _finding(tx: Transaction, finding: Finding) -> dict[str, Any]:
    row = {name: getattr(finding, name) for name in Finding.__slots__}
    identity = "\x1f".join((finding.invoice_id or "", finding.document_sha256, finding.rule_id))
    return row | {"finding_id": hashlib.sha256(identity.encode()).hexdigest()[:32], "checked_at": tx.at}
