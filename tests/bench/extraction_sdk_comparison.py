"""The vendor's SDK, called once per file, compared with our batches: same stand-in, limits and processing time."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from invoicedataextraction import InvoiceDataExtraction

from sandbox.process import Sandbox, start_sandbox
from tests.bench.extraction_runs import build_png, count_refusals, run_extraction
from tests.bench.run_measurement import RunError

VENDOR = "invoicedataextraction_com"
API_KEY = "sk_test_sdk"  # a key of its own, so that neither uses the other's calls
PROMPT = "Extract the fields of each invoice."
POLLING = {"interval_ms": 5_000, "wait_seconds": 30, "timeout_ms": 60_000}


@dataclass(frozen=True, slots=True)
class SdkComparison:
    """Documents extracted in ``minutes`` by us and by the SDK, and the number of 429 answers of each."""

    processing_seconds: float  # seconds of the vendor's time
    minutes: int
    ours: int
    sdk: int
    ratio: float
    our_refusals: int
    sdk_refusals: int


def compare_with_sdk(
    minutes: int = 2, minute_seconds: float = 10.0, processing: float = 15.0, max_documents: int = 590
) -> SdkComparison:
    """Measure the SDK and our batches one after the other.

    A vendor's minute lasts ``minute_seconds``; ``processing`` is in seconds of the vendor's time.
    """
    settings = {f"{VENDOR}.read_strangers": "on", f"{VENDOR}.processing_seconds": processing * minute_seconds / 60}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        with start_sandbox(directory / "sandbox", minute_seconds=minute_seconds, settings=settings) as sandbox:
            sdk_count = _count_sdk_documents(directory, sandbox, minutes * minute_seconds)
            sdk_refusal_count = count_refusals(sandbox)
            result = run_extraction(
                directory, sandbox, VENDOR, max_documents, minute_seconds, seconds=minutes * minute_seconds
            )
    our_count = result.count_answered_within(minutes * minute_seconds)
    return SdkComparison(
        processing,
        minutes,
        our_count,
        sdk_count,
        round(our_count / sdk_count, 1),
        result.refusal_count,
        sdk_refusal_count,
    )


def _count_sdk_documents(directory: Path, sandbox: Sandbox, seconds: float) -> int:
    """Return the number of files that the SDK extracts one after the other in ``seconds``."""
    os.environ["NO_PROXY"] = "127.0.0.1"  # the SDK reads the environment
    sdk = InvoiceDataExtraction(api_key=API_KEY, base_url=sandbox.invoicedataextraction_com["base_url"])
    files = [directory / f"{number:04d}.png" for number in range(1_000)]
    for number, file in enumerate(files):
        file.write_bytes(build_png(number))
    started = time.monotonic()
    for count, file in enumerate(files):
        result = sdk.extract(
            files=[str(file)], prompt=PROMPT, output_structure="per_line_item", json_typed_values=True, polling=POLLING,
            download={"formats": ["json"], "output_path": str(directory / "out")},
        )  # fmt: skip
        if time.monotonic() - started > seconds:
            return max(count, 1)
        if result["status"] != "completed":
            raise RunError(f"the SDK ended with {result!r}")
    return len(files)
