"""The vendor's receipts: kept per API key and tenant, with the bytes they were created from."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from sandbox.exact_json import dumps, loads
from sandbox.journal import Journal, now_text, sha256
from sandbox.smartbills_io.shapes import MONEY

Receipt = dict[str, Any]
ECHOED = ("receiptId", "type", "date", "dueDate", "cancelledAt")
"""What the answer tells back, besides money, lines, payments and taxes; customer and order data are not (section 5)."""

NULLABLE = ("dueDate", "cancelledAt")


class DuplicateReceipt(Exception):
    """This receiptId exists."""


class IdempotencyMismatch(Exception):
    """This Idempotency-Key came with another body."""


class Receipts:
    """The receipts of all keys and tenants; each sees its own."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def create(
        self,
        owner: tuple[str, str],
        raw: bytes,
        body: dict[str, Any],
        *,
        is_unique: bool,
        idempotency_key: str | None,
        is_ours: bool = True,
    ) -> Receipt:
        """Return the new receipt, on disk; raises DuplicateReceipt or IdempotencyMismatch where these are asked for."""
        with self._journal.writing() as connection:
            if idempotency_key and (before := self._by_idempotency_key(owner, idempotency_key)):
                if before["body_sha256"] != sha256(raw):
                    raise IdempotencyMismatch
                return answer_of(before)
            if is_unique and body.get("receiptId") and self._by_receipt_id(owner, body["receiptId"]):
                raise DuplicateReceipt
            at = now_text()
            text = dumps(body)
            cursor = connection.execute(
                """INSERT INTO receipts
                   (at, api_key, tenant_id, receipt_id, body_sha256, body, answer, idempotency_key, is_ours)
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
                (at, *owner, body.get("receiptId"), sha256(raw), text, "{}", idempotency_key, is_ours),
            )
            answer = _answer(int(cursor.lastrowid or 0), at, body)
            connection.execute("UPDATE receipts SET answer = ? WHERE id = ?", (dumps(answer), answer["id"]))
        return answer

    def find(self, owner: tuple[str, str], number: int) -> Receipt | None:
        """Return the owner's receipt of this id, or None."""
        row = self._journal.connection.execute(
            "SELECT * FROM receipts WHERE id = ? AND api_key = ? AND tenant_id = ? AND deleted_at IS NULL",
            (number, *owner),
        ).fetchone()
        return answer_of(row) if row else None

    def page(
        self, owner: tuple[str, str], *, order: str, direction: str, limit: int, offset: int, search: str | None
    ) -> tuple[list[Receipt], int]:
        """Return one page of the owner's receipts, and how many there are; ``order`` is id or a JSON path's key."""
        where = "api_key = ? AND tenant_id = ? AND deleted_at IS NULL"
        values: list[Any] = list(owner)
        if search is not None:
            where += " AND receipt_id = ?"
            values.append(search)
        by = {"id": "id", "createdAt": "id", "receiptId": "receipt_id"}.get(order, "json_extract(answer, ?)")
        key = [f'$."{order}"'] if "?" in by else []
        connection = self._journal.connection
        count = connection.execute(f"SELECT count(*) FROM receipts WHERE {where}", values).fetchone()[0]
        rows = connection.execute(
            f"SELECT * FROM receipts WHERE {where} ORDER BY {by} {direction}, id {direction} LIMIT ? OFFSET ?",
            [*values, *key, limit, offset],
        ).fetchall()
        return [answer_of(row) for row in rows], int(count)

    def update(self, number: int, changes: dict[str, Any]) -> None:
        """Write changed fields into the answer of a receipt."""
        with self._journal.writing() as connection:
            row = connection.execute("SELECT answer FROM receipts WHERE id = ?", (number,)).fetchone()
            answer = {**loads(row["answer"].encode()), **changes}
            connection.execute("UPDATE receipts SET answer = ? WHERE id = ?", (dumps(answer), number))

    def delete(self, number: int) -> None:
        """Take a receipt out of every list; the journal keeps it."""
        with self._journal.writing() as connection:
            connection.execute("UPDATE receipts SET deleted_at = ? WHERE id = ?", (now_text(), number))

    def _by_idempotency_key(self, owner: tuple[str, str], key: str) -> sqlite3.Row | None:
        found: sqlite3.Row | None = self._journal.connection.execute(
            "SELECT * FROM receipts WHERE api_key = ? AND tenant_id = ? AND idempotency_key = ?", (*owner, key)
        ).fetchone()
        return found

    def _by_receipt_id(self, owner: tuple[str, str], receipt_id: str) -> bool:
        sql = "SELECT 1 FROM receipts WHERE api_key = ? AND tenant_id = ? AND receipt_id = ? AND deleted_at IS NULL"
        return self._journal.connection.execute(sql, (*owner, receipt_id)).fetchone() is not None


def answer_of(row: sqlite3.Row) -> Receipt:
    """Return the SBReceipt that a row of the journal answers with."""
    answer: Receipt = loads(row["answer"].encode())
    return answer


def _answer(number: int, at: str, body: dict[str, Any]) -> Receipt:
    items = body.get("items") or body.get("lineItems") or []
    return {
        "id": number,
        **{name: body.get(name) for name in ECHOED if name in NULLABLE or body.get(name) is not None},
        "items": [{"id": number * 100_000 + n, **item} for n, item in enumerate(items, 1)],
        **{name: body[name] for name in MONEY if body.get(name) is not None},
        "totalItems": body["subTotal"],
        "payments": _objects(body.get("payments")),
        "taxes": [{"id": n, **tax} for n, tax in enumerate(_objects(body.get("taxes")), 1)],
        "documents": [],
        "bankTransaction": None,
        "createdAt": at,
        "url": f"https://receipts.example.org/{number}",
    }


def _objects(value: Any) -> Sequence[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
