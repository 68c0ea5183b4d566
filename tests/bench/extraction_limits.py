"""Documents per vendor-minute, as a share of what a vendor's published limits alone allow."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sandbox.serving import start
from tests.bench.extraction_house import Asked, ask


@dataclass(frozen=True, slots=True)
class Case:
    """A vendor under its limits, as many documents as these allow in ``minutes``, and what it is set to.

    ``minute`` is how many seconds its minute lasts.
    """

    name: str
    vendor: str
    minutes: int
    documents: int
    minute: float
    knobs: Mapping[str, object]
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Share:
    """What came of a case; ``last_minute`` is the vendor's minute in which the last of all documents was answered."""

    case: str
    minutes: int
    allowed: int
    answered: int
    share: float
    last_minute: float | None
    runs: int
    refusals: int


def calls(minutes: int, a_minute: int, an_hour: float = math.inf) -> int:
    """Return how many calls limits allow in whole minutes of one hour; windows follow each other without a gap."""
    return int(min(minutes * a_minute, an_hour))


def _smartbills(plan: str, a_minute: int, an_hour: int, minutes: int, minute: float) -> Case:
    """One submission and one look per document (contract sheet 01 §5)."""
    knobs = {
        "plan": plan,
        "read_strangers": "on",
        "processing_seconds": 8 * minute / 60,
        "reset_encoding": "epoch_ms",  # whole seconds are long in a minute of a few
    }
    allowed = calls(minutes, a_minute, an_hour) // 2
    return Case(f"smartbills_com, {plan}", "smartbills_com", minutes, allowed, minute, knobs, {"PLAN": plan})


def _invoicedataextraction(minutes: int, minute: float) -> Case:
    """Two of 600 calls per document (parts, completion) and one per session of 250 (contract sheet 02 §2)."""
    knobs = {"read_strangers": "on", "processing_seconds": 10 * minute / 60}
    allowed = calls(minutes, 600)
    while 2 * allowed + math.ceil(allowed / 250) > calls(minutes, 600):
        allowed -= 1
    return Case("invoicedataextraction_com", "invoicedataextraction_com", minutes, allowed, minute, knobs)


def _billflowai(minutes: int, minute: float) -> Case:
    """One call per document, which is held until it is read."""
    knobs = {"read_strangers": "on", "latency_ms": round(3_000 * minute / 60)}
    return Case("billflowai", "billflowai", minutes, calls(minutes, 60), minute, knobs)


CASES = (
    _smartbills("free", 10, 100, 10, 3.0),
    _smartbills("pro", 100, 1_000, 10, 3.0),
    _smartbills("enterprise", 1_000, 10_000, 2, 24.0),
    _invoicedataextraction(2, 20.0),
    _billflowai(6, 6.0),
)
QUICK_CASES = tuple(replace(case, documents=5, minute=1.0) for case in CASES[2:])


def measured(case: Case) -> Share:
    """Return the share of one case."""
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        knobs = {f"{case.vendor}.{name}": value for name, value in case.knobs.items()}
        horizon = case.minutes * case.minute
        with start(Path(place) / "sandbox", minute_seconds=case.minute, knobs=knobs) as sandbox:
            asked = ask(Path(place), sandbox, case.vendor, case.documents, case.minute, case.options, horizon)
    return _share(case, asked)


def _share(case: Case, asked: Asked) -> Share:
    answered = asked.within(case.minutes * case.minute)
    is_whole = len(asked.answers) == case.documents
    return Share(
        case=case.name,
        minutes=case.minutes,
        allowed=case.documents,
        answered=answered,
        share=round(answered / case.documents, 3),
        last_minute=round(asked.answers[-1] / case.minute, 2) if is_whole else None,
        runs=asked.runs,
        refusals=asked.refusals,
    )
