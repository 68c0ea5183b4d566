"""A home directory with documents that wait for an extraction API, and a snapshot of its ledger after extraction."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from invoices.documents.store import DocumentStore
from invoices.ledger import Ledger
from invoices.ledger.documents import set_document_state
from invoices.ledger.extractions import ExtractionJob
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.ledger.tables import claims, documents, extractions, spending
from invoices.model import compute_document_sha256, compute_sighting_id
from sandbox.process import Sandbox
from tests.run_environment import SAMPLES

MEDIA_TYPES = {".pdf": "application/pdf", ".png": "image/png", ".jpg": "image/jpeg"}
PICTURE_PATH, PRINTED_PDF_PATH, SCANNED_PDF_PATH = (
    "inbox/scans/scan0001.png",
    "inbox/eu/AT/PR-2026-19.pdf",
    "inbox/scans/batch/scan0004.pdf",
)
TWO_PAGE_PDF_PATH = "inbox/tools/MW-2026-0177.pdf"
SAMPLE_PATHS = (PICTURE_PATH, TWO_PAGE_PDF_PATH, PRINTED_PDF_PATH, SCANNED_PDF_PATH)
VENDORS = ("smartbills_com", "invoicedataextraction_com", "billflowai")
VENDOR_GENERATED_KEYS = ("invoiceId",)  # different in each response


@dataclass(frozen=True, slots=True)
class WaitingDocument:
    """A document that waits for extraction."""

    content: bytes
    media_type: str
    page_count: int

    @property
    def sha256(self) -> str:
        """The document's identity."""
        return compute_document_sha256(self.content)


