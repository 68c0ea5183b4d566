"""Runs of ``invoices extract`` over tiny documents that wait for an extraction API, without collecting them first."""

from __future__ import annotations

import math
import struct
import time
import zlib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sqlalchemy import select

from invoices.documents.store import DocumentStore
from invoices.ledger import Ledger, Transaction
from invoices.ledger.documents import set_document_state
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.ledger.tables import extractions
from invoices.model import compute_sighting_id
from sandbox.process import Sandbox
from tests.bench.run_measurement import RunError, build_clean_environment, measure_run

DOCUMENTS_PER_TRANSACTION = 500
MAX_RUNS = 300


@dataclass(frozen=True, slots=True)
class ExtractionRunResult:
    """The result of extraction: when each answer came, in ascending order, in seconds since the first intent.

    ``peak_bytes`` is the peak resident memory of any run, ``refusal_count`` the number of the vendor's 429 answers.
    """

    answer_seconds: tuple[float, ...]
    run_count: int
    peak_bytes: int
    refusal_count: int

    def count_answered_within(self, seconds: float) -> int:
        """Return the number of documents that were answered in the first ``seconds``."""
        return sum(answered_after <= seconds for answered_after in self.answer_seconds)


def build_png(number: int) -> bytes:
    """Return a PNG of one pixel; its bytes depend only on ``number``."""
    header = _build_png_chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    text = _build_png_chunk(b"tEXt", b"Title\0benchmark %d" % number)
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + text
        + _build_png_chunk(b"IDAT", zlib.compress(b"\0\xff"))
        + _build_png_chunk(b"IEND", b"")
    )


def _build_png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def add_waiting_documents(home: Path, count: int) -> None:
    """Add ``count`` documents in the state after local extraction, which found no structured data in them."""
    store = DocumentStore(home / "documents")
    numbers = iter(range(count))
    with closing(_open_ledger(home)) as ledger:
        while contents := [build_png(number) for number in islice(numbers, DOCUMENTS_PER_TRANSACTION)]:
            hashes = [store.put(content) for content in contents]
            with ledger.begin_transaction() as tx:
                for sha256, content in zip(hashes, contents, strict=True):
                    _record_waiting_document(tx, sha256, len(content))


def _open_ledger(home: Path) -> Ledger:
    return Ledger(f"sqlite:///{home / 'ledger.sqlite'}")


def _record_waiting_document(tx: Transaction, sha256: str, size: int) -> None:
    location = f"/inbox/{sha256}.png"
    sighting = Sighting(
        compute_sighting_id("inbox", location, sha256), sha256, "image/png", size, "inbox", "folder", location
    )
    record_sighting(tx, sighting)
    reason = "Local extraction found no structured data."
    set_document_state(tx, sha256, stage="extract_remote", state="waiting", reason_code="to_be_asked", reason=reason)


def run_extraction(
    directory: Path,
    sandbox: Sandbox,
    vendor: str,
    count: int,
    minute_seconds: float,
    options: Mapping[str, object] | None = None,
    seconds: float = math.inf,
) -> ExtractionRunResult:
    """Submit ``count`` documents to a vendor by running ``invoices extract`` repeatedly, like a schedule.

    It ends when all are answered, or after ``seconds``. ``options`` are more settings of the vendor, for example
    ``{"PLAN": "pro"}``. Raises RunError if a run has problems, or after MAX_RUNS runs.
    """
    home, refusals_before = directory / "home", count_refusals(sandbox)
    add_waiting_documents(home, count)
    environment = _build_environment(home, sandbox, vendor, minute_seconds, options or {})
    peak_bytes, started = 0, time.monotonic()
    for run_count in range(1, MAX_RUNS + 1):
        run = measure_run(environment, directory / "run.txt", "extract")
        peak_bytes, answer_seconds = max(peak_bytes, run.peak_bytes), _list_answer_seconds(home)
        if len(answer_seconds) == count or time.monotonic() - started > seconds:
            return ExtractionRunResult(answer_seconds, run_count, peak_bytes, count_refusals(sandbox) - refusals_before)
    raise RunError(
        f"only {len(answer_seconds)} of {count} documents are answered after {MAX_RUNS} runs: {run.report!r}"
    )


def count_refusals(sandbox: Sandbox) -> int:
    """Return the number of calls that the sandbox has answered 429 so far."""
    return sum(statuses.get("429", 0) for statuses in sandbox.read_journal()["answers"].values())


def _build_environment(
    home: Path, sandbox: Sandbox, vendor: str, minute_seconds: float, options: Mapping[str, object]
) -> dict[str, str]:
    endpoint = getattr(sandbox, vendor)
    settings = {"INVOICES_HOME": home, "INVOICES_EXTRACTORS": vendor, "INVOICES_VENDOR_MINUTE_SECONDS": minute_seconds}
    vendor_settings = {"BASE_URL": endpoint["base_url"], "API_KEY": endpoint["api_key"], **options}
    settings |= {f"INVOICES_{vendor.upper()}__{name}": value for name, value in vendor_settings.items()}
    return build_clean_environment() | {name: str(value) for name, value in settings.items()}


def _list_answer_seconds(home: Path) -> tuple[float, ...]:
    """Return when each answer came, in ascending order, in seconds since the first intent."""
    query = select(extractions.c.requested_at, extractions.c.answered_at, extractions.c.status)
    with closing(_open_ledger(home)) as ledger, ledger.open_snapshot() as connection:
        rows = connection.execute(query).all()
    first_requested_at = min((row.requested_at for row in rows), default=None)
    return tuple(
        sorted((row.answered_at - first_requested_at).total_seconds() for row in rows if row.status == "answered")
    )
