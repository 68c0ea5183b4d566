"""Documents per second of local extraction with and without the official rules, by syntax."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from invoices.documents.document_reader_pool import DocumentReaderPool
from invoices.documents.official_rules.rule_checker_pool import RuleCheckerPool
from invoices.documents.store import DocumentStore
from invoices.extraction.local_extraction import extract_documents_locally
from invoices.ledger import Ledger
from invoices.ledger.documents import list_pending_documents
from invoices.ledger.sightings import Sighting, record_sighting
from tests.bench import cii, ubl
from tests.bench.generated_invoices import GeneratedInvoice, generate_invoice

DOCUMENTS, QUICK_DOCUMENTS = 1_000, 10
WORKERS = 2
RENDERERS: dict[str, Callable[[GeneratedInvoice], bytes]] = {"ubl": ubl.render, "cii": cii.render}


@dataclass(frozen=True, slots=True)
class RulesMeasurement:
    """Documents per second on two cores; seconds until the first document of a new process is checked; peak memory."""

    syntax: str
    documents: int
    without_rules: float
    with_rules: float
    first_check_seconds: float
    peak_megabytes_per_process: float


def run_benchmark(*, quick: bool = False) -> list[RulesMeasurement]:
    """Return the figures of each syntax."""
    count = QUICK_DOCUMENTS if quick else DOCUMENTS
    return [_measure_syntax(syntax, render, count) for syntax, render in RENDERERS.items()]


def render_table(measures: list[RulesMeasurement]) -> str:
    """Return the figures as a text table with one row per syntax."""
    header = f"{'official rules':16}{'without, doc/s':>16}{'with, doc/s':>14}{'first check, s':>16}{'MB a process':>14}"
    rows = [
        f"{m.syntax:16}{m.without_rules:>16.1f}{m.with_rules:>14.1f}{m.first_check_seconds:>16.2f}"
        f"{m.peak_megabytes_per_process:>14.0f}"
        for m in measures
    ]
    return "\n".join([header, *rows])


def _measure_syntax(syntax: str, render: Callable[[GeneratedInvoice], bytes], count: int) -> RulesMeasurement:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        contents = [render(generate_invoice(number)) for number in range(count)]
        without_rules, _, _ = _measure_extraction(directory / "without", contents, None)
        with RuleCheckerPool(WORKERS) as pool:
            with_rules, first_seconds, peak_bytes = _measure_extraction(directory / "with", contents, pool)
    return RulesMeasurement(
        syntax, count, round(without_rules, 1), round(with_rules, 1), round(first_seconds, 2), peak_bytes / 1e6
    )


def _measure_extraction(
    directory: Path, contents: list[bytes], pool: RuleCheckerPool | None
) -> tuple[float, float, float]:
    """Return documents per second, and with a pool the seconds of its first check and the most memory of a process."""
    store, ledger = DocumentStore(directory / "documents"), Ledger(f"sqlite:///{directory / 'ledger.sqlite'}")
    hashes = [store.put(content) for content in contents]
    with ledger.begin_transaction() as tx:
        for sha256 in hashes:
            record_sighting(tx, Sighting(sha256[:32], sha256, "application/xml", 1, "inbox", "folder", sha256))
    with ledger.open_snapshot() as connection:
        documents = list_pending_documents(connection, "extract_local", len(contents))
    first_seconds = peak_bytes = 0.0
    if pool is not None:
        started = time.monotonic()
        pool.check(store.get_path(hashes[0]))
        first_seconds = time.monotonic() - started
    with DocumentReaderPool(WORKERS) as readers:
        started = time.monotonic()
        extract_documents_locally(ledger, store, readers, documents, rule_checkers=pool)
        seconds = time.monotonic() - started
    if pool is not None:
        children = [child for child in psutil.Process().children() if "rule_checker_process" in str(child.cmdline())]
        peak_bytes = max(child.memory_info().rss for child in children)
    ledger.close()
    return len(contents) / seconds, first_seconds, peak_bytes
