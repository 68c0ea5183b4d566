"""Documents, a ledger and an account at the stand-in of Invoice Data Extraction: run after run, and what it charged."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyrate_limiter import InMemoryBucket

from invoices.clients.invoicedataextraction_com import InvoiceDataExtraction as Client
from invoices.clients.transport import make_session
from invoices.documents.store import DocumentStore
from invoices.extraction.desk import Asked, Desk
from invoices.extraction.invoicedataextraction_com import (
    EXTRACTOR,
    LIMITS,
    VENDOR,
    InvoiceDataExtraction,
    configuration,
)
from invoices.extraction.patience.budget import Budget, Window
from invoices.extraction.patience.pacing import VendorStopped
from invoices.ledger import Ledger, Transaction
from invoices.ledger.claims import claim, claim_these, holders, let_go
from invoices.ledger.documents import document_row, settle
from invoices.ledger.extractions import Terms, extraction_rows
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.ledger.spending import NO_CAPS
from invoices.ledger.tables import extraction_batches, spending
from sandbox.serving import Sandbox

MINUTE = 0.6  # seconds of the vendor's minute here
SCALE = MINUTE / 60
NUMBERS = itertools.count(1)
CALLS = ("balance", "open_session", "part_urls", "put_part", "complete", "submit", "extraction", "results")


class Dead(BaseException):
    """What a kill looks like from inside: nothing catches it."""


class Steps:
    """Counts what a run does to the world, and kills it before the step that ``fatal`` names."""

    def __init__(self, fatal: int | None = None) -> None:
        self.fatal, self.taken = fatal, 0
        self.names: list[str] = []
        self._lock = threading.Lock()

    def take(self, name: str) -> None:
        """Count a step, or die before it."""
        with self._lock:
            self.taken += 1
            self.names.append(name)
            if self.fatal is not None and self.taken >= self.fatal:
                raise Dead(f"before step {self.taken}: {name}")


class WatchedLedger(Ledger):
    """A ledger of which each commit is a step."""

    steps = Steps()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Give a transaction; die before its commit where that is the fatal step."""
        with super().transaction() as tx:
            yield tx
            self.steps.take("commit")


class WatchedClient(Client):
    """A client of which each call is a step, and which obeys ``instead``: by call, what happens in its place."""

    def __init__(self, base_url: str, api_key: str, steps: Steps) -> None:
        super().__init__(base_url, api_key, make_session())
        self.steps = steps
        self.instead: dict[str, Callable[..., Any]] = {}
        self.counts: Counter[str] = Counter()

    def __getattribute__(self, name: str) -> Any:
        """Return a call that counts as a step."""
        found = super().__getattribute__(name)
        if name not in (*CALLS, "output_rows", "extractions"):
            return found

        def watched(*args: Any, **named: Any) -> Any:
            self.steps.take(name)
            self.counts[name] += 1
            instead = self.instead.get(name)
            return found(*args, **named) if instead is None else instead(found, *args, **named)

        return watched


