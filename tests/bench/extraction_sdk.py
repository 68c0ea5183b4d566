"""The vendor's own program, called once per file, beside our batches: same stand-in, limits and processing time."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from invoicedataextraction import InvoiceDataExtraction

from sandbox.serving import Sandbox, start
from tests.bench.extraction_house import ask, image, refusals
from tests.bench.measuring import RunError

VENDOR = "invoicedataextraction_com"
KEY = "sk_test_sdk"  # a world of its own: neither spends the other's calls
PROMPT = "Extract the fields of each invoice."
POLLING = {"interval_ms": 5_000, "wait_seconds": 30, "timeout_ms": 60_000}


@dataclass(frozen=True, slots=True)
class BesideSdk:
    """Documents read in so many vendor-minutes by us and by the SDK, and how often each was refused (429)."""

    processing_seconds: float  # the vendor's
    minutes: int
    ours: int
    sdk: int
    ratio: float
    our_refusals: int
    sdk_refusals: int


def measured(minutes: int = 2, minute: float = 10.0, processing: float = 15.0, most: int = 590) -> BesideSdk:
    """Return both in one run, one after the other; ``minute`` and what is said of the SDK are in real seconds."""
    knobs = {f"{VENDOR}.read_strangers": "on", f"{VENDOR}.processing_seconds": processing * minute / 60}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        place = Path(name)
        with start(place / "sandbox", minute_seconds=minute, knobs=knobs) as sandbox:
            sdk = _sdk(place, sandbox, minutes * minute)
            refused = refusals(sandbox)
            asked = ask(place, sandbox, VENDOR, most, minute, seconds=minutes * minute)
    ours = asked.within(minutes * minute)
    return BesideSdk(processing, minutes, ours, sdk, round(ours / sdk, 1), asked.refusals, refused)


def _sdk(place: Path, sandbox: Sandbox, seconds: float) -> int:
    """Return how many files the SDK reads one after the other in so many seconds."""
    os.environ["NO_PROXY"] = "127.0.0.1"  # it asks the environment
    sdk = InvoiceDataExtraction(api_key=KEY, base_url=sandbox.invoicedataextraction_com["base_url"])
    files = [place / f"{number:04d}.png" for number in range(1_000)]
    for number, file in enumerate(files):
        file.write_bytes(image(number))
    began = time.monotonic()
    for count, file in enumerate(files):
        result = sdk.extract(
            files=[str(file)], prompt=PROMPT, output_structure="per_line_item", json_typed_values=True, polling=POLLING,
            download={"formats": ["json"], "output_path": str(place / "out")},
        )  # fmt: skip
        if time.monotonic() - began > seconds:
            return max(count, 1)
        if result["status"] != "completed":
            raise RunError(f"the SDK ended with {result!r}")
    return len(files)
