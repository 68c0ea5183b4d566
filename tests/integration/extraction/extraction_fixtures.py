"""A harness for extraction: a ledger, a store, and a proxy to the vendors of the sandbox."""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import requests
from pyrate_limiter import InMemoryBucket

from invoices.documents.store import DocumentStore
from invoices.extraction.extraction_recorder import ExtractionRecorder, ExtractorReport
from invoices.extraction.resilience.rate_limit import RateLimiter, RateWindow
from invoices.ledger import Ledger
from invoices.ledger.claims import claim_pending_documents, list_claim_holders, release_claims
from invoices.ledger.documents import PendingDocument, find_document_row, set_document_state
from invoices.ledger.extractions import ExtractionTerms, list_extraction_rows
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.ledger.spending import NO_PAGE_CAPS, PageCaps
from sandbox import get_samples_directory
from sandbox.process import Sandbox
from sandbox.sample_manifest import load_manifest
from tests.servers.scripted_http_server import Disconnect, ReceivedRequest, Reply, Response, ScriptedServer

VENDOR_MINUTE_SECONDS = 0.6  # duration of a vendor's minute
TIME_SCALE = VENDOR_MINUTE_SECONDS / 60
MEDIA_TYPES = {"pdf": "application/pdf", "png": "image/png", "jpg": "image/jpeg"}
WIDE_WINDOWS = (RateWindow(1_000, 60),)
_numbers = itertools.count(1)


class SimulatedKill(BaseException):
    """Stands for a kill of the process: nothing catches it."""


def _load_readable_samples() -> list[tuple[bytes, str, int]]:
    """Return (bytes, media type, pages) of the documents that every vendor can read."""
    rows = [
        row
        for row in load_manifest()
        if row["reads_as"] == "document" and row["path"].rpartition(".")[2] in MEDIA_TYPES
    ]
    rows_by_sha256 = {row["sha256"]: row for row in rows}
    return [
        (
            (get_samples_directory() / row["path"]).read_bytes(),
            MEDIA_TYPES[row["path"].rpartition(".")[2]],
            row["pages"],
        )
        for row in rows_by_sha256.values()
    ]


ONE_PAGE_PDFS = [
    content
    for content, media_type, pages in _load_readable_samples()
    if pages == 1 and media_type == MEDIA_TYPES["pdf"]
]
PNG_IMAGES = [content for content, media_type, _ in _load_readable_samples() if media_type == MEDIA_TYPES["png"]]
TWO_PAGE_PDF = next(content for content, _, pages in _load_readable_samples() if pages == 2)


def build_unknown_pdfs(count: int) -> list[bytes]:
    """Return PDFs that are no samples; with ``read_strangers`` the sandbox reads each as a different invoice."""
    return [b"%%PDF-1.4 number %d" % next(_numbers) for _ in range(count)]


def hash_content(content: bytes) -> str:
    """Return the identity of a document."""
    return hashlib.sha256(content).hexdigest()


def create_api_key(prefix: str = "sk_test_extraction") -> str:
    """Return a new API key, and so a new account in the sandbox."""
    return f"{prefix}_{next(_numbers)}"


class SharedRateLimit:
    """The calls of an account, counted across runs."""

    def __init__(self, windows: Sequence[RateWindow] = WIDE_WINDOWS, scale: float = TIME_SCALE) -> None:
        self._windows, self._scale = windows, scale
        self._bucket = InMemoryBucket([window.to_rate(scale) for window in windows])

    def build_rate_limiter(self) -> RateLimiter:
        """Return the rate limiter of a run, without the pauses that a vendor requested in an earlier run."""
        return RateLimiter(self._windows, self._bucket, self._scale)


class ExtractionHarness:
    """Documents that wait for extraction; each run is a new worker, and earlier ones are dead."""

    def __init__(self, ledger: Ledger, store: DocumentStore, sandbox: Sandbox) -> None:
        self.ledger, self.store, self.sandbox = ledger, store, sandbox
        self.caps, self.concluded_count = NO_PAGE_CAPS, 0

    def add_documents(self, *contents: bytes, media_type: str = "application/pdf", page_count: int = 1) -> list[str]:
        """Add documents that wait for extraction; return their hashes."""
        hashes = [self.store.put(content) for content in contents]
        with self.ledger.begin_transaction() as tx:
            for sha256, content in zip(hashes, contents, strict=True):
                sighting = Sighting(sha256[:32], sha256, media_type, len(content), "inbox", "folder", f"/{sha256}")
                record_sighting(tx, sighting)
                set_document_state(
                    tx, sha256, stage="extract_remote", state="waiting", reason_code="no_text",
                    reason="It has no text.", page_count=page_count,
                )  # fmt: skip
        return hashes

    def claim_documents(self, worker: str, limit: int = 1_000) -> list[PendingDocument]:
        """Release the claims of dead workers, and claim the waiting documents."""
        with self.ledger.begin_transaction() as tx:
            for dead_worker in list_claim_holders(tx.connection):
                release_claims(tx, dead_worker)
            return claim_pending_documents(tx, worker, "extract_remote", limit)

    def build_recorder(
        self, extractor: str, vendor: str, worker: str, *, charges_per_page: bool = True
    ) -> ExtractionRecorder:
        """Return a recorder for an extractor without fallback."""
        terms = ExtractionTerms(extractor, self.caps)
        return ExtractionRecorder(
            self.ledger, self.store, worker, terms, vendor, "1", charges_per_page=charges_per_page
        )

    def set_caps(self, **pages: int) -> None:
        """Set the caps of pages per ``run``, ``day`` or ``month``."""
        self.caps = PageCaps(**pages)

    def add_concluded(self, count: int) -> None:
        """Count concluded documents."""
        self.concluded_count += count

    def get_document_state(self, sha256: str) -> tuple[str, str, str]:
        """Return a document's stage, state and reason code."""
        row = self.get_document_row(sha256)
        return row["stage"], row["state"], row["reason_code"]

    def list_document_states(self, hashes: Iterable[str]) -> set[tuple[str, str, str]]:
        """Return the states of documents."""
        return {self.get_document_state(sha256) for sha256 in hashes}

    def get_document_row(self, sha256: str) -> dict[str, Any]:
        """Return the ledger's row of a document."""
        with self.ledger.open_snapshot() as connection:
            row = find_document_row(connection, sha256)
        assert row is not None
        return dict(row)

    def list_extractions(self, sha256: str) -> list[dict[str, Any]]:
        """Return the extractions of a document."""
        with self.ledger.open_snapshot() as connection:
            return [dict(row) for row in list_extraction_rows(connection, sha256)]

    def get_extraction(self, sha256: str) -> dict[str, Any]:
        """Return the only extraction of a document."""
        (extraction,) = self.list_extractions(sha256)
        return extraction