def load_sample_documents(paths: Iterable[str] = SAMPLE_PATHS) -> list[WaitingDocument]:
    """Return sample documents with the page counts that the vendors charge."""
    manifest = (SAMPLES / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    page_counts = {row["path"]: row["pages"] for row in map(json.loads, manifest)}
    return [
        WaitingDocument((SAMPLES / path).read_bytes(), MEDIA_TYPES[Path(path).suffix.lower()], page_counts[path])
        for path in paths
    ]


def build_unknown_documents(count: int) -> list[WaitingDocument]:
    """Return PDFs of one page that are no samples: the sandbox reads them only with the setting ``read_strangers``."""
    return [WaitingDocument(b"%PDF-1.4 " + str(number).encode(), "application/pdf", 1) for number in range(count)]


def add_waiting_documents(
    home: Path, waiting_documents: Iterable[WaitingDocument], ledger_url: str | None = None
) -> None:
    """Add documents to a home directory, each waiting for an extraction API."""
    home.mkdir(parents=True, exist_ok=True)
    store = DocumentStore(home / "documents")
    with (
        closing(Ledger(ledger_url or f"sqlite:///{home / 'ledger.sqlite'}")) as ledger,
        ledger.begin_transaction() as tx,
    ):
        for document in waiting_documents:
            sha256 = store.put(document.content)
            sighting = compute_sighting_id("inbox", f"/{sha256}", sha256)
            size = len(document.content)
            record_sighting(
                tx, Sighting(sighting, sha256, document.media_type, size, "inbox", "folder", f"/{sha256}", sha256)
            )
            set_document_state(
                tx, sha256, stage="extract_remote", state="waiting", reason_code="needs_extraction", reason="",
                media_type=document.media_type, page_count=document.page_count,
            )  # fmt: skip


def build_environment(sandbox: Sandbox, vendor: str, api_key: str, home: Path, **overrides: str) -> dict[str, str]:
    """Return the environment variables of an application that uses one vendor of the sandbox with ``api_key``."""
    defaults = {
        "HOME": str(home), "EXTRACTORS": f"einvoice,{vendor}", "INBOX__SETTLE_SECONDS": "0",
        f"{vendor.upper()}__BASE_URL": getattr(sandbox, vendor)["base_url"], f"{vendor.upper()}__API_KEY": api_key,
    }  # fmt: skip
    return {f"INVOICES_{name}": value for name, value in (defaults | overrides).items()}


@dataclass(frozen=True, slots=True)
class LedgerSnapshot:
    """The extraction data of a ledger."""

    document_states: Mapping[str, tuple[str, str, str]]  # stage, state and reason code of each document
    jobs: tuple[ExtractionJob, ...]
    payloads: Mapping[str, Any]  # by document, without keys that the vendor generates
    spent_pages: Mapping[tuple[str, str], int]  # by vendor and period
    claimed_documents: frozenset[str]

    @property
    def waiting_documents(self) -> list[str]:
        """The documents that still wait for a vendor."""
        return sorted(sha256 for sha256, (stage, _, _) in self.document_states.items() if stage == "extract_remote")

    @property
    def possible_double_charges(self) -> set[str]:
        """The documents that are flagged as possibly charged twice."""
        return {job.document_sha256 for job in self.jobs if job.possible_double_charge}

    @property
    def uncertain_documents(self) -> set[str]:
        """The flagged documents, those with an unknown outcome, and those that BillflowAI failed to read.

        The last ones count because the answer of a first attempt may be missing.
        """
        uncertain_statuses = {("billflowai", "failed"), *((name, "unknown") for name in VENDORS)}
        return self.possible_double_charges | {
            job.document_sha256 for job in self.jobs if (job.extracted_by, job.status) in uncertain_statuses
        }

    def list_extraction_rows(self, uncertain: Collection[str] = ()) -> list[tuple[Any, ...]]:
        """Return (document, vendor, status, pages charged) of each extraction; the pages of ``uncertain`` are None."""
        return sorted(
            (job.document_sha256, job.extracted_by, job.status,
             None if job.document_sha256 in uncertain else job.pages_charged)
            for job in self.jobs
        )  # fmt: skip

    def find_journal_mismatches(self, journal: Mapping[str, Any], vendor: str) -> list[str]:
        """Return where charged pages differ from the journal, or exceed the counted pages of uncertain documents."""
        journal_pages: Counter[str] = Counter()
        for row in journal["charges"]:
            journal_pages[row["document_sha256"]] += row["pages"] if row["vendor"] == vendor else 0
        mismatches = []
        for job in self.jobs:
            charged_pages, known_pages = journal_pages.pop(job.document_sha256, 0), job.pages_charged
            if charged_pages > job.pages_counted or (
                charged_pages != known_pages and job.document_sha256 not in self.uncertain_documents
            ):
                mismatches.append(f"{job.document_sha256[:12]}: {charged_pages} pages charged, {known_pages} known")
        return [*mismatches, *(f"{sha256[:12]}: charged, but not in the ledger" for sha256 in +journal_pages)]

    def find_spending_mismatches(self) -> list[str]:
        """Return where the spending differs from the sum of the extractions, and remaining claims."""
        expected_pages: Counter[str] = Counter()
        for job in self.jobs:
            expected_pages[job.extracted_by] += job.pages_counted
        mismatches = []
        for kind in ("day", "month", "run"):
            pages_by_vendor: Counter[str] = Counter()
            for (vendor, period), pages in self.spent_pages.items():
                pages_by_vendor[vendor] += pages if period.startswith(f"{kind}:") else 0
            if +pages_by_vendor != +expected_pages:
                mismatches.append(f"spent by {kind} {dict(pages_by_vendor)!r}, by extraction {dict(expected_pages)!r}")
        return [*mismatches, *(["claims are left"] if self.claimed_documents else [])]


def read_ledger_snapshot(home: Path, ledger_url: str | None = None) -> LedgerSnapshot:
    """Return a snapshot of the ledger of a home directory."""
    columns = [extractions.c[name] for name in ExtractionJob.__slots__]
    with (
        closing(Ledger(ledger_url or f"sqlite:///{home / 'ledger.sqlite'}")) as ledger,
        ledger.open_snapshot() as connection,
    ):
        document_rows = connection.execute(
            select(documents.c.document_sha256, documents.c.stage, documents.c.state, documents.c.reason_code)
        )
        payload_rows = connection.execute(select(extractions.c.document_sha256, extractions.c.payload))
        return LedgerSnapshot(
            {sha256: (stage, state, code) for sha256, stage, state, code in document_rows},
            tuple(ExtractionJob(*row) for row in connection.execute(select(*columns))),
            {sha256: _strip_vendor_generated(json.loads(payload)) for sha256, payload in payload_rows if payload},
            {
                (vendor, period): pages
                for vendor, period, pages in connection.execute(
                    select(spending.c.vendor, spending.c.period, spending.c.pages)
                )
            },
            frozenset(connection.scalars(select(claims.c.document_sha256))),
        )


def count_charges(journal: Mapping[str, Any], vendor: str) -> Counter[str]:
    """Return how often each document was charged by a vendor."""
    return Counter(row["document_sha256"] for row in journal["charges"] if row["vendor"] == vendor)


def sum_charged_pages(journal: Mapping[str, Any], vendor: str) -> int:
    """Return how many pages a vendor charged."""
    return sum(row["pages"] for row in journal["charges"] if row["vendor"] == vendor)


def find_excess_charges(charge_counts: Mapping[str, int], vendor: str, flagged: Collection[str]) -> list[str]:
    """Return the documents that were charged more often than allowed."""
    allowed_counts = {sha256: 2 if vendor == "billflowai" and sha256 in flagged else 1 for sha256 in charge_counts}
    return [
        f"{sha256[:12]} charged {count} times"
        for sha256, count in charge_counts.items()
        if count > allowed_counts[sha256]
    ]


def _strip_vendor_generated(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _strip_vendor_generated(item) for name, item in value.items() if name not in VENDOR_GENERATED_KEYS
        }
    return [_strip_vendor_generated(item) for item in value] if isinstance(value, list) else value
