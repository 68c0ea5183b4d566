"""The memory of extraction, and its speed without limits: a thousand documents compared with ten thousand."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.process import start_sandbox
from tests.bench.extraction_runs import ExtractionRunResult, run_extraction

VENDOR_MINUTE_SECONDS = 0.5  # so short that no limit is reached
VENDOR_SETTINGS: Mapping[str, Mapping[str, object]] = {
    "smartbills_com": {"plan": "enterprise", "rate_limits": "off", "read_strangers": "on"},
    "invoicedataextraction_com": {"rate_limits": "off", "read_strangers": "on"},
    "billflowai": {"rate_limit_per_minute": 0, "read_strangers": "on"},
}
MAX_DOCUMENTS = {"smartbills_com": 4_000}  # because of 10,000 calls per hour
VENDOR_OPTIONS: Mapping[str, Mapping[str, object]] = {
    "smartbills_com": {"PLAN": "enterprise"},
    "billflowai": {"REQUESTS_PER_MINUTE": 1_000_000},
}


@dataclass(frozen=True, slots=True)
class MemoryGrowth:
    """The peak resident memory of extracting few and many documents, and the speed with many."""

    vendor: str
    few: int
    many: int
    few_megabytes: float
    many_megabytes: float
    ratio: float
    documents_per_second: float


def measure_memory_growth(
    few: int = 1_000, many: int = 10_000, vendors: Iterable[str] = tuple(VENDOR_SETTINGS)
) -> list[MemoryGrowth]:
    """Return the growth for each vendor; a vendor with a limit per hour gets at most MAX_DOCUMENTS."""
    return [
        _build_memory_growth(
            vendor, _run_extraction(vendor, few), _run_extraction(vendor, min(many, MAX_DOCUMENTS.get(vendor, many)))
        )
        for vendor in vendors
    ]


def _run_extraction(vendor: str, count: int) -> ExtractionRunResult:
    settings = {f"{vendor}.{name}": value for name, value in VENDOR_SETTINGS[vendor].items()}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        with start_sandbox(directory / "sandbox", minute_seconds=VENDOR_MINUTE_SECONDS, settings=settings) as sandbox:
            return run_extraction(directory, sandbox, vendor, count, VENDOR_MINUTE_SECONDS, VENDOR_OPTIONS.get(vendor))


def _build_memory_growth(
    vendor: str, few_result: ExtractionRunResult, many_result: ExtractionRunResult
) -> MemoryGrowth:
    return MemoryGrowth(
        vendor=vendor,
        few=len(few_result.answer_seconds),
        many=len(many_result.answer_seconds),
        few_megabytes=round(few_result.peak_bytes / 1e6, 1),
        many_megabytes=round(many_result.peak_bytes / 1e6, 1),
        ratio=round(many_result.peak_bytes / few_result.peak_bytes, 3),
        documents_per_second=round(len(many_result.answer_seconds) / many_result.answer_seconds[-1], 1),
    )
