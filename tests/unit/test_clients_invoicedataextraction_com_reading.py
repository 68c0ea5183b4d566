"""From the batch extraction vendor's JSON to values: nothing is lost in silence, and nothing strange breaks it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.clients.invoicedataextraction_com import FailedPage, Note, ReviewItem, TaskError
from invoices.clients.invoicedataextraction_com.reading import (
    UnknownPage,
    extraction_of,
    notes_of,
    pages_of,
    review_items_of,
    task_error_of,
)
from invoices.clients.invoicedataextraction_com.storage import is_public

INNER = [
    "successful", "failed", "failure_reasons", "affected_pages", "file_name", "page", "pages", "reason", "code",
    "message", "details", "file_names", "topic", "description", "items", "count", "output_row_numbers",
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(INNER), inner, max_size=4),
    max_leaves=8,
)
NAMES = [
    "progress", "credits_deducted", "credits_balance", "pages", "ai_uncertainty_notes", "review_needed", "questions",
    "error", "cancellation_reason", "output_expires_at", "answer_by",
]  # fmt: skip
FAILED = {"file_name": "b.pdf", "page": 2}


@pytest.mark.parametrize(
    ("pages", "failed"),
    [
        ({"failed": [{**FAILED, "reason": "Blurred"}]}, FailedPage("b.pdf", 2, None, "Blurred")),
        ({"failed": [{**FAILED, "code": "X", "message": "m"}]}, FailedPage("b.pdf", 2, "X", "m")),
        ({"failed": [{**FAILED, "reason": {"code": "X", "message": "m"}}]}, FailedPage("b.pdf", 2, "X", "m")),
        (
            {"failed": [FAILED], "failure_reasons": [
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
        ({"failed": [FAILED, FAILED]}, FailedPage("b.pdf", 2)),
    ],
)  # fmt: skip
def test_a_failed_page_and_its_reason_are_found_in_either_place(pages: Any, failed: FailedPage) -> None:
    found = pages_of(pages)
    assert found is not None
    assert found.failed == (failed,)
    assert (found.failed_count, found.successful_count) == (1, 0)


def test_what_is_counted_is_never_less_than_what_is_listed() -> None:
    found = pages_of({"failed": [FAILED], "failed_count": 0, "successful_count": 7})
    assert found is not None
    assert (found.failed_count, found.successful_count) == (1, 7)


@pytest.mark.parametrize(
    "pages",
    [{"failed": [{"page": 1}]}, {"failed": [{"file_name": "a"}]}, {"successful": ["a.pdf"]}, {"successful": [None]},
     {"failure_reasons": [{"affected_pages": [{"pages": [1]}]}]}, {"successful": [{"file_name": "a", "page": -1}]}],
)  # fmt: skip
def test_a_page_of_no_file_is_refused(pages: Any) -> None:
    with pytest.raises(UnknownPage):
        pages_of(pages)


@pytest.mark.parametrize(
    ("value", "notes"),
    [
        ([{"topic": "Totals", "description": "Two."}], (Note("Totals", "Two."),)),
        ([{"topic": "Totals"}], (Note("Totals", ""),)),
        ("Two totals", (Note("", "Two totals"),)),
        (["Two totals"], (Note("", "Two totals"),)),
        ([{"field": "Tax", "why": "smudged"}], (Note("", '{"field":"Tax","why":"smudged"}'),)),
        ({"topic": "Tax"}, (Note("Tax", ""),)),
        ([], ()), (None, ()), ("", ()), ({}, ()),
    ],
)  # fmt: skip
def test_a_warning_in_any_shape_is_a_warning(value: Any, notes: tuple[Note, ...]) -> None:
    assert notes_of(value) == notes


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ({"count": 0, "items": []}, ()), (None, ()),
        ({"items": [{"message": "Look", "output_row_numbers": [0, 2, "x"]}]}, (ReviewItem("Look", (), (2,)),)),
        ({"count": 3, "items": [{"message": "Look"}]},
         (ReviewItem("Look"), ReviewItem("2 more, of which the vendor tells nothing"))),
        ({"count": 1}, (ReviewItem("1 more, of which the vendor tells nothing"),)),
        (["Look"], (ReviewItem("Look"),)),
        ({"items": [{"affected_fields": ["Tax"]}]}, (ReviewItem('{"affected_fields":["Tax"]}', ("Tax",)),)),
    ],
)  # fmt: skip
def test_what_a_person_should_see_is_kept(value: Any, items: tuple[ReviewItem, ...]) -> None:
    assert review_items_of(value) == items


def test_a_task_error_hides_secrets_and_defaults_to_no_repeat() -> None:
    error = task_error_of({"code": "X", "message": "with Bearer abc.def and K-9", "details": None}, ["K-9"])
    assert error == TaskError("X", "with [hidden] and [hidden]")
    assert task_error_of({"retryable": "yes"}) == TaskError("UNKNOWN", None, False)
    assert task_error_of("boom") is None


@given(st.dictionaries(st.sampled_from(NAMES), JSON))
def test_no_answer_breaks_the_reading_but_by_a_page_of_no_file(fields: dict[str, Any]) -> None:
    state = None
    with suppress(UnknownPage):
        state = extraction_of("id", "completed", fields)
    assert state is not None or fields["pages"]
    assert state is None or state.notes or not fields.get("ai_uncertainty_notes")


@pytest.mark.parametrize("place", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1"])
def test_public_addresses(place: str) -> None:
    assert is_public(place)


@pytest.mark.parametrize(
    "place",
    ["127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "0.0.0.1", "100.64.0.1", "224.0.0.1",
     "255.255.255.255", "::1", "::", "fe80::1", "fd00::1", "::ffff:10.0.0.1", "2002:a00:1::", "64:ff9b::a00:1",
     "ff02::1", "fe80::1%eth0", "host", ""],
)  # fmt: skip
def test_everybody_elses_addresses(place: str) -> None:
    assert not is_public(place)
