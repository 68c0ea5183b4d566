"""The vendor's receipts: stored per API key and tenant, with the request body they were created from."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sandbox.exact_json import parse_json, render_json
from sandbox.journal import Journal, compute_sha256, get_utc_timestamp
from sandbox.smartbills_io.receipt_validation import MONEY_PROPERTIES

Receipt = dict[str, Any]
ECHOED_PROPERTIES = ("receiptId", "type", "date", "dueDate", "cancelledAt")
"""Properties that an answer repeats besides money, lines, payments and taxes (sheet 05, section 5)."""

NULLABLE_PROPERTIES = ("dueDate", "cancelledAt")


class DuplicateReceiptError(Exception):
    """A receipt with this receiptId exists already."""


class IdempotencyMismatchError(Exception):
    """This Idempotency-Key was used with another body."""


class ReceiptStore:
    """The receipts of all keys and tenants; each sees its own."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._list_answer_counts: Counter[tuple[str, str]] = Counter()
        self._list_answers_at_creation: dict[int, int] = {}

    def create_receipt(
        self,
        owner: tuple[str, str],
        raw_body: bytes,
        body: dict[str, Any],
        *,
        require_unique_id: bool,
        idempotency_key: str | None,
        is_from_caller: bool = True,
        clock_shift_seconds: float = 0.0,
    ) -> Receipt:
        """Create a receipt, on disk when it returns, or return the one that was created with this Idempotency-Key.

        ``clock_shift_seconds`` is how far the vendor's clock is ahead of the machine's.

        Raises DuplicateReceiptError with ``require_unique_id``, and IdempotencyMismatchError with ``idempotency_key``.
        """
        with self._journal.begin_transaction() as connection:
            if idempotency_key and (earlier_row := self._find_by_idempotency_key(owner, idempotency_key)):
                if earlier_row["body_sha256"] != compute_sha256(raw_body):
                    raise IdempotencyMismatchError
                return parse_receipt_row(earlier_row)
            if require_unique_id and body.get("receiptId"):
                query = """SELECT 1 FROM receipts
                           WHERE api_key = ? AND tenant_id = ? AND receipt_id = ? AND deleted_at IS NULL"""
                if connection.execute(query, (*owner, body["receiptId"])).fetchone() is not None:
                    raise DuplicateReceiptError
            created_at = get_utc_timestamp(clock_shift_seconds)
            body_text = render_json(body)
            cursor = connection.execute(
                """INSERT INTO receipts
                   (at, api_key, tenant_id, receipt_id, body_sha256, body, answer, idempotency_key, is_ours)
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
                (
                    created_at,
                    *owner,
                    body.get("receiptId"),
                    compute_sha256(raw_body),
                    body_text,
                    "{}",
                    idempotency_key,
                    is_from_caller,
                ),
            )
            receipt = _build_receipt(int(cursor.lastrowid or 0), created_at, body)
            connection.execute("UPDATE receipts SET answer = ? WHERE id = ?", (render_json(receipt), receipt["id"]))
        self._list_answers_at_creation[receipt["id"]] = self._list_answer_counts[owner]
        return receipt

    def find_receipt(self, owner: tuple[str, str], receipt_id: int) -> Receipt | None:
        """Return the owner's receipt of this id, or None."""
        row = self._journal.connection.execute(
            "SELECT * FROM receipts WHERE id = ? AND api_key = ? AND tenant_id = ? AND deleted_at IS NULL",
            (receipt_id, *owner),
        ).fetchone()
        return parse_receipt_row(row) if row else None

    def list_receipts_and_count(
        self,
        owner: tuple[str, str],
        *,
        order_by: str,
        direction: str,
        limit: int,
        offset: int,
        search: str | None,
        lag: int = 0,
    ) -> tuple[list[Receipt], int]:
        """Return one page of the owner's receipts and the number of all; ``order_by`` is a property of a receipt.

        A receipt is missing from the first ``lag`` answers after its creation.
        """
        condition = "api_key = ? AND tenant_id = ? AND deleted_at IS NULL"
        values: list[Any] = list(owner)
        answer_count = self._list_answer_counts[owner]
        self._list_answer_counts[owner] += 1
        if lag:
            is_hidden = {number: answer_count - count < lag for number, count in self._list_answers_at_creation.items()}
            condition += f" AND id NOT IN ({', '.join(str(number) for number, hidden in is_hidden.items() if hidden)})"
        if search is not None:
            condition += " AND receipt_id = ?"
            values.append(search)
        order_column = {"id": "id", "createdAt": "id", "receiptId": "receipt_id"}.get(
            order_by, "json_extract(answer, ?)"
        )
        json_path_values = [f'$."{order_by}"'] if "?" in order_column else []
        connection = self._journal.connection
        count = connection.execute(f"SELECT count(*) FROM receipts WHERE {condition}", values).fetchone()[0]
        rows = connection.execute(
            f"""SELECT * FROM receipts WHERE {condition}
                ORDER BY {order_column} {direction}, id {direction} LIMIT ? OFFSET ?""",
            [*values, *json_path_values, limit, offset],
        ).fetchall()
        return [parse_receipt_row(row) for row in rows], int(count)

    def update_receipt(self, receipt_id: int, changes: dict[str, Any]) -> None:
        """Change properties of a stored receipt."""
        with self._journal.begin_transaction() as connection:
            row = connection.execute("SELECT answer FROM receipts WHERE id = ?", (receipt_id,)).fetchone()
            receipt = {**parse_json(row["answer"].encode()), **changes}
            connection.execute("UPDATE receipts SET answer = ? WHERE id = ?", (render_json(receipt), receipt_id))

    def delete_receipt(self, receipt_id: int) -> None:
        """Hide a receipt from all routes; the journal keeps it."""
        with self._journal.begin_transaction() as connection:
            connection.execute("UPDATE receipts SET deleted_at = ? WHERE id = ?", (get_utc_timestamp(), receipt_id))

    def _find_by_idempotency_key(self, owner: tuple[str, str], idempotency_key: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._journal.connection.execute(
            "SELECT * FROM receipts WHERE api_key = ? AND tenant_id = ? AND idempotency_key = ?",
            (*owner, idempotency_key),
        ).fetchone()
        return row


def parse_receipt_row(row: sqlite3.Row) -> Receipt:
    """Return the SBReceipt of a row of the journal."""
    receipt: Receipt = parse_json(row["answer"].encode())
    return receipt


def _build_receipt(receipt_id: int, created_at: str, body: dict[str, Any]) -> Receipt:
    items = body.get("items") or body.get("lineItems") or []
    return {
        "id": receipt_id,
        **{
            name: body.get(name)
            for name in ECHOED_PROPERTIES
            if name in NULLABLE_PROPERTIES or body.get(name) is not None
        },
        "items": [{"id": receipt_id * 100_000 + item_number, **item} for item_number, item in enumerate(items, 1)],
        **{name: body[name] for name in MONEY_PROPERTIES if body.get(name) is not None},
        "totalItems": body["subTotal"],
        "payments": _select_objects(body.get("payments")),
        "taxes": [{"id": item_number, **tax} for item_number, tax in enumerate(_select_objects(body.get("taxes")), 1)],
        "documents": [],
        "bankTransaction": None,
        "createdAt": created_at,
        "url": f"https://receipts.example.org/{receipt_id}",
    }


def _select_objects(value: Any) -> Sequence[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
