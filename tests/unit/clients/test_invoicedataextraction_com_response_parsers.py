"""Parsing the JSON of invoicedataextraction.com: no warning is lost, and no unexpected value raises."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.clients.invoicedataextraction_com import FailedPage, ReviewItem, TaskError, UncertaintyNote
from invoices.clients.invoicedataextraction_com.presigned_storage import is_public_address
from invoices.clients.invoicedataextraction_com.response_parsers import (
    InvalidPageError,
    parse_extraction,
    parse_page_outcomes,
    parse_review_items,
    parse_task_error,
    parse_uncertainty_notes,
)

NESTED_KEYS = [
    "successful", "failed", "failure_reasons", "affected_pages", "file_name", "page", "pages", "reason", "code",
    "message", "details", "file_names", "topic", "description", "items", "count", "output_row_numbers",
]  # fmt: skip
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NESTED_KEYS), inner, max_size=4),
    max_leaves=8,
)
TOP_LEVEL_KEYS = [
    "progress", "credits_deducted", "credits_balance", "pages", "ai_uncertainty_notes", "review_needed", "questions",
    "error", "cancellation_reason", "output_expires_at", "answer_by",
]  # fmt: skip
FAILED_PAGE = {"file_name": "b.pdf", "page": 2}


@pytest.mark.parametrize(
    ("pages", "failed"),
    [
        ({"failed": [{**FAILED_PAGE, "reason": "Blurred"}]}, FailedPage("b.pdf", 2, None, "Blurred")),
        ({"failed": [{**FAILED_PAGE, "code": "X", "message": "m"}]}, FailedPage("b.pdf", 2, "X", "m")),
        ({"failed": [{**FAILED_PAGE, "reason": {"code": "X", "message": "m"}}]}, FailedPage("b.pdf", 2, "X", "m")),
        (
            {"failed": [FAILED_PAGE], "failure_reasons": [
                {"code": "X", "message": "m", "affected_pages": [{"file_name": "b.pdf", "pages": [2]}]}]},
            FailedPage("b.pdf", 2, "X", "m"),
        ),
        (
            {"failure_reasons": [{"code": "X", "affected_pages": [{"file_name": "b.pdf", "pages": [2]}]}]},
            FailedPage("b.pdf", 2, "X", None),
        ),
        (
            {"failure_reasons": [{"code": "X", "affected_pages": [{"file_name": "b.pdf"}]}]},
            FailedPage("b.pdf", None, "X"),
        ),
        ({"failed": [FAILED_PAGE, FAILED_PAGE]}, FailedPage("b.pdf", 2)),
    ],
)  # fmt: skip
def test_failed_pages_and_reasons_are_read_from_both_lists(pages: Any, failed: FailedPage) -> None:
    page_outcomes = parse_page_outcomes(pages)
    assert page_outcomes is not None
    assert page_outcomes.failed == (failed,)
    assert (page_outcomes.failed_count, page_outcomes.successful_count) == (1, 0)


def test_the_failed_count_is_never_less_than_the_pages_listed() -> None:
    page_outcomes = parse_page_outcomes({"failed": [FAILED_PAGE], "failed_count": 0, "successful_count": 7})
    assert page_outcomes is not None
    assert (page_outcomes.failed_count, page_outcomes.successful_count) == (1, 7)


@pytest.mark.parametrize(
    "pages",
    [{"failed": [{"page": 1}]}, {"failed": [{"file_name": "a"}]}, {"successful": ["a.pdf"]}, {"successful": [None]},
     {"failure_reasons": [{"affected_pages": [{"pages": [1]}]}]}, {"successful": [{"file_name": "a", "page": -1}]}],
)  # fmt: skip
def test_a_page_without_file_or_number_is_refused(pages: Any) -> None:
    with pytest.raises(InvalidPageError):
        parse_page_outcomes(pages)


@pytest.mark.parametrize(
    ("value", "notes"),
    [
        ([{"topic": "Totals", "description": "Two."}], (UncertaintyNote("Totals", "Two."),)),
        ([{"topic": "Totals"}], (UncertaintyNote("Totals", ""),)),
        ("Two totals", (UncertaintyNote("", "Two totals"),)),
        (["Two totals"], (UncertaintyNote("", "Two totals"),)),
        ([{"field": "Tax", "why": "smudged"}], (UncertaintyNote("", '{"field":"Tax","why":"smudged"}'),)),
        ({"topic": "Tax"}, (UncertaintyNote("Tax", ""),)),
        ([], ()), (None, ()), ("", ()), ({}, ()),
    ],
)  # fmt: skip
def test_a_note_of_any_shape_is_kept(value: Any, notes: tuple[UncertaintyNote, ...]) -> None:
    assert parse_uncertainty_notes(value) == notes


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ({"count": 0, "items": []}, ()), (None, ()),
        ({"items": [{"message": "Look", "output_row_numbers": [0, 2, "x"]}]}, (ReviewItem("Look", (), (2,)),)),
        ({"count": 3, "items": [{"message": "Look"}]},
         (ReviewItem("Look"), ReviewItem("The vendor counts 2 more review items, but lists no details."))),
        ({"count": 1}, (ReviewItem("The vendor counts 1 more review item, but lists no details."),)),
        (["Look"], (ReviewItem("Look"),)),
        ({"items": [{"affected_fields": ["Tax"]}]}, (ReviewItem('{"affected_fields":["Tax"]}', ("Tax",)),)),
    ],
)  # fmt: skip
def test_review_items_of_any_shape_are_kept(value: Any, items: tuple[ReviewItem, ...]) -> None:
    assert parse_review_items(value) == items


def test_a_task_error_hides_secrets_and_is_not_retryable_by_default() -> None:
    error = parse_task_error({"code": "X", "message": "with Bearer abc.def and K-9", "details": None}, ["K-9"])
    assert error == TaskError("X", "with [hidden] and [hidden]")
    assert parse_task_error({"retryable": "yes"}) == TaskError("UNKNOWN", None, False)
    assert parse_task_error("boom") is None


@given(st.dictionaries(st.sampled_from(TOP_LEVEL_KEYS), JSON_VALUES))
def test_any_response_is_parsed_unless_a_page_is_invalid(fields: dict[str, Any]) -> None:
    state = None
    with suppress(InvalidPageError):
        state = parse_extraction("id", "completed", fields)
    assert state is not None or fields["pages"]
    assert state is None or state.notes or not fields.get("ai_uncertainty_notes")


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1"])
def test_these_addresses_are_public(address: str) -> None:
    assert is_public_address(address)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "0.0.0.1", "100.64.0.1", "224.0.0.1",
     "255.255.255.255", "::1", "::", "fe80::1", "fd00::1", "::ffff:10.0.0.1", "2002:a00:1::", "64:ff9b::a00:1",
     "ff02::1", "fe80::1%eth0", "host", ""],
)  # fmt: skip
def test_these_addresses_are_not_public(address: str) -> None:
    assert not is_public_address(address)
