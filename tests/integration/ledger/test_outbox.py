"""The outbox of receipts: groups of unpublished receipts, refused ones, and what the vendor has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from invoices.ledger import Ledger
from invoices.ledger.outbox import (
    ALL_REFUSED,
    ReceiptGroup,
    count_refused_receipts,
    find_receipt_invoice_ids,
    find_remote_receipt_ids,
    has_receipts,
    has_receipts_refused_under_other_settings,
    list_unaccounted_receipt_ids,
    list_unpublished_receipts,
    record_remote_receipts,
    release_receipts,
    release_refused_receipts,
    update_receipt,
)
from invoices.model import format_receipt_id
from tests.integration.ledger.validation_fixtures import DOCUMENT, build_candidate, validate_candidates

PUBLISHER = "smartbills_io"
OLD_SETTINGS, NEW_SETTINGS = "a" * 64, "b" * 64


@pytest.fixture
def outbox(ledger: Ledger) -> Ledger:
    """A ledger with a receipt in each situation; its invoice id is the initial of the situation."""
    validate_candidates(ledger, map(build_candidate, "fhmprsuw"))
    with ledger.begin_transaction() as tx:
        receipts = {r.invoice_id: r for r in list_unpublished_receipts(tx.connection, PUBLISHER, 10)}
        changes: dict[str, tuple[Any, dict[str, Any]]] = {
            "f": ("failed", {"reason_code": "request_refused", "reason": "400", "refused_under": OLD_SETTINGS}),
            "h": ("held", {"reason_code": "credit_note_not_published", "reason": "It is one."}),
            "m": ("waiting", {"reason_code": "not_found_yet", "reason": "?", "first_missed_at": tx.timestamp}),
            "p": ("published", {"remote_id": "1", "first_sent_at": tx.timestamp}),
            "r": ("waiting", {"reason_code": ALL_REFUSED, "reason": "400", "refused_under": OLD_SETTINGS}),
            "s": ("sending", {"first_sent_at": tx.timestamp}),
            "w": ("waiting", {"reason_code": "no_customer", "reason": "Nobody."}),
        }
        for invoice_id, (status, values) in changes.items():
            update_receipt(tx, receipts[invoice_id], status, **values)
    return ledger


def list_group(ledger: Ledger, group: ReceiptGroup | None) -> str:
    with ledger.open_snapshot() as connection:
        return "".join(r.invoice_id for r in list_unpublished_receipts(connection, PUBLISHER, 10, group=group))


def test_each_unpublished_receipt_is_in_one_group(outbox: Ledger) -> None:
    assert list_group(outbox, "unclear") == "ms"
    assert list_group(outbox, "unsent") == "uw"
    assert list_group(outbox, "refused") == "r"
    assert list_group(outbox, None) == "mrsuw"


def test_receipts_refused_under_other_settings_are_pending_again(outbox: Ledger) -> None:
    with outbox.begin_transaction() as tx:
        assert not has_receipts_refused_under_other_settings(tx.connection, PUBLISHER, OLD_SETTINGS)
        assert has_receipts_refused_under_other_settings(tx.connection, PUBLISHER, NEW_SETTINGS)
        assert count_refused_receipts(tx.connection, PUBLISHER) == (1, "400")
        assert release_refused_receipts(tx, PUBLISHER, NEW_SETTINGS) == 2
        assert count_refused_receipts(tx.connection, PUBLISHER) == (0, None)
    assert list_group(outbox, "unsent") == "fruw"


@pytest.mark.parametrize(
    ("invoice_ids", "reason_codes", "released"),
    [
        (None, [], "fr"),
        (None, ["request_refused"], "f"),
        (None, ["credit_note_not_published", ALL_REFUSED], "hr"),
        (["h", "p", "s", "w"], [], "h"),
        (["f", "r"], [ALL_REFUSED], "r"),
        ([], [], ""),
    ],
)
def test_only_receipts_that_failed_are_released(
    outbox: Ledger, invoice_ids: list[str] | None, reason_codes: Sequence[str], released: str
) -> None:
    with outbox.begin_transaction() as tx:
        receipt_ids = release_receipts(tx, invoice_ids, reason_codes)
    assert receipt_ids == [format_receipt_id(invoice_id) for invoice_id in released]
    assert list_group(outbox, "unsent") == "".join(sorted("uw" + released))


@pytest.mark.parametrize("identity", ["f", format_receipt_id("f"), "No f"])
def test_a_receipt_is_found_by_invoice_id_receipt_id_or_invoice_number(outbox: Ledger, identity: str) -> None:
    with outbox.open_snapshot() as connection:
        assert find_receipt_invoice_ids(connection, identity) == ["f"]
        assert len(find_receipt_invoice_ids(connection, DOCUMENT)) == 8
        assert find_receipt_invoice_ids(connection, "nobody") == []


def test_receipts_at_the_vendor_that_were_neither_sent_nor_found_before_are_unaccounted(outbox: Ledger) -> None:
    names = [format_receipt_id(invoice_id) for invoice_id in "psuwx"]
    with outbox.begin_transaction() as tx:
        assert list_unaccounted_receipt_ids(tx.connection, PUBLISHER, names) == names[2:]
        record_remote_receipts(tx, PUBLISHER, {names[3]: "7", names[4]: "8"})
        assert list_unaccounted_receipt_ids(tx.connection, PUBLISHER, names) == names[2:3]
        assert find_remote_receipt_ids(tx.connection, PUBLISHER, names) == set(names[3:])
        assert has_receipts(tx.connection, PUBLISHER, names[3:])
        assert not has_receipts(tx.connection, PUBLISHER, names[4:])
        assert not has_receipts(tx.connection, PUBLISHER, [])
