"""One fault at one call of one route: afterwards nothing is lost, nothing is paid for twice, and the numbers agree.

Every route of every vendor meets every fault that a line or a server can bring about, between a real client and the
real sandbox. Asking goes on until nothing waits; then the sandbox's journal is held against the ledger and the reports.
Which test shows which row of the fault matrix (reliability.md §2):

======  ==============================================================================================================
F-20    tests/integration/sources/folder/test_source.py: links, pipes, unreadable files, odd names
F-21    tests/integration/sources/folder/test_source.py: known files are not opened again; nothing there is ever moved or marked
F-22    tests/unit/documents/test_store.py, test_cli.py: a full disk leaves nothing behind
F-23    tests/unit/documents/test_store.py: the same bytes at once; test_folder_source.py: two sightings of one document
F-24    here: each route of Invoice Data Extraction, its answer lost or cut or a 5xx after the work
F-25    here: smartbills.com finds a lost submission in its list; BillflowAI asks once more and says so
F-26    here: "500 after the work", "504 page after the work" where a submission has no key
F-27    here: the kinds of 429
F-28    here: a storm of 503, and every second call failing
F-29    here: 401, 402 and 403 in the middle of a batch
F-30    here: the storage refuses an address, or says 200 and an error; an ETag that is wrong
F-31    tests/integration/extraction/test_invoicedataextraction_com_batches.py: credits that are held for ever
F-32    here: words that nobody knows, completed that becomes processing, a job that never ends
F-33    here: a job that is unknown, the answer about another one
F-34    here: an answer that drips; tests/integration/clients/test_http_client.py: one that drips for ever
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

import pytest
from faults import (
    FAULTS_AFTER_WORK,
    FAULTS_BEFORE_WORK,
    LARGE_BODY_FAULTS,
    RATE_LIMIT_FAULTS,
    build_error_fault,
    build_redirect_fault,
    build_replacement_fault,
)

from flows.runner import run_stages
from flows.stages import extract_remote
from invoices.app import App
from invoices.run_report import RunReport
from invoices.settings import Settings
from sandbox.process import Sandbox, start_sandbox
from tests.e2e import extraction_app
from tests.servers.fault_proxy import Fault, FaultProxy, PlannedFault
from tests.servers.scripted_http_server import ReceivedRequest, ScriptedServer

pytestmark = [pytest.mark.unmeasured, pytest.mark.no_cover]  # hundreds of ways through lines that others measure

VENDOR_MINUTE_SECONDS = 0.5
MAX_RUNS = 6
SAMPLE_PATHS = (extraction_app.PICTURE_PATH, extraction_app.TWO_PAGE_PDF_PATH, extraction_app.PRINTED_PDF_PATH)
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
VENDOR_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "smartbills_com": {"plan": "enterprise"},
    "invoicedataextraction_com": {"batch_documents": 2},
    "billflowai": {"requests_per_minute": 1000},
}
SANDBOX_SETTINGS = {"billflowai.rate_limit_per_minute": 0, "smartbills_com.processing_polls": 1}
LOST_RESPONSE = FAULTS_AFTER_WORK["answer lost"]
OTHER_JOB_FAULT = Fault("another one", alter_response=lambda answer: replace(answer, body=_replace_job_id(answer.body)))
WRONG_ETAG_FAULT = Fault(
    "a wrong ETag", alter_response=lambda answer: replace(answer, headers={**answer.headers, "ETag": '"wrong"'})
)
TRIES = 5
ALL_CALLS = range(1, 10_000)


@dataclass(frozen=True, slots=True)
class FaultScenario:
    """What strikes a vendor's routes, with which knobs, and what may come of it beyond the usual."""

    vendor: str
    name: str
    planned_faults: Mapping[str, PlannedFault]
    knobs: Mapping[str, object] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    allowed_quarantine_codes: Container[str] = ()  # codes with which documents may be set aside
    may_repeat: bool = False  # what is not answered may be paid for twice, flagged

    def __str__(self) -> str:
        return f"{self.vendor}: {self.name}"


