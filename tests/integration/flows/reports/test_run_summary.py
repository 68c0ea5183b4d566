"""The summary of a run, the history of one document, and export batches, on a small application."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from flows.reissue_batch import reissue_batch
from flows.reports.history import format_history, list_document_histories
from flows.reports.run_summary import STATES, format_run_summary, get_pipeline_status, get_run_result
from flows.stages import export
from invoices.app import App
from invoices.errors import ConfigurationError, ContractError
from invoices.exports import REHEARSAL_SUFFIX, verify_batch_folder
from invoices.ledger.export_batches import (
    count_exports,
    create_export_batch,
    list_export_batches,
    list_unexported_invoice_ids,
)
from invoices.ledger.extractions import ExtractionTerms, record_intent
from invoices.ledger.outbox import list_unpublished_receipts, update_receipt
from invoices.receipts.receipt_recorder import PUBLISHER
from invoices.run_report import RunReport
from invoices.settings import Settings
from tests.integration import populated_app
from tests.integration.populated_app import (
    add_documents_of_each_kind,
    hash_name,
    load_warehouse,
    record_document_sighting,
    record_document_validation,
)
from transforms.loading.working_warehouse import delete_working_warehouse

BATCH = "batch-000001-REHEARSAL"


@pytest.fixture(scope="module")
def loaded_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of an application with a document of each kind, loaded; to be copied."""
    settings = Settings(home=tmp_path_factory.mktemp("loaded") / "home")
    with App(settings, prepare_vendor_settings=lambda _exit_stack: settings) as app:
        add_documents_of_each_kind(app)
        load_warehouse(app)
    return settings.home


@pytest.fixture
def loaded_app(loaded_home: Path, app_settings: Settings) -> Iterator[App]:
    """An application with a document of each kind, loaded."""
    shutil.copytree(loaded_home, app_settings.home, symlinks=True)
    with App(app_settings, prepare_vendor_settings=lambda _exit_stack: app_settings) as app:
        yield app


