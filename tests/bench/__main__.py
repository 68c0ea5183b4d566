"""The benchmark: the recipe over generated e-invoices, the extraction APIs within their limits, and intake.

The recipe runs for each size with a new home and a new sandbox: a first run, a second one with nothing new, and a third
one with ten more documents, compared with a bare loop that only parses them. Nothing is cached between sizes.
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

from sandbox.process import Sandbox, start_sandbox
from tests.bench import extraction, intake, official_rules
from tests.bench.inbox import write_invoices
from tests.bench.run_measurement import (
    MeasuredRun,
    RunError,
    build_clean_environment,
    measure_bare_parsing,
    measure_run,
)

SIZES = (100, 1_000, 10_000)
FEW_DOCUMENTS = 10
MINUTE_SECONDS = 1.0  # length of the vendors' minute; scales their rate limits and ours so that they do not dominate
BENCHMARK_PARTS = ("recipe", "extraction", "intake", "rules")
STAGES = ("collect", "extract_local", "extract_remote", "validate", "load", "publish", "export")


@dataclass(frozen=True, slots=True)
class RecipeMeasurement:
    """The figures of one size; seconds are wall time of whole processes, or of a stage."""

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
    """Run the benchmark and print the figures; return 0, or 1 if a run did not do its work."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--sizes", default=",".join(str(size) for size in SIZES), help="numbers of documents, e.g. 100,1000"
    )
    parser.add_argument("--only", choices=BENCHMARK_PARTS, help="measure only this part")
    parser.add_argument(
        "--quick", action="store_true", help="extraction and intake with tiny sizes, to check that they work"
    )
    parser.add_argument("--json", action="store_true", help="also print one JSON object as the last line of stdout")
    options = parser.parse_args(arguments)
    figures: dict[str, Any] = {"cores": os.cpu_count()}
    try:
        for part in [options.only] if options.only else BENCHMARK_PARTS:
            figures |= (
                _run_recipe_benchmark(options.sizes) if part == "recipe" else BENCHMARKS[part](quick=options.quick)
            )
    except RunError as error:
        print(f"the benchmark failed: {error}", file=sys.stderr)  # noqa: T201  a command's own output
        return 1
    if options.json:
        print(json.dumps(figures))  # noqa: T201  a command's own output
    return 0


def _run_recipe_benchmark(sizes: str) -> dict[str, Any]:
    measures = [_measure_recipe(int(size)) for size in sizes.split(",")]
    print(render_table(measures))  # noqa: T201  a command's own output
    return {"measures": [asdict(measure) for measure in measures]}


def _run_extraction_benchmark(*, quick: bool) -> dict[str, Any]:
    figures = extraction.run_benchmark(quick=quick)
    print(extraction.render_table(figures))  # noqa: T201  a command's own output
    return {"extraction": asdict(figures)}


def _run_intake_benchmark(*, quick: bool) -> dict[str, Any]:
    figures = intake.run_benchmark(quick=quick)
    print(intake.render_table(figures))  # noqa: T201  a command's own output
    return {"intake": asdict(figures)}


def _run_rules_benchmark(*, quick: bool) -> dict[str, Any]:
    measures = official_rules.run_benchmark(quick=quick)
    print(official_rules.render_table(measures))  # noqa: T201  a command's own output
    return {"rules": [asdict(measure) for measure in measures]}


BENCHMARKS = {
    "extraction": _run_extraction_benchmark,
    "intake": _run_intake_benchmark,
    "rules": _run_rules_benchmark,
}


def _measure_recipe(size: int) -> RecipeMeasurement:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        inbox = directory / "inbox"
        bytes_written = write_invoices(inbox, size)
        print(f"{size:,} documents …", file=sys.stderr, flush=True)  # noqa: T201  progress
        bare_seconds = measure_bare_parsing(inbox)
        sandbox = stack.enter_context(
            start_sandbox(directory / "sandbox", minute_seconds=MINUTE_SECONDS, plan="enterprise")
        )
        environment = build_environment(directory / "home", inbox, sandbox)
        first_run = _validate_run(measure_run(environment, directory / "first.txt"), expected_new=size)
        idle_run = _validate_run(measure_run(environment, directory / "idle.txt"), expected_new=0)
        write_invoices(inbox, FEW_DOCUMENTS, start=size)
        few_run = _validate_run(measure_run(environment, directory / "few.txt"), expected_new=FEW_DOCUMENTS)
        return _build_measurement(size, bytes_written, first_run, idle_run, few_run, bare_seconds)


