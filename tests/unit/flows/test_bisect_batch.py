"""Work in halves: one item that fails never harms another, and what fails for all is nobody's fault."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.bisect_batch import MAX_FAILURES_WITHOUT_SUCCESS, process_with_bisection
from invoices.errors import ContractError


def build_worker(poison: set[int], processed: list[int]) -> object:
    def process_items(items: Sequence[int]) -> None:
        if poison & set(items):
            raise ContractError(f"cannot take {items!r}")
        processed.extend(items)

    return process_items


@given(st.integers(1, 60), st.sets(st.integers(0, 59), max_size=MAX_FAILURES_WITHOUT_SUCCESS))
def test_all_but_the_poison_is_done_once_and_in_order(count: int, poison: set[int]) -> None:
    items, done = list(range(count)), list[int]()
    bad = poison & set(items)
    if bad == set(items):
        return
    failed = process_with_bisection(items, build_worker(bad, done))  # type: ignore[arg-type]
    assert [item for item, _ in failed] == sorted(bad)
    assert done == [item for item in items if item not in bad]


def test_what_fails_for_everything_is_raised_after_a_few_tries() -> None:
    tries = []

    def fail_for_all(part: Sequence[int]) -> None:
        tries.append(part)
        raise ContractError("the rules are broken")

    with pytest.raises(ContractError, match="the rules are broken"):
        process_with_bisection(list(range(1_000)), fail_for_all)
    assert len(tries) < 40


def test_a_single_item_that_fails_is_raised() -> None:
    with pytest.raises(ContractError):
        process_with_bisection([1], build_worker({1}, []))  # type: ignore[arg-type]


def test_nothing_is_worked_on_as_nothing() -> None:
    assert process_with_bisection([], build_worker(set(), [])) == []  # type: ignore[arg-type]
