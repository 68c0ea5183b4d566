"""Storms on the amounts of answers: each document is charged once, and no amount that does not fit is accepted.

``invoices run`` works through documents whose answers come over HTTP from the sandbox, with amounts changed on the way:
in ten dialects, odd, or off by some cents, from every vendor, with and without lines. The journal of the sandbox has
the charges and the receipts. All storms, and where their tests are:

===================================  ===================================================================================
amounts of answers                   here; rule by rule in tests/integration/transforms: test_vendor_totals.py,
                                     test_odd_values.py
odd answers as a whole               tests/integration/extraction: test_billflowai.py,
                                     test_smartbills_com_unexpected_responses.py
one fault at a call, several         test_fault_matrix.py
garbled 200s on every read route     test_fault_matrix.py; of invoicedataextraction.com, one route at a time:
                                     test_invoicedataextraction_com_interrupted_uploads.py
interrupted uploads at every file    tests/integration/extraction/test_invoicedataextraction_com_interrupted_uploads.py
receipts                             tests/integration/receipts/test_receipt_storms.py
restored ledgers                     test_ledger_restores.py
two homes, several workers           test_second_homes.py, test_concurrent_workers.py
kills                                test_kill_sweep.py, test_kill_sweep_extraction.py, test_kill_sweep_mailbox.py
mailboxes that disconnect            test_mailbox_disconnects.py
mutated bytes at every edge          tests/integration: documents/test_document_fuzz.py,
                                     clients/test_vendor_answer_fuzz.py, sources/mailbox/test_imap_fuzz.py
===================================  ===================================================================================
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sandbox.process import Sandbox, start_sandbox
from tests.e2e import extraction_app
from tests.e2e.command_line import CommandResult, build_environment, run_command
from tests.e2e.fault_scenarios import ALL_CALLS, ROUTES
from tests.e2e.storm_answers import (
    NET,
    TAX,
    TOTAL,
    AnswerCase,
    AnswerShaper,
    generate_dialect_cases,
    generate_odd_cases,
    generate_shifted_cases,
)
from tests.servers.fault_proxy import Fault, FaultProxy, PlannedFault
from tests.servers.scripted_http_server import ReceivedRequest
from tests.sweep_size import spread

pytestmark = [pytest.mark.no_cover, pytest.mark.sweep]  # many answers through lines that other tests measure

API_KEY = "sk_test_storms"
ANSWER_ROUTES = {"smartbills_com": "poll", "invoicedataextraction_com": "results", "billflowai": "read"}
SANDBOX_SETTINGS = {
    **{f"{vendor}.read_strangers": "on" for vendor in extraction_app.VENDORS},
    "billflowai.rate_limit_per_minute": 0, "billflowai.source": "extracted",  # it remembers nothing: a repeat costs
}  # fmt: skip
EXTRA_SETTINGS = {
    "VENDOR_MINUTE_SECONDS": "0.5", "SMARTBILLS_COM__PLAN": "enterprise", "BILLFLOWAI__REQUESTS_PER_MINUTE": "100000",
    "SMARTBILLS_IO__TENANT_ID": "1", "SMARTBILLS_IO__REQUESTS_PER_MINUTE": "1000",
    "SMARTBILLS_IO__CUSTOMER_EMAIL": "books@example.org",
}  # fmt: skip
RecordProperty = Callable[[str, object], None]


@dataclass(frozen=True, slots=True)
class StormOutcome:
    """The cases by document, the candidates of the warehouse, the journal of the sandbox, and the ledger."""

    cases: Mapping[str, AnswerCase]
    candidates: Mapping[str, list[tuple[Any, ...]]]  # by document: verdict, net, tax and total
    journal: Mapping[str, Any]
    ledger: extraction_app.LedgerSnapshot
    runs: tuple[CommandResult, ...]

    def list_cases(self, vendor: str, storm: str) -> list[tuple[str, AnswerCase]]:
        """Return the documents of a vendor and a storm, with their cases."""
        return [(sha256, case) for sha256, case in self.cases.items() if (case.vendor, case.storm) == (vendor, storm)]

    def is_accepted(self, sha256: str) -> bool:
        """Return whether a document has an accepted invoice."""
        return any(verdict == "accepted" for verdict, *_ in self.candidates[sha256])


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with start_sandbox(
        tmp_path_factory.mktemp("sandbox"), minute_seconds=0.5, plan="enterprise", settings=SANDBOX_SETTINGS
    ) as running_sandbox:
        yield running_sandbox


@pytest.fixture(scope="module")
def outcome(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> StormOutcome:
    """Documents of all storms in one home, extracted by one vendor after the other, and two runs afterwards."""
    home = tmp_path_factory.mktemp("storms") / "home"
    cases = [case for vendor in extraction_app.VENDORS for case in choose_cases(vendor)]
    case_by_document = list(zip(extraction_app.build_unknown_documents(len(cases)), cases, strict=True))
    runs: list[CommandResult] = []
    for vendor in extraction_app.VENDORS:
        shaper = AnswerShaper()
        vendor_cases = [(document, case) for document, case in case_by_document if case.vendor == vendor]
        for document, case in vendor_cases:
            shaper.add_case(document, case)
        extraction_app.add_waiting_documents(home, [document for document, _ in vendor_cases])
        with FaultProxy(sandbox.port, build_router(vendor)) as proxy:
            fault = Fault("changed amounts", alter_response=shaper.alter_response)
            proxy.plan_faults({ANSWER_ROUTES[vendor]: PlannedFault(fault, ALL_CALLS)})
            environment = build_storm_environment(sandbox, proxy, vendor, home)
            runs.append(run_command(home, "extract", "--json", env=environment))
            if vendor == extraction_app.VENDORS[-1]:
                runs += [run_command(home, "run", "--json", env=environment) for _ in range(2)]
    return StormOutcome(
        {document.sha256: case for document, case in case_by_document},
        read_candidates(home),
        sandbox.read_journal(API_KEY),
        extraction_app.read_ledger_snapshot(home),
        tuple(runs),
    )


def choose_cases(vendor: str) -> list[AnswerCase]:
    """Return a spread of the cases of each storm; all of them in ``make soak``."""
    return [
        *spread([*generate_dialect_cases(vendor)], 7),
        *spread([*generate_odd_cases(vendor)], 15),
        *spread([*generate_shifted_cases(vendor)], 15),
    ]


def build_router(vendor: str) -> Callable[[ReceivedRequest], str]:
    def get_route(request: ReceivedRequest) -> str:
        call = f"{request.method} {request.path.removeprefix(f'/{vendor}')}"
        return next(name for name, pattern in ROUTES[vendor].items() if re.fullmatch(pattern, call))

    return get_route


def build_storm_environment(sandbox: Sandbox, proxy: FaultProxy, vendor: str, home: Path) -> dict[str, str]:
    """Return the environment of commands that reach the vendor through the proxy, and the receipts API."""
    settings = {
        **EXTRA_SETTINGS,
        f"{vendor.upper()}__BASE_URL": proxy.to_proxy_url(getattr(sandbox, vendor)["base_url"]),
        "SMARTBILLS_IO__BASE_URL": sandbox.smartbills_io["base_url"],
        "SMARTBILLS_IO__API_KEY": API_KEY,
    }
    return build_environment(home, **extraction_app.build_environment(sandbox, vendor, API_KEY, home, **settings))


def read_candidates(home: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return verdict, net, tax and total amount of the candidates in the warehouse, by document."""
    candidates: dict[str, list[tuple[Any, ...]]] = {}
    with closing(duckdb.connect(str(home / "warehouse" / "invoices.duckdb"), read_only=True)) as connection:
        query = "SELECT document_sha256, verdict, net_amount, tax_amount, total_amount FROM core.candidates"
        for sha256, *values in connection.execute(query).fetchall():
            candidates.setdefault(sha256, []).append(tuple(values))
    return candidates


