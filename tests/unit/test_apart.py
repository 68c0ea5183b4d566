"""Work in halves: one item that fails never harms another, and what fails for all is nobody's fault."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.apart import FAILURES_TO_STOP, work_apart
from invoices.errors import ContractError


def worker(poison: set[int], done: list[int]) -> object:
    def work(part: Sequence[int]) -> None:
        if poison & set(part):
            raise ContractError(f"cannot take {part!r}")
        done.extend(part)

    return work


@given(st.integers(1, 60), st.sets(st.integers(0, 59), max_size=FAILURES_TO_STOP))
def test_all_but_the_poison_is_done_once_and_in_order(count: int, poison: set[int]) -> None:
    items, done = list(range(count)), list[int]()
    bad = poison & set(items)
    if bad == set(items):
        return
    failed = work_apart(items, worker(bad, done))  # type: ignore[arg-type]
    assert [item for item, _ in failed] == sorted(bad)
    assert done == [item for item in items if item not in bad]


def test_what_fails_for_everything_is_raised_after_a_few_tries() -> None:
    tries = []

    def work(part: Sequence[int]) -> None:
        tries.append(part)
        raise ContractError("the rules are broken")

    with pytest.raises(ContractError, match="the rules are broken"):
        work_apart(list(range(1_000)), work)
    assert len(tries) < 40


def test_a_single_item_that_fails_is_raised() -> None:
    with pytest.raises(ContractError):
        work_apart([1], worker({1}, []))  # type: ignore[arg-type]


def test_nothing_is_worked_on_as_nothing() -> None:
    assert work_apart([], worker(set(), [])) == []  # type: ignore[arg-type]