@dataclass(frozen=True, slots=True)
class FaultOutcome:
    """What a storm left behind."""

    run_count: int
    reports: list[RunReport]
    ledger: extraction_app.LedgerSnapshot
    journal: Mapping[str, Any]
    vendor: str

    @property
    def charge_counts(self) -> Counter[str]:
        """How often each document was charged."""
        return extraction_app.count_charges(self.journal, self.vendor)

    @property
    def reported_pages(self) -> int:
        """The pages that the runs said they paid for."""
        return sum(report.paid_pages for report in self.reports)


class FaultTestbed:
    """The sandbox, the proxy before each of its vendors, and another server that nobody should ever ask."""

    def __init__(self, sandbox: Sandbox, proxies: Mapping[str, FaultProxy], foreign_server: ScriptedServer) -> None:
        self.sandbox, self.proxies, self.foreign_server = sandbox, proxies, foreign_server

    def run_scenario(self, scenario: FaultScenario, directory: Path, max_runs: int = MAX_RUNS) -> FaultOutcome:
        """Ask about the papers, in the house at ``place``, until nothing waits or that was tried often enough."""
        home, api_key = directory / "home", f"sk_test_{directory.name}"
        if not home.exists():
            extraction_app.add_waiting_documents(home, extraction_app.load_sample_documents(SAMPLE_PATHS))
        if scenario.knobs:
            self.sandbox.update_settings(
                api_key, **{f"{scenario.vendor}__{name}": value for name, value in scenario.knobs.items()}
            )
        self.proxies[scenario.vendor].plan_faults(scenario.planned_faults)
        reports: list[RunReport] = []
        while len(reports) < max_runs and (not reports or extraction_app.read_ledger_snapshot(home).waiting_documents):
            with App(
                self._build_settings(scenario, home, api_key),
                prepare_vendor_settings=lambda _: self._build_settings(scenario, home, api_key),
            ) as app:
                reports.append(run_stages(app, (extract_remote,), RunReport()))
        journal = self.sandbox.read_journal(api_key)
        return FaultOutcome(len(reports), reports, extraction_app.read_ledger_snapshot(home), journal, scenario.vendor)

    def _build_settings(self, scenario: FaultScenario, home: Path, api_key: str) -> Settings:
        url = self.proxies[scenario.vendor].to_proxy_url(getattr(self.sandbox, scenario.vendor)["base_url"])
        vendor_settings = {
            "base_url": url,
            "api_key": api_key,
            "connections": 2,
            **VENDOR_SETTINGS[scenario.vendor],
            **scenario.settings,
        }
        return Settings.model_validate(
            {
                "home": home,
                "extractors": ["einvoice", scenario.vendor],
                "vendor_minute_seconds": VENDOR_MINUTE_SECONDS,
                scenario.vendor: vendor_settings,
            }
        )


@pytest.fixture(scope="module")
def testbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultTestbed]:
    """The sandbox with a proxy before each vendor."""
    directory = tmp_path_factory.mktemp("sandbox")
    with (
        start_sandbox(
            directory, minute_seconds=VENDOR_MINUTE_SECONDS, plan="enterprise", settings=SANDBOX_SETTINGS
        ) as sandbox,
        ScriptedServer() as foreign_server,
    ):
        proxies = {vendor: FaultProxy(sandbox.port, _build_router(vendor)) for vendor in extraction_app.VENDORS}
        for proxy in proxies.values():
            proxy.__enter__()
        yield FaultTestbed(sandbox, proxies, foreign_server)
        for proxy in proxies.values():
            proxy.__exit__(None, None, None)


def _build_router(vendor: str) -> Any:
    def get_route(request: ReceivedRequest) -> str:
        call = f"{request.method} {request.path.removeprefix(f'/{vendor}')}"
        return next(name for name, pattern in ROUTES[vendor].items() if re.fullmatch(pattern, call))

    return get_route


def _replace_job_id(body: bytes) -> bytes:
    """Return an answer as it would be about another job."""
    return re.sub(rb'("(?:extraction_)?id": ?"(?:inv_)?)(.)', rb"\g<1>9", body)


