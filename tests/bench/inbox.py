"""The benchmark's inbox: a folder of generated e-invoices, half CII and half UBL."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path

from tests.bench import cii, ubl
from tests.bench.generated_invoices import generate_invoice

SETTLED_TIMESTAMP = dt.datetime(
    2025, 1, 1, tzinfo=dt.UTC
).timestamp()  # old enough that no scan waits for them to settle
FILES_PER_FOLDER = 1_000


def write_invoices(inbox: Path, count: int, start: int = 0) -> int:
    """Write the invoices [start, start + count) below ``inbox``, 1,000 per folder; return their total size in bytes."""
    byte_count = 0
    for index, content in enumerate(generate_invoices(count, start), start):
        folder = inbox / f"{index // FILES_PER_FOLDER:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"invoice-{index:06d}.xml"
        file.write_bytes(content)
        os.utime(file, (SETTLED_TIMESTAMP, SETTLED_TIMESTAMP))
        byte_count += len(content)
    return byte_count


def generate_invoices(count: int, start: int = 0) -> Iterator[bytes]:
    """Yield ``count`` invoices from index ``start``; the same ones on every run."""
    for index in range(start, start + count):
        yield (cii, ubl)[index % 2].render(generate_invoice(index))
