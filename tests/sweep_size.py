"""How much of an exhaustive sweep runs: a spread of its cases in ``make test``, all of them in ``make soak``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

IS_SOAK = os.environ.get("TEST_SOAK") == "1"

Case = TypeVar("Case")


def spread(cases: Sequence[Case], count: int) -> list[Case]:
    """Return ``count`` of the cases, evenly spread from the first to the last; all of them in ``make soak``."""
    if IS_SOAK or len(cases) <= count:
        return list(cases)
    return [cases[index * (len(cases) - 1) // max(count - 1, 1)] for index in range(count)]


def choose_point_count(in_test: int, in_soak: int) -> int:
    """Return how many points a sweep has; ``KILL_POINTS`` in the environment overrides both."""
    return int(os.environ.get("KILL_POINTS", in_soak if IS_SOAK else in_test))
