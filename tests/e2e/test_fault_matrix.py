"""One fault at one call of one route: afterwards nothing is lost, nothing is charged twice, and the numbers agree.

Every route of every vendor gets every fault that a connection or a server can cause, between a real client and the real
sandbox. Extraction is repeated until nothing waits; then the sandbox's journal is compared with the ledger and the
reports. The tests of each row of the fault matrix (reliability.md §2):

======  ==============================================================================================================
F-20    tests/integration/sources/folder/test_source.py: links, pipes, unreadable files, odd names
F-21    tests/integration/sources/folder/test_source.py: known files are not opened again, nothing is moved or marked
F-22    tests/unit/documents/test_store.py, tests/e2e/test_cli.py: a full disk leaves nothing behind
F-23    tests/unit/documents/test_store.py: the same bytes at once;
        tests/integration/sources/folder/test_source.py: two sightings of one document
F-24    here: each route of Invoice Data Extraction, its response lost or cut, or a 5xx after the work
F-25    here: smartbills.com finds a lost submission in its list; BillflowAI repeats once and flags it
F-26    here: "500 after the work", "504 page after the work" where a submission has no key
F-27    here: the kinds of 429
F-28    here: 503 at all calls, and at every second call
F-29    here: 401, 402 and 403 in the middle of a batch
F-30    here: the storage refuses a URL, or answers 200 with an error; a wrong ETag
F-31    tests/integration/extraction/test_invoicedataextraction_com_batches.py: credits that stay reserved
F-32    here: unknown statuses, completed that becomes processing, a job that never ends
F-33    here: a job that is unknown, a response about another one
F-34    here: a slow response; tests/integration/clients/test_http_client.py: an endless one
F-35    here: responses cut, with and without a length; tests/integration/clients/test_http_client.py: cut anywhere
F-36    here: login pages, byte order marks, UTF-16, NaN, depth, bombs
F-37    here: downloads that have expired, redirects; tests/integration/clients: other hosts
F-38    here: pages that failed
======  ==============================================================================================================
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.runner import run_stages
from flows.stages import extract_remote
from invoices.app import App
from invoices.run_report import RunReport
from invoices.settings import Settings
from sandbox.process import Sandbox, start_sandbox
from tests.e2e import extraction_app
from tests.e2e.fault_scenarios import (
    ALL_CALLS,
    ROUTES,
    FaultScenario,
    generate_garbled_read_scenarios,
    generate_single_faults,
    generate_special_scenarios,
    get_preconditions,
)
from tests.e2e.faults import FAULTS_BEFORE_WORK, build_redirect_fault
from tests.servers.fault_proxy import FaultProxy, PlannedFault
from tests.servers.scripted_http_server import ReceivedRequest, ScriptedServer
from tests.sweep_size import spread

pytestmark = pytest.mark.no_cover  # hundreds of paths through lines that other tests measure

VENDOR_MINUTE_SECONDS = 0.5
MAX_RUNS = 6
SAMPLE_PATHS = (extraction_app.PICTURE_PATH, extraction_app.TWO_PAGE_PDF_PATH, extraction_app.PRINTED_PDF_PATH)
VENDOR_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "smartbills_com": {"plan": "enterprise"},
    "invoicedataextraction_com": {"batch_documents": 2},
    "billflowai": {"requests_per_minute": 1000},
}
SANDBOX_SETTINGS = {"billflowai.rate_limit_per_minute": 0, "smartbills_com.processing_polls": 1}
TRIES = 5


@dataclass(frozen=True, slots=True)
class FaultOutcome:
    """The state after a scenario."""

    run_count: int
    reports: list[RunReport]
    ledger: extraction_app.LedgerSnapshot
    journal: Mapping[str, Any]
    vendor: str

    @property
    def charge_counts(self) -> Counter[str]:
        """The number of charges by document."""
        return extraction_app.count_charges(self.journal, self.vendor)

    @property
    def reported_pages(self) -> int:
        """The paid pages in the reports of the runs."""
        return sum(report.paid_pages for report in self.reports)


class FaultTestbed:
    """The sandbox, a proxy for each of its vendors, and another server that must never get a request."""

    def __init__(self, sandbox: Sandbox, proxies: Mapping[str, FaultProxy], foreign_server: ScriptedServer) -> None:
        self.sandbox, self.proxies, self.foreign_server = sandbox, proxies, foreign_server

    def run_scenario(self, scenario: FaultScenario, directory: Path, max_runs: int = MAX_RUNS) -> FaultOutcome:
        """Run extraction in ``directory`` until nothing waits, or ``max_runs`` times."""
        home, api_key = directory / "home", f"sk_test_{directory.name}"
        if not home.exists():
            extraction_app.add_waiting_documents(home, extraction_app.load_sample_documents(SAMPLE_PATHS))
        if scenario.sandbox_settings:
            self.sandbox.update_settings(
                api_key, **{f"{scenario.vendor}__{name}": value for name, value in scenario.sandbox_settings.items()}
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
    """A sandbox with a proxy for each vendor."""
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


@pytest.mark.sweep
@pytest.mark.parametrize("scenario", spread([*generate_single_faults()], 40), ids=str)
def test_after_one_fault_every_document_is_answered_and_charged_once(
    testbed: FaultTestbed, tmp_path: Path, scenario: FaultScenario
) -> None:
    outcome = testbed.run_scenario(scenario, tmp_path)
    fault_counts = testbed.proxies[scenario.vendor].fault_counts
    assert set(fault_counts) == set(scenario.planned_faults), f"the fault did not happen: {fault_counts}"
    assert list_problems(outcome, scenario) == []


@pytest.mark.sweep
@pytest.mark.parametrize("scenario", spread([*generate_garbled_read_scenarios()], 8), ids=str)
def test_garbled_reads_are_repeated_and_nothing_is_lost_or_paid_twice(
    testbed: FaultTestbed, tmp_path: Path, scenario: FaultScenario
) -> None:
    outcome = testbed.run_scenario(scenario, tmp_path)
    assert list_problems(outcome, scenario) == []
    assert not outcome.ledger.possible_double_charges


@pytest.mark.sweep
@pytest.mark.parametrize("scenario", spread([*generate_special_scenarios()], 20), ids=str)
def test_after_several_faults_nothing_is_lost_and_no_double_charge_is_unflagged(
    testbed: FaultTestbed, tmp_path: Path, scenario: FaultScenario
) -> None:
    outcome = testbed.run_scenario(scenario, tmp_path)
    assert set(testbed.proxies[scenario.vendor].fault_counts) == set(scenario.planned_faults)
    assert list_problems(outcome, scenario) == []


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("vendor", "route"), spread([(vendor, route) for vendor in ROUTES for route in ROUTES[vendor]][:-2], 5)
)
def test_a_redirect_is_never_followed_and_costs_no_document(
    testbed: FaultTestbed, tmp_path: Path, vendor: str, route: str
) -> None:
    faults_before, sandbox_settings = get_preconditions(vendor, route)
    planned_faults = {
        **faults_before,
        route: PlannedFault(build_redirect_fault(307, f"{testbed.foreign_server.url}/anything")),
    }
    scenario = FaultScenario(
        vendor, f"{route}: redirect", planned_faults, sandbox_settings, may_repeat=route in ("list", "file")
    )
    assert list_problems(testbed.run_scenario(scenario, tmp_path), scenario) == []
    assert testbed.foreign_server.requests == []


@pytest.mark.parametrize("vendor", ROUTES)
def test_a_vendor_that_is_down_is_suspended_soon_and_used_again_by_the_next_run(
    testbed: FaultTestbed, tmp_path: Path, vendor: str
) -> None:
    down = {route: PlannedFault(FAULTS_BEFORE_WORK["503, nothing done"], ALL_CALLS) for route in ROUTES[vendor]}
    outcome = testbed.run_scenario(FaultScenario(vendor, "down", down), tmp_path, max_runs=1)
    assert (
        testbed.proxies[vendor].call_counts.total() <= len(SAMPLE_PATHS) * TRIES
    )  # independent of the number of documents
    assert (len(outcome.ledger.waiting_documents), outcome.reported_pages, outcome.charge_counts) == (
        len(SAMPLE_PATHS),
        0,
        Counter(),
    )
    assert outcome.reports[0].problems
    recovered = FaultScenario(vendor, "up again", {})
    assert list_problems(testbed.run_scenario(recovered, tmp_path, max_runs=1), recovered) == []


def test_only_the_pages_read_are_charged_and_the_failed_ones_are_listed(testbed: FaultTestbed, tmp_path: Path) -> None:
    vendor, (document,) = (
        "invoicedataextraction_com",
        extraction_app.load_sample_documents([extraction_app.TWO_PAGE_PDF_PATH]),
    )
    scenario = FaultScenario(vendor, "a page failed", {}, {"fail_pages": f"{document.sha256}:2"})
    outcome = testbed.run_scenario(scenario, tmp_path)
    assert list_problems(outcome, scenario) == []
    assert outcome.reported_pages == extraction_app.sum_charged_pages(outcome.journal, vendor) == 3
    pages = outcome.ledger.payloads[document.sha256]["pages"]
    assert (pages["read"], [failed["page"] for failed in pages["failed"]]) == ([1], [2])


def list_problems(outcome: FaultOutcome, scenario: FaultScenario) -> list[str]:
    """Return what is not as it should be after a scenario."""
    ledger, charge_counts = outcome.ledger, outcome.charge_counts
    documents = {document.sha256 for document in extraction_app.load_sample_documents(SAMPLE_PATHS)}
    problems = [*ledger.find_spending_mismatches(), *ledger.find_journal_mismatches(outcome.journal, outcome.vendor)]
    problems += [f"{sha256[:12]} still waits: {ledger.document_states[sha256]}" for sha256 in ledger.waiting_documents]
    answered = {sha256 for sha256, (stage, _, _) in ledger.document_states.items() if stage == "validate"}
    quarantined = {sha256: code for sha256, (stage, _, code) in ledger.document_states.items() if stage == "done"}
    problems += [
        f"{sha256[:12]} was quarantined: {code}"
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
        problems.append(f"the reports have {outcome.reported_pages} pages, the journal {pages}")
    return problems
