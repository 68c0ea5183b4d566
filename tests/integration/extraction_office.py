"""A ledger, a store and the vendors of the sandbox: all that is needed to ask about documents, run after run."""

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
from invoices.extraction.desk import Asked, Desk
from invoices.extraction.patience.budget import Budget, Window
from invoices.ledger import Ledger
from invoices.ledger.claims import claim, holders, let_go
from invoices.ledger.documents import Pending, document_row, settle
from invoices.ledger.extractions import Terms, extraction_rows
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.ledger.spending import NO_CAPS, Caps
from sandbox import samples_directory
from sandbox.samples import manifest
from sandbox.serving import Sandbox
from tests.integration.scripted_server import Answer, Drop, ScriptedServer, Seen, Step

MINUTE = 0.6  # seconds of a vendor's minute here
SCALE = MINUTE / 60
TYPES = {"pdf": "application/pdf", "png": "image/png", "jpg": "image/jpeg"}
WIDE = (Window(1_000, 60),)
_numbers = itertools.count(1)


class Dead(BaseException):
    """What a kill looks like from inside: nothing catches it."""


def _readable() -> list[tuple[bytes, str, int]]:
    """Return (bytes, media type, pages) of the papers that every vendor can read."""
    rows = [row for row in manifest() if row["reads_as"] == "document" and row["path"].rpartition(".")[2] in TYPES]
    known = {row["sha256"]: row for row in rows}
    return [
        ((samples_directory() / row["path"]).read_bytes(), TYPES[row["path"].rpartition(".")[2]], row["pages"])
        for row in known.values()
    ]


PAPERS = [content for content, media_type, pages in _readable() if pages == 1 and media_type == TYPES["pdf"]]
IMAGES = [content for content, media_type, _ in _readable() if media_type == TYPES["png"]]
LONG_PAPER = next(content for content, _, pages in _readable() if pages == 2)


def strangers(count: int) -> list[bytes]:
    """Return PDFs that no vendor has seen; those that read strangers read each as another invoice."""
    return [b"%%PDF-1.4 number %d" % next(_numbers) for _ in range(count)]


def hash_of(content: bytes) -> str:
    """Return the document's name everywhere."""
    return hashlib.sha256(content).hexdigest()


def key_of(prefix: str = "sk_test_office") -> str:
    """Return an API key, and thus a world in the sandbox, that nobody else has."""
    return f"{prefix}_{next(_numbers)}"


class Counting:
    """An account's calls in these windows, counted from one run to the next."""

    def __init__(self, windows: Sequence[Window] = WIDE, scale: float = SCALE) -> None:
        self._windows, self._scale = windows, scale
        self._bucket = InMemoryBucket([window.as_rate(scale) for window in windows])

    def budget(self) -> Budget:
        """Return the budget of a run; what a vendor told an earlier one is forgotten."""
        return Budget(self._windows, self._bucket, self._scale)


class Office:
    """Documents that wait to be asked about; each run is a worker of its own, and those before it are dead."""

    def __init__(self, ledger: Ledger, store: DocumentStore, sandbox: Sandbox) -> None:
        self.ledger, self.store, self.sandbox = ledger, store, sandbox
        self.caps, self.done = NO_CAPS, 0

    def collect(self, *contents: bytes, media_type: str = "application/pdf", pages: int = 1) -> list[str]:
        """Let documents wait to be asked about; return their hashes."""
        hashes = [self.store.put(content) for content in contents]
        with self.ledger.transaction() as tx:
            for sha256, content in zip(hashes, contents, strict=True):
                seen = Sighting(sha256[:32], sha256, media_type, len(content), "inbox", "folder", f"/{sha256}")
                record_sighting(tx, seen)
                settle(
                    tx, sha256, stage="ask", state="waiting", reason_code="no_text", reason="It has no text.",
                    page_count=pages,
                )  # fmt: skip
        return hashes

    def claimed(self, worker: str, limit: int = 1_000) -> list[Pending]:
        """Take in hand what waits to be asked about; whoever had it before is dead."""
        with self.ledger.transaction() as tx:
            for dead in holders(tx.connection):
                let_go(tx, dead)
            return claim(tx, worker, "ask", limit)

    def desk(self, extractor: str, vendor: str, worker: str, *, counts_pages: bool = True) -> Desk:
        """Return a desk at which no other extractor comes after this one."""
        terms = Terms(extractor, self.caps)
        return Desk(self.ledger, self.store, worker, terms, vendor, "1", counts_pages=counts_pages)

    def cap(self, **pages: int) -> None:
        """Allow so many pages ``run``, ``day`` or ``month``."""
        self.caps = Caps(**pages)

    def count(self, concluded: int) -> None:
        """Take note that documents are through."""
        self.done += concluded

    def stands(self, sha256: str) -> tuple[str, str, str]:
        """Return a document's stage, state and reason code."""
        row = self.row(sha256)
        return row["stage"], row["state"], row["reason_code"]

    def all_stand(self, hashes: Iterable[str]) -> set[tuple[str, str, str]]:
        """Return where documents stand."""
        return {self.stands(sha256) for sha256 in hashes}

    def row(self, sha256: str) -> dict[str, Any]:
        """Return the ledger's row of a document."""
        with self.ledger.reading() as connection:
            row = document_row(connection, sha256)
        assert row is not None
        return dict(row)

    def jobs(self, sha256: str) -> list[dict[str, Any]]:
        """Return what was asked about a document."""
        with self.ledger.reading() as connection:
            return [dict(row) for row in extraction_rows(connection, sha256)]

    def job(self, sha256: str) -> dict[str, Any]:
        """Return the only question about a document."""
        (job,) = self.jobs(sha256)
        return job


