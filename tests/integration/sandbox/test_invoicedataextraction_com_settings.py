"""The settings of Invoice Data Extraction: limits, lost answers, failures, wrong results."""

from __future__ import annotations

import email.utils
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from sandbox import journal
from sandbox.invoicedataextraction_com.errors import TASK_ERRORS
from sandbox.invoicedataextraction_com.settings import SETTING_DEFINITIONS
from sandbox.process import Sandbox, start_sandbox
from tests.integration.sandbox.invoicedataextraction_com_api_client import SCAN_PATH, ApiClient, get_error, put_part

SCAN_CONTENT = SCAN_PATH.read_bytes()
SAMPLE_FILES = {"scan.png": SCAN_CONTENT}


@pytest.fixture
def api_client(sandbox: Sandbox) -> Iterator[ApiClient]:
    new_client = ApiClient(sandbox)
    yield new_client
    new_client.session.close()


def test_each_bucket_is_full_after_its_calls_and_refused_calls_count(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(limits="balance=2")
    assert [api_client.get("/credits/balance").status_code for _ in range(4)] == [200, 200, 429, 429]
    refused = api_client.get("/credits/balance")
    error = refused.json()["error"]
    assert (error["code"], error["retryable"]) == ("RATE_LIMITED", True)
    assert error["details"]["retry_after"] == error["details"]["retry_after_seconds"] <= 60
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert api_client.get("/extractions").status_code == 200
    api_client.update_sandbox_settings(rate_limits="off")
    assert api_client.get("/credits/balance").status_code == 200


def test_a_429_may_lack_its_header_or_its_json_body(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(limits="balance=0", retry_after="absent")
    assert "Retry-After" not in api_client.get("/credits/balance").headers
    api_client.update_sandbox_settings(retry_after="http_date", rate_limit_body="html")
    refused = api_client.get("/credits/balance")
    assert refused.headers["Content-Type"].startswith("text/html")
    assert email.utils.parsedate_to_datetime(refused.headers["Retry-After"])


def test_a_short_minute_shortens_rate_limits_and_url_lifetimes(tmp_path: Path) -> None:
    with start_sandbox(
        tmp_path, minute_seconds=0.2, settings={"invoicedataextraction_com.limits": "balance=1"}
    ) as sandbox:
        running_client = ApiClient(sandbox)
        answers = [running_client.get("/credits/balance") for _ in range(2)]
        refused = answers[1]
        assert refused.status_code == 429
        assert 0 < refused.json()["error"]["details"]["retry_after"] <= 0.2
        assert (
            running_client.get(
                f"/extractions/{running_client.extract_files(SAMPLE_FILES)}/output", format="csv"
            ).json()["expires_in_seconds"]
            == 1
        )
        while running_client.get("/credits/balance").status_code == 429:
            pass
        running_client.session.close()


@pytest.mark.parametrize("state", ["expired", "revoked"])
def test_a_key_may_be_expired_or_revoked(api_client: ApiClient, state: str) -> None:
    api_client.update_sandbox_settings(key_state=state)
    assert get_error(api_client.get("/credits/balance")) == (401, f"API_KEY_{state.upper()}")
    api_client.session.headers["Authorization"] = "Bearer sk_live_x"
    assert get_error(api_client.get("/credits/balance")) == (401, "UNAUTHENTICATED")


def test_after_a_lost_answer_the_work_is_done_and_the_same_id_finds_it(api_client: ApiClient) -> None:
    session_id = api_client.upload_files(SAMPLE_FILES)
    body = api_client.build_submission(session_id, "scan.png")
    api_client.update_sandbox_settings(lost_response="submit=1,status=1")
    with pytest.raises(requests.ConnectionError):
        api_client.post("/extractions", body)
    extraction_id = api_client.post("/extractions", body).json()["extraction_id"]
    with pytest.raises(requests.ConnectionError):
        api_client.get_status(extraction_id)
    assert api_client.get_status(extraction_id)["credits_deducted"] == 1
    assert len(api_client.read_journal()["extractions"]) == len(api_client.read_journal()["charges"]) == 1


def test_answers_of_every_step_of_an_upload_can_be_lost(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(lost_response="session=1,parts=1,put=1,complete=1")
    with pytest.raises(requests.ConnectionError):
        api_client.open_session(SAMPLE_FILES, "s")
    api_client.open_session(SAMPLE_FILES, "s")
    with pytest.raises(requests.ConnectionError):
        api_client.get_part_url("s", "scan.png")
    url = api_client.get_part_url("s", "scan.png")
    with pytest.raises(requests.ConnectionError):
        put_part(url, SCAN_CONTENT)
    e_tag = put_part(url, SCAN_CONTENT).headers["ETag"]
    with pytest.raises(requests.ConnectionError):
        api_client.finish_file_upload("s", "scan.png", e_tag)
    assert "status" not in api_client.finish_file_upload("s", "scan.png", e_tag).json()
    assert len(api_client.read_journal()["uploads"]) == 1


def test_a_500_comes_after_the_work_or_without_it(api_client: ApiClient) -> None:
    session_id = api_client.upload_files(SAMPLE_FILES)
    body = api_client.build_submission(session_id, "scan.png")
    api_client.update_sandbox_settings(http_500_after_work="submit=1")
    assert get_error(api_client.post("/extractions", body)) == (500, "INTERNAL_ERROR")
    assert len(api_client.read_journal()["extractions"]) == 1
    api_client.update_sandbox_settings(http_500_every=1)
    other = api_client.build_submission(session_id, "scan.png")
    assert get_error(api_client.post("/extractions", other)) == (500, "INTERNAL_ERROR")
    assert len(api_client.read_journal()["extractions"]) == 1


def test_an_unknown_name_in_a_setting_is_an_error(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(lost_response="sumbit=1")
    assert "submit" in api_client.get("/credits/balance").json()["error"]["message"]


@pytest.mark.parametrize("failure", sorted(TASK_ERRORS))
def test_a_task_fails_in_status_or_submission_and_the_same_id_fails_again(api_client: ApiClient, failure: str) -> None:
    session_id = api_client.upload_files(SAMPLE_FILES)
    body = api_client.build_submission(session_id, "scan.png")
    api_client.update_sandbox_settings(task_fail_code=f"{failure}=1")
    for _ in range(2):
        status = api_client.get_status(api_client.post("/extractions", body).json()["extraction_id"])
        assert (status["status"], status["success"], status["error"]["code"]) == ("failed", False, failure)
    assert status["error"]["retryable"] is TASK_ERRORS[failure][1]
    api_client.update_sandbox_settings(task_fail_code=f"{failure}=1", task_errors="as_http")
    again = api_client.build_submission(session_id, "scan.png")
    assert get_error(api_client.post("/extractions", again)) == (TASK_ERRORS[failure][0], failure)
    assert (
        api_client.get_status(api_client.post("/extractions", again).json()["extraction_id"])["status"] == "completed"
    )
    assert len(api_client.read_journal()["charges"]) == 1


def test_encrypted_files_are_named_and_the_others_succeed_without_them(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(encrypted_files="locked", read_strangers="on")
    session_id = api_client.upload_files({"locked.pdf": b"%PDF-1", "open.pdf": b"%PDF-2"})
    failed = api_client.get_status(api_client.submit_files(session_id, "locked.pdf", "open.pdf"))
    assert failed["error"]["details"] == {"file_names": ["locked.pdf"]}
    assert api_client.get_status(api_client.submit_files(session_id, "open.pdf"))["status"] == "completed"


def test_running_extractions_and_credits_have_their_limits(api_client: ApiClient) -> None:
    session_id = api_client.upload_files(SAMPLE_FILES)
    api_client.update_sandbox_settings(concurrency_limit=1, stall=1)
    running = api_client.submit_files(session_id, "scan.png")
    assert (
        api_client.get_status(api_client.submit_files(session_id, "scan.png"))["error"]["code"]
        == "CONCURRENT_TASK_LIMIT"
    )
    api_client.update_sandbox_settings(concurrency_limit=9, credits=1)
    poor = api_client.get_status(api_client.submit_files(session_id, "scan.png"))
    assert poor["error"]["details"] == {"credits_required": 1, "credits_balance": 1, "credits_reserved": 1}
    api_client.post(f"/extractions/{running}/cancel")
    assert api_client.get_status(api_client.submit_files(session_id, "scan.png"))["credits_balance"] == 0


def test_submissions_pause_until_an_instant(api_client: ApiClient) -> None:
    session_id = api_client.upload_files(SAMPLE_FILES)
    api_client.update_sandbox_settings(paused_until="2999-01-01T00:00:00Z")
    answer = api_client.post("/extractions", api_client.build_submission(session_id, "scan.png"))
    assert get_error(answer) == (503, "SUBMISSIONS_PAUSED")
    assert answer.json()["error"]["details"] == {"resumes_at": "2999-01-01T00:00:00Z"}
    api_client.update_sandbox_settings(paused_until="2001-01-01T00:00:00Z")
    assert api_client.get_status(api_client.submit_files(session_id, "scan.png"))["status"] == "completed"


def test_single_failed_pages_are_not_charged(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(read_strangers="on", pages_per_file=3, fail_pages="a.pdf:1,b.pdf")
    status = api_client.get_status(api_client.extract_files({"a.pdf": b"%PDF-a", "b.pdf": b"%PDF-b"}))
    pages = status["pages"]
    assert (pages["successful_count"], pages["failed_count"], status["credits_deducted"]) == (2, 4, 2)
    assert pages["failed"][0] == {"file_name": "a.pdf", "page": 1, "reason": "The page could not be read."}
    [charge] = api_client.read_journal()["charges"]
    assert charge["pages"] == 2
    assert {row["Source File"] for row in api_client.get_results(charge["job_id"])["rows"]} == {"a.pdf (Page 2)"}


def test_a_success_may_be_incomplete_or_wrong(api_client: ApiClient) -> None:
    files = {f"{name}.pdf": f"%PDF-{name}".encode() for name in "abc"}
    api_client.update_sandbox_settings(
        read_strangers="on", missing_rows="a.pdf", wrong_file="b.pdf", review_needed="c.pdf"
    )
    api_client.update_sandbox_settings(notes="Total amount,Tax amount", credits_null="on", null_urls="json,csv")
    extraction_id = api_client.extract_files(files, output_structure="per_invoice")
    status, rows = api_client.get_status(extraction_id), api_client.get_results(extraction_id)["rows"]
    assert [row["Source File"] for row in rows] == ["c.pdf (Page 1)", "c.pdf (Page 1)"]
    assert [bool(row["Review Needed"]) for row in rows] == [False, True]
    assert status["review_needed"]["items"][0]["output_row_numbers"] == [2]
    assert [note["topic"] for note in status["ai_uncertainty_notes"]] == ["Total amount", "Tax amount"]
    assert (status["credits_deducted"], status["pages"]["successful_count"]) == (None, 3)
    assert [form for form, url in status["output"].items() if url] == ["xlsx_url"]
    assert len(api_client.read_journal()["charges"]) == 3


def test_values_may_be_untyped_and_outputs_may_be_missing(api_client: ApiClient) -> None:
    extraction_id = api_client.extract_files(SAMPLE_FILES)
    api_client.update_sandbox_settings(typed_values="never", missing_outputs="json")
    assert api_client.get_results(extraction_id)["rows"][0]["Total amount"] == "2,400.00"
    assert get_error(api_client.get(f"/extractions/{extraction_id}/output", format="json")) == (
        404,
        "OUTPUT_NOT_AVAILABLE",
    )
    assert api_client.get(f"/extractions/{extraction_id}/output", format="csv").status_code == 200
    api_client.update_sandbox_settings(typed_values="always", missing_outputs="results")
    assert get_error(api_client.get(f"/extractions/{extraction_id}/results")) == (404, "OUTPUT_NOT_AVAILABLE")


def test_the_vendor_may_be_stricter_or_more_lenient(api_client: ApiClient) -> None:
    session_id = api_client.upload_files(SAMPLE_FILES)
    body = {**api_client.build_submission(session_id, "scan.png", prompt="x" * 2_501), "surprise": 1}
    api_client.update_sandbox_settings(strict_properties="off", prompt_limit=2_500)
    assert get_error(api_client.post("/extractions", body)) == (400, "INVALID_INPUT")
    assert api_client.post("/extractions", {**body, "prompt": "x" * 2_500}).status_code == 202
    api_client.update_sandbox_settings(task_name_required="on")
    body = api_client.build_submission(session_id, "scan.png")
    del body["task_name"]
    assert get_error(api_client.post("/extractions", body)) == (400, "INVALID_INPUT")


def test_a_wait_that_is_not_supported_is_answered_at_once(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(wait_supported="off", processing_seconds=3_600)
    extraction_id = api_client.extract_files(SAMPLE_FILES)
    assert api_client.get_status(extraction_id, wait=45)["status"] == "processing"
    api_client.update_sandbox_settings(clock=1_800)
    assert api_client.get_status(extraction_id)["progress"] == 50
    api_client.post(f"/extractions/{extraction_id}/cancel")
    assert api_client.get_status(extraction_id)["credits_deducted"] == 0


def test_cancelling_charges_the_documents_that_were_finished(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(processing_seconds=1_000, read_strangers="on")
    extraction_id = api_client.extract_files({f"{n}.pdf": b"%PDF" + bytes([n]) for n in range(4)})
    api_client.update_sandbox_settings(clock=600)
    api_client.post(f"/extractions/{extraction_id}/cancel")
    assert api_client.get_status(extraction_id)["credits_deducted"] == len(api_client.read_journal()["charges"]) == 2


def test_a_kill_loses_nothing_and_a_restart_continues(tmp_path: Path) -> None:
    settings = {"invoicedataextraction_com.processing_seconds": 2.0}
    with start_sandbox(tmp_path, settings=settings) as sandbox:
        first = ApiClient(sandbox, "sk_test_kill")
        session_id = first.upload_files(SAMPLE_FILES)
        running = first.submit_files(session_id, "scan.png", submission_id="sub:kill")
        sandbox.kill()
    assert journal.read_journal(tmp_path)["charges"] == []
    with start_sandbox(tmp_path, settings=settings) as sandbox:
        again = ApiClient(sandbox, "sk_test_kill")
        assert again.submit_files(session_id, "scan.png", submission_id="sub:kill") == running
        url = again.get_status(running, wait=10)["output"]["json_url"]
        sandbox.kill()
    [charge] = journal.read_journal(tmp_path)["charges"]
    assert charge["job_id"] == running
    with start_sandbox(tmp_path, port=int(url.split(":")[2].split("/")[0])):
        assert requests.get(url, timeout=10).json()[0]["Invoice number"] == "EV-20299"
    for client in (first, again):
        client.session.close()


def test_every_setting_has_a_row_in_the_readme() -> None:
    readme = Path(journal.__file__).with_name("README.md").read_text(encoding="utf-8")
    assert [name for name in SETTING_DEFINITIONS if f"| `{name}` |" not in readme] == []