ANSWERED = ("validate", "waiting", "answered")


def get_totals(report: ExtractorReport) -> tuple[int, int, int]:
    """Return (submissions, pages, answers)."""
    return report.submissions, report.pages_charged, report.answered


@dataclass(frozen=True)
class ReplaceResponse:
    """Forward the request, and replace the vendor's response."""

    reply: Reply


@dataclass(frozen=True)
class AlterBody:
    """Forward the request, and change the body of the vendor's response."""

    alter: Callable[[bytes], bytes]


LOST_RESPONSE = ReplaceResponse(Disconnect())
CallEvent = Reply | ReplaceResponse | AlterBody | None


class VendorProxy:
    """A proxy to a vendor of the sandbox that forwards every call without a planned event.

    ``events`` has the events of the next calls by call kind; None and all calls after the last are forwarded.
    """

    def __init__(self, server: ScriptedServer, sandbox: Sandbox) -> None:
        self.events: dict[str, deque[CallEvent]] = {}
        self.event_rules: dict[str, Callable[[ReceivedRequest], CallEvent]] = {}
        self._server, self._port = server, sandbox.port
        self._session = requests.Session()
        self._session.trust_env = False
        server.set_handler(self._handle_request)

    def plan_events(self, call_kind: str, *events: CallEvent, repeat: int = 1) -> None:
        """Plan the events of the next calls of a kind: ``submit``, ``poll``, ``list``, ``file`` or ``fetch``."""
        self.events[call_kind] = deque(events * repeat)

    def set_event_rule(self, call_kind: str, rule: Callable[[ReceivedRequest], CallEvent]) -> None:
        """Set a function that returns the event of each call of a kind without planned events."""
        self.event_rules[call_kind] = rule

    def to_proxy_url(self, base_url: str) -> str:
        """Return the vendor's URL at this proxy."""
        return self._rewrite_urls(base_url)

    def count_calls(self, call_kind: str) -> int:
        """Return the number of calls of a kind."""
        return sum(_classify_call(request) == call_kind for request in self._server.requests)

    def get_last_request(self, call_kind: str) -> ReceivedRequest:
        """Return the latest call of a kind."""
        return [request for request in self._server.requests if _classify_call(request) == call_kind][-1]

    def _handle_request(self, request: ReceivedRequest) -> Reply:
        events = self.events.get(_classify_call(request), deque())
        event = events.popleft() if events else self.event_rules.get(_classify_call(request), lambda _: None)(request)
        if isinstance(event, Response | Disconnect):
            return event
        response = self._forward_request(request)
        if isinstance(event, AlterBody) and isinstance(response, Response):
            return replace(response, body=event.alter(response.body))
        return event.reply if isinstance(event, ReplaceResponse) else response

    def _forward_request(self, request: ReceivedRequest) -> Reply:
        url = f"http://127.0.0.1:{self._port}{request.target}"
        request_headers = {
            name: value for name, value in request.headers.items() if name not in ("host", "content-length")
        }
        try:
            vendor_response = self._session.request(
                request.method, url, headers=request_headers, data=request.body or None, timeout=30
            )
        except requests.ConnectionError:  # the vendor closed the connection
            return Disconnect()
        headers = {
            name: value for name, value in vendor_response.headers.items() if name.lower() not in _FRAMING_HEADERS
        }
        return Response(
            vendor_response.status_code,
            self._rewrite_urls(vendor_response.content.decode("latin-1")).encode("latin-1"),
            headers,
        )

    def _rewrite_urls(self, text: str) -> str:
        return text.replace(f"http://127.0.0.1:{self._port}", self._server.url)


_FRAMING_HEADERS = {"content-length", "transfer-encoding", "connection", "content-encoding"}


def _classify_call(request: ReceivedRequest) -> str:
    if request.method == "POST":
        return "fetch" if request.path.endswith("/extract-invoice") else "submit"
    if "/files/" in request.path:
        return "file"
    return "list" if request.path.endswith("/invoices") else "poll"
