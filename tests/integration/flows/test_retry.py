"""Retry: read, extract and validate again; nothing is paid without a yes, and no answer is paid for twice."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from flows.bootstrap import open_app
from flows.cli.commands import cli
from flows.retry import RETRY_STAGES
from flows.runner import run_stages
from flows.stages import collect
from invoices.ledger.documents import set_document_state
from invoices.ledger.extractions import list_extraction_rows
from invoices.run_report import RunReport
from invoices.settings import Settings
from sandbox import get_samples_directory
from sandbox.process import Sandbox, start_sandbox

SAMPLES = get_samples_directory() / "inbox"
SCAN = "scans/batch/scan0005.pdf"
EINVOICE = "eu/SE/EV-20261.xml"


@dataclass(frozen=True, slots=True)
class Home:
    """A home for real runs against a sandbox, with its inbox and its environment."""

    sandbox: Sandbox
    path: Path
    inbox: Path
    environment: dict[str, str]

    def run(self) -> None:
        """Collect, extract and validate."""
        with open_app(Settings.load()) as app:
            run_stages(app, (collect, *RETRY_STAGES), RunReport())

    def retry(self, *arguments: str) -> Result:
        """Run the command without a terminal."""
        return CliRunner().invoke(cli, ["retry", *arguments])

    def count_charges(self) -> int:
        return len(self.sandbox.read_journal()["charges"])

    def list_extractions(self, sha256: str) -> list[Any]:
        with open_app(Settings.load()) as app, app.ledger.open_snapshot() as connection:
            return list_extraction_rows(connection, sha256)


@pytest.fixture(scope="module")
def shared_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with start_sandbox(tmp_path_factory.mktemp("sandbox"), minute_seconds=1.0, plan="enterprise") as sandbox:
        yield sandbox


@pytest.fixture
def home(shared_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose vendor is smartbills.com, with an account of its own, and an empty inbox."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    environment = {
        "INVOICES_HOME": str(tmp_path / "home"),
        "INVOICES_INBOX__PATH": str(inbox),
        "INVOICES_INBOX__SETTLE_SECONDS": "0",
        "INVOICES_VENDOR_MINUTE_SECONDS": "1",
        "INVOICES_SMARTBILLS_COM__BASE_URL": shared_sandbox.smartbills_com["base_url"],
        "INVOICES_SMARTBILLS_COM__API_KEY": f"sk_test_retry_{tmp_path.name}",
        "INVOICES_SMARTBILLS_COM__PLAN": "enterprise",
        "INVOICES_SMARTBILLS_COM__PAGE_PRICE": "0.10",
    }
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Home(shared_sandbox, tmp_path / "home", inbox, environment)


def add_sample(home: Home, name: str) -> None:
    shutil.copyfile(SAMPLES / name, home.inbox / Path(name).name)


def hash_sample(name: str) -> str:
    return hashlib.sha256((SAMPLES / name).read_bytes()).hexdigest()


def parse_result(result: Result) -> dict[str, Any]:
    assert "Traceback" not in result.output
    return dict(json.loads(result.stdout.splitlines()[-1]))


def test_an_answer_is_validated_again_and_never_paid_for_again(home: Home) -> None:
    add_sample(home, SCAN)
    home.run()
    charges = home.count_charges()
    output = home.retry(Path(SCAN).name, "--json")  # nobody is asked, because it costs nothing
    result = parse_result(output)
    assert "Next:" not in output.output  # nothing was accepted
    assert (result["executed"], result["costs"], home.count_charges()) == (True, [], charges)
    (document,) = result["documents"]
    assert document["before"] == document["after"]
    assert len(home.list_extractions(document["document_sha256"])) == 1


def test_a_failed_extraction_is_paid_for_again_only_with_a_yes_and_its_record_stays(home: Home) -> None:
    add_sample(home, SCAN)
    api_key = home.environment["INVOICES_SMARTBILLS_COM__API_KEY"]
    sha256 = hash_sample(SCAN)
    home.sandbox.update_settings(api_key, smartbills_com__fail_ids=sha256)
    home.run()
    charges = home.count_charges()
    home.sandbox.update_settings(api_key, smartbills_com__fail_ids="")
    refused = home.retry("--state", "quarantined")
    assert refused.exit_code == 2
    assert "Submit 1 page? Nobody can answer here, and nothing was changed: add --yes" in refused.output
    dry = parse_result(home.retry("--reason", "extraction_failed", "--dry-run", "--json"))
    assert dry["costs"] == [
        {"extractor": "smartbills_com", "documents": 1, "pages": 1, "amount": "0.10", "currency": "EUR"}
    ]
    assert (dry["executed"], home.count_charges()) == (False, charges)
    assert [row["status"] for row in home.list_extractions(sha256)] == ["failed"]

    result = parse_result(home.retry(sha256[:8], "--yes", "--json"))
    assert result["documents"][0]["before"] == {"state": "quarantined", "reason_code": "extraction_failed"}
    assert result["documents"][0]["after"] == {"state": "quarantined", "reason_code": "BR-02"}
    assert (result["paid"], home.count_charges()) == ({"calls": 1, "pages": 1}, charges + 1)
    failed, answered = home.list_extractions(sha256)
    assert (failed["status"], failed["pages_charged"], failed["is_superseded"]) == ("failed", 1, True)
    assert (answered["status"], answered["pages_charged"], answered["possible_double_charge"]) == ("answered", 1, False)
    assert parse_result(home.retry(sha256, "--json"))["paid"]["calls"] == 0
    assert home.count_charges() == charges + 1


def test_a_vendor_that_is_now_preferred_is_asked_once_and_the_earlier_answer_stays(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_sample(home, SCAN)
    home.run()
    charges = home.count_charges()
    monkeypatch.setenv(
        "INVOICES_INVOICEDATAEXTRACTION_COM__BASE_URL", home.sandbox.invoicedataextraction_com["base_url"]
    )
    monkeypatch.setenv(
        "INVOICES_INVOICEDATAEXTRACTION_COM__API_KEY", home.environment["INVOICES_SMARTBILLS_COM__API_KEY"]
    )
    first = parse_result(home.retry(Path(SCAN).name, "--yes", "--json"))
    assert [cost["extractor"] for cost in first["costs"]] == ["invoicedataextraction_com"]
    assert (first["costs"][0]["amount"], first["paid"]["calls"]) == (None, 1)
    second = parse_result(home.retry(Path(SCAN).name, "--json"))
    assert (second["costs"], second["paid"]["calls"]) == ([], 0)
    monkeypatch.setenv("INVOICES_EXTRACTORS", "einvoice,smartbills_com")  # the vendor that has answered before
    assert parse_result(home.retry(Path(SCAN).name, "--json"))["paid"]["calls"] == 0
    assert home.count_charges() == charges + 1
    rows = home.list_extractions(first["documents"][0]["document_sha256"])
    assert [(row["extracted_by"], row["status"]) for row in rows] == [
        ("smartbills_com", "answered"), ("invoicedataextraction_com", "answered"),
    ]  # fmt: skip


def test_if_the_vendor_that_is_now_preferred_fails_the_earlier_answer_is_validated(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_sample(home, SCAN)
    api_key, sha256 = home.environment["INVOICES_SMARTBILLS_COM__API_KEY"], hash_sample(SCAN)
    monkeypatch.setenv(
        "INVOICES_INVOICEDATAEXTRACTION_COM__BASE_URL", home.sandbox.invoicedataextraction_com["base_url"]
    )
    monkeypatch.setenv("INVOICES_INVOICEDATAEXTRACTION_COM__API_KEY", api_key)
    home.run()  # this vendor is preferred
    charges = home.count_charges()
    monkeypatch.setenv("INVOICES_EXTRACTORS", "einvoice,smartbills_com,invoicedataextraction_com")
    home.sandbox.update_settings(api_key, smartbills_com__fail_ids=sha256)
    (document,) = parse_result(home.retry(sha256, "--yes", "--json"))["documents"]
    assert document["extractor"] == "smartbills_com"
    assert document["before"] == document["after"] == {"state": "quarantined", "reason_code": "BR-02"}
    assert home.count_charges() == charges + 1


def test_what_is_accepted_unfinished_open_or_set_aside_is_left_alone(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_sample(home, EINVOICE)
    add_sample(home, SCAN)
    monkeypatch.delenv("INVOICES_SMARTBILLS_COM__API_KEY")
    monkeypatch.setenv("INVOICES_SMARTBILLS_IO__API_KEY", "sk_test_receipts")
    home.run()
    result = home.retry(Path(EINVOICE).name, Path(SCAN).name, "--yes", "--json")
    parsed = parse_result(result)
    assert (parsed["executed"], parsed["documents"]) == (False, [])
    assert sorted((row["state"], row["why"]) for row in parsed["left_alone"]) == [
        ("accepted", "accepted"), ("waiting", "unfinished"),
    ]  # fmt: skip
    assert "an invoice in it is accepted, so it stays as it is" in result.output


def test_a_better_setting_mends_what_could_not_be_read(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    large = (SAMPLES / EINVOICE).read_bytes() + b"<!--" + b"x" * 1_100_000 + b"-->"
    (home.inbox / "large.xml").write_bytes(large)
    monkeypatch.setenv("INVOICES_READING__MEGABYTES", "1")
    home.run()
    monkeypatch.setenv("INVOICES_READING__MEGABYTES", "50")
    output = home.retry("large.xml", "--json")
    (document,) = parse_result(output)["documents"]
    assert "Next: load, publish and export what was accepted: invoices run" in output.output
    assert document["before"]["reason_code"] == "too_large"
    assert document["after"]["state"] == "accepted"


def test_while_a_run_is_active_the_documents_are_left_to_it(home: Home) -> None:
    (home.inbox / "empty.pdf").touch()
    home.run()
    with open_app(Settings.load()) as app, app.acquire_run_lock():
        result = home.retry("empty.pdf", "--json")
    assert result.exit_code == 1
    assert "a run is already active" in result.output
    assert parse_result(result)["documents"][0]["after"] == {"state": "waiting", "reason_code": "retry"}
    home.run()
    assert parse_result(home.retry("--reason", "empty_file", "--dry-run", "--json"))["documents"]


def test_what_a_retry_has_only_begun_is_paid_for_once_by_later_runs(home: Home) -> None:
    add_sample(home, SCAN)
    api_key, sha256 = home.environment["INVOICES_SMARTBILLS_COM__API_KEY"], hash_sample(SCAN)
    home.sandbox.update_settings(api_key, smartbills_com__fail_ids=sha256)
    home.run()
    home.sandbox.update_settings(api_key, smartbills_com__fail_ids="")
    charges = home.count_charges()
    with open_app(Settings.load()) as app, app.acquire_run_lock():
        assert home.retry(sha256, "--yes").exit_code == 1  # it has recorded what is to be done, and did nothing more
    assert home.count_charges() == charges
    home.run()
    home.run()
    assert home.count_charges() == charges + 1
    assert [row["status"] for row in home.list_extractions(sha256)] == ["failed", "answered"]


@pytest.mark.parametrize(("status", "pages", "why"), [(0, [1], []), (1, [0], []), (2, [], ["not_scanned"])])
def test_nothing_opens_a_document_that_the_scanner_does_not_pass(
    home: Home, monkeypatch: pytest.MonkeyPatch, status: int, pages: list[int], why: list[str]
) -> None:
    add_sample(home, SCAN)
    sha256 = hash_sample(SCAN)
    with open_app(Settings.load()) as app:
        run_stages(app, (collect,), RunReport())
        with app.ledger.begin_transaction() as tx:
            set_document_state(tx, sha256, stage="done", state="quarantined", reason_code="malware", reason="Found.")
    monkeypatch.setenv("INVOICES_READING__SCANNER_COMMAND", json.dumps(["sh", "-c", f"exit {status}"]))
    result = parse_result(home.retry(sha256, "--dry-run", "--json"))
    assert [row["pages"] for row in result["documents"]] == pages
    assert [row["why"] for row in result["left_alone"]] == why


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say which documents"),
        (["nothing-like-it.pdf"], "nothing is named 'nothing-like-it.pdf'"),
        (["--state", "lost"], "there is no state 'lost'; choose from"),
    ],
)
def test_a_wrong_selection_is_refused(home: Home, arguments: list[str], message: str) -> None:
    result = home.retry(*arguments)
    assert (result.exit_code, message in result.output) == (2, True)


def test_other_documents_that_wait_are_not_paid_for_by_a_retry(home: Home) -> None:
    (home.inbox / "empty.pdf").touch()
    home.run()
    add_sample(home, SCAN)
    with open_app(Settings.load()) as app:
        run_stages(app, (collect,), RunReport())
    charges = home.count_charges()
    result = parse_result(home.retry("empty.pdf", "--yes", "--json"))
    assert [row["after"]["state"] for row in result["documents"]] == ["review"]
    assert home.count_charges() == charges


def test_a_reason_that_no_document_has_is_no_error(home: Home) -> None:
    result = home.retry("--reason", "no_such_reason")
    assert (result.exit_code, "No document has this state and reason" in result.output) == (0, True)


def test_an_open_submission_is_left_alone(home: Home) -> None:
    add_sample(home, SCAN)
    api_key = home.environment["INVOICES_SMARTBILLS_COM__API_KEY"]
    home.sandbox.update_settings(api_key, smartbills_com__list_route="off", smartbills_com__post_lost_response=2)
    home.run()
    charges = home.count_charges()
    result = parse_result(home.retry("--state", "quarantined", "--yes", "--json"))
    assert [row["why"] for row in result["left_alone"]] == ["open_submission"]
    assert home.count_charges() == charges


def test_a_document_that_its_source_set_aside_is_left_alone(home: Home) -> None:
    add_sample(home, SCAN)
    with open_app(Settings.load()) as app:
        run_stages(app, (collect,), RunReport())
        with app.ledger.begin_transaction() as tx:
            sha256 = hash_sample(SCAN)
            set_document_state(
                tx, sha256, stage="done", state="not_invoice", reason_code="container", reason="An archive.",
                media_type="application/zip",
            )  # fmt: skip
    assert [row["why"] for row in parse_result(home.retry(sha256, "--json"))["left_alone"]] == ["set_aside"]
