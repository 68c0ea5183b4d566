"""One fault at one call of one route: afterwards nothing is lost, nothing is paid for twice, and the numbers agree.

Every route of every vendor meets every fault that a line or a server can bring about, between a real client and the
real sandbox. Asking goes on until nothing waits; then the sandbox's journal is held against the ledger and the reports.
Which test shows which row of the fault matrix (reliability.md §2):

======  ==============================================================================================================
F-20    tests/integration/test_folder_source.py: links, pipes, unreadable files, odd names
F-21    tests/integration/test_folder_source.py: known files are not opened again; nothing there is ever moved or marked
F-22    tests/unit/test_documents_store.py, test_cli.py: a full disk leaves nothing behind
F-23    tests/unit/test_documents_store.py: the same bytes at once; test_folder_source.py: two sightings of one document
F-24    here: each route of Invoice Data Extraction, its answer lost or cut or a 5xx after the work
F-25    here: smartbills.com finds a lost submission in its list; BillflowAI asks once more and says so
F-26    here: "500 after the work", "504 page after the work" where a submission has no key
F-27    here: the kinds of 429
F-28    here: a storm of 503, and every second call failing
F-29    here: 401, 402 and 403 in the middle of a batch
F-30    here: the storage refuses an address, or says 200 and an error; an ETag that is wrong
F-31    tests/integration/test_extraction_invoicedataextraction_com_batches.py: credits that are held for ever
F-32    here: words that nobody knows, completed that becomes processing, a job that never ends
F-33    here: a job that is unknown, the answer about another one
F-34    here: an answer that drips; tests/integration/test_clients_transport.py: one that drips for ever
F-35    here: answers cut, with and without a length; test_clients_transport.py: cut anywhere
F-36    here: login pages, byte order marks, UTF-16, NaN, depth, bombs
F-37    here: downloads that have expired, redirects; test_clients_invoicedataextraction_com_storage.py: other places
F-38    here: pages that failed
======  ==============================================================================================================
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import paid_house
import pytest
from fault_proxy import Fault, FaultProxy, Strike
from faults import LARGE_BODIES, NOTHING_DONE, WAITS, WORK_DONE, redirect, refusing, saying

from flows.driving import drive
from flows.stages import ask
from invoices.house import House
from invoices.report import Report
from invoices.settings import Settings
from sandbox.serving import Sandbox, start
from tests.integration.scripted_server import ScriptedServer, Seen

pytestmark = [pytest.mark.unmeasured, pytest.mark.no_cover]  # hundreds of ways through lines that others measure

MINUTE = 0.5
MOST_RUNS = 6
PAPERS = (paid_house.PICTURE, paid_house.TWO_PAGES, paid_house.PRINTED)
ROUTES = {
    "smartbills_com": {
        "submit": r"POST /v1/invoices/extract", "look": r"GET /v1/invoices/[^/]+", "list": r"GET /v1/invoices",
        "file": r"GET /files/.*",
    },
    "invoicedataextraction_com": {
        "balance": r"GET /v1/credits/balance", "session": r"POST /v1/uploads/sessions",
        "parts": r"POST /v1/uploads/sessions/[^/]+/parts", "put": r"PUT /storage/.*",
        "complete": r"POST /v1/uploads/sessions/[^/]+/complete", "submit": r"POST /v1/extractions",
        "look": r"GET /v1/extractions/[^/]+", "results": r"GET /v1/extractions/[^/]+/results",
        "output": r"GET /v1/extractions/[^/]+/output", "download": r"GET /storage/.*", "list": r"GET /v1/extractions",
    },
    "billflowai": {"read": r"POST /api/extract-invoice-file"},
}  # fmt: skip
MORE: Mapping[str, Mapping[str, Any]] = {
    "smartbills_com": {"plan": "enterprise"},
    "invoicedataextraction_com": {"batch_documents": 2},
    "billflowai": {"requests_per_minute": 1000},
}
KNOBS = {"billflowai.rate_limit_per_minute": 0, "smartbills_com.processing_polls": 1}
LOST = WORK_DONE["answer lost"]
ANOTHER = Fault("another one", spoil=lambda answer: replace(answer, body=_of_another(answer.body)))
WRONG_TAG = Fault("a wrong ETag", spoil=lambda answer: replace(answer, headers={**answer.headers, "ETag": '"wrong"'}))
TRIES = 5
ALWAYS = range(1, 10_000)


@dataclass(frozen=True, slots=True)
class Storm:
    """What strikes a vendor's routes, with which knobs, and what may come of it beyond the usual."""

    vendor: str
    name: str
    strikes: Mapping[str, Strike]
    knobs: Mapping[str, object] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    aside: Container[str] = ()  # codes with which documents may be set aside
    may_repeat: bool = False  # what is not answered may be paid for twice, flagged

    def __str__(self) -> str:
        return f"{self.vendor}: {self.name}"


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What a storm left behind."""

    runs: int
    reports: list[Report]
    accounts: paid_house.Accounts
    journal: Mapping[str, Any]
    vendor: str

    @property
    def charged(self) -> Counter[str]:
        """How often each document was charged."""
        return paid_house.charged(self.journal, self.vendor)

    @property
    def pages_told(self) -> int:
        """The pages that the runs said they paid for."""
        return sum(report.paid_pages for report in self.reports)


class Coast:
    """The sandbox, the proxy before each of its vendors, and another server that nobody should ever ask."""

    def __init__(self, sandbox: Sandbox, proxies: Mapping[str, FaultProxy], elsewhere: ScriptedServer) -> None:
        self.sandbox, self.proxies, self.elsewhere = sandbox, proxies, elsewhere

    def weather(self, storm: Storm, place: Path, most_runs: int = MOST_RUNS) -> Aftermath:
        """Ask about the papers, in the house at ``place``, until nothing waits or that was tried often enough."""
        home, key = place / "home", f"sk_test_{place.name}"
        if not home.exists():
            paid_house.put(home, paid_house.samples(PAPERS))
        if storm.knobs:
            self.sandbox.turn(key, **{f"{storm.vendor}__{name}": value for name, value in storm.knobs.items()})
        self.proxies[storm.vendor].plan(storm.strikes)
        reports: list[Report] = []
        while len(reports) < most_runs and (not reports or paid_house.accounts(home).waiting):
            with House(self._settings(storm, home, key), vendors=lambda _: self._settings(storm, home, key)) as house:
                reports.append(drive(house, (ask,), Report()))
        journal = self.sandbox.journal(key)
        return Aftermath(len(reports), reports, paid_house.accounts(home), journal, storm.vendor)

    def _settings(self, storm: Storm, home: Path, key: str) -> Settings:
        url = self.proxies[storm.vendor].address(getattr(self.sandbox, storm.vendor)["base_url"])
        part = {"base_url": url, "api_key": key, "connections": 2, **MORE[storm.vendor], **storm.settings}
        return Settings.model_validate(
            {
                "home": home,
                "extractors": ["einvoice", storm.vendor],
                "vendor_minute_seconds": MINUTE,
                storm.vendor: part,
            }
        )


@pytest.fixture(scope="module")
def coast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coast]:
    """The sandbox with a proxy before each vendor."""
    place = tmp_path_factory.mktemp("sandbox")
    with start(place, minute_seconds=MINUTE, plan="enterprise", knobs=KNOBS) as sandbox, ScriptedServer() as elsewhere:
        proxies = {vendor: FaultProxy(sandbox.port, _router(vendor)) for vendor in paid_house.VENDORS}
        for proxy in proxies.values():
            proxy.__enter__()
        yield Coast(sandbox, proxies, elsewhere)
        for proxy in proxies.values():
            proxy.__exit__(None, None, None)


def _router(vendor: str) -> Any:
    def route_of(seen: Seen) -> str:
        called = f"{seen.method} {seen.path.removeprefix(f'/{vendor}')}"
        return next(name for name, pattern in ROUTES[vendor].items() if re.fullmatch(pattern, called))

    return route_of


def _of_another(body: bytes) -> bytes:
    """Return an answer as it would be about another job."""
    return re.sub(rb'("(?:extraction_)?id": ?"(?:inv_)?)(.)', rb"\g<1>9", body)


def _way_to(vendor: str, route: str) -> tuple[dict[str, Strike], dict[str, object]]:
    """Return what has to happen for a route to be called at all."""
    if (vendor, route) in (("smartbills_com", "list"), ("smartbills_com", "file")):
        return {"submit": Strike(LOST)}, {}
    if route in ("output", "download"):
        return {}, {"missing_outputs": "results"}
    return {}, {}


def single_faults() -> Iterator[Storm]:
    """Yield each fault at the first call of each route."""
    for vendor, routes in ROUTES.items():
        for route in routes:
            if (vendor, route) == ("invoicedataextraction_com", "list"):
                continue
            kinds: dict[str, Fault] = {**NOTHING_DONE, **WORK_DONE}
            kinds |= WAITS if route in ("submit", "look", "read", "put") else {}
            kinds |= LARGE_BODIES if route in ("look", "read") else {}
            if route in ("file", "put", "download", "results"):
                del kinds["dripped"]  # which takes its time with what is large
            before, knobs = _way_to(vendor, route)
            for name, fault in kinds.items():
                yield Storm(
                    vendor, f"{route}: {name}", {**before, route: Strike(fault)}, knobs,
                    may_repeat=vendor == "billflowai" or route in ("list", "file"),
                )  # fmt: skip


@pytest.mark.parametrize("storm", [*single_faults()], ids=str)
def test_after_one_fault_every_document_is_answered_and_paid_for_once(
    coast: Coast, tmp_path: Path, storm: Storm
) -> None:
    after = coast.weather(storm, tmp_path)
    struck = coast.proxies[storm.vendor].struck
    assert set(struck) == set(storm.strikes), f"the fault did not happen: {struck}"
    assert problems(after, storm) == []


def special_storms() -> Iterator[Storm]:
    """Yield what takes more than one fault at a first call, or is peculiar to a vendor."""
    entry = {"smartbills_com": "submit", "invoicedataextraction_com": "submit", "billflowai": "read"}
    for vendor, route in entry.items():
        for name in ("503, nothing done", "500, nothing done", "answer lost", "429 for nobody knows how long"):
            fault = {**NOTHING_DONE, **WORK_DONE, **WAITS}[name]
            # What is lost is repeated once; if that is lost as well, a person is asked.
            aside = {"outcome_unknown"} if "429" not in name and vendor != "invoicedataextraction_com" else set()
            more = vendor == "billflowai" or "nothing done" in name
            yield Storm(
                vendor, f"every second {route}: {name}", {route: Strike(fault, range(1, 100, 2))},
                may_repeat=more, aside=aside,
            )  # fmt: skip
        for status in ("401", "402", "403"):
            yield Storm(vendor, f"second {route}: {status}", {route: Strike(NOTHING_DONE[status], (2,))})
    for vendor in ("smartbills_com", "invoicedataextraction_com"):
        words = {"a word nobody knows": b'"archiving"', "processing after completed": b'"processing"'}
        for name, word in words.items():
            yield Storm(vendor, f"look: {name}", {"look": Strike(saying(name, b'"completed"', word), (1, 3, 4))})
        never = Strike(saying("never ends", b'"completed"', b'"processing"'), ALWAYS)
        yield Storm(
            vendor, "look: never ends", {"look": never},
            settings={"deadline_minutes": 0.5}, aside={"extraction_stuck"},
        )  # fmt: skip
        unknown = Strike(refusing("404", 404, b'{"error": {"code": "NOT_FOUND"}}', "application/json"), (1,))
        yield Storm(vendor, "look: 404 for a known id", {"look": unknown}, aside={"extraction_lost"})
        yield Storm(vendor, "look: the answer about another one", {"look": Strike(ANOTHER, (1, 2))})
    yield from _of_uploads()
    yield from _of_unknown_outcomes()


def _of_uploads() -> Iterator[Storm]:
    """Yield what presigned addresses and downloads do."""
    vendor = "invoicedataextraction_com"
    expired = refusing(
        "expired", 403, b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    )
    skewed = refusing("skewed", 403, b"<Error><Code>RequestTimeTooSkewed</Code></Error>")
    inner = refusing("200 and an error", 200, b"<Error><Code>InternalError</Code></Error>")
    failed = refusing(
        "failed", 502, b'{"success": false, "error": {"code": "UPLOAD_COMPLETE_FAILED"}}', "application/json"
    )
    for route, fault, calls in (
        ("put", expired, (1, 3)), ("put", skewed, (1,)), ("put", inner, (1,)), ("put", inner, ALWAYS[:8]),
        ("put", WRONG_TAG, (1, 2)), ("complete", failed, (1, 2, 3)), ("download", expired, (1,)),
    ):  # fmt: skip
        _, knobs = _way_to(vendor, route)
        yield Storm(vendor, f"{route}: {fault.name} at {len(calls)} calls", {route: Strike(fault, calls)}, knobs)


def _of_unknown_outcomes() -> Iterator[Storm]:
    """Yield lost answers that cannot be looked up."""
    lost, twice = Strike(LOST), Strike(LOST, (1, 2, 3, 4, 5, 6))
    yield Storm("smartbills_com", "lost, and no list", {"submit": lost}, {"list_route": "off"}, may_repeat=True)
    yield Storm(
        "smartbills_com", "all lost, and no list", {"submit": twice}, {"list_route": "off"},
        may_repeat=True, aside={"outcome_unknown"},
    )  # fmt: skip
    for vendor, route, knobs in (
        ("smartbills_com", "submit", {"list_route": "off"}), ("billflowai", "read", {"source": "extracted"}),
    ):  # fmt: skip
        yield Storm(
            vendor, "lost, and repeating is not wanted", {route: lost}, knobs,
            settings={"repeat_after_unknown": False}, aside={"outcome_unknown"},
        )  # fmt: skip
    for source in ("auto", "extracted"):
        yield Storm(
            "billflowai", f"all lost, source {source}", {"read": twice}, {"source": source},
            may_repeat=True, aside={"outcome_unknown"},
        )  # fmt: skip


@pytest.mark.parametrize("storm", [*special_storms()], ids=str)
def test_after_a_storm_nothing_is_lost_and_nothing_paid_twice_in_silence(
    coast: Coast, tmp_path: Path, storm: Storm
) -> None:
    after = coast.weather(storm, tmp_path)
    assert set(coast.proxies[storm.vendor].struck) == set(storm.strikes)
    assert problems(after, storm) == []


@pytest.mark.parametrize(("vendor", "route"), [(vendor, route) for vendor in ROUTES for route in ROUTES[vendor]][:-2])
def test_a_redirect_is_never_followed_and_costs_no_document(
    coast: Coast, tmp_path: Path, vendor: str, route: str
) -> None:
    before, knobs = _way_to(vendor, route)
    strikes = {**before, route: Strike(redirect(307, f"{coast.elsewhere.url}/anything"))}
    storm = Storm(vendor, f"{route}: redirect", strikes, knobs, may_repeat=route in ("list", "file"))
    assert problems(coast.weather(storm, tmp_path), storm) == []
    assert coast.elsewhere.seen == []


@pytest.mark.parametrize("vendor", ROUTES)
def test_a_vendor_that_is_down_is_left_alone_soon_and_asked_again_by_the_next_run(
    coast: Coast, tmp_path: Path, vendor: str
) -> None:
    down = {route: Strike(NOTHING_DONE["503, nothing done"], ALWAYS) for route in ROUTES[vendor]}
    after = coast.weather(Storm(vendor, "down", down), tmp_path, most_runs=1)
    assert coast.proxies[vendor].calls.total() <= len(PAPERS) * TRIES  # and no more for more documents
    assert (len(after.accounts.waiting), after.pages_told, after.charged) == (len(PAPERS), 0, Counter())
    assert after.reports[0].problems
    calm = Storm(vendor, "up again", {})
    assert problems(coast.weather(calm, tmp_path, most_runs=1), calm) == []


def test_only_the_pages_that_were_read_are_paid_for_and_the_others_are_named(coast: Coast, tmp_path: Path) -> None:
    vendor, (paper,) = "invoicedataextraction_com", paid_house.samples([paid_house.TWO_PAGES])
    storm = Storm(vendor, "a page failed", {}, {"fail_pages": f"{paper.sha256}:2"})
    after = coast.weather(storm, tmp_path)
    assert problems(after, storm) == []
    assert after.pages_told == paid_house.pages_charged(after.journal, vendor) == 3
    pages = after.accounts.payloads[paper.sha256]["pages"]
    assert (pages["read"], [failed["page"] for failed in pages["failed"]]) == ([1], [2])


def problems(after: Aftermath, storm: Storm) -> list[str]:
    """Return what is not as it should be after a storm."""
    accounts, charged = after.accounts, after.charged
    papers = {paper.sha256 for paper in paid_house.samples(PAPERS)}
    found = [*accounts.disagreements(), *accounts.against(after.journal, after.vendor)]
    found += [f"{sha[:12]} still waits: {accounts.stands[sha]}" for sha in accounts.waiting]
    answered = {sha for sha, (stage, _, _) in accounts.stands.items() if stage == "judge"}
    aside = {sha: code for sha, (stage, _, code) in accounts.stands.items() if stage == "done"}
    found += [f"{sha[:12]} was set aside: {code}" for sha, code in aside.items() if code not in storm.aside]
    found += [f"{sha[:12]} is lost" for sha in papers - answered - aside.keys()]
    found += [f"{sha[:12]} was answered and never charged" for sha in answered - charged.keys()]
    most = {sha: 2 if storm.may_repeat and sha in accounts.flagged else 1 for sha in charged}
    found += [f"{sha[:12]} was charged {count} times" for sha, count in charged.items() if count > most[sha]]
    uncertain = len(accounts.uncertain) + len(aside)
    pages = paid_house.pages_charged(after.journal, after.vendor)
    if not pages - 2 * uncertain <= after.pages_told <= pages + 2 * uncertain:
        found.append(f"the runs tell {after.pages_told} pages, the journal {pages}")
    return found