def test_every_answer_is_charged_once_kept_and_never_requested_again(
    outcome: StormOutcome, record_property: RecordProperty
) -> None:
    charge_counts = Counter((row["document_sha256"], row["vendor"]) for row in outcome.journal["charges"])
    record_property("figures", f"{len(outcome.cases)} answers, {charge_counts.total()} charges")
    assert charge_counts == Counter((sha256, case.vendor) for sha256, case in outcome.cases.items())
    assert outcome.ledger.payloads.keys() == outcome.candidates.keys() == outcome.cases.keys()
    assert outcome.ledger.find_spending_mismatches() == []
    assert {job.pages_charged for job in outcome.ledger.jobs} == {1}
    assert not outcome.ledger.uncertain_documents
    assert [(run.exit_status, run.json_output["problems"]) for run in outcome.runs] == [(0, [])] * 5
    paid_calls = [run.json_output["paid"]["calls"] for run in outcome.runs]
    assert (all(paid_calls[:3]), paid_calls[3:]) == (True, [0, 0])


@pytest.mark.parametrize("vendor", extraction_app.VENDORS)
def test_amounts_in_ten_dialects_are_accepted_exactly(
    outcome: StormOutcome, vendor: str, record_property: RecordProperty
) -> None:
    cases = outcome.list_cases(vendor, "dialects")
    amounts = [None, None, TOTAL] if vendor == "smartbills_com" else [NET, TAX, TOTAL]
    wrong = {
        str(case): outcome.candidates[sha256]
        for sha256, case in cases
        if [values for _, *values in outcome.candidates[sha256]] != [amounts]
        or outcome.is_accepted(sha256) != case.may_be_accepted
    }
    record_property("figures", f"{vendor}: {len(cases)} answers, {len(wrong)} wrong")
    assert wrong == {}


@pytest.mark.parametrize("vendor", extraction_app.VENDORS)
@pytest.mark.parametrize("storm", ["odd", "shifted"])
def test_no_amount_that_is_odd_or_does_not_fit_is_accepted(
    outcome: StormOutcome, vendor: str, storm: str, record_property: RecordProperty
) -> None:
    cases = outcome.list_cases(vendor, storm)
    accepted = [str(case) for sha256, case in cases if outcome.is_accepted(sha256)]
    record_property("figures", f"{vendor}, {storm}: {len(cases)} answers, {len(accepted)} accepted")
    assert accepted == []


def test_only_the_answers_that_fit_have_receipts_and_exports(outcome: StormOutcome) -> None:
    expected_count = sum(case.may_be_accepted for case in outcome.cases.values())
    totals = [Decimal(receipt["body"]["total"]["amount"]) for receipt in outcome.journal["receipts"]]
    assert totals == [TOTAL] * expected_count
    assert [run.json_output["exports"]["invoices"] for run in outcome.runs[3:]] == [expected_count, 0]
