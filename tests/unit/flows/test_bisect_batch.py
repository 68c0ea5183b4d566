"""Bisection of a batch: an item that fails does not block the others, and an error of all items is raised."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.bisect_batch import MAX_FAILURES_WITHOUT_SUCCESS, process_with_bisection
from invoices.errors import ContractError


def build_processor(bad_items: set[int], processed: list[int]) -> Callable[[Sequence[int]], None]:
    """Return a function that fails for parts with a bad item and collects the items of the others."""

    def process_items(items: Sequence[int]) -> None:
        if bad_items & set(items):
            raise ContractError(f"cannot process {items!r}")
        processed.extend(items)

    return process_items


@given(st.integers(1, 60), st.sets(st.integers(0, 59), max_size=MAX_FAILURES_WITHOUT_SUCCESS))
def test_all_but_the_bad_items_are_processed_once_and_in_order(count: int, bad_numbers: set[int]) -> None:
    items, processed = list(range(count)), list[int]()
    bad_items = bad_numbers & set(items)
    if bad_items == set(items):
        return
    failures = process_with_bisection(items, build_processor(bad_items, processed))
    assert [item for item, _ in failures] == sorted(bad_items)
    assert processed == [item for item in items if item not in bad_items]


def test_an_error_of_all_items_is_raised_after_a_few_tries() -> None:
    tries = []

    def fail_for_all(part: Sequence[int]) -> None:
        tries.append(part)
        raise ContractError("the rules are broken")

    with pytest.raises(ContractError, match="the rules are broken"):
        process_with_bisection(list(range(1_000)), fail_for_all)
    assert len(tries) < 40


def test_a_single_item_that_fails_is_raised() -> None:
    with pytest.raises(ContractError):
        process_with_bisection([1], build_processor({1}, []))


def test_a_batch_without_items_has_no_failures() -> None:
    assert process_with_bisection([], build_processor(set(), [])) == []
