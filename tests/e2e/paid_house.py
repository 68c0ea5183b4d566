"""A home whose documents wait for an extraction API, and what its ledger says after asking: rows, money, claims."""

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
from invoices.ledger.documents import settle
from invoices.ledger.extractions import Job
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.ledger.tables import claims, documents, extractions, spending
from invoices.model import document_sha256, sighting_id
from sandbox.serving import Sandbox

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
MEDIA = {".pdf": "application/pdf", ".png": "image/png", ".jpg": "image/jpeg"}
PICTURE, PRINTED, SCANNED = "inbox/scans/scan0001.png", "inbox/eu/AT/PR-2026-19.pdf", "inbox/scans/batch/scan0004.pdf"
TWO_PAGES = "inbox/tools/MW-2026-0177.pdf"
PAPERS = (PICTURE, TWO_PAGES, PRINTED, SCANNED)
VENDORS = ("smartbills_com", "invoicedataextraction_com", "billflowai")
DRAWN = ("invoiceId",)  # by the vendor


@dataclass(frozen=True, slots=True)
class Paper:
    """A document that waits to be asked about."""

    content: bytes
    media_type: str
    pages: int

    @property
    def sha256(self) -> str:
        """The document's identity."""
        return document_sha256(self.content)


def samples(paths: Iterable[str] = PAPERS) -> list[Paper]:
    """Return sample documents as papers, with the pages that the vendors count."""
    manifest = (SAMPLES / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    pages = {row["path"]: row["pages"] for row in map(json.loads, manifest)}
    return [Paper((SAMPLES / path).read_bytes(), MEDIA[Path(path).suffix.lower()], pages[path]) for path in paths]


def strangers(count: int) -> list[Paper]:
    """Return PDFs of one page that no sandbox knows: it cannot read them, unless its knob ``read_strangers`` is on."""
    return [Paper(b"%PDF-1.4 " + str(number).encode(), "application/pdf", 1) for number in range(count)]


def put(home: Path, papers: Iterable[Paper], url: str | None = None) -> None:
    """Put papers into a home, each read already and waiting for an extraction API."""
    home.mkdir(parents=True, exist_ok=True)
    store = DocumentStore(home / "documents")
    with closing(Ledger(url or f"sqlite:///{home / 'ledger.sqlite'}")) as ledger, ledger.transaction() as tx:
        for paper in papers:
            sha = store.put(paper.content)
            seen = sighting_id("inbox", f"/{sha}", sha)
            size = len(paper.content)
            record_sighting(tx, Sighting(seen, sha, paper.media_type, size, "inbox", "folder", f"/{sha}", sha))
            settle(
                tx, sha, stage="ask", state="waiting", reason_code="needs_extraction", reason="",
                media_type=paper.media_type, page_count=paper.pages,
            )  # fmt: skip


def settings(sandbox: Sandbox, vendor: str, key: str, home: Path, **more: str) -> dict[str, str]:
    """Return the environment of a house that asks one vendor of the sandbox, in the world of ``key``."""
    mine = {
        "HOME": str(home), "EXTRACTORS": f"einvoice,{vendor}", "INBOX__SETTLE_SECONDS": "0",
        f"{vendor.upper()}__BASE_URL": getattr(sandbox, vendor)["base_url"], f"{vendor.upper()}__API_KEY": key,
    }  # fmt: skip
    return {f"INVOICES_{name}": value for name, value in (mine | more).items()}


@dataclass(frozen=True, slots=True)
class Accounts:
    """What a ledger says about asking."""

    stands: Mapping[str, tuple[str, str, str]]  # stage, state and reason code of each document
    jobs: tuple[Job, ...]
    payloads: Mapping[str, Any]  # by document, without what the vendor draws
    spent: Mapping[tuple[str, str], int]  # by vendor and period
    claimed: frozenset[str]

    @property
    def waiting(self) -> list[str]:
        """The documents that still wait for a vendor."""
        return sorted(sha for sha, (stage, _, _) in self.stands.items() if stage == "ask")

    @property
    def flagged(self) -> set[str]:
        """The documents that may have been charged twice, and say so."""
        return {job.document_sha256 for job in self.jobs if job.possible_double_charge}

    @property
    def uncertain(self) -> set[str]:
        """Those, what nobody knows the outcome of, and what BillflowAI did not read in the end.

        What may have been charged is counted: of the last ones a first try whose answer is missing.
        """
        unsure = {("billflowai", "failed"), *((name, "unknown") for name in VENDORS)}
        return self.flagged | {job.document_sha256 for job in self.jobs if (job.extracted_by, job.status) in unsure}

    def rows(self, uncertain: Collection[str] = ()) -> list[tuple[Any, ...]]:
        """Return document, vendor, status and pages charged of each extraction, None for those that are uncertain."""
        return sorted(
            (job.document_sha256, job.extracted_by, job.status,
             None if job.document_sha256 in uncertain else job.pages_charged)
            for job in self.jobs
        )  # fmt: skip

    def against(self, journal: Mapping[str, Any], vendor: str) -> list[str]:
        """Return where the pages charged are not the journal's, or above what is counted for what is uncertain."""
        told: Counter[str] = Counter()
        for row in journal["charges"]:
            told[row["document_sha256"]] += row["pages"] if row["vendor"] == vendor else 0
        wrong = []
        for job in self.jobs:
            pages, ours = told.pop(job.document_sha256, 0), job.pages_charged
            if pages > job.pages_counted or (pages != ours and job.document_sha256 not in self.uncertain):
                wrong.append(f"{job.document_sha256[:12]}: {pages} pages charged, {ours} known")
        return [*wrong, *(f"{sha[:12]}: charged, and nobody knows" for sha in +told)]

    def disagreements(self) -> list[str]:
        """Return where the spending is not the sum over the extractions, and what is still in somebody's hands."""
        wanted: Counter[str] = Counter()
        for job in self.jobs:
            wanted[job.extracted_by] += job.pages_counted
        found = []
        for kind in ("day", "month", "run"):
            told: Counter[str] = Counter()
            for (vendor, period), pages in self.spent.items():
                told[vendor] += pages if period.startswith(f"{kind}:") else 0
            if +told != +wanted:
                found.append(f"spent by {kind} {dict(told)!r}, by extraction {dict(wanted)!r}")
        return [*found, *(["claims are left"] if self.claimed else [])]


def accounts(home: Path, url: str | None = None) -> Accounts:
    """Return what the ledger of a home says now."""
    columns = [extractions.c[name] for name in Job.__slots__]
    with closing(Ledger(url or f"sqlite:///{home / 'ledger.sqlite'}")) as ledger, ledger.reading() as connection:
        stood = connection.execute(
            select(documents.c.document_sha256, documents.c.stage, documents.c.state, documents.c.reason_code)
        )
        answered = connection.execute(select(extractions.c.document_sha256, extractions.c.payload))
        return Accounts(
            {sha: (stage, state, code) for sha, stage, state, code in stood},
            tuple(Job(*row) for row in connection.execute(select(*columns))),
            {sha: _undrawn(json.loads(payload)) for sha, payload in answered if payload},
            {
                (vendor, period): pages
                for vendor, period, pages in connection.execute(
                    select(spending.c.vendor, spending.c.period, spending.c.pages)
                )
            },
            frozenset(connection.scalars(select(claims.c.document_sha256))),
        )


def charged(journal: Mapping[str, Any], vendor: str) -> Counter[str]:
    """Return how often each document was charged by a vendor."""
    return Counter(row["document_sha256"] for row in journal["charges"] if row["vendor"] == vendor)


def pages_charged(journal: Mapping[str, Any], vendor: str) -> int:
    """Return how many pages a vendor charged."""
    return sum(row["pages"] for row in journal["charges"] if row["vendor"] == vendor)


def beyond(found: Mapping[str, int], vendor: str, flagged: Collection[str]) -> list[str]:
    """Return which documents were charged more often than their vendor lets us prevent."""
    most = {sha: 2 if vendor == "billflowai" and sha in flagged else 1 for sha in found}
    return [f"{sha[:12]} charged {count} times" for sha, count in found.items() if count > most[sha]]


def _undrawn(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _undrawn(item) for name, item in value.items() if name not in DRAWN}
    return [_undrawn(item) for item in value] if isinstance(value, list) else value
