"""Letting receipts that failed be sent again."""

from __future__ import annotations

from collections.abc import Sequence

from invoices.app import App
from invoices.errors import ConfigurationError
from invoices.ledger.outbox import find_receipt_invoice_ids, release_receipts


def retry_receipts(app: App, identities: Sequence[str], reason_codes: Sequence[str]) -> list[str]:
    """Make failed receipts pending again and return their receipt ids.

    ``identities`` are invoice ids, invoice numbers, receipt ids or hashes of documents; none means all receipts.

    Raises:
        ConfigurationError: no receipt has one of these names.
    """
    invoice_ids: list[str] = []
    with app.ledger.open_snapshot() as connection:
        for identity in identities:
            found_ids = find_receipt_invoice_ids(connection, identity)
            if not found_ids:
                raise ConfigurationError(
                    f"no receipt is named {identity!r}: give an invoice id or number, a receipt id or a document's hash"
                )
            invoice_ids += found_ids
    with app.ledger.begin_transaction() as tx:
        return release_receipts(tx, invoice_ids if identities else None, reason_codes)