class Office:
    """What is needed to ask; each run is a worker of its own, and those before it are dead unless told otherwise."""

    def __init__(self, home: Path, sandbox: Sandbox) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.ledger = WatchedLedger(f"sqlite:///{home}/ledger.sqlite")
        self.store, self.sandbox = DocumentStore(home / "documents"), sandbox
        self.key = f"sk_test_batch_{next(NUMBERS)}"
        self.caps, self.living = NO_CAPS, set[str]()
        self.scale = SCALE
        self.windows = {group: (Window(calls, 60),) for group, calls in LIMITS.items()}
        self.has_other: Callable[[str], bool] = lambda _: False
        self.stopped: VendorStopped | None = None
        self.instead: dict[str, Callable[..., Any]] = {}
        self.total, self.concluded = Asked(), 0
        self.turn(read_strangers="on")

    def turn(self, **knobs: object) -> None:
        """Turn this vendor's knobs for this account."""
        self.sandbox.turn(self.key, **{f"{EXTRACTOR}__{name}": value for name, value in knobs.items()})

    def collect(
        self, count: int, pages: int | None = 1, size: int = 0, media_type: str = "application/pdf"
    ) -> list[str]:
        """Let so many new documents wait to be asked about; return their hashes."""
        contents = [b"%%PDF-1.4 of the batch office %d " % next(NUMBERS) + b"x" * size for _ in range(count)]
        return self.take(*contents, pages=pages, media_type=media_type)

    def take(self, *contents: bytes, pages: int | None = 1, media_type: str = "application/pdf") -> list[str]:
        """Let these documents wait to be asked about; return their hashes."""
        hashes = [self.store.put(content) for content in contents]
        with self.ledger.transaction() as tx:
            for sha256, content in zip(hashes, contents, strict=True):
                seen = Sighting(sha256[:32], sha256, media_type, len(content), "inbox", "folder", f"/{sha256}")
                record_sighting(tx, seen)
                stands = {"stage": "ask", "state": "waiting", "reason_code": "needs_extraction", "reason": "A scan."}
                settle(tx, sha256, **stands, page_count=pages)  # type: ignore[arg-type]  # words of a dict
        return hashes

    def ask(self, fatal: int | None = None, limit: int = 10_000, **options: Any) -> Asked:
        """Ask about everything that waits, as a new run would; return what that came to."""
        steps = WatchedLedger.steps = Steps()
        worker = f"worker-{next(NUMBERS)}"
        dead = [name for name in self.holders() if name not in self.living]
        with self.ledger.transaction() as tx:
            for name in dead:
                let_go(tx, name)
            documents = claim(tx, worker, "ask", limit)
        engine = self.engine(worker, steps, **options)
        steps.taken, steps.fatal, self.stopped, self.steps = 0, fatal, None, steps
        try:
            engine.ask(documents, self._count)
        except VendorStopped as stop:
            self.stopped = stop
        finally:
            steps.fatal, asked = None, engine.desk.asked
            self.total.calls += asked.calls
            self.total.pages += asked.pages
        return asked

    def engine(self, worker: str, steps: Steps, **options: Any) -> InvoiceDataExtraction:
        """Return the engine of a run."""
        settings: dict[str, Any] = {"connections": 2, **options}
        asks = configuration(settings.get("structure", "per_line_item"))
        desk = Desk(self.ledger, self.store, worker, Terms(EXTRACTOR, self.caps), VENDOR, asks, self.has_other)
        self.client = WatchedClient(self.sandbox.invoicedataextraction_com["base_url"], self.key, steps)
        self.client.instead = self.instead
        budgets = {
            group: Budget(windows, InMemoryBucket([one.as_rate(self.scale) for one in windows]), self.scale)
            for group, windows in self.windows.items()
        }

        def claim_all(hashes: Sequence[str]) -> bool:
            with self.ledger.transaction() as tx:
                return claim_these(tx, worker, hashes)

        return InvoiceDataExtraction(desk, self.client, budgets, claim_all, **settings)

    def holders(self) -> list[str]:
        """Return who holds documents."""
        with self.ledger.reading() as connection:
            return holders(connection)

    def _count(self, concluded: int) -> None:
        self.concluded += concluded

    # What came of it

    def journal(self) -> dict[str, Any]:
        """Return what the vendor saw and charged."""
        return self.sandbox.journal(self.key)

    def charges(self) -> Counter[str]:
        """Return the pages that were charged, by document."""
        pages: Counter[str] = Counter()
        for charge in self.journal()["charges"]:
            pages[charge["document_sha256"]] += charge["pages"]
        return pages

    def extractions(self) -> list[dict[str, Any]]:
        """Return the extractions that were created."""
        found: list[dict[str, Any]] = self.journal()["extractions"]
        return found

    def stands(self, *hashes: str) -> set[tuple[str, str]]:
        """Return where documents stand: stage and reason code."""
        with self.ledger.reading() as connection:
            rows = [document_row(connection, sha256) for sha256 in hashes]
        return {(row["stage"], row["reason_code"]) for row in rows if row is not None}

    def reason(self, sha256: str) -> str:
        """Return why a document stands where it stands."""
        with self.ledger.reading() as connection:
            row = document_row(connection, sha256)
        return "" if row is None else str(row["reason"])

    def jobs(self, sha256: str) -> list[dict[str, Any]]:
        """Return the questions about a document."""
        with self.ledger.reading() as connection:
            return [dict(row) for row in extraction_rows(connection, sha256)]

    def job(self, sha256: str) -> dict[str, Any]:
        """Return the only question about a document."""
        (row,) = self.jobs(sha256)
        return row

    def pages_charged(self, *hashes: str) -> int:
        """Return the pages that the ledger says were charged for documents."""
        return sum(self.job(sha256)["pages_charged"] for sha256 in hashes)

    def spent(self) -> set[int]:
        """Return the pages that count against the caps of the day and the month."""
        with self.ledger.reading() as connection:
            rows = connection.execute(spending.select().where(~spending.c.period.startswith("run:")))
            return {row.pages for row in rows}

    def batches(self) -> list[Any]:
        """Return the ledger's rows of batches."""
        with self.ledger.reading() as connection:
            return list(connection.execute(extraction_batches.select()))

    def age(self, **columns: Any) -> None:
        """Change columns of every batch, as time would."""
        with self.ledger.transaction() as tx:
            tx.connection.execute(extraction_batches.update().values(**columns))

    def check_charges_once(self) -> None:
        """Check that no document was charged more than once, and that the ledger says the same of each."""
        charges = self.journal()["charges"]
        assert len({charge["document_sha256"] for charge in charges}) == len(charges)
        for charge in charges:
            assert self.job(charge["document_sha256"])["pages_charged"] == charge["pages"]

    def check_books(self, *hashes: str, was_killed: bool = False) -> None:
        """Check that the journal, the ledger, the caps and what the runs told agree; what was killed tells nothing."""
        charges = self.charges()
        assert {sha256: self.job(sha256)["pages_charged"] for sha256 in hashes if charges[sha256]} == dict(charges)
        assert self.pages_charged(*hashes) == charges.total()
        assert self.spent() <= {charges.total()}
        if not was_killed:
            assert (self.total.calls, self.total.pages) == (len(self.extractions()), charges.total())


ANSWERED = {("judge", "answered")}
