"""The memory of asking, and its speed without limits: a thousand documents beside ten thousand."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.serving import start
from tests.bench.extraction_house import Asked, ask

MINUTE = 0.5  # short enough that no limit is met
VENDORS: Mapping[str, Mapping[str, object]] = {
    "smartbills_com": {"plan": "enterprise", "rate_limits": "off", "read_strangers": "on"},
    "invoicedataextraction_com": {"rate_limits": "off", "read_strangers": "on"},
    "billflowai": {"rate_limit_per_minute": 0, "read_strangers": "on"},
}
MANY = {"smartbills_com": 4_000}  # of 10,000 calls an hour
OPTIONS: Mapping[str, Mapping[str, object]] = {
    "smartbills_com": {"PLAN": "enterprise"},
    "billflowai": {"REQUESTS_PER_MINUTE": 1_000_000},
}


@dataclass(frozen=True, slots=True)
class Growth:
    """The most resident megabytes of asking about few documents and about many, and how fast the latter went."""

    vendor: str
    few: int
    many: int
    few_megabytes: float
    many_megabytes: float
    ratio: float
    documents_per_second: float


def measured(few: int = 1_000, many: int = 10_000, vendors: Iterable[str] = tuple(VENDORS)) -> list[Growth]:
    """Return the growth for each vendor; where its limits do not allow as many in an hour, for fewer."""
    return [
        _growth(vendor, _asked(vendor, few), _asked(vendor, min(many, MANY.get(vendor, many)))) for vendor in vendors
    ]


def _asked(vendor: str, count: int) -> Asked:
    knobs = {f"{vendor}.{name}": value for name, value in VENDORS[vendor].items()}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        place = Path(name)
        with start(place / "sandbox", minute_seconds=MINUTE, knobs=knobs) as sandbox:
            return ask(place, sandbox, vendor, count, MINUTE, OPTIONS.get(vendor))


def _growth(vendor: str, few: Asked, many: Asked) -> Growth:
    return Growth(
        vendor=vendor,
        few=len(few.answers),
        many=len(many.answers),
        few_megabytes=round(few.peak_bytes / 1e6, 1),
        many_megabytes=round(many.peak_bytes / 1e6, 1),
        ratio=round(many.peak_bytes / few.peak_bytes, 3),
        documents_per_second=round(len(many.answers) / many.answers[-1], 1),
    )
