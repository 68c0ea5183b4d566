"""The benchmark of asking extraction APIs: every figure is a ratio of two things measured side by side in one run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench import extraction_clients, extraction_limits, extraction_memory, extraction_sdk
from tests.bench.extraction_clients import Beside
from tests.bench.extraction_limits import Share
from tests.bench.extraction_memory import Growth
from tests.bench.extraction_sdk import BesideSdk


@dataclass(frozen=True, slots=True)
class Figures:
    """All that was measured."""

    shares: Sequence[Share]
    beside_sdk: Sequence[BesideSdk]
    clients: Sequence[Beside]
    memory: Sequence[Growth]


def measured(*, quick: bool = False) -> Figures:
    """Return the figures; ``quick`` ones only show that they can be had. Raises RunError where a run fails."""
    shares = []
    for case in extraction_limits.QUICK_CASES if quick else extraction_limits.CASES:
        _tell(f"{case.name}, {case.minutes} vendor-minutes")
        shares.append(extraction_limits.measured(case))
    _tell("beside the vendor's SDK")
    sdk = [_beside_sdk(seconds, quick=quick) for seconds in (0.0, 15.0)[: 1 if quick else 2]]
    _tell("clients beside bare loops")
    clients = extraction_clients.measured(2, 2) if quick else extraction_clients.measured()
    _tell("memory")
    memory = extraction_memory.measured(5, 10, ("billflowai",)) if quick else extraction_memory.measured()
    return Figures(shares, sdk, clients, memory)


def _beside_sdk(processing: float, *, quick: bool) -> BesideSdk:
    if quick:
        return extraction_sdk.measured(minutes=1, minute=2.0, processing=processing, most=3)
    return extraction_sdk.measured(processing=processing)


def _tell(what: str) -> None:
    print(f"{what} …", file=sys.stderr, flush=True)  # noqa: T201  progress


def table(figures: Figures) -> str:
    """Return the figures for a person."""
    return "\n\n".join(
        (_shares(figures.shares), _sdk(figures.beside_sdk), _clients(figures.clients), _memory(figures.memory))
    )


def _rows(*rows: Sequence[object]) -> str:
    return "\n".join(f"{row[0]!s:28}" + "".join(f"{cell!s:>15}" for cell in row[1:]) for row in rows)


def _shares(shares: Sequence[Share]) -> str:
    head = ("within the limits", "vendor-minutes", "allowed", "answered", "share", "the last after", "429")
    rows = [
        (s.case, s.minutes, s.allowed, s.answered, f"{s.share:.1%}", s.last_minute or "-", s.refusals) for s in shares
    ]
    return _rows(head, *rows)


def _sdk(beside: Sequence[BesideSdk]) -> str:
    head = ("beside the vendor's SDK", "vendor-minutes", "ours", "SDK", "ratio", "our 429", "its 429")
    rows = [
        (
            f"it takes {b.processing_seconds:g} s",
            b.minutes,
            b.ours,
            b.sdk,
            f"×{b.ratio}",
            b.our_refusals,
            b.sdk_refusals,
        )
        for b in beside
    ]
    return _rows(head, *rows)


def _clients(clients: Sequence[Beside]) -> str:
    head = ("clients beside a bare loop", "requests", "ours/s", "bare/s", "ratio")
    return _rows(head, *((c.client, c.requests, c.ours, c.bare, f"{c.ratio:.1%}") for c in clients))


def _memory(memory: Sequence[Growth]) -> str:
    head = ("memory, no limits", "documents", "peak MB", "documents", "peak MB", "ratio", "documents/s")
    rows = [
        (m.vendor, m.few, m.few_megabytes, m.many, m.many_megabytes, f"×{m.ratio}", m.documents_per_second)
        for m in memory
    ]
    return _rows(head, *rows)
