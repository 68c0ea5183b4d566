"""Flags: unusual facts about a document, stored with the findings; they decide nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Protocol

from sqlalchemy import insert, select

from invoices.ledger.documents import iter_chunks
from invoices.ledger.ledger import Transaction
from invoices.ledger.tables import findings


class Flag(Protocol):
    """An unusual fact: the rule's id as in docs/rules.md, and a message that may quote the document."""

    @property
    def rule_id(self) -> str: ...

    @property
    def message(self) -> str: ...


def record_flags(tx: Transaction, document_sha256: str, flags: Iterable[Flag]) -> None:
    """Record flags as findings of severity ``info`` without a candidate; recorded ones stay as they are.

    Validating the document, even again, does not change them.
    """
    rows = {row["finding_id"]: row for row in (_build_finding_row(tx, document_sha256, flag) for flag in flags)}
    for chunk in iter_chunks(rows):
        known_ids = tx.connection.scalars(select(findings.c.finding_id).where(findings.c.finding_id.in_(chunk)))
        for finding_id in known_ids:
            del rows[finding_id]
    if rows:
        tx.connection.execute(insert(findings), list(rows.values()))


def _build_finding_row(tx: Transaction, document_sha256: str, flag: Flag) -> dict[str, Any]:
    identity = "\x1f".join(("", document_sha256, flag.rule_id, flag.message)).encode("utf-8", "replace")
    return {
        "finding_id": hashlib.sha256(identity).hexdigest()[:32], "invoice_id": None, "document_sha256": document_sha256,
        "rule_id": flag.rule_id, "severity": "info", "message": flag.message, "checked_at": tx.timestamp,
        "revision": tx.revision,
    }  # fmt: skip
