"""Flags: odd things about a document, kept beside the rules' findings, deciding nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Protocol

from sqlalchemy import insert, select

from invoices.ledger.documents import chunks
from invoices.ledger.ledger import Transaction
from invoices.ledger.tables import findings


class Flag(Protocol):
    """Something odd: the rule's id as in docs/rules.md, and a message that may quote the document."""

    @property
    def rule_id(self) -> str: ...

    @property
    def message(self) -> str: ...


def record_flags(tx: Transaction, document: str, flags: Iterable[Flag]) -> None:
    """Write flags of a document as findings of severity info and of no candidate; what is there stays as it is.

    Judging the document, also again, leaves them alone.
    """
    rows = {row["finding_id"]: row for row in (_row(tx, document, flag) for flag in flags)}
    for some in chunks(rows):
        known = tx.connection.scalars(select(findings.c.finding_id).where(findings.c.finding_id.in_(some)))
        for finding_id in known:
            del rows[finding_id]
    if rows:
        tx.connection.execute(insert(findings), list(rows.values()))


def _row(tx: Transaction, document: str, flag: Flag) -> dict[str, Any]:
    identity = "\x1f".join(("", document, flag.rule_id, flag.message)).encode("utf-8", "replace")
    return {
        "finding_id": hashlib.sha256(identity).hexdigest()[:32], "invoice_id": None, "document_sha256": document,
        "rule_id": flag.rule_id, "severity": "info", "message": flag.message, "checked_at": tx.at,
        "revision": tx.revision,
    }  # fmt: skip
