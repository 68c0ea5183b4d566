"""The benchmark: the recipe over generated e-invoices, asking extraction APIs within their limits, and intake.

The recipe, for each size, in a fresh home against a fresh sandbox: a first run, a second with nothing new, and one with
ten new documents more, beside a bare loop that only reads them. Nothing is cached between sizes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sandbox.serving import Sandbox, start
from tests.bench import extraction, intake
from tests.bench.inbox import write_invoices
from tests.bench.measuring import Run, RunError, bare_reading, measured_run, without_settings

SIZES = (100, 1_000, 10_000)
FEW = 10
MINUTE_SECONDS = 1.0  # the vendors' minute: their rate limits, and ours, are scaled so that they do not dominate
PARTS = ("recipe", "extraction", "intake")
STAGES = ("collect", "read", "ask", "judge", "load", "publish", "export")


@dataclass(frozen=True, slots=True)
class Measure:
    """The figures of one size; seconds are wall time of whole processes unless they are a stage's."""

    documents: int
    megabytes: float
    first_seconds: float
    first_cpu_seconds: float
    documents_per_second: float
    peak_megabytes: float
    idle_seconds: float
    few_seconds: float
    bare_seconds: float
    seconds_by_stage: Mapping[str, float]
    outside_stages_seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each size and print the figures; return 0, or 1 when a run did not do its work."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--sizes", default=",".join(str(size) for size in SIZES), help="how many documents, e.g. 100,1000"
    )
    parser.add_argument("--only", choices=PARTS, help="measure this part alone")
    parser.add_argument(
        "--quick", action="store_true", help="extraction and intake only to see that they can be measured"
    )
    parser.add_argument("--json", action="store_true", help="also print one JSON object as the last line of stdout")
    chosen = parser.parse_args(arguments)
    figures: dict[str, Any] = {"cores": os.cpu_count()}
    try:
        for part in [chosen.only] if chosen.only else PARTS:
            figures |= _recipe(chosen.sizes) if part == "recipe" else MEASURED[part](quick=chosen.quick)
    except RunError as error:
        print(f"the benchmark does not hold: {error}", file=sys.stderr)  # noqa: T201  a command's own output
        return 1
    if chosen.json:
        print(json.dumps(figures))  # noqa: T201  a command's own output
    return 0


def _recipe(sizes: str) -> dict[str, Any]:
    measures = [_measured(int(size)) for size in sizes.split(",")]
    print(table(measures))  # noqa: T201  a command's own output
    return {"measures": [asdict(measure) for measure in measures]}


def _extraction(*, quick: bool) -> dict[str, Any]:
    figures = extraction.measured(quick=quick)
    print(extraction.table(figures))  # noqa: T201  a command's own output
    return {"extraction": asdict(figures)}


def _intake(*, quick: bool) -> dict[str, Any]:
    figures = intake.measured(quick=quick)
    print(intake.table(figures))  # noqa: T201  a command's own output
    return {"intake": asdict(figures)}


MEASURED = {"extraction": _extraction, "intake": _intake}


def _measured(size: int) -> Measure:
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        inbox = place / "inbox"
        bytes_written = write_invoices(inbox, size)
        print(f"{size:,} documents …", file=sys.stderr, flush=True)  # noqa: T201  progress
        bare = bare_reading(inbox)
        sandbox = stack.enter_context(start(place / "sandbox", minute_seconds=MINUTE_SECONDS, plan="enterprise"))
        environment = settings(place / "home", inbox, sandbox)
        first = _checked(measured_run(environment, place / "first.txt"), new=size)
        idle = _checked(measured_run(environment, place / "idle.txt"), new=0)
        write_invoices(inbox, FEW, start=size)
        few = _checked(measured_run(environment, place / "few.txt"), new=FEW)
        return _summed_up(size, bytes_written, first, idle, few, bare)