@pytest.fixture(scope="module")
def finished_app(loaded_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An application after a complete run, one receipt published and one waiting; for tests that only read."""
    settings = Settings(home=tmp_path_factory.mktemp("finished") / "home")
    shutil.copytree(loaded_home, settings.home, symlinks=True)
    with App(settings, prepare_vendor_settings=lambda _exit_stack: settings) as app:
        export_all_batches(app)
        with app.ledger.begin_transaction() as tx:
            first_receipt, second_receipt = list_unpublished_receipts(tx.connection, PUBLISHER, 10)
            update_receipt(tx, first_receipt, "published", remote_id="remote-1", published_at=tx.timestamp)
            update_receipt(tx, second_receipt, "waiting", reason_code="no_customer", reason="No customer is mapped.")
        yield app


def export_all_batches(app: App) -> RunReport:
    """Export as a run would."""
    report = RunReport()
    with app.hold_stage_lease("export"):
        for batch in export.iter_pending_batches(app, report):
            export.process_batch(app, batch, report)
    return report


def read_files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


# Summary


def test_every_document_has_exactly_one_state(finished_app: App) -> None:
    documents = get_pipeline_status(finished_app)["documents"]
    assert documents["by_state"] == {
        "accepted": 2, "review": 0, "quarantined": 1, "duplicate": 1, "not_invoice": 1, "waiting": 1,
    }  # fmt: skip
    assert documents["seen"] == sum(documents["by_state"].values()) == 6
    assert set(documents["by_state"]) == set(STATES)


def test_the_result_is_one_json_object_with_the_documented_keys(finished_app: App) -> None:
    report = RunReport(new_documents=6, paid_calls=1, paid_pages=2, export_batches=[BATCH], exported_invoices=2)
    report.receipt_statuses["published"] = 1
    report.stage_seconds = {"collect": 0.25, "extract_local": 0.5}
    result = json.loads(json.dumps(get_run_result(finished_app, report)))
    assert result["documents"]["seen"] == result["documents"]["new"] == 6
    assert result["paid"] == {"calls": 1, "pages": 2, "by_extractor": {}}
    assert result["receipts"] == {"published": 1, "waiting": 1, "failed": 0}
    assert result["exports"] == {"batches": 1, "invoices": 2}
    assert result["seconds"] == 0.75
    assert result["rehearsal"] is True


def test_the_summary_shows_states_amounts_receipts_exports_locations_and_the_next_step(finished_app: App) -> None:
    text = format_run_summary(
        finished_app, RunReport(new_documents=6, remarks=[f"remark {number}" for number in range(12)])
    )
    for part in (
        "REHEARSAL", "6 new documents, no paid calls", "Documents (6)", "BR-CO-15", "100.00 EUR", "no_customer",
        "2 invoices in 1 batch", "remark 9", "and 2 more", str(finished_app.settings.exports_directory),
        "invoices.duckdb", "invoices explain ID",
    ):  # fmt: skip
        assert part in text, part
    assert "remark 10" not in text


def test_the_status_says_nothing_about_a_run(finished_app: App) -> None:
    text = format_run_summary(finished_app, None)
    assert "new documents" not in text
    assert "by this run" not in text


def test_the_summary_of_an_empty_app_says_where_to_put_documents(app: App) -> None:
    text = format_run_summary(app, RunReport())
    assert "No documents yet" in text
    assert str(app.settings.inbox_directory) in text
    assert get_pipeline_status(app)["documents"]["seen"] == 0


# History


def test_the_history_goes_from_sighting_to_receipt_and_export(finished_app: App) -> None:
    (history,) = list_document_histories(finished_app, "again/bill.pdf"[6:])
    text = format_history(history)
    for part in (
        hash_name("bill"), "'/in/bill.pdf'", "'/in/again/bill.pdf'", "read as an e-invoice, at no cost",
        "validated as accepted by rules", "'R-bill'", "total 119.12 EUR", f"exported in {BATCH}", "receipt ",
    ):  # fmt: skip
        assert part in text, part


def test_the_history_of_a_quarantined_document_names_every_rule(finished_app: App) -> None:
    text = format_history(list_document_histories(finished_app, "wrong.pdf")[0])
    assert "now quarantined (BR-CO-15)" in text
    assert "critical: BR-16: BR-16 does not hold." in text


def test_the_history_of_a_waiting_document_warns_of_a_possible_double_charge(finished_app: App) -> None:
    text = format_history(list_document_histories(finished_app, "scan.pdf")[0])
    assert "submitted to smartbills_com as job-7, 1 page charged; POSSIBLY CHARGED TWICE" in text


def test_an_intended_submission_is_not_shown_as_submitted(app: App) -> None:
    with app.ledger.begin_transaction() as tx:
        document = record_document_sighting(tx, "meant")
        record_intent(tx, ExtractionTerms("smartbills_com"), "x", document, pages=1, run_id="a run")
    text = format_history(list_document_histories(app, "meant.pdf")[0])
    assert "submitted to smartbills_com" not in text
    assert "unknown whether it arrived" in text


@pytest.mark.parametrize(
    "identity",
    [hash_name("bill"), hash_name("bill")[:8], hash_name("bill")[:8].upper(), "R-bill", "bill.pdf", "/in/bill.pdf",
     populated_app.build_candidate("bill", "accepted").invoice_id],
)  # fmt: skip
def test_a_document_is_found_by_hash_invoice_number_invoice_id_and_place(finished_app: App, identity: str) -> None:
    assert [history["document"]["document_sha256"] for history in list_document_histories(finished_app, identity)] == [
        hash_name("bill")
    ]


@pytest.mark.parametrize("identity", ["nothing", "", "%", "R-", "../etc/passwd"])
def test_an_unknown_identity_is_an_error(finished_app: App, identity: str) -> None:
    with pytest.raises(ConfigurationError, match="nothing is named"):
        list_document_histories(finished_app, identity)


def test_a_history_can_be_written_as_json(finished_app: App) -> None:
    histories = json.loads(json.dumps(list_document_histories(finished_app, "bill.pdf"), default=str))
    assert histories[0]["candidates"][0]["candidate"]["total_amount"] == "119.1200"
    assert "119.12" in format_history(list_document_histories(finished_app, "bill.pdf")[0])


# Export


def test_accepted_invoices_are_exported_once_with_right_control_totals(loaded_app: App) -> None:
    report = export_all_batches(loaded_app)
    assert (report.export_batches, report.exported_invoices) == ([BATCH], 2)
    directory = loaded_app.settings.exports_directory / BATCH
    assert verify_batch_folder(directory) == []
    assert "not for the books" in json.loads((directory / "manifest.json").read_text())["rehearsal"]
    assert export_all_batches(loaded_app).export_batches == []


def test_a_batch_written_again_is_the_same_byte_for_byte(loaded_app: App) -> None:
    export_all_batches(loaded_app)
    directory = loaded_app.settings.exports_directory / BATCH
    before = read_files(directory)
    assert reissue_batch(loaded_app, BATCH) == directory
    assert read_files(directory) == before
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    assert read_files(reissue_batch(loaded_app, BATCH)) == before


def test_a_batch_of_a_rehearsal_from_an_earlier_release_stays_as_it_was(loaded_app: App) -> None:
    with loaded_app.ledger.open_snapshot() as connection:
        unexported_ids = list_unexported_invoice_ids(connection, 10)
    with loaded_app.ledger.begin_transaction() as tx:
        create_export_batch(tx, unexported_ids)
    assert export_all_batches(loaded_app).export_batches == ["batch-000001"]
    directory = loaded_app.settings.exports_directory / "batch-000001"
    assert "rehearsal" not in json.loads((directory / "manifest.json").read_text())
    assert reissue_batch(loaded_app, "batch-000001") == directory


def test_a_batch_is_the_same_after_the_warehouse_was_rebuilt(loaded_app: App) -> None:
    export_all_batches(loaded_app)
    directory = loaded_app.settings.exports_directory / BATCH
    before = read_files(directory)
    delete_working_warehouse(loaded_app.settings.warehouse_directory)
    with loaded_app.ledger.begin_transaction() as tx:
        record_document_sighting(tx, "something new")
    load_warehouse(loaded_app)
    assert read_files(reissue_batch(loaded_app, BATCH)) == before


def test_an_unknown_batch_is_named(loaded_app: App) -> None:
    with pytest.raises(ConfigurationError, match="batch-000009"):
        reissue_batch(loaded_app, "batch-000009")


def test_a_batch_whose_invoices_changed_is_not_written_again(loaded_app: App) -> None:
    export_all_batches(loaded_app)
    before = read_files(loaded_app.settings.exports_directory / BATCH)
    with loaded_app.ledger.begin_transaction() as tx:
        record_document_validation(tx, "bill", "accepted", total_amount=Decimal("120.0000"))
    load_warehouse(loaded_app)
    with pytest.raises(ContractError, match="would differ from those issued"):
        reissue_batch(loaded_app, BATCH)
    with loaded_app.ledger.begin_transaction() as tx:
        record_document_validation(tx, "bill", "quarantined", "BR-16")
    load_warehouse(loaded_app)
    with pytest.raises(ContractError, match="1 of its 2 invoices"):
        reissue_batch(loaded_app, BATCH)
    assert read_files(loaded_app.settings.exports_directory / BATCH) == before


def test_a_batch_interrupted_before_its_files_is_finished_by_the_next_run(loaded_app: App) -> None:
    with loaded_app.ledger.open_snapshot() as connection:
        unexported_ids = list_unexported_invoice_ids(connection, 10)
    with loaded_app.ledger.begin_transaction() as tx:
        create_export_batch(tx, unexported_ids, id_suffix=REHEARSAL_SUFFIX)
    report = export_all_batches(loaded_app)
    assert (report.export_batches, report.exported_invoices) == ([BATCH], 2)
    assert verify_batch_folder(loaded_app.settings.exports_directory / BATCH) == []


def test_an_interrupted_batch_is_not_issued_without_all_of_its_invoices(loaded_app: App) -> None:
    with loaded_app.ledger.open_snapshot() as connection:
        unexported_ids = list_unexported_invoice_ids(connection, 10)
    with loaded_app.ledger.begin_transaction() as tx:
        create_export_batch(tx, unexported_ids)
    (loaded_app.settings.warehouse_directory / "current").unlink()
    report = export_all_batches(loaded_app)
    assert (report.export_batches, len(report.problems)) == ([], 1)
    assert "0 of its 2 invoices" in report.problems[0]
    with loaded_app.ledger.open_snapshot() as connection:
        assert [batch.status for batch in list_export_batches(connection)] == ["assigned"]
    (loaded_app.settings.warehouse_directory / "manifest.json").unlink()
    load_warehouse(loaded_app)
    assert export_all_batches(loaded_app).exported_invoices == 2


def test_nothing_is_exported_before_it_is_in_the_published_warehouse(app: App) -> None:
    add_documents_of_each_kind(app)
    assert export_all_batches(app).export_batches == []
    with app.ledger.open_snapshot() as connection:
        assert count_exports(connection) == {"batches": 0, "invoices": 0, "waiting": 2}