def _get_preconditions(vendor: str, route: str) -> tuple[dict[str, PlannedFault], dict[str, object]]:
    """Return what has to happen for a route to be called at all."""
    if (vendor, route) in (("smartbills_com", "list"), ("smartbills_com", "file")):
        return {"submit": PlannedFault(LOST_RESPONSE)}, {}
    if route in ("output", "download"):
        return {}, {"missing_outputs": "results"}
    return {}, {}


def generate_single_faults() -> Iterator[FaultScenario]:
    """Yield each fault at the first call of each route."""
    for vendor, routes in ROUTES.items():
        for route in routes:
            if (vendor, route) == ("invoicedataextraction_com", "list"):
                continue
            faults: dict[str, Fault] = {**FAULTS_BEFORE_WORK, **FAULTS_AFTER_WORK}
            faults |= RATE_LIMIT_FAULTS if route in ("submit", "look", "read", "put") else {}
            faults |= LARGE_BODY_FAULTS if route in ("look", "read") else {}
            if route in ("file", "put", "download", "results"):
                del faults["dripped"]  # which takes its time with what is large
            preconditions, knobs = _get_preconditions(vendor, route)
            for name, fault in faults.items():
                yield FaultScenario(
                    vendor, f"{route}: {name}", {**preconditions, route: PlannedFault(fault)}, knobs,
                    may_repeat=vendor == "billflowai" or route in ("list", "file"),
                )  # fmt: skip


@pytest.mark.parametrize("storm", [*generate_single_faults()], ids=str)
def test_after_one_fault_every_document_is_answered_and_paid_for_once(
    testbed: FaultTestbed, tmp_path: Path, storm: FaultScenario
) -> None:
    outcome = testbed.run_scenario(storm, tmp_path)
    struck = testbed.proxies[storm.vendor].fault_counts
    assert set(struck) == set(storm.planned_faults), f"the fault did not happen: {struck}"
    assert list_problems(outcome, storm) == []


def generate_special_scenarios() -> Iterator[FaultScenario]:
    """Yield what takes more than one fault at a first call, or is peculiar to a vendor."""
    entry_routes = {"smartbills_com": "submit", "invoicedataextraction_com": "submit", "billflowai": "read"}
    for vendor, route in entry_routes.items():
        for name in ("503, nothing done", "500, nothing done", "answer lost", "429 for nobody knows how long"):
            fault = {**FAULTS_BEFORE_WORK, **FAULTS_AFTER_WORK, **RATE_LIMIT_FAULTS}[name]
            # What is lost is repeated once; if that is lost as well, a person is asked.
            quarantine_codes = (
                {"outcome_unknown"} if "429" not in name and vendor != "invoicedataextraction_com" else set()
            )
            may_repeat = vendor == "billflowai" or "nothing done" in name
            yield FaultScenario(
                vendor, f"every second {route}: {name}", {route: PlannedFault(fault, range(1, 100, 2))},
                may_repeat=may_repeat, allowed_quarantine_codes=quarantine_codes,
            )  # fmt: skip
        for status in ("401", "402", "403"):
            yield FaultScenario(
                vendor, f"second {route}: {status}", {route: PlannedFault(FAULTS_BEFORE_WORK[status], (2,))}
            )
    for vendor in ("smartbills_com", "invoicedataextraction_com"):
        replacement_statuses = {"a word nobody knows": b'"archiving"', "processing after completed": b'"processing"'}
        for name, status_text in replacement_statuses.items():
            yield FaultScenario(
                vendor,
                f"look: {name}",
                {"look": PlannedFault(build_replacement_fault(name, b'"completed"', status_text), (1, 3, 4))},
            )
        never_ending = PlannedFault(build_replacement_fault("never ends", b'"completed"', b'"processing"'), ALL_CALLS)
        yield FaultScenario(
            vendor, "look: never ends", {"look": never_ending},
            settings={"deadline_minutes": 0.5}, allowed_quarantine_codes={"extraction_stuck"},
        )  # fmt: skip
        not_found = PlannedFault(
            build_error_fault("404", 404, b'{"error": {"code": "NOT_FOUND"}}', "application/json"), (1,)
        )
        yield FaultScenario(
            vendor, "look: 404 for a known id", {"look": not_found}, allowed_quarantine_codes={"extraction_lost"}
        )
        yield FaultScenario(
            vendor, "look: the answer about another one", {"look": PlannedFault(OTHER_JOB_FAULT, (1, 2))}
        )
    yield from _generate_upload_scenarios()
    yield from _generate_unknown_outcome_scenarios()


