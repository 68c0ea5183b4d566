"""The vendor's own SDK, unmodified, against the stand-in: everything that it expects works."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from invoicedataextraction import InvoiceDataExtraction
from invoicedataextraction.errors import ApiResponseError

from sandbox.process import Sandbox
from tests.integration.sandbox.invoicedataextraction_com_api_client import INBOX, PROMPT, SCAN_PATH, ApiClient

POLLING = {"interval_ms": 5_000, "wait_seconds": 20, "timeout_ms": 60_000}


@pytest.fixture
def api_client(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiClient]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    new_client = ApiClient(sandbox)
    yield new_client
    new_client.session.close()


@pytest.fixture
def sdk(api_client: ApiClient) -> InvoiceDataExtraction:
    return InvoiceDataExtraction(api_key=api_client.api_key, base_url=api_client.base_url)


def test_extract_goes_from_a_folder_to_files_in_three_formats(
    sdk: InvoiceDataExtraction, api_client: ApiClient, tmp_path: Path
) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for path in (SCAN_PATH, INBOX / "scans" / "batch" / "scan0005.pdf"):
        shutil.copy(path, inbox)
    api_client.update_sandbox_settings(processing_seconds=0.5, notes="Total amount")
    result = sdk.extract(
        folder_path=str(inbox), prompt=PROMPT, output_structure="per_invoice", json_typed_values=True, polling=POLLING,
        download={"formats": ["xlsx", "csv", "json"], "output_path": str(tmp_path / "out")},
    )  # fmt: skip
    assert (result["status"], result["credits_deducted"], result["pages"]["failed_count"]) == ("completed", 2, 0)
    assert result["ai_uncertainty_notes"][0]["topic"] == "Total amount"
    files = {path.suffix: path for path in (tmp_path / "out").iterdir()}
    assert set(files) == {".xlsx", ".csv", ".json"}
    rows = json.loads(files[".json"].read_text())
    assert {row["Total amount"] for row in rows} == {2400.0, 213.96}
    assert sum(charge["pages"] for charge in api_client.read_journal()["charges"]) == 2


def test_staged_calls_with_stored_ids_are_charged_once(
    sdk: InvoiceDataExtraction, api_client: ApiClient, tmp_path: Path
) -> None:
    session_id = "sess:batch:0"
    uploaded = sdk.upload_files(files=[str(SCAN_PATH)], upload_session_id=session_id)
    assert uploaded["upload_session_id"] == session_id
    submission = {
        "upload_session_id": session_id, "file_ids": uploaded["file_ids"], "submission_id": "sub:batch:0",
        "task_name": "batch 0", "prompt": PROMPT, "output_structure": "per_line_item",
    }  # fmt: skip
    runs = [sdk.submit_extraction(**submission) for _ in range(2)]
    assert runs[0]["extraction_id"] == runs[1]["extraction_id"]
    extraction_id = runs[0]["extraction_id"]
    finished = sdk.wait_for_extraction_to_finish(extraction_id=extraction_id, polling=POLLING)
    assert finished["status"] == sdk.check_extraction(extraction_id=extraction_id)["status"] == "completed"
    sdk.download_output(extraction_id=extraction_id, format="csv", file_path=str(tmp_path / "rows.csv"))
    assert "EV-20299" in (tmp_path / "rows.csv").read_text()
    assert [charge["pages"] for charge in api_client.read_journal()["charges"]] == [1]


def test_the_other_calls_of_the_sdk_work(sdk: InvoiceDataExtraction, api_client: ApiClient) -> None:
    extraction_id = api_client.extract_files({"scan.png": SCAN_PATH.read_bytes()})
    assert sdk.get_credits_balance()["credits_balance"] == 999_999
    assert [row["extraction_id"] for row in sdk.iterate_extractions()] == [extraction_id]
    assert sdk.get_results(extraction_id=extraction_id)["total_rows"] == 1
    assert [row["Currency"] for row in sdk.iterate_results(extraction_id=extraction_id)] == ["SEK"]
    assert sdk.get_extraction(extraction_id=extraction_id)["extraction"]["status"] == "completed"
    with pytest.raises(ApiResponseError) as refused:
        sdk.cancel_extraction(extraction_id=extraction_id)
    assert refused.value.body["error"]["code"] == "EXTRACTION_NOT_CANCELLABLE"
    assert sdk.delete_extraction(extraction_id=extraction_id)["success"] is True


def test_an_upload_that_was_started_cannot_be_continued(sdk: InvoiceDataExtraction, api_client: ApiClient) -> None:
    sdk.upload_files(files=[str(SCAN_PATH)], upload_session_id="sess:again")
    with pytest.raises(ApiResponseError) as refused:
        sdk.upload_files(files=[str(SCAN_PATH)], upload_session_id="sess:again")
    assert refused.value.body["error"]["code"] == "FILE_NOT_UPLOADABLE"


def test_extract_uses_new_ids_each_time_and_is_charged_again(sdk: InvoiceDataExtraction, api_client: ApiClient) -> None:
    for _ in range(2):
        sdk.extract(files=[str(SCAN_PATH)], prompt=PROMPT, output_structure="per_invoice", polling=POLLING)
    assert len(api_client.read_journal()["charges"]) == len(api_client.read_journal()["extractions"]) == 2


def test_a_failed_task_is_a_result_and_a_lost_answer_is_repaired_by_its_id(
    sdk: InvoiceDataExtraction, api_client: ApiClient
) -> None:
    api_client.update_sandbox_settings(task_fail_code="ENCRYPTED_FILE=1", lost_response="submit=1")
    result = sdk.extract(files=[str(SCAN_PATH)], prompt=PROMPT, output_structure="per_invoice", polling=POLLING)
    assert (result["status"], result["error"]["code"]) == ("failed", "ENCRYPTED_FILE")
    assert len(api_client.read_journal()["extractions"]) == 1
    assert api_client.read_journal()["charges"] == []
