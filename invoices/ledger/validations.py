"""Validations: the candidates found in a document, their verdicts, and the findings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, delete, insert, or_, select

from invoices.ledger.documents import iter_chunks
from invoices.ledger.ledger import Transaction
from invoices.ledger.tables import candidates, export_batches, exported_invoices, findings, receipts
from invoices.model import format_receipt_id

# not quarantined: a faulty candidate does not make a later, correct one its duplicate
DUPLICATE_CHECK_VERDICTS = ("accepted", "review")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A validated candidate; ``body`` is JSON with the candidate's columns, ``lines`` and ``taxes``."""

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
    """A broken rule; ``invoice_id`` is None if it concerns the document as a whole."""

    invoice_id: str | None
    document_sha256: str
    rule_id: str
    severity: str
    message: str


def record_validation(
    tx: Transaction,
    validated: Sequence[Candidate],
    broken_rules: Sequence[Finding],
    decided_by: str,
    publishers: Sequence[str],
) -> None:
    """Record candidates and their findings, in place of earlier ones with the same invoice ids.

    In the same transaction, accepted candidates join the outbox of each publisher and the queue of the exports, unless
    they are there already.
    """
    for chunk in iter_chunks(candidate.invoice_id for candidate in validated):
        tx.connection.execute(delete(candidates).where(candidates.c.invoice_id.in_(chunk)))
        tx.connection.execute(delete(findings).where(findings.c.invoice_id.in_(chunk)))
    stamp = {"validated_at": tx.timestamp, "decided_by": decided_by}
    _insert_rows(
        tx,
        candidates,
        [{name: getattr(candidate, name) for name in Candidate.__slots__} | stamp for candidate in validated],
    )
    _insert_rows(tx, findings, [_build_finding_row(tx, finding) for finding in broken_rules])
    accepted_ids = [candidate.invoice_id for candidate in validated if candidate.verdict == "accepted"]
    queued_ids = _list_queued_invoice_ids(tx, exported_invoices, accepted_ids)
    _insert_rows(
        tx,
        exported_invoices,
        [{"invoice_id": invoice_id} for invoice_id in accepted_ids if invoice_id not in queued_ids],
    )
    for publisher in publishers:
        queued_ids = _list_queued_invoice_ids(tx, receipts, accepted_ids, receipts.c.publisher == publisher)
        new_ids = [accepted_id for accepted_id in accepted_ids if accepted_id not in queued_ids]
        _insert_rows(tx, receipts, [_build_receipt_row(tx, invoice_id, publisher) for invoice_id in new_ids])


def _list_queued_invoice_ids(
    tx: Transaction, queue_table: Table, invoice_ids: list[str], *conditions: ColumnElement[bool]
) -> set[str]:
    queued_ids: set[str] = set()
    for chunk in iter_chunks(invoice_ids):
        queued_ids.update(
            tx.connection.scalars(
                select(queue_table.c.invoice_id).where(queue_table.c.invoice_id.in_(chunk), *conditions)
            )
        )
    return queued_ids


def _insert_rows(tx: Transaction, table: Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        tx.connection.execute(insert(table), [row | {"revision": tx.revision} for row in rows])


def _build_receipt_row(tx: Transaction, invoice_id: str, publisher: str) -> dict[str, Any]:
    return {
        "invoice_id": invoice_id,
        "publisher": publisher,
        "receipt_id": format_receipt_id(invoice_id),
        "status": "pending",
        "changed_at": tx.timestamp,
    }


def list_possible_duplicates(
    connection: Connection, number_keys: Iterable[str], content_keys: Iterable[str]
) -> list[Mapping[str, Any]]:
    """Return the accepted candidates, and those in review, that have one of these keys.

    Each row has ``number_key``, ``content_key``, ``invoice_id`` and ``invoice_number``.
    """
    rows_by_invoice: dict[str, Mapping[str, Any]] = {}
    columns = [candidates.c[name] for name in ("number_key", "content_key", "invoice_id", "invoice_number")]
    for column, keys in ((candidates.c.number_key, number_keys), (candidates.c.content_key, content_keys)):
        for chunk in iter_chunks(keys):
            rows = connection.execute(
                select(*columns).where(column.in_(chunk), candidates.c.verdict.in_(DUPLICATE_CHECK_VERDICTS))
            ).mappings()
            rows_by_invoice |= {row["invoice_id"]: dict(row) for row in rows}
    return [rows_by_invoice[invoice_id] for invoice_id in sorted(rows_by_invoice)]


def list_candidate_rows(connection: Connection, document_sha256: str) -> list[Mapping[str, Any]]:
    """Return the candidates of a document, in the order of their ordinals."""
    rows = connection.execute(
        select(candidates).where(candidates.c.document_sha256 == document_sha256).order_by(candidates.c.ordinal)
    ).mappings()
    return [dict(row) for row in rows]


def find_candidate_row(connection: Connection, invoice_id: str) -> Mapping[str, Any] | None:
    """Return the candidate of this invoice id, or None."""
    row = connection.execute(select(candidates).where(candidates.c.invoice_id == invoice_id)).mappings().first()
    return dict(row) if row else None


def list_finding_rows(connection: Connection, document_sha256: str) -> list[Mapping[str, Any]]:
    """Return the findings about a document, ordered by rule."""
    rows = connection.execute(
        select(findings).where(findings.c.document_sha256 == document_sha256).order_by(findings.c.rule_id)
    ).mappings()
    return [dict(row) for row in rows]


def list_receipt_rows(connection: Connection, invoice_id: str) -> list[Mapping[str, Any]]:
    """Return the receipts of an invoice."""
    rows = connection.execute(select(receipts).where(receipts.c.invoice_id == invoice_id)).mappings()
    return [dict(row) for row in rows]


def list_export_batch_rows(connection: Connection, invoice_id: str) -> list[Mapping[str, Any]]:
    """Return the export batch of an invoice; an empty list if it is in none."""
    rows = connection.execute(
        select(export_batches)
        .join(exported_invoices, exported_invoices.c.batch_id == export_batches.c.batch_id)
        .where(exported_invoices.c.invoice_id == invoice_id)
    ).mappings()
    return [dict(row) for row in rows]


def list_document_hashes_by_invoice(connection: Connection, id_or_number: str) -> list[str]:
    """Return the hashes of up to ten documents with a candidate of this invoice id or invoice number."""
    rows = connection.scalars(
        select(candidates.c.document_sha256)
        .where(or_(candidates.c.invoice_id == id_or_number, candidates.c.invoice_number == id_or_number))
        .distinct()
        .limit(10)
    )
    return list(rows)


def _build_finding_row(tx: Transaction, finding: Finding) -> dict[str, Any]:
    row = {name: getattr(finding, name) for name in Finding.__slots__}
    identity = "\x1f".join((finding.invoice_id or "", finding.document_sha256, finding.rule_id))
    return row | {"finding_id": hashlib.sha256(identity.encode()).hexdigest()[:32], "checked_at": tx.timestamp}
