"""Validations: the candidates found in a document, their verdicts, and the findings."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, delete, exists, insert, or_, select

from invoices.ledger.documents import iter_chunks, set_document_state
from invoices.ledger.ledger import Transaction
from invoices.ledger.tables import candidate_keys, candidates, export_batches, exported_invoices, findings, receipts
from invoices.model import format_receipt_id

# not quarantined: a faulty candidate does not make a later, correct one its duplicate
DUPLICATE_CHECK_VERDICTS = ("accepted", "review")
RULE_OF_WAITING_COPIES = "DUPLICATE-UNDECIDED"
DECIDED_BY_RULES = "rules"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A validated candidate; ``body`` is JSON with the candidate's columns, ``lines`` and ``taxes``.

    ``duplicate_of`` is the other candidate that a finding about duplicates names. Later copies find it by its ``keys``.
    """

    invoice_id: str
    document_sha256: str
    ordinal: int
    verdict: str
    invoice_number: str | None
    body: str
    duplicate_of: str | None = None
    keys: tuple[str, ...] = ()


CANDIDATE_COLUMNS = tuple(name for name in Candidate.__slots__ if name != "keys")


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

    Candidates whose copies name one that has another verdict now are validated again. In the same transaction, accepted
    candidates join the outbox of each publisher and the queue of the exports, unless
    they are there already.
    """
    verdicts_before: dict[str, str] = {}
    for chunk in iter_chunks(candidate.invoice_id for candidate in validated):
        condition = candidates.c.invoice_id.in_(chunk)
        rows = tx.connection.execute(select(candidates.c.invoice_id, candidates.c.verdict).where(condition))
        verdicts_before |= {row.invoice_id: row.verdict for row in rows}
        tx.connection.execute(delete(candidates).where(condition))
        tx.connection.execute(delete(candidate_keys).where(candidate_keys.c.invoice_id.in_(chunk)))
        tx.connection.execute(delete(findings).where(findings.c.invoice_id.in_(chunk)))
    stamp = {"validated_at": tx.timestamp, "decided_by": decided_by}
    _insert_rows(
        tx,
        candidates,
        [{name: getattr(candidate, name) for name in CANDIDATE_COLUMNS} | stamp for candidate in validated],
    )
    key_rows = [{"invoice_id": candidate.invoice_id, "key": key} for candidate in validated for key in candidate.keys]
    if key_rows:
        tx.connection.execute(insert(candidate_keys), key_rows)
    reopen_duplicates(
        tx,
        [
            candidate.invoice_id
            for candidate in validated
            if verdicts_before.get(candidate.invoice_id, candidate.verdict) != candidate.verdict
        ],
        {candidate.document_sha256 for candidate in validated},
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


def reopen_duplicates(tx: Transaction, decided_ids: Iterable[str], excluded_documents: Collection[str] = ()) -> None:
    """Have the rules decide again about candidates that wait for one of these, or were its duplicates.

    Call this whenever a verdict changes. A decision of a person stays.
    """
    waiting_documents: set[str] = set()
    for chunk in iter_chunks(decided_ids):
        waiting_documents.update(
            tx.connection.scalars(
                select(candidates.c.document_sha256).where(
                    candidates.c.duplicate_of.in_(chunk),
                    candidates.c.verdict.in_(("review", "duplicate")),
                    candidates.c.decided_by == DECIDED_BY_RULES,
                )
            )
        )
    for document_sha256 in sorted(waiting_documents.difference(excluded_documents)):
        set_document_state(
            tx, document_sha256, stage="validate", state="waiting", reason_code="original_decided",
            reason="The invoice of which this one is a copy has another verdict now; this one is validated again.",
        )  # fmt: skip


def list_possible_duplicates(connection: Connection, keys: Iterable[str]) -> list[Mapping[str, Any]]:
    """Return the accepted candidates, and those in review, that have one of these keys, by key and invoice.

    Each row has ``key``, ``invoice_id``, ``verdict`` and ``duplicate_of``. A copy that waits for its original is none.
    """
    rows: list[Mapping[str, Any]] = []
    waits_for_original = exists().where(
        findings.c.invoice_id == candidates.c.invoice_id, findings.c.rule_id == RULE_OF_WAITING_COPIES
    )
    for chunk in iter_chunks(keys):
        result = connection.execute(
            select(candidate_keys.c.key, *(candidates.c[name] for name in ("invoice_id", "verdict", "duplicate_of")))
            .join(candidates, candidates.c.invoice_id == candidate_keys.c.invoice_id)
            .where(
                candidate_keys.c.key.in_(chunk),
                candidates.c.verdict.in_(DUPLICATE_CHECK_VERDICTS),
                ~waits_for_original,
            )
        ).mappings()
        rows += map(dict, result)
    return sorted(rows, key=lambda row: (row["key"], row["invoice_id"]))


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