def _generate_upload_scenarios() -> Iterator[FaultScenario]:
    """Yield what presigned addresses and downloads do."""
    vendor = "invoicedataextraction_com"
    expired = build_error_fault(
        "expired", 403, b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    )
    skewed = build_error_fault("skewed", 403, b"<Error><Code>RequestTimeTooSkewed</Code></Error>")
    error_with_status_200 = build_error_fault("200 and an error", 200, b"<Error><Code>InternalError</Code></Error>")
    failed = build_error_fault(
        "failed", 502, b'{"success": false, "error": {"code": "UPLOAD_COMPLETE_FAILED"}}', "application/json"
    )
    for route, fault, calls in (
        ("put", expired, (1, 3)), ("put", skewed, (1,)), ("put", error_with_status_200, (1,)), ("put", error_with_status_200, ALL_CALLS[:8]),
        ("put", WRONG_ETAG_FAULT, (1, 2)), ("complete", failed, (1, 2, 3)), ("download", expired, (1,)),
    ):  # fmt: skip
        _, knobs = _get_preconditions(vendor, route)
        yield FaultScenario(
            vendor, f"{route}: {fault.name} at {len(calls)} calls", {route: PlannedFault(fault, calls)}, knobs
        )


def _generate_unknown_outcome_scenarios() -> Iterator[FaultScenario]:
    """Yield lost answers that cannot be looked up."""
    lost_once, lost_always = PlannedFault(LOST_RESPONSE), PlannedFault(LOST_RESPONSE, (1, 2, 3, 4, 5, 6))
    yield FaultScenario(
        "smartbills_com", "lost, and no list", {"submit": lost_once}, {"list_route": "off"}, may_repeat=True
    )
    yield FaultScenario(
        "smartbills_com", "all lost, and no list", {"submit": lost_always}, {"list_route": "off"},
        may_repeat=True, allowed_quarantine_codes={"outcome_unknown"},
    )  # fmt: skip
    for vendor, route, knobs in (
        ("smartbills_com", "submit", {"list_route": "off"}), ("billflowai", "read", {"source": "extracted"}),
    ):  # fmt: skip
        yield FaultScenario(
            vendor, "lost, and repeating is not wanted", {route: lost_once}, knobs,
            settings={"repeat_after_unknown": False}, allowed_quarantine_codes={"outcome_unknown"},
        )  # fmt: skip
    for source in ("auto", "extracted"):
        yield FaultScenario(
            "billflowai", f"all lost, source {source}", {"read": lost_always}, {"source": source},
            may_repeat=True, allowed_quarantine_codes={"outcome_unknown"},
        )  # fmt: skip


@pytest.mark.parametrize("storm", [*generate_special_scenarios()], ids=str)
def test_after_a_storm_nothing_is_lost_and_nothing_paid_twice_in_silence(
    testbed: FaultTestbed, tmp_path: Path, storm: FaultScenario
) -> None:
    outcome = testbed.run_scenario(storm, tmp_path)
    assert set(testbed.proxies[storm.vendor].fault_counts) == set(storm.planned_faults)
    assert list_problems(outcome, storm) == []


@pytest.mark.parametrize(("vendor", "route"), [(vendor, route) for vendor in ROUTES for route in ROUTES[vendor]][:-2])
def test_a_redirect_is_never_followed_and_costs_no_document(
    testbed: FaultTestbed, tmp_path: Path, vendor: str, route: str
) -> None:
    before, knobs = _get_preconditions(vendor, route)
    strikes = {**before, route: PlannedFault(build_redirect_fault(307, f"{testbed.foreign_server.url}/anything"))}
    storm = FaultScenario(vendor, f"{route}: redirect", strikes, knobs, may_repeat=route in ("list", "file"))
    assert list_problems(testbed.run_scenario(storm, tmp_path), storm) == []
    assert testbed.foreign_server.requests == []


