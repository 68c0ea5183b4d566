"""A home in which tiny documents wait for an extraction API, and what came of asking: nobody collects or reads them."""

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
from invoices.ledger.documents import settle
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.ledger.tables import extractions
from invoices.model import sighting_id
from sandbox.serving import Sandbox
from tests.bench.measuring import RunError, measured_run, without_settings

AT_ONCE = 500  # documents of one transaction
MOST_RUNS = 300


@dataclass(frozen=True, slots=True)
class Asked:
    """What asking came to, in seconds from the first intent: when each answer came, in their order.

    ``peak_bytes`` is the most resident memory of any run, ``refusals`` are the vendor's answers 429.
    """

    answers: tuple[float, ...]
    runs: int
    peak_bytes: int
    refusals: int

    def within(self, seconds: float) -> int:
        """Return how many documents were answered in the first ``seconds``."""
        return sum(answer <= seconds for answer in self.answers)


def image(number: int) -> bytes:
    """Return a PNG of one pixel; each number has bytes of its own, always the same."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    text = _chunk(b"tEXt", b"Title\0benchmark %d" % number)
    return b"\x89PNG\r\n\x1a\n" + header + text + _chunk(b"IDAT", zlib.compress(b"\0\xff")) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def fill(home: Path, count: int) -> None:
    """Put ``count`` documents where they stand after reading: nothing in them speaks for itself."""
    store = DocumentStore(home / "documents")
    numbers = iter(range(count))
    with closing(_ledger(home)) as ledger:
        while some := [image(number) for number in islice(numbers, AT_ONCE)]:
            hashes = [store.put(content) for content in some]
            with ledger.transaction() as tx:
                for sha256, content in zip(hashes, some, strict=True):
                    _see(tx, sha256, len(content))


def _ledger(home: Path) -> Ledger:
    return Ledger(f"sqlite:///{home / 'ledger.sqlite'}")


def _see(tx: Transaction, sha256: str, size: int) -> None:
    place = f"/inbox/{sha256}.png"
    seen = Sighting(sighting_id("inbox", place, sha256), sha256, "image/png", size, "inbox", "folder", place)
    record_sighting(tx, seen)
    reason = "Nothing in it speaks for itself."
    settle(tx, sha256, stage="ask", state="waiting", reason_code="to_be_asked", reason=reason)


def ask(
    place: Path,
    sandbox: Sandbox,
    vendor: str,
    count: int,
    minute: float,
    options: Mapping[str, object] | None = None,
    seconds: float = math.inf,
) -> Asked:
    """Ask a vendor about ``count`` documents with ``invoices extract``, again and again as a schedule would.

    It ends when all are answered, or ``seconds`` after the first intent. ``options`` are more settings of the vendor,
    as ``{"PLAN": "pro"}``. Raises RunError where a run has problems.
    """
    home, before = place / "home", refusals(sandbox)
    fill(home, count)
    environment = _environment(home, sandbox, vendor, minute, options or {})
    peak, began = 0, time.monotonic()
    for runs in range(1, MOST_RUNS + 1):
        run = measured_run(environment, place / "run.txt", "extract")
        peak, answers = max(peak, run.peak_bytes), _answers(home)
        if len(answers) == count or time.monotonic() - began > seconds:
            return Asked(answers, runs, peak, refusals(sandbox) - before)
    raise RunError(f"{len(answers)} of {count} documents are answered after {MOST_RUNS} runs: {run.told!r}")


def refusals(sandbox: Sandbox) -> int:
    """Return how many calls the sandbox has answered 429 so far."""
    return sum(statuses.get("429", 0) for statuses in sandbox.journal()["answers"].values())


def _environment(
    home: Path, sandbox: Sandbox, vendor: str, minute: float, options: Mapping[str, object]
) -> dict[str, str]:
    served = getattr(sandbox, vendor)
    settings = {"INVOICES_HOME": home, "INVOICES_EXTRACTORS": vendor, "INVOICES_VENDOR_MINUTE_SECONDS": minute}
    of_vendor = {"BASE_URL": served["base_url"], "API_KEY": served["api_key"], **options}
    settings |= {f"INVOICES_{vendor.upper()}__{name}": value for name, value in of_vendor.items()}
    return without_settings() | {name: str(value) for name, value in settings.items()}


def _answers(home: Path) -> tuple[float, ...]:
    """Return when each answer came, in seconds since the first intent."""
    times = select(extractions.c.requested_at, extractions.c.answered_at, extractions.c.status)
    with closing(_ledger(home)) as ledger, ledger.reading() as connection:
        rows = connection.execute(times).all()
    first = min((row.requested_at for row in rows), default=None)
    return tuple(sorted((row.answered_at - first).total_seconds() for row in rows if row.status == "answered"))
