"""The plan: what a run would do, without running it."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from pydantic import SecretStr

from flows.bootstrap import get_sample_inbox
from flows.reports.plan import format_plan, plan_run
from invoices.app import App
from invoices.extraction.extraction_recorder import ExtractionRecorder
from invoices.ledger.documents import list_pending_documents, set_document_state
from invoices.ledger.extractions import ExtractionTerms
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.settings import InboxSettings, Settings
from sandbox.process import start_sandbox

EINVOICES = ("office/2026/RE-26-00640.xml", "overseas/UT-4471.xml")
PAGES_WITHOUT_EINVOICE = (  # three with text, and a picture that needs OCR; one page each
    "eu/ES/F26-0502.pdf", "overseas/RS-2026-041.pdf", "overseas/cloud/PC-0000181.pdf", "scans/scan0002.png",
)  # fmt: skip


@pytest.fixture(scope="module")
def small_inbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two e-invoices and four documents for an extractor, all of them samples."""
    inbox = tmp_path_factory.mktemp("inbox")
    for name in (*EINVOICES, *PAGES_WITHOUT_EINVOICE):
        shutil.copyfile(get_sample_inbox() / name, inbox / Path(name).name)
    return inbox


def open_app(home: Path, inbox: Path, **values: object) -> App:
    settings = Settings(home=home / "home", inbox=InboxSettings(path=inbox, settle_seconds=0))
    settings = settings.model_copy(update=values)
    return App(settings, prepare_vendor_settings=lambda _exit_stack: settings)


def hash_files_below(directory: Path) -> dict[str, str]:
    files = (path for path in sorted(directory.rglob("*")) if path.is_file() and "workers" not in path.parts)
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_samples_that_are_no_e_invoices_would_go_to_the_first_extractor(tmp_path: Path) -> None:
    with open_app(tmp_path, get_sample_inbox()) as app:
        plan = plan_run(app)
    assert plan["rehearsal"] is True
    assert plan["extract_local"] == {
        "einvoice": 33,
        "needs_extraction": 12,
        "not_invoice": 4,
        "review": 6,
        "unreadable": 1,
    }
    (extractor_plan,) = plan["extract_remote"]
    assert (
        extractor_plan["extractor"],
        extractor_plan["documents"],
        extractor_plan["awaiting_response"],
        extractor_plan["minutes"],
    ) == ("invoicedataextraction_com", 12, 0, 1)
    assert extractor_plan["pages"] >= 12
    assert plan["without_extractor"] == 0


def test_a_second_plan_is_the_same_and_writes_nothing(tmp_path: Path, small_inbox: Path) -> None:
    with open_app(tmp_path, small_inbox) as app:
        first = plan_run(app)
        assert (first["new_files"], first["extract_local"]) == (6, {"einvoice": 2, "needs_extraction": 4})
        hashes_before = hash_files_below(tmp_path)
        assert plan_run(app) == first
        assert hash_files_below(tmp_path) == hashes_before


def test_documents_would_wait_without_an_extractor(tmp_path: Path, small_inbox: Path) -> None:
    with open_app(tmp_path, small_inbox, extractors=("einvoice",)) as app:
        plan = plan_run(app)
    assert (plan["extract_remote"], plan["without_extractor"]) == ([], 4)
    assert " 4  waiting: no configured extractor" in format_plan(plan)


def test_credits_are_fetched_and_nothing_is_charged(tmp_path: Path, small_inbox: Path) -> None:
    with start_sandbox(tmp_path / "sandbox", settings={"invoicedataextraction_com.credits": 7}) as sandbox:
        extractor_settings = Settings().invoicedataextraction_com.model_copy(
            update={
                "base_url": sandbox.invoicedataextraction_com["base_url"],
                "api_key": SecretStr(sandbox.invoicedataextraction_com["api_key"]),
                "pages_per_day": 3,
            }
        )
        with open_app(tmp_path, small_inbox, invoicedataextraction_com=extractor_settings) as app:
            (extractor_plan,) = plan_run(app)["extract_remote"]
        assert (extractor_plan["credits_left"], extractor_plan["pages_left_under_caps"]) == (7, 3)
        assert extractor_plan["over_cap"] == 1
        journal = sandbox.read_journal()
    assert journal["charges"] == []
    assert set(journal["requests"]) == {"GET /invoicedataextraction_com/v1/credits/balance"}


def test_the_cap_of_a_run_is_applied_too(tmp_path: Path, small_inbox: Path) -> None:
    extractor_settings = Settings().invoicedataextraction_com.model_copy(
        update={"pages_per_run": 2, "pages_per_day": 3}
    )
    with open_app(tmp_path, small_inbox, invoicedataextraction_com=extractor_settings) as app:
        plan = plan_run(app)
    (extractor_plan,) = plan["extract_remote"]
    assert (extractor_plan["pages_left_under_caps"], extractor_plan["over_cap"]) == (2, 2)
    assert " 2  of them wait: the caps leave 2 pages" in format_plan(plan)


def test_an_account_that_cannot_be_reached_does_not_stop_the_plan(tmp_path: Path, small_inbox: Path) -> None:
    extractor_settings = Settings().invoicedataextraction_com.model_copy(
        update={"base_url": "http://127.0.0.1:9/v1", "api_key": SecretStr("sk_test_plan")}
    )
    with open_app(tmp_path, small_inbox, invoicedataextraction_com=extractor_settings) as app:
        (extractor_plan,) = plan_run(app)["extract_remote"]
    assert str(extractor_plan["credits_left"]).startswith("unknown: ")


@pytest.fixture
def app_with_intended_extraction(tmp_path: Path) -> App:
    """An application with a document that may have been submitted to smartbills.com."""
    app = open_app(tmp_path, tmp_path / "none")
    sha256 = hashlib.sha256(b"%PDF-").hexdigest()
    with app.ledger.begin_transaction() as tx:
        record_sighting(tx, Sighting("s", sha256, "application/pdf", 5, "inbox", "folder", "/a.pdf"))
        set_document_state(
            tx,
            sha256,
            stage="extract_remote",
            state="waiting",
            reason_code="submitted",
            reason="Submitted.",
            page_count=3,
        )
    (document,) = app.claim_documents("extract_remote", 10, 0)
    ExtractionRecorder(
        app.ledger, app.store, app.worker.name, ExtractionTerms("smartbills_com"), "V", "1"
    ).record_intent(document)
    with app.ledger.open_snapshot() as connection:
        assert list_pending_documents(connection, "extract_remote", 10)
    return app


def test_a_submitted_document_awaits_the_response_of_its_extractor_at_no_further_cost(
    app_with_intended_extraction: App,
) -> None:
    with app_with_intended_extraction:
        (extractor_plan,) = plan_run(app_with_intended_extraction)["extract_remote"]
    assert (
        extractor_plan["extractor"],
        extractor_plan["documents"],
        extractor_plan["pages"],
        extractor_plan["awaiting_response"],
    ) == ("smartbills_com", 0, 0, 1)