@pytest.mark.parametrize("vendor", ROUTES)
def test_a_vendor_that_is_down_is_left_alone_soon_and_asked_again_by_the_next_run(
    testbed: FaultTestbed, tmp_path: Path, vendor: str
) -> None:
    down = {route: PlannedFault(FAULTS_BEFORE_WORK["503, nothing done"], ALL_CALLS) for route in ROUTES[vendor]}
    outcome = testbed.run_scenario(FaultScenario(vendor, "down", down), tmp_path, max_runs=1)
    assert testbed.proxies[vendor].call_counts.total() <= len(SAMPLE_PATHS) * TRIES  # and no more for more documents
    assert (len(outcome.ledger.waiting_documents), outcome.reported_pages, outcome.charge_counts) == (
        len(SAMPLE_PATHS),
        0,
        Counter(),
    )
    assert outcome.reports[0].problems
    calm = FaultScenario(vendor, "up again", {})
    assert list_problems(testbed.run_scenario(calm, tmp_path, max_runs=1), calm) == []


def test_only_the_pages_that_were_read_are_paid_for_and_the_others_are_named(
    testbed: FaultTestbed, tmp_path: Path
) -> None:
    vendor, (document,) = (
        "invoicedataextraction_com",
        extraction_app.load_sample_documents([extraction_app.TWO_PAGE_PDF_PATH]),
    )
    storm = FaultScenario(vendor, "a page failed", {}, {"fail_pages": f"{document.sha256}:2"})
    outcome = testbed.run_scenario(storm, tmp_path)
    assert list_problems(outcome, storm) == []
    assert outcome.reported_pages == extraction_app.sum_charged_pages(outcome.journal, vendor) == 3
    pages = outcome.ledger.payloads[document.sha256]["pages"]
    assert (pages["read"], [failed["page"] for failed in pages["failed"]]) == ([1], [2])


def list_problems(outcome: FaultOutcome, scenario: FaultScenario) -> list[str]:
    """Return what is not as it should be after a storm."""
    ledger, charge_counts = outcome.ledger, outcome.charge_counts
    documents = {document.sha256 for document in extraction_app.load_sample_documents(SAMPLE_PATHS)}
    problems = [*ledger.find_spending_mismatches(), *ledger.find_journal_mismatches(outcome.journal, outcome.vendor)]
    problems += [f"{sha256[:12]} still waits: {ledger.document_states[sha256]}" for sha256 in ledger.waiting_documents]
    answered = {sha256 for sha256, (stage, _, _) in ledger.document_states.items() if stage == "validate"}
    quarantined = {sha256: code for sha256, (stage, _, code) in ledger.document_states.items() if stage == "done"}
    problems += [
        f"{sha256[:12]} was set aside: {code}"
        for sha256, code in quarantined.items()
        if code not in scenario.allowed_quarantine_codes
    ]
    problems += [f"{sha256[:12]} is lost" for sha256 in documents - answered - quarantined.keys()]
    problems += [f"{sha256[:12]} was answered and never charged" for sha256 in answered - charge_counts.keys()]
    allowed_counts = {
        sha256: 2 if scenario.may_repeat and sha256 in ledger.possible_double_charges else 1 for sha256 in charge_counts
    }
    problems += [
        f"{sha256[:12]} was charged {count} times"
        for sha256, count in charge_counts.items()
        if count > allowed_counts[sha256]
    ]
    uncertain_count = len(ledger.uncertain_documents) + len(quarantined)
    pages = extraction_app.sum_charged_pages(outcome.journal, outcome.vendor)
    if not pages - 2 * uncertain_count <= outcome.reported_pages <= pages + 2 * uncertain_count:
        problems.append(f"the runs tell {outcome.reported_pages} pages, the journal {pages}")
    return problems