ANSWERED = ("judge", "waiting", "answered")


def figures(asked: Asked) -> tuple[int, int, int]:
    """Return (submissions, pages, answers)."""
    return asked.calls, asked.pages, asked.answered


@dataclass(frozen=True)
class After:
    """Let the vendor do its work, and then answer like this instead of it."""

    step: Step


@dataclass(frozen=True)
class Told:
    """Let the vendor do its work, and change the body of its answer."""

    change: Callable[[bytes], bytes]


LOST = After(Drop())
Event = Step | After | Told | None


class Line:
    """The line to a vendor of the sandbox: it carries every call, unless it is told what befalls the next ones.

    ``events`` are, by kind of call, what befalls them in turn; None, and everything after the last, goes well.
    """

    def __init__(self, server: ScriptedServer, sandbox: Sandbox) -> None:
        self.events: dict[str, deque[Event]] = {}
        self.rules: dict[str, Callable[[Seen], Event]] = {}
        self._server, self._port = server, sandbox.port
        self._session = requests.Session()
        self._session.trust_env = False
        server.react(self._react)

    def befall(self, kind: str, *events: Event, times: int = 1) -> None:
        """Plan what befalls the next calls of a kind: ``submit``, ``look``, ``list`` or ``file``."""
        self.events[kind] = deque(events * times)

    def whenever(self, kind: str, rule: Callable[[Seen], Event]) -> None:
        """Let a rule tell what befalls each call of a kind that nothing else is planned for."""
        self.rules[kind] = rule

    def address(self, base_url: str) -> str:
        """Return where a client finds the vendor at this line."""
        return self._through(base_url)

    def calls(self, kind: str) -> int:
        """Return how many calls of a kind were made."""
        return sum(_kind(seen) == kind for seen in self._server.seen)

    def last(self, kind: str) -> Seen:
        """Return the latest call of a kind."""
        return [seen for seen in self._server.seen if _kind(seen) == kind][-1]

    def _react(self, seen: Seen) -> Step:
        events = self.events.get(_kind(seen), deque())
        event = events.popleft() if events else self.rules.get(_kind(seen), lambda _: None)(seen)
        if isinstance(event, Answer | Drop):
            return event
        answer = self._carry(seen)
        if isinstance(event, Told) and isinstance(answer, Answer):
            return replace(answer, body=event.change(answer.body))
        return event.step if isinstance(event, After) else answer

    def _carry(self, seen: Seen) -> Step:
        url = f"http://127.0.0.1:{self._port}{seen.target}"
        kept = {name: value for name, value in seen.headers.items() if name not in ("host", "content-length")}
        try:
            told = self._session.request(seen.method, url, headers=kept, data=seen.body or None, timeout=30)
        except requests.ConnectionError:  # the vendor lost its answer
            return Drop()
        headers = {name: value for name, value in told.headers.items() if name.lower() not in _FRAMING}
        return Answer(told.status_code, self._through(told.content.decode("latin-1")).encode("latin-1"), headers)

    def _through(self, text: str) -> str:
        return text.replace(f"http://127.0.0.1:{self._port}", self._server.url)


_FRAMING = {"content-length", "transfer-encoding", "connection", "content-encoding"}


def _kind(seen: Seen) -> str:
    if seen.method == "POST":
        return "fetch" if seen.path.endswith("/extract-invoice") else "submit"
    if "/files/" in seen.path:
        return "file"
    return "list" if seen.path.endswith("/invoices") else "look"
