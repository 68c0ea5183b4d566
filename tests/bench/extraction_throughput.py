"""Documents per vendor-minute, as a share of what the vendor's published limits allow."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sandbox.process import start_sandbox
from tests.bench.extraction_runs import ExtractionRunResult, run_extraction


@dataclass(frozen=True, slots=True)
class ThroughputCase:
    """A vendor with its limits, the number of documents that they allow in ``minutes``, and its settings.

    A vendor's minute lasts ``minute_seconds``; ``options`` are settings of the application for the vendor.
    """

    name: str
    vendor: str
    minutes: int
    documents: int
    minute_seconds: float
    sandbox_settings: Mapping[str, object]
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LimitUsage:
    """The result of a case; ``last_minute`` is the vendor-minute in which the last document was answered."""

    case: str
    minutes: int
    allowed: int
    answered: int
    share: float
    last_minute: float | None
    runs: int
    refusals: int


def compute_allowed_calls(minutes: int, calls_per_minute: int, calls_per_hour: float = math.inf) -> int:
    """Return the number of calls that the limits allow in whole minutes of one hour, without gaps between windows."""
    return int(min(minutes * calls_per_minute, calls_per_hour))


def _build_smartbills_case(
    plan: str, calls_per_minute: int, calls_per_hour: int, minutes: int, minute_seconds: float
) -> ThroughputCase:
    """Return a case with one submission and one poll per document (contract sheet 01 §5)."""
    sandbox_settings = {
        "plan": plan,
        "read_strangers": "on",
        "processing_seconds": 8 * minute_seconds / 60,
        "reset_encoding": "epoch_ms",  # whole seconds are too coarse for such a short minute
    }
    allowed = compute_allowed_calls(minutes, calls_per_minute, calls_per_hour) // 2
    return ThroughputCase(
        f"smartbills_com, {plan}", "smartbills_com", minutes, allowed, minute_seconds, sandbox_settings, {"PLAN": plan}
    )


def _build_invoicedataextraction_case(minutes: int, minute_seconds: float) -> ThroughputCase:
    """Return a case with two of 600 calls per document and one per session of 250 (contract sheet 02 §2)."""
    sandbox_settings = {"read_strangers": "on", "processing_seconds": 10 * minute_seconds / 60}
    allowed = compute_allowed_calls(minutes, 600)
    while 2 * allowed + math.ceil(allowed / 250) > compute_allowed_calls(minutes, 600):
        allowed -= 1
    return ThroughputCase(
        "invoicedataextraction_com", "invoicedataextraction_com", minutes, allowed, minute_seconds, sandbox_settings
    )


def _build_billflowai_case(minutes: int, minute_seconds: float) -> ThroughputCase:
    """Return a case with one call per document, which lasts as long as the extraction."""
    sandbox_settings = {"read_strangers": "on", "latency_ms": round(3_000 * minute_seconds / 60)}
    return ThroughputCase(
        "billflowai", "billflowai", minutes, compute_allowed_calls(minutes, 60), minute_seconds, sandbox_settings
    )


CASES = (
    _build_smartbills_case("free", 10, 100, 10, 3.0),
    _build_smartbills_case("pro", 100, 1_000, 10, 3.0),
    _build_smartbills_case("enterprise", 1_000, 10_000, 2, 24.0),
    _build_invoicedataextraction_case(2, 20.0),
    _build_billflowai_case(6, 6.0),
)
QUICK_CASES = tuple(replace(case, documents=5, minute_seconds=1.0) for case in CASES[2:])


def measure_limit_usage(case: ThroughputCase) -> LimitUsage:
    """Run one case and return its result."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        sandbox_settings = {f"{case.vendor}.{name}": value for name, value in case.sandbox_settings.items()}
        time_limit_seconds = case.minutes * case.minute_seconds
        with start_sandbox(
            Path(directory) / "sandbox", minute_seconds=case.minute_seconds, settings=sandbox_settings
        ) as sandbox:
            result = run_extraction(
                Path(directory),
                sandbox,
                case.vendor,
                case.documents,
                case.minute_seconds,
                case.options,
                time_limit_seconds,
            )
    return _build_limit_usage(case, result)


def _build_limit_usage(case: ThroughputCase, result: ExtractionRunResult) -> LimitUsage:
    answered = result.count_answered_within(case.minutes * case.minute_seconds)
    is_complete = len(result.answer_seconds) == case.documents
    return LimitUsage(
        case=case.name,
        minutes=case.minutes,
        allowed=case.documents,
        answered=answered,
        share=round(answered / case.documents, 3),
        last_minute=round(result.answer_seconds[-1] / case.minute_seconds, 2) if is_complete else None,
        runs=result.run_count,
        refusals=result.refusal_count,
    )
