"""A harness for extraction in batches: documents, a ledger, and an account at the sandbox's Invoice Data Extraction."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyrate_limiter import InMemoryBucket

from invoices.clients.http_client import make_session
from invoices.clients.invoicedataextraction_com import Extraction, InvoiceDataExtractionClient
from invoices.documents.store import DocumentStore
from invoices.extraction.extraction_recorder import ExtractionRecorder, ExtractorReport
from invoices.extraction.invoicedataextraction_com import (
    CALLS_PER_MINUTE,
    EXTRACTOR,
    VENDOR,
    InvoiceDataExtractor,
    build_configuration,
)
from invoices.extraction.resilience.rate_limit import RateLimiter, RateWindow
from invoices.extraction.resilience.retry import VendorSuspended
from invoices.ledger import Ledger, Transaction
from invoices.ledger.claims import claim_all_or_none, claim_pending_documents, list_claim_holders, release_claims
from invoices.ledger.documents import find_document_row, set_document_state
from invoices.ledger.extractions import ExtractionTerms, list_extraction_rows
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.ledger.spending import NO_PAGE_CAPS
from invoices.ledger.tables import extraction_batches, spending
from sandbox.process import Sandbox
from tests.integration.extraction.extraction_fixtures import TIME_SCALE, SimulatedKill

NUMBERS = itertools.count(1)
ANSWERED = {("validate", "answered")}
CLIENT_CALLS = (
    "fetch_balance",
    "open_session",
    "request_part_urls",
    "upload_part",
    "finish_file_upload",
    "submit_extraction",
    "poll_extraction",
    "fetch_results",
)


class StepCounter:
    """Counts the commits and calls of a run, and kills it before step ``kill_at_step``."""

    def __init__(self, kill_at_step: int | None = None) -> None:
        self.kill_at_step, self.step_count = kill_at_step, 0
        self.step_names: list[str] = []
        self._lock = threading.Lock()

    def record_step(self, name: str) -> None:
        """Count a step, or raise SimulatedKill before it."""
        with self._lock:
            self.step_count += 1
            self.step_names.append(name)
            if self.kill_at_step is not None and self.step_count >= self.kill_at_step:
                raise SimulatedKill(f"before step {self.step_count}: {name}")


class StepCountingLedger(Ledger):
    """A ledger in which each commit counts as a step."""

    steps = StepCounter()

    @contextmanager
    def begin_transaction(self) -> Iterator[Transaction]:
        """Open a transaction; raise SimulatedKill before its commit if that is the fatal step."""
        with super().begin_transaction() as tx:
            yield tx
            self.steps.record_step("commit")


class StepCountingClient(InvoiceDataExtractionClient):
    """A client in which each call counts as a step; ``call_overrides`` replace calls by name."""

    def __init__(self, base_url: str, api_key: str, steps: StepCounter) -> None:
        super().__init__(base_url, api_key, make_session())
        self.steps = steps
        self.call_overrides: dict[str, Callable[..., Any]] = {}
        self.call_counts: Counter[str] = Counter()

    def __getattribute__(self, name: str) -> Any:
        """Return a method that counts its call as a step."""
        attribute = super().__getattribute__(name)
        if name not in (*CLIENT_CALLS, "fetch_output_rows", "list_extractions"):
            return attribute

        def run_counted_call(*args: Any, **kwargs: Any) -> Any:
            self.steps.record_step(name)
            self.call_counts[name] += 1
            override = self.call_overrides.get(name)
            return attribute(*args, **kwargs) if override is None else override(attribute, *args, **kwargs)

        return run_counted_call


class BatchHarness:
    """Runs extraction; each run is a new worker, and earlier ones are dead unless in ``living_workers``."""

    def __init__(self, home: Path, sandbox: Sandbox) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.ledger = StepCountingLedger(f"sqlite:///{home}/ledger.sqlite")
        self.store, self.sandbox = DocumentStore(home / "documents"), sandbox
        self.api_key = f"sk_test_batch_{next(NUMBERS)}"
        self.caps, self.living_workers = NO_PAGE_CAPS, set[str]()
        self.time_scale = TIME_SCALE
        self.rate_windows = {group: (RateWindow(calls, 60),) for group, calls in CALLS_PER_MINUTE.items()}
        self.has_fallback: Callable[[str], bool] = lambda _: False
        self.suspension: VendorSuspended | None = None
        self.call_overrides: dict[str, Callable[..., Any]] = {}
        self.totals, self.concluded_count = ExtractorReport(), 0
        self.update_sandbox_settings(read_strangers="on")

    def update_sandbox_settings(self, **sandbox_settings: object) -> None:
        """Change settings of the vendor for this account."""
        self.sandbox.update_settings(
            self.api_key, **{f"{EXTRACTOR}__{name}": value for name, value in sandbox_settings.items()}
        )

    def add_documents(
        self, count: int, page_count: int | None = 1, extra_bytes: int = 0, media_type: str = "application/pdf"
    ) -> list[str]:
        """Add new documents that wait for extraction; return their hashes."""
        contents = [b"%%PDF-1.4 of the batch harness %d " % next(NUMBERS) + b"x" * extra_bytes for _ in range(count)]
        return self.add_document_contents(*contents, page_count=page_count, media_type=media_type)

    def add_document_contents(
        self, *contents: bytes, page_count: int | None = 1, media_type: str = "application/pdf"
    ) -> list[str]:
        """Add documents with these contents that wait for extraction; return their hashes."""
        hashes = [self.store.put(content) for content in contents]
        with self.ledger.begin_transaction() as tx:
            for sha256, content in zip(hashes, contents, strict=True):
                sighting = Sighting(sha256[:32], sha256, media_type, len(content), "inbox", "folder", f"/{sha256}")
                record_sighting(tx, sighting)
                set_document_state(
                    tx, sha256, stage="extract_remote", state="waiting", reason_code="needs_extraction",
                    reason="A scan.", page_count=page_count,
                )  # fmt: skip
        return hashes

    def run_extraction(self, kill_at_step: int | None = None, limit: int = 10_000, **options: Any) -> ExtractorReport:
        """Extract all waiting documents in a new run; return its report."""
        steps = StepCountingLedger.steps = StepCounter()
        worker = f"worker-{next(NUMBERS)}"
        dead_workers = [name for name in self.list_claim_holders() if name not in self.living_workers]
        with self.ledger.begin_transaction() as tx:
            for name in dead_workers:
                release_claims(tx, name)
            documents = claim_pending_documents(tx, worker, "extract_remote", limit)
        extractor = self.build_extractor(worker, steps, **options)
        self.suspension, self.steps = None, steps
        steps.step_count, steps.kill_at_step = 0, kill_at_step
        try:
            extractor.extract_documents(documents, self._add_concluded)
        except VendorSuspended as suspension:
            self.suspension = suspension
        finally:
            steps.kill_at_step, report = None, extractor.recorder.report
            self.totals.submissions += report.submissions
            self.totals.pages_charged += report.pages_charged
        return report

    def build_extractor(self, worker: str, steps: StepCounter, **options: Any) -> InvoiceDataExtractor:
        """Return the extractor of a run."""
        settings: dict[str, Any] = {"connections": 2, **options}
        extractor_configuration = build_configuration(settings.get("structure", "per_line_item"))
        recorder = ExtractionRecorder(
            self.ledger,
            self.store,
            worker,
            ExtractionTerms(EXTRACTOR, self.caps),
            VENDOR,
            extractor_configuration,
            self.has_fallback,
        )
        self.client = StepCountingClient(self.sandbox.invoicedataextraction_com["base_url"], self.api_key, steps)
        self.client.call_overrides = self.call_overrides
        rate_limiters = {
            group: RateLimiter(
                windows, InMemoryBucket([window.to_rate(self.time_scale) for window in windows]), self.time_scale
            )
            for group, windows in self.rate_windows.items()
        }

        def claim_documents(hashes: Sequence[str]) -> bool:
            with self.ledger.begin_transaction() as tx:
                return claim_all_or_none(tx, worker, hashes)

        return InvoiceDataExtractor(recorder, self.client, rate_limiters, claim_documents, **settings)

    def list_claim_holders(self) -> list[str]:
        """Return the workers that hold claims."""
        with self.ledger.open_snapshot() as connection:
            return list_claim_holders(connection)

    def run_until_killed(self, call: str, *, after_call: bool = True, **options: Any) -> None:
        """Run until SimulatedKill at the first call of this name, after or before the vendor has done its work."""

        def run_and_die(original_call: Callable[..., object], *args: object, **kwargs: object) -> object:
            if after_call:
                original_call(*args, **kwargs)
            raise SimulatedKill(call)

        self.call_overrides[call] = run_and_die
        with pytest.raises(SimulatedKill):
            self.run_extraction(**options)
        self.call_overrides.clear()

    def _add_concluded(self, count: int) -> None:
        self.concluded_count += count

    # Results

    def read_journal(self) -> dict[str, Any]:
        """Return the requests that the vendor received and its charges."""
        return self.sandbox.read_journal(self.api_key)

    def count_charged_pages(self) -> Counter[str]:
        """Return the charged pages by document."""
        pages: Counter[str] = Counter()
        for charge in self.read_journal()["charges"]:
            pages[charge["document_sha256"]] += charge["pages"]
        return pages

    def list_remote_extractions(self) -> list[dict[str, Any]]:
        """Return the extractions that the vendor created."""
        remote_extractions: list[dict[str, Any]] = self.read_journal()["extractions"]
        return remote_extractions

    def list_document_states(self, *hashes: str) -> set[tuple[str, str]]:
        """Return the stages and reason codes of documents."""
        with self.ledger.open_snapshot() as connection:
            rows = [find_document_row(connection, sha256) for sha256 in hashes]
        return {(row["stage"], row["reason_code"]) for row in rows if row is not None}

    def get_reason(self, sha256: str) -> str:
        """Return the reason of a document's state."""
        with self.ledger.open_snapshot() as connection:
            row = find_document_row(connection, sha256)
        return "" if row is None else str(row["reason"])

    def list_extractions(self, sha256: str) -> list[dict[str, Any]]:
        """Return the extractions of a document."""
        with self.ledger.open_snapshot() as connection:
            return [dict(row) for row in list_extraction_rows(connection, sha256)]

    def get_extraction(self, sha256: str) -> dict[str, Any]:
        """Return the only extraction of a document."""
        (row,) = self.list_extractions(sha256)
        return row

    def sum_recorded_charges(self, *hashes: str) -> int:
        """Return the pages charged for documents according to the ledger."""
        return sum(self.get_extraction(sha256)["pages_charged"] for sha256 in hashes)

    def list_spent_pages(self) -> set[int]:
        """Return the pages that count against the caps of the day and the month."""
        with self.ledger.open_snapshot() as connection:
            rows = connection.execute(spending.select().where(~spending.c.period.startswith("run:")))
            return {row.pages for row in rows}

    def list_batches(self) -> list[Any]:
        """Return the batches in the ledger."""
        with self.ledger.open_snapshot() as connection:
            return list(connection.execute(extraction_batches.select()))

    def update_batches(self, **columns: Any) -> None:
        """Change columns of every batch."""
        with self.ledger.begin_transaction() as tx:
            tx.connection.execute(extraction_batches.update().values(**columns))

    def assert_charged_once(self) -> None:
        """Check that no document was charged twice, and that the ledger agrees with each charge."""
        charges = self.read_journal()["charges"]
        assert len({charge["document_sha256"] for charge in charges}) == len(charges)
        for charge in charges:
            assert self.get_extraction(charge["document_sha256"])["pages_charged"] == charge["pages"]

    def assert_accounts_match(self, *hashes: str, was_killed: bool = False) -> None:
        """Check that journal, ledger, caps and reports agree; killed runs have no complete report."""
        charges = self.count_charged_pages()
        assert {sha256: self.get_extraction(sha256)["pages_charged"] for sha256 in hashes if charges[sha256]} == dict(
            charges
        )
        assert self.sum_recorded_charges(*hashes) == charges.total()
        assert self.list_spent_pages() <= {charges.total()}
        if not was_killed:
            assert (self.totals.submissions, self.totals.pages_charged) == (
                len(self.list_remote_extractions()),
                charges.total(),
            )


def build_changed_poll(**values: Any) -> Callable[..., Extraction]:
    """Return an override of ``poll_extraction`` that replaces values of the extraction."""
    return lambda original_call, *args: replace(original_call(*args), **values)
