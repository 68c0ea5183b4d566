"""The stand-in for Invoice Data Extraction over HTTP: submissions, statuses, rows, charges."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import openpyxl
import pytest
import requests

from sandbox.exact_json import parse_json
from sandbox.process import Sandbox
from sandbox.sample_manifest import load_manifest_by_sha256
from tests.integration.sandbox.invoicedataextraction_com_api_client import (
    FIELD_NAMES,
    INBOX,
    SCAN_PATH,
    ApiClient,
    get_error,
)

UNKNOWN_PDF = b"%PDF-1.7 of somebody else"
SAMPLE_FILES = {"scan.png": SCAN_PATH.read_bytes()}


@pytest.fixture
def api_client(sandbox: Sandbox) -> Iterator[ApiClient]:
    new_client = ApiClient(sandbox)
    yield new_client
    new_client.session.close()


def download_output(api_client: ApiClient, extraction_id: str, file_format: str) -> bytes:
    """Return an output file, fetched without a key."""
    output = api_client.get(f"/extractions/{extraction_id}/output", format=file_format).json()
    assert "success" not in output
    return requests.get(output["download_url"], timeout=10).content


def test_every_sample_invoice_is_extracted_as_the_manifest_says(api_client: ApiClient) -> None:
    kinds = (".pdf", ".jpg", ".JPG", ".png")
    known = [row for row in load_manifest_by_sha256().values() if row["path"].endswith(kinds) and row["bytes"]]
    contents = {f"{row['sha256'][:8]}{Path(row['path']).suffix}": row for row in known}
    extraction_id = api_client.extract_files(
        {name: (INBOX.parent / row["path"]).read_bytes() for name, row in contents.items()},
        output_structure="per_invoice",
    )
    status, rows = api_client.get_status(extraction_id), parse_json(download_output(api_client, extraction_id, "json"))
    rows_by_file = {row["Source File"].removesuffix(" (Page 1)"): row for row in rows}
    read = {name for name, row in contents.items() if row["reads_as"] == "document"}
    assert set(rows_by_file) == read
    for name in read:
        invoice, row = contents[name]["expected"], rows_by_file[name]
        stated_values = (row["Invoice date"], row["Total amount"], row["Currency"], row["Supplier name"])
        expected = (
            invoice["issue_date"],
            Decimal(invoice["totals"]["gross"]),
            invoice["currency"],
            invoice["seller"]["name"],
        )
        assert stated_values == expected
    failed = {row["file_name"] for row in status["pages"]["failed"]}
    assert failed == {name for name, row in contents.items() if row["reads_as"] == "failure"}
    assert status["credits_deducted"] == sum(row["pages"] for row in known if row["reads_as"] != "failure")


def test_per_line_item_repeats_the_header_on_each_line(api_client: ApiClient) -> None:
    document = next(row for row in load_manifest_by_sha256().values() if row["path"].endswith("2026-117.pdf"))
    extraction_id = api_client.extract_files({"a.pdf": (INBOX.parent / document["path"]).read_bytes()})
    rows = parse_json(download_output(api_client, extraction_id, "json"))
    assert [row["Line net amount"] for row in rows] == [Decimal("427.20"), Decimal("49.50")]
    assert {(row["Invoice number"], row["Total amount"]) for row in rows} == {("2026/117", Decimal("529.32"))}
    assert set(rows[0]) == {*FIELD_NAMES, "Source File", "Review Needed"}


def test_all_three_formats_have_the_same_values(api_client: ApiClient) -> None:
    extraction_id = api_client.extract_files(SAMPLE_FILES, options={"json_typed_values": False})
    [output] = json.loads(download_output(api_client, extraction_id, "json"))
    assert (output["Total amount"], output["Order number"], output["Line quantity"]) == ("2,400.00", "", "3")
    text = download_output(api_client, extraction_id, "csv").decode()
    assert list(csv.DictReader(io.StringIO(text))) == [output]
    sheet = openpyxl.load_workbook(io.BytesIO(download_output(api_client, extraction_id, "xlsx"))).active
    assert sheet is not None
    names, values = sheet.iter_rows(values_only=True)
    row = dict(zip(names, values, strict=True))
    assert (row["Total amount"], row["Order number"], str(row["Invoice date"])[:10]) == (2400, None, "2026-06-11")


def test_columns_are_those_of_the_prompt_and_unknown_ones_are_empty(api_client: ApiClient) -> None:
    prompt = {"fields": [{"name": "Favourite colour"}, {"name": "invoice_number"}]}
    body = api_client.get_results(
        api_client.extract_files(
            SAMPLE_FILES, prompt=prompt, options={"json_typed_values": True, "exclude_columns": ["review_needed"]}
        )
    )
    assert body["columns"] == ["Favourite colour", "invoice_number", "Source File"]
    assert body["rows"] == [
        {"Favourite colour": None, "invoice_number": "EV-20299", "Source File": "scan.png (Page 1)"}
    ]
    text = api_client.get_results(
        api_client.extract_files(SAMPLE_FILES, prompt="All of it", output_structure="automatic")
    )
    assert (text["output_structure"], len(text["columns"])) == ("per_invoice", 17)


def test_an_unknown_document_is_a_failed_page_with_a_message_about_the_rehearsal(api_client: ApiClient) -> None:
    status = api_client.get_status(api_client.extract_files({"a.pdf": UNKNOWN_PDF}))
    assert (status["status"], status["credits_deducted"]) == ("completed", 0)
    assert "rehearsal" in status["pages"]["failed"][0]["reason"]
    assert status["pages"]["failure_reasons"][0]["affected_pages"] == [{"file_name": "a.pdf", "pages": [1]}]
    assert api_client.read_journal()["charges"] == []


def test_unknown_documents_can_be_correct_invoices(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(read_strangers="on")
    extraction_id = api_client.extract_files({f"{n}.pdf": UNKNOWN_PDF + bytes([n]) for n in range(5)})
    rows = parse_json(download_output(api_client, extraction_id, "json"))
    assert len({row["Invoice number"] for row in rows}) == 5
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        assert first["Net amount"] + first["Tax amount"] == first["Total amount"] > 0
        assert first["Line net amount"] + second["Line net amount"] == first["Net amount"]
        assert first["Line quantity"] * first["Line unit price"] == first["Line net amount"]
    assert (
        api_client.get_results(extraction_id, limit=3, offset=6)["rows"]
        == json.loads(download_output(api_client, extraction_id, "json"))[6:9]
    )


def test_a_submission_id_is_charged_once_and_refused_for_another_request(api_client: ApiClient) -> None:
    session_id = api_client.upload_files(SAMPLE_FILES)
    body = api_client.build_submission(session_id, "scan.png")
    first = api_client.post("/extractions", body)
    assert api_client.post("/extractions", body).json() == first.json()
    other = api_client.post("/extractions", {**body, "output_structure": "per_invoice"})
    assert get_error(other) == (409, "SUBMISSION_ID_ALREADY_USED")
    extraction_id = first.json()["extraction_id"]
    assert other.json()["error"]["details"] == {
        "extraction_id": extraction_id, "differing_fields": ["output_structure"],
    }  # fmt: skip
    api_client.update_sandbox_settings(lenient_ids="on")
    assert api_client.post("/extractions", {**body, "output_structure": "per_invoice"}).json() == first.json()
    [charge], [extraction] = api_client.read_journal()["charges"], api_client.read_journal()["extractions"]
    assert (charge["vendor"], charge["job_id"], charge["pages"]) == ("invoicedataextraction_com", extraction_id, 1)
    assert extraction["documents"] == [charge["document_sha256"]]


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "x" * 5_001}, {"prompt": ""}, {"prompt": 5}, {"prompt": {"fields": []}}, {"surprise": 1},
        {"prompt": {"fields": [{"name": "Total amount"}, {"name": "total_AMOUNT"}]}}, {"file_ids": ["missing"]},
        {"prompt": {"fields": [{"name": "Source file"}]}}, {"prompt": {"fields": [{"name": "ab", "prompt": "x"}]}},
        {"output_structure": "per_page"}, {"file_ids": []}, {"upload_session_id": "none"}, {"task_name": "ab"},
        {"options": {"output_language": "xx"}}, {"file_ids": ["scan.png", "scan.png"]}, {"submission_id": "a b"},
    ],
)  # fmt: skip
def test_an_invalid_submission_is_a_400_that_names_the_property(
    api_client: ApiClient, changes: dict[str, object]
) -> None:
    session_id = api_client.upload_files(SAMPLE_FILES)
    answer = api_client.post("/extractions", api_client.build_submission(session_id, "scan.png", **changes))
    assert get_error(answer) == (400, "INVALID_INPUT")
    assert answer.json()["error"]["details"]["issues"][0]["path"][0] in changes
    assert api_client.read_journal()["extractions"] == []


def test_a_waiting_poll_returns_when_processing_ends(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(processing_seconds=3.0)
    extraction_id = api_client.extract_files(SAMPLE_FILES)
    running = api_client.get_status(extraction_id)
    assert (running["status"], running["success"]) == ("processing", True)
    assert 0 <= running["progress"] < 100
    assert get_error(api_client.get(f"/extractions/{extraction_id}/output", format="json")) == (
        404,
        "OUTPUT_NOT_AVAILABLE",
    )
    assert (
        get_error(api_client.session.delete(f"{api_client.base_url}/extractions/{extraction_id}", timeout=9))[0] == 409
    )
    assert api_client.get("/credits/balance").json()["credits_reserved"] == 1
    assert api_client.read_journal()["charges"] == []
    assert api_client.get_status(extraction_id, wait=20)["status"] == "completed"
    assert api_client.get("/credits/balance").json() == {
        "success": True, "credits_balance": 999_999, "credits_reserved": 0,
    }  # fmt: skip


def test_polls_answer_an_unknown_status_before_completed(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(processing_polls=2, unknown_status="thinking")
    extraction_id = api_client.extract_files(SAMPLE_FILES)
    assert [api_client.get_status(extraction_id, wait=20)["status"] for _ in range(3)] == [
        "thinking",
        "thinking",
        "completed",
    ]


def test_a_stalled_extraction_ends_only_by_cancelling_and_costs_nothing(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(stall=1)
    extraction_id = api_client.extract_files(SAMPLE_FILES)
    assert api_client.get_status(extraction_id, wait=1)["status"] == "processing"
    cancel_response = api_client.post(f"/extractions/{extraction_id}/cancel").json()
    assert (cancel_response["status"], cancel_response["cancellation_requested"]) == ("processing", True)
    final_status = api_client.get_status(extraction_id)
    assert (final_status["status"], final_status["cancellation_reason"], final_status["credits_deducted"]) == (
        "cancelled",
        "user",
        0,
    )
    assert api_client.post(f"/extractions/{extraction_id}/cancel").json() == final_status
    done = api_client.extract_files(SAMPLE_FILES)
    assert get_error(api_client.post(f"/extractions/{done}/cancel")) == (409, "EXTRACTION_NOT_CANCELLABLE")


def test_questions_wait_for_answers(api_client: ApiClient) -> None:
    extraction_id = api_client.extract_files(SAMPLE_FILES, options={"ask_questions": True})
    status = api_client.get_status(extraction_id, wait=5)
    assert status["status"] == "input_required"
    wrong = {"answers": [{"question_id": "q_none", "text": "x"}]}
    assert get_error(api_client.post(f"/extractions/{extraction_id}/answers", wrong)) == (400, "INVALID_INPUT")
    answers = {"answers": [{"question_id": status["questions"][0]["question_id"], "accept_recommended": True}]}
    assert api_client.post(f"/extractions/{extraction_id}/answers", answers).json()["status"] == "completed"
    late = api_client.extract_files(SAMPLE_FILES, options={"ask_questions": True})
    api_client.update_sandbox_settings(clock=40 * 3600 + 1)
    status = api_client.get_status(late)
    assert (status["status"], status["cancellation_reason"], status["credits_deducted"]) == (
        "cancelled",
        "unanswered",
        1,
    )


def test_the_list_has_pages_newest_first_and_finds_a_lost_submission(api_client: ApiClient) -> None:
    session_id = api_client.upload_files(SAMPLE_FILES)
    ids = [api_client.submit_files(session_id, "scan.png", submission_id=f"sub-{n}") for n in range(5)]
    first = api_client.get("/extractions", limit=2).json()
    assert [row["extraction_id"] for row in first["extractions"]] == [ids[4], ids[3]]
    last = api_client.get("/extractions", limit=3, cursor=first["next_cursor"]).json()
    assert [row["submission_id"] for row in last["extractions"]] == ["sub-2", "sub-1", "sub-0"]
    assert (first["has_more"], last["has_more"], last["next_cursor"]) == (True, False, None)
    assert api_client.get("/extractions", status="failed").json()["extractions"] == []
    assert api_client.get("/extractions", created_after="2099-01-01T00:00:00Z").json()["extractions"] == []
    for wrong in ({"limit": 0}, {"cursor": "x"}, {"status": "x"}, {"created_before": "2026-01-01T00:00:00"}):
        assert get_error(api_client.get("/extractions", **wrong)) == (400, "INVALID_INPUT")


def test_details_keep_the_request_and_a_deleted_extraction_is_gone(api_client: ApiClient) -> None:
    extraction_id = api_client.extract_files(SAMPLE_FILES)
    url = api_client.get_status(extraction_id)["output"]["json_url"]
    stored = api_client.get(f"/extractions/{extraction_id}/details").json()["extraction"]
    assert (stored["file_names"], stored["options"]) == (["scan.png"], {"json_typed_values": True})
    assert api_client.session.delete(f"{api_client.base_url}/extractions/{extraction_id}", timeout=9).json() == {
        "success": True
    }
    assert get_error(api_client.get(f"/extractions/{extraction_id}")) == (404, "EXTRACTION_NOT_FOUND")
    assert requests.get(url, timeout=10).status_code == 404
    assert len(api_client.read_journal()["extractions"]) == 1


def test_each_key_sees_its_own_data(api_client: ApiClient, sandbox: Sandbox) -> None:
    extraction_id = api_client.extract_files(SAMPLE_FILES)
    other_client = ApiClient(sandbox)
    assert get_error(other_client.get(f"/extractions/{extraction_id}")) == (404, "EXTRACTION_NOT_FOUND")
    assert other_client.get("/extractions").json()["extractions"] == []
    assert other_client.get("/credits/balance").json()["credits_balance"] == 1_000_000
    assert get_error(other_client.get("/extractions/not-a-uuid")) == (400, "INVALID_INPUT")
    assert get_error(other_client.get("/extractions", scope="team")) == (403, "FORBIDDEN")
    other_client.session.close()


def test_download_urls_expire_and_outputs_expire_after_ninety_days(api_client: ApiClient) -> None:
    extraction_id = api_client.extract_files(SAMPLE_FILES)
    url = api_client.get_status(extraction_id)["output"]["json_url"]
    api_client.update_sandbox_settings(clock=301)
    assert requests.get(url, timeout=10).status_code == 403
    assert api_client.get(f"/extractions/{extraction_id}/output", format="json").json()["expires_in_seconds"] == 300
    api_client.update_sandbox_settings(clock=90 * 86_400 + 1)
    assert get_error(api_client.get(f"/extractions/{extraction_id}/results")) == (404, "OUTPUT_EXPIRED")
    assert set(api_client.get_status(extraction_id)["output"].values()) == {None}
