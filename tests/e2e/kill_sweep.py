"""A kill sweep: a command is killed at points spread over its calls; the run after each kill repairs everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.e2e.kill_injection import KillPoint, SweepScope, select_kill_points
from tests.sweep_size import spread

FAILURE_MARK = "!"  # at the beginning of an outcome that is wrong


@dataclass(frozen=True, slots=True)
class SweepResult:
    """The calls in each scope, and the outcome of each kill point: what happened, or after a "!" what is wrong."""

    call_counts: Mapping[SweepScope, int]
    outcomes: Sequence[str]

    @property
    def failures(self) -> list[str]:
        """The outcomes that are wrong."""
        return [outcome for outcome in self.outcomes if outcome.startswith(FAILURE_MARK)]

    def format_figures(self) -> str:
        """Return the figures in one line."""
        counts = ", ".join(f"{scope} {count}" for scope, count in self.call_counts.items())
        kinds = Counter(outcome for outcome in self.outcomes if not outcome.startswith(FAILURE_MARK))
        return f"{len(self.outcomes)} points {dict(kinds)}, failed {len(self.failures)}; calls: {counts}"

    def assert_repaired(self, min_killed_share: float) -> None:
        """Assert that no outcome is wrong, and that nearly all points were reached, so that something was killed."""
        assert not self.failures, f"{len(self.failures)} of {len(self.outcomes)} points:\n" + "\n".join(
            self.failures[:10]
        )
        killed = sum(outcome.startswith("killed") for outcome in self.outcomes)
        assert killed >= int(len(self.outcomes) * min_killed_share), self.format_figures()


def run_kill_sweep(
    weight_by_scope: Mapping[SweepScope, int],
    scopes_in_test: int,
    point_count: int,
    count_calls: Callable[[SweepScope], int],
    run_kill_point: Callable[[int, KillPoint], str],
    *,
    parallel: int,
) -> SweepResult:
    """Kill at ``point_count`` points, distributed over the scopes by weight, at least one in each.

    ``make test`` sweeps ``scopes_in_test`` of the scopes, ``make soak`` all of them. ``count_calls`` runs the command
    undisturbed; ``run_kill_point`` gets the number of the point among all.
    """
    weight_by_scope = {scope: weight_by_scope[scope] for scope in spread(list(weight_by_scope), scopes_in_test)}
    total_weight = sum(weight_by_scope.values())
    with ThreadPoolExecutor(parallel) as threads:
        call_counts = dict(zip(weight_by_scope, threads.map(count_calls, weight_by_scope), strict=True))
        points = [
            point
            for scope, weight in weight_by_scope.items()
            for point in select_kill_points(
                scope, call_counts[scope], max(1, round(weight * point_count / total_weight))
            )
        ]
        return SweepResult(call_counts, list(threads.map(run_kill_point, range(len(points)), points)))