def settings(home: Path, inbox: Path, sandbox: Sandbox) -> dict[str, str]:
    """Return the environment of a run in ``home`` over ``inbox`` against a running sandbox."""
    extraction, receipts = sandbox.smartbills_com, sandbox.smartbills_io
    return without_settings() | {
        "INVOICES_HOME": str(home),
        "INVOICES_INBOX__PATH": str(inbox),
        "INVOICES_VENDOR_MINUTE_SECONDS": str(MINUTE_SECONDS),
        "INVOICES_SMARTBILLS_COM__BASE_URL": extraction["base_url"],
        "INVOICES_SMARTBILLS_COM__API_KEY": extraction["api_key"],
        "INVOICES_SMARTBILLS_COM__PLAN": "enterprise",
        "INVOICES_SMARTBILLS_IO__BASE_URL": receipts["base_url"],
        "INVOICES_SMARTBILLS_IO__API_KEY": receipts["api_key"],
        "INVOICES_SMARTBILLS_IO__TENANT_ID": receipts["tenant_id"],
        "INVOICES_SMARTBILLS_IO__REQUESTS_PER_MINUTE": "1000",
        "INVOICES_SMARTBILLS_IO__CUSTOMER_EMAIL": "benchmark@example.org",
    }


def _checked(run: Run, new: int) -> Run:
    """Return the run; raise RunError unless exactly the new documents were accepted, published and exported."""
    told = run.told
    done = {
        "new": told["documents"]["new"],
        "published": told["receipts"]["published"],
        "exported": told["exports"]["invoices"],
    }
    if set(done.values()) != {new} or told["paid"]["calls"] or bool(told["rows_loaded"]) != bool(new):
        raise RunError(f"{new} new documents, and the run says {json.dumps(told)}")
    if told["documents"]["by_state"]["accepted"] != told["documents"]["seen"]:
        raise RunError(f"not every document was accepted: {told['documents']!r}")
    return run


def _summed_up(size: int, bytes_written: int, first: Run, idle: Run, few: Run, bare: float) -> Measure:
    by_stage = dict(first.told["seconds_by_stage"])
    return Measure(
        documents=size,
        megabytes=round(bytes_written / 1e6, 2),
        first_seconds=round(first.seconds, 2),
        first_cpu_seconds=round(first.cpu_seconds, 2),
        documents_per_second=round(size / first.seconds, 1),
        peak_megabytes=round(first.peak_bytes / 1e6),
        idle_seconds=round(idle.seconds, 2),
        few_seconds=round(few.seconds, 2),
        bare_seconds=round(bare, 3),
        seconds_by_stage=by_stage,
        outside_stages_seconds=round(first.seconds - sum(by_stage.values()), 2),
    )


def table(measures: Sequence[Measure]) -> str:
    """Return the figures for a person: one column per size."""
    rows = [
        ("documents", [f"{m.documents:,}" for m in measures]),
        ("first run, s", [f"{m.first_seconds:.1f}" for m in measures]),
        ("  on the processor", [f"{m.first_cpu_seconds:.1f}" for m in measures]),
        ("documents/s", [f"{m.documents_per_second:.1f}" for m in measures]),
        ("  relative", [f"×{m.documents_per_second / measures[0].documents_per_second:.2f}" for m in measures]),
        ("peak memory, MB", [f"{m.peak_megabytes:,.0f}" for m in measures]),
        ("nothing new, s", [f"{m.idle_seconds:.1f}" for m in measures]),
        (f"{FEW} new, s", [f"{m.few_seconds:.1f}" for m in measures]),
        ("bare lxml loop, s", [f"{m.bare_seconds:.2f}" for m in measures]),
        *((f"  {stage}", [_share(m, m.seconds_by_stage.get(stage, 0.0)) for m in measures]) for stage in STAGES),
        ("  starting, ending", [_share(m, m.outside_stages_seconds) for m in measures]),
    ]
    return "\n".join(f"{name:20}" + "".join(f"{cell:>16}" for cell in cells) for name, cells in rows)


def _share(measure: Measure, seconds: float) -> str:
    return f"{seconds:.1f} s {seconds / measure.first_seconds:4.0%}"


if __name__ == "__main__":
    sys.exit(main())
