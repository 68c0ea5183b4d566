"""Receipts through the command line: a mistyped customer, receipts that are sent again, and the mark of a rehearsal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.bootstrap import open_app
from invoices.settings import Settings
from sandbox.process import Sandbox, start_sandbox
from tests.e2e.command_line import CommandResult, build_environment, run_command
from tests.integration.populated_app import load_warehouse, record_document_sighting, record_document_validation

NAMES = [f"bill-{number}" for number in range(7)]
API_KEY = "sk_test_receipts"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with start_sandbox(tmp_path_factory.mktemp("sandbox")) as running_sandbox:
        yield running_sandbox


def prepare_home(home: Path) -> None:
    """Leave a home with accepted invoices in the warehouse; each waits to be published."""
    with open_app(Settings(home=home)) as app:
        with app.ledger.begin_transaction() as tx:
            for name in NAMES:
                record_document_sighting(tx, name)
                record_document_validation(tx, name, "accepted")
        load_warehouse(app)


class ReceiptsHome:
    """A home with seven invoices to publish, and an account at the sandbox."""

    def __init__(self, home: Path, sandbox: Sandbox) -> None:
        self.home, self.sandbox, self.api_key = home, sandbox, f"{API_KEY}_{home.parent.name}"
        prepare_home(home)

    def run_command(self, *arguments: str, customer: str = "books@example.org") -> CommandResult:
        receipts_api = self.sandbox.smartbills_io
        environment = build_environment(
            self.home,
            INVOICES_SMARTBILLS_IO__BASE_URL=receipts_api["base_url"],
            INVOICES_SMARTBILLS_IO__API_KEY=self.api_key,
            INVOICES_SMARTBILLS_IO__TENANT_ID="1",
            INVOICES_SMARTBILLS_IO__REQUESTS_PER_MINUTE="1000",
            INVOICES_SMARTBILLS_IO__CUSTOMER_EMAIL=customer,
        )
        return run_command(self.home, *arguments, "--json", env=environment)

    def count_created_receipts(self) -> int:
        return len(self.sandbox.read_journal(self.api_key)["receipts"])


@pytest.fixture
def receipts_home(tmp_path: Path, sandbox: Sandbox) -> ReceiptsHome:
    return ReceiptsHome(tmp_path / "home", sandbox)


def test_a_mistyped_customer_is_a_problem_and_all_receipts_are_sent_once_it_is_corrected(
    receipts_home: ReceiptsHome,
) -> None:
    receipts_home.sandbox.update_settings(receipts_home.api_key, smartbills_io__refused_customer="typo@example.org")
    for _ in range(2):
        refused = receipts_home.run_command("publish", customer="typo@example.org")
        assert refused.exit_status == 1
        assert "There is no customer with this e-mail" in refused.json_output["problems"][0]
        assert refused.json_output["receipts"]["failed"] == 0
    assert receipts_home.count_created_receipts() == 0
    corrected = receipts_home.run_command("publish")
    assert (corrected.exit_status, corrected.json_output["receipts"]["published"]) == (0, len(NAMES))
    assert receipts_home.count_created_receipts() == len(NAMES)


def test_receipts_that_failed_are_sent_again_after_a_retry(receipts_home: ReceiptsHome) -> None:
    receipts_home.sandbox.update_settings(receipts_home.api_key, smartbills_io__refused_creations=2)
    assert receipts_home.run_command("publish").exit_status == 1
    assert receipts_home.count_created_receipts() == len(NAMES) - 2
    assert receipts_home.run_command("receipts", "retry", "--reason", "receipt_twice").json_output == {"receipts": []}
    unknown = receipts_home.run_command("receipts", "retry", "R-unknown")
    assert unknown.exit_status == 2
    assert "no receipt is named 'R-unknown'" in unknown.stderr
    retried = receipts_home.run_command("receipts", "retry", "--reason", "request_refused")
    assert len(retried.json_output["receipts"]) == 2
    assert "2 receipts are pending again. To send them now: invoices publish" in retried.stdout
    assert receipts_home.run_command("publish").exit_status == 0
    assert receipts_home.count_created_receipts() == len(NAMES)


def test_a_receipt_is_named_by_its_invoice_number_and_published_ones_stay(receipts_home: ReceiptsHome) -> None:
    assert receipts_home.run_command("publish").exit_status == 0
    assert receipts_home.run_command("receipts", "retry", f"R-{NAMES[0]}").json_output == {"receipts": []}
    assert receipts_home.run_command("publish").exit_status == 0
    assert receipts_home.count_created_receipts() == len(NAMES)


def test_receipts_of_a_rehearsal_carry_a_mark(tmp_path: Path) -> None:
    home = tmp_path / "home"
    prepare_home(home)
    published = run_command(home, "publish", "--json")
    assert (published.exit_status, published.json_output["receipts"]["published"]) == (0, len(NAMES))
    assert "Receipts of a rehearsal" in published.stdout
    from sandbox.journal import read_journal

    bodies: list[dict[str, Any]] = [receipt["body"] for receipt in read_journal(home / "sandbox")["receipts"]]
    assert {body["source"] for body in bodies} == {"invoices (rehearsal)"}
    assert all(body["receiptMetadata"]["tags"].startswith("rehearsal ") for body in bodies)