def build_environment(home: Path, inbox: Path, sandbox: Sandbox) -> dict[str, str]:
    """Return the environment of a run with this home and inbox against a running sandbox."""
    extraction_api, receipts_api = sandbox.smartbills_com, sandbox.smartbills_io
    return build_clean_environment() | {
        "INVOICES_HOME": str(home),
        "INVOICES_INBOX__PATH": str(inbox),
        "INVOICES_VENDOR_MINUTE_SECONDS": str(MINUTE_SECONDS),
        "INVOICES_SMARTBILLS_COM__BASE_URL": extraction_api["base_url"],
        "INVOICES_SMARTBILLS_COM__API_KEY": extraction_api["api_key"],
        "INVOICES_SMARTBILLS_COM__PLAN": "enterprise",
        "INVOICES_SMARTBILLS_IO__BASE_URL": receipts_api["base_url"],
        "INVOICES_SMARTBILLS_IO__API_KEY": receipts_api["api_key"],
        "INVOICES_SMARTBILLS_IO__TENANT_ID": receipts_api["tenant_id"],
        "INVOICES_SMARTBILLS_IO__REQUESTS_PER_MINUTE": "1000",
        "INVOICES_SMARTBILLS_IO__CUSTOMER_EMAIL": "benchmark@example.org",
    }


def _validate_run(run: MeasuredRun, expected_new: int) -> MeasuredRun:
    """Return the run; raise RunError unless exactly the new documents were accepted, published and exported."""
    report = run.report
    actual = {
        "new": report["documents"]["new"],
        "published": report["receipts"]["published"],
        "exported": report["exports"]["invoices"],
    }
    if (
        set(actual.values()) != {expected_new}
        or report["paid"]["calls"]
        or bool(report["rows_loaded"]) != bool(expected_new)
    ):
        raise RunError(f"expected {expected_new} new documents, but the run reports {json.dumps(report)}")
    if report["documents"]["by_state"]["accepted"] != report["documents"]["seen"]:
        raise RunError(f"not every document was accepted: {report['documents']!r}")
    return run


def _build_measurement(
    size: int,
    bytes_written: int,
    first_run: MeasuredRun,
    idle_run: MeasuredRun,
    few_run: MeasuredRun,
    bare_seconds: float,
) -> RecipeMeasurement:
    by_stage = dict(first_run.report["seconds_by_stage"])
    return RecipeMeasurement(
        documents=size,
        megabytes=round(bytes_written / 1e6, 2),
        first_seconds=round(first_run.seconds, 2),
        first_cpu_seconds=round(first_run.cpu_seconds, 2),
        documents_per_second=round(size / first_run.seconds, 1),
        peak_megabytes=round(first_run.peak_bytes / 1e6),
        idle_seconds=round(idle_run.seconds, 2),
        few_seconds=round(few_run.seconds, 2),
        bare_seconds=round(bare_seconds, 3),
        seconds_by_stage=by_stage,
        outside_stages_seconds=round(first_run.seconds - sum(by_stage.values()), 2),
    )


def render_table(measures: Sequence[RecipeMeasurement]) -> str:
    """Return the figures as a text table with one column per size."""
    rows = [
        ("documents", [f"{m.documents:,}" for m in measures]),
        ("first run, s", [f"{m.first_seconds:.1f}" for m in measures]),
        ("  CPU time, s", [f"{m.first_cpu_seconds:.1f}" for m in measures]),
        ("documents/s", [f"{m.documents_per_second:.1f}" for m in measures]),
        ("  relative", [f"×{m.documents_per_second / measures[0].documents_per_second:.2f}" for m in measures]),
        ("peak memory, MB", [f"{m.peak_megabytes:,.0f}" for m in measures]),
        ("nothing new, s", [f"{m.idle_seconds:.1f}" for m in measures]),
        (f"{FEW_DOCUMENTS} new, s", [f"{m.few_seconds:.1f}" for m in measures]),
        ("bare lxml loop, s", [f"{m.bare_seconds:.2f}" for m in measures]),
        *((f"  {stage}", [_format_share(m, m.seconds_by_stage.get(stage, 0.0)) for m in measures]) for stage in STAGES),
        ("  start and end", [_format_share(m, m.outside_stages_seconds) for m in measures]),
    ]
    return "\n".join(f"{name:20}" + "".join(f"{cell:>16}" for cell in cells) for name, cells in rows)


def _format_share(measure: RecipeMeasurement, seconds: float) -> str:
    return f"{seconds:.1f} s {seconds / measure.first_seconds:4.0%}"


if __name__ == "__main__":
    sys.exit(main())
