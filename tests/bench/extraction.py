"""The benchmark of the extraction APIs: every figure is a ratio of two things that one run measures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench import extraction_client_overhead, extraction_memory, extraction_sdk_comparison, extraction_throughput
from tests.bench.extraction_client_overhead import ClientOverhead
from tests.bench.extraction_memory import MemoryGrowth
from tests.bench.extraction_sdk_comparison import SdkComparison
from tests.bench.extraction_throughput import LimitUsage


@dataclass(frozen=True, slots=True)
class ExtractionBenchmark:
    """All figures of the extraction benchmark."""

    shares: Sequence[LimitUsage]
    beside_sdk: Sequence[SdkComparison]
    clients: Sequence[ClientOverhead]
    memory: Sequence[MemoryGrowth]


def run_benchmark(*, quick: bool = False) -> ExtractionBenchmark:
    """Return the figures; with ``quick`` they only show that the benchmark works. Raises RunError if a run fails."""
    shares = []
    for case in extraction_throughput.QUICK_CASES if quick else extraction_throughput.CASES:
        _print_progress(f"{case.name}, {case.minutes} vendor-minutes")
        shares.append(extraction_throughput.measure_limit_usage(case))
    _print_progress("compared with the vendor's SDK")
    sdk_comparisons = [_compare_with_sdk(seconds, quick=quick) for seconds in (0.0, 15.0)[: 1 if quick else 2]]
    _print_progress("clients compared with bare loops")
    clients = (
        extraction_client_overhead.measure_client_overhead(2, 2)
        if quick
        else extraction_client_overhead.measure_client_overhead()
    )
    _print_progress("memory")
    memory = (
        extraction_memory.measure_memory_growth(5, 10, ("billflowai",))
        if quick
        else extraction_memory.measure_memory_growth()
    )
    return ExtractionBenchmark(shares, sdk_comparisons, clients, memory)


def _compare_with_sdk(processing: float, *, quick: bool) -> SdkComparison:
    if quick:
        return extraction_sdk_comparison.compare_with_sdk(
            minutes=1, minute_seconds=2.0, processing=processing, max_documents=3
        )
    return extraction_sdk_comparison.compare_with_sdk(processing=processing)


def _print_progress(message: str) -> None:
    print(f"{message} …", file=sys.stderr, flush=True)  # noqa: T201  progress


def render_table(figures: ExtractionBenchmark) -> str:
    """Return the figures as text tables."""
    return "\n\n".join(
        (
            _render_limit_usage(figures.shares),
            _render_sdk_comparisons(figures.beside_sdk),
            _render_client_overheads(figures.clients),
            _render_memory_growth(figures.memory),
        )
    )


def _render_rows(*rows: Sequence[object]) -> str:
    return "\n".join(f"{row[0]!s:28}" + "".join(f"{cell!s:>15}" for cell in row[1:]) for row in rows)


def _render_limit_usage(shares: Sequence[LimitUsage]) -> str:
    header = ("within the limits", "vendor-minutes", "allowed", "answered", "share", "last answer at", "429")
    rows = [
        (s.case, s.minutes, s.allowed, s.answered, f"{s.share:.1%}", s.last_minute or "-", s.refusals) for s in shares
    ]
    return _render_rows(header, *rows)


def _render_sdk_comparisons(comparisons: Sequence[SdkComparison]) -> str:
    header = ("compared with the SDK", "vendor-minutes", "ours", "SDK", "ratio", "our 429", "SDK 429")
    rows = [
        (
            f"processing takes {b.processing_seconds:g} s",
            b.minutes,
            b.ours,
            b.sdk,
            f"×{b.ratio}",
            b.our_refusals,
            b.sdk_refusals,
        )
        for b in comparisons
    ]
    return _render_rows(header, *rows)


def _render_client_overheads(clients: Sequence[ClientOverhead]) -> str:
    header = ("compared with a bare loop", "requests", "ours/s", "bare/s", "ratio")
    return _render_rows(header, *((c.client, c.requests, c.ours, c.bare, f"{c.ratio:.1%}") for c in clients))


def _render_memory_growth(memory: Sequence[MemoryGrowth]) -> str:
    header = ("memory, no limits", "documents", "peak MB", "documents", "peak MB", "ratio", "documents/s")
    rows = [
        (m.vendor, m.few, m.few_megabytes, m.many, m.many_megabytes, f"×{m.ratio}", m.documents_per_second)
        for m in memory
    ]
    return _render_rows(header, *rows)
