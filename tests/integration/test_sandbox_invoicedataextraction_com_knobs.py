"""Each trap of the stand-in for Invoice Data Extraction can be set: limits, lost answers, failures, untrue success."""

from __future__ import annotations

import email.utils
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from invoicedataextraction_caller import SCAN, Caller, code, put

from sandbox import journal
from sandbox.invoicedataextraction_com.knobs import KNOBS
from sandbox.invoicedataextraction_com.refusals import TASK_STATUS
from sandbox.serving import Sandbox, start

SCAN_BYTES = SCAN.read_bytes()
SAMPLE = {"scan.png": SCAN_BYTES}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox for all tests; each test comes with a key of its own."""
    with start(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture
def caller(sandbox: Sandbox) -> Iterator[Caller]:
    made = Caller(sandbox)
    yield made
    made.session.close()


def test_each_bucket_is_full_after_its_calls_and_refused_calls_count(caller: Caller) -> None:
    caller.turn(limits="balance=2")
    assert [caller.get("/credits/balance").status_code for _ in range(4)] == [200, 200, 429, 429]
    refused = caller.get("/credits/balance")
    error = refused.json()["error"]
    assert (error["code"], error["retryable"]) == ("RATE_LIMITED", True)
    assert error["details"]["retry_after"] == error["details"]["retry_after_seconds"] <= 60
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert caller.get("/extractions").status_code == 200
    caller.turn(rate_limits="off")
    assert caller.get("/credits/balance").status_code == 200


def test_a_429_may_say_less(caller: Caller) -> None:
    caller.turn(limits="balance=0", retry_after="absent")
    assert "Retry-After" not in caller.get("/credits/balance").headers
    caller.turn(retry_after="http_date", rate_limit_body="html")
    refused = caller.get("/credits/balance")
    assert refused.headers["Content-Type"].startswith("text/html")
    assert email.utils.parsedate_to_datetime(refused.headers["Retry-After"])


def test_a_short_minute_shortens_limits_and_addresses(tmp_path: Path) -> None:
    with start(tmp_path, minute_seconds=0.2, knobs={"invoicedataextraction_com.limits": "balance=1"}) as sandbox:
        caller = Caller(sandbox)
        answers = [caller.get("/credits/balance") for _ in range(2)]
        refused = answers[1]
        assert refused.status_code == 429
        assert 0 < refused.json()["error"]["details"]["retry_after"] <= 0.2
        assert (
            caller.get(f"/extractions/{caller.extract(SAMPLE)}/output", format="csv").json()["expires_in_seconds"] == 1
        )
        while caller.get("/credits/balance").status_code == 429:
            pass
        caller.session.close()


@pytest.mark.parametrize("state", ["expired", "revoked"])
def test_a_key_may_have_ended(caller: Caller, state: str) -> None:
    caller.turn(key_state=state)
    assert code(caller.get("/credits/balance")) == (401, f"API_KEY_{state.upper()}")
    caller.session.headers["Authorization"] = "Bearer sk_live_x"
    assert code(caller.get("/credits/balance")) == (401, "UNAUTHENTICATED")


def test_a_lost_answer_leaves_the_work_done_and_the_same_id_finds_it(caller: Caller) -> None:
    session_id = caller.upload(SAMPLE)
    body = caller.submission(session_id, "scan.png")
    caller.turn(lost_response="submit=1,status=1")
    with pytest.raises(requests.ConnectionError):
        caller.post("/extractions", body)
    extraction_id = caller.post("/extractions", body).json()["extraction_id"]
    with pytest.raises(requests.ConnectionError):
        caller.status(extraction_id)
    assert caller.status(extraction_id)["credits_deducted"] == 1
    assert len(caller.journal()["extractions"]) == len(caller.journal()["charges"]) == 1


def test_answers_of_every_step_of_an_upload_can_be_lost(caller: Caller) -> None:
    caller.turn(lost_response="session=1,parts=1,put=1,complete=1")
    with pytest.raises(requests.ConnectionError):
        caller.open(SAMPLE, "s")
    caller.open(SAMPLE, "s")
    with pytest.raises(requests.ConnectionError):
        caller.address("s", "scan.png")
    address = caller.address("s", "scan.png")
    with pytest.raises(requests.ConnectionError):
        put(address, SCAN_BYTES)
    e_tag = put(address, SCAN_BYTES).headers["ETag"]
    with pytest.raises(requests.ConnectionError):
        caller.complete("s", "scan.png", e_tag)
    assert "status" not in caller.complete("s", "scan.png", e_tag).json()
    assert len(caller.journal()["uploads"]) == 1


def test_a_500_after_the_work_leaves_it_done_and_one_without_does_not(caller: Caller) -> None:
    session_id = caller.upload(SAMPLE)
    body = caller.submission(session_id, "scan.png")
    caller.turn(http_500_after_work="submit=1")
    assert code(caller.post("/extractions", body)) == (500, "INTERNAL_ERROR")
    assert len(caller.journal()["extractions"]) == 1
    caller.turn(http_500_every=1)
    other = caller.submission(session_id, "scan.png")
    assert code(caller.post("/extractions", other)) == (500, "INTERNAL_ERROR")
    assert len(caller.journal()["extractions"]) == 1


def test_a_knob_with_a_name_nobody_knows_is_told_aloud(caller: Caller) -> None:
    caller.turn(lost_response="sumbit=1")
    assert "submit" in caller.get("/credits/balance").json()["error"]["message"]


@pytest.mark.parametrize("failure", sorted(TASK_STATUS))
def test_a_task_fails_in_either_channel_and_the_same_id_fails_for_ever(caller: Caller, failure: str) -> None:
    session_id = caller.upload(SAMPLE)
    body = caller.submission(session_id, "scan.png")
    caller.turn(task_fail_code=f"{failure}=1")
    for _ in range(2):
        status = caller.status(caller.post("/extractions", body).json()["extraction_id"])
        assert (status["status"], status["success"], status["error"]["code"]) == ("failed", False, failure)
    assert status["error"]["retryable"] is TASK_STATUS[failure][1]
    caller.turn(task_fail_code=f"{failure}=1", task_errors="as_http")
    again = caller.submission(session_id, "scan.png")
    assert code(caller.post("/extractions", again)) == (TASK_STATUS[failure][0], failure)
    assert caller.status(caller.post("/extractions", again).json()["extraction_id"])["status"] == "completed"
    assert len(caller.journal()["charges"]) == 1


def test_encrypted_files_are_named_and_the_rest_goes_through_alone(caller: Caller) -> None:
    caller.turn(encrypted_files="locked", read_strangers="on")
    session_id = caller.upload({"locked.pdf": b"%PDF-1", "open.pdf": b"%PDF-2"})
    failed = caller.status(caller.submit(session_id, "locked.pdf", "open.pdf"))
    assert failed["error"]["details"] == {"file_names": ["locked.pdf"]}
    assert caller.status(caller.submit(session_id, "open.pdf"))["status"] == "completed"


def test_running_extractions_and_credits_have_their_limits(caller: Caller) -> None:
    session_id = caller.upload(SAMPLE)
    caller.turn(concurrency_limit=1, stall=1)
    running = caller.submit(session_id, "scan.png")
    assert caller.status(caller.submit(session_id, "scan.png"))["error"]["code"] == "CONCURRENT_TASK_LIMIT"
    caller.turn(concurrency_limit=9, credits=1)
    poor = caller.status(caller.submit(session_id, "scan.png"))
    assert poor["error"]["details"] == {"credits_required": 1, "credits_balance": 1, "credits_reserved": 1}
    caller.post(f"/extractions/{running}/cancel")
    assert caller.status(caller.submit(session_id, "scan.png"))["credits_balance"] == 0


def test_submissions_pause_until_an_instant(caller: Caller) -> None:
    session_id = caller.upload(SAMPLE)
    caller.turn(paused_until="2999-01-01T00:00:00Z")
    answer = caller.post("/extractions", caller.submission(session_id, "scan.png"))
    assert code(answer) == (503, "SUBMISSIONS_PAUSED")
    assert answer.json()["error"]["details"] == {"resumes_at": "2999-01-01T00:00:00Z"}
    caller.turn(paused_until="2001-01-01T00:00:00Z")
    assert caller.status(caller.submit(session_id, "scan.png"))["status"] == "completed"


def test_single_pages_fail_and_are_free(caller: Caller) -> None:
    caller.turn(read_strangers="on", pages_per_file=3, fail_pages="a.pdf:1,b.pdf")
    status = caller.status(caller.extract({"a.pdf": b"%PDF-a", "b.pdf": b"%PDF-b"}))
    pages = status["pages"]
    assert (pages["successful_count"], pages["failed_count"], status["credits_deducted"]) == (2, 4, 2)
    assert pages["failed"][0] == {"file_name": "a.pdf", "page": 1, "reason": "The page could not be read."}
    [charge] = caller.journal()["charges"]
    assert charge["pages"] == 2
    assert {row["Source File"] for row in caller.results(charge["job_id"])["rows"]} == {"a.pdf (Page 2)"}


def test_a_success_may_be_untrue(caller: Caller) -> None:
    files = {f"{name}.pdf": f"%PDF-{name}".encode() for name in "abc"}
    caller.turn(read_strangers="on", missing_rows="a.pdf", wrong_file="b.pdf", review_needed="c.pdf")
    caller.turn(notes="Total amount,Tax amount", credits_null="on", null_urls="json,csv")
    extraction_id = caller.extract(files, output_structure="per_invoice")
    status, rows = caller.status(extraction_id), caller.results(extraction_id)["rows"]
    assert [row["Source File"] for row in rows] == ["c.pdf (Page 1)", "c.pdf (Page 1)"]
    assert [bool(row["Review Needed"]) for row in rows] == [False, True]
    assert status["review_needed"]["items"][0]["output_row_numbers"] == [2]
    assert [note["topic"] for note in status["ai_uncertainty_notes"]] == ["Total amount", "Tax amount"]
    assert (status["credits_deducted"], status["pages"]["successful_count"]) == (None, 3)
    assert [form for form, url in status["output"].items() if url] == ["xlsx_url"]
    assert len(caller.journal()["charges"]) == 3


def test_values_come_typed_or_not_and_outputs_may_be_missing(caller: Caller) -> None:
    extraction_id = caller.extract(SAMPLE)
    caller.turn(typed_values="never", missing_outputs="json")
    assert caller.results(extraction_id)["rows"][0]["Total amount"] == "2,400.00"
    assert code(caller.get(f"/extractions/{extraction_id}/output", format="json")) == (404, "OUTPUT_NOT_AVAILABLE")
    assert caller.get(f"/extractions/{extraction_id}/output", format="csv").status_code == 200
    caller.turn(typed_values="always", missing_outputs="results")
    assert code(caller.get(f"/extractions/{extraction_id}/results")) == (404, "OUTPUT_NOT_AVAILABLE")


def test_the_vendor_may_be_stricter_or_laxer(caller: Caller) -> None:
    session_id = caller.upload(SAMPLE)
    body = {**caller.submission(session_id, "scan.png", prompt="x" * 2_501), "surprise": 1}
    caller.turn(strict_properties="off", prompt_limit=2_500)
    assert code(caller.post("/extractions", body)) == (400, "INVALID_INPUT")
    assert caller.post("/extractions", {**body, "prompt": "x" * 2_500}).status_code == 202
    caller.turn(task_name_required="on")
    body = caller.submission(session_id, "scan.png")
    del body["task_name"]
    assert code(caller.post("/extractions", body)) == (400, "INVALID_INPUT")


def test_a_wait_that_is_not_supported_is_answered_at_once(caller: Caller) -> None:
    caller.turn(wait_supported="off", processing_seconds=3_600)
    extraction_id = caller.extract(SAMPLE)
    assert caller.status(extraction_id, wait=45)["status"] == "processing"
    caller.turn(clock=1_800)
    assert caller.status(extraction_id)["progress"] == 50
    caller.post(f"/extractions/{extraction_id}/cancel")
    assert caller.status(extraction_id)["credits_deducted"] == 0


def test_cancelling_charges_the_documents_that_were_done(caller: Caller) -> None:
    caller.turn(processing_seconds=1_000, read_strangers="on")
    extraction_id = caller.extract({f"{n}.pdf": b"%PDF" + bytes([n]) for n in range(4)})
    caller.turn(clock=600)
    caller.post(f"/extractions/{extraction_id}/cancel")
    assert caller.status(extraction_id)["credits_deducted"] == len(caller.journal()["charges"]) == 2


def test_a_kill_loses_nothing_and_a_restart_goes_on(tmp_path: Path) -> None:
    knobs = {"invoicedataextraction_com.processing_seconds": 2.0}
    with start(tmp_path, knobs=knobs) as sandbox:
        first = Caller(sandbox, "sk_test_kill")
        session_id = first.upload(SAMPLE)
        running = first.submit(session_id, "scan.png", submission_id="sub:kill")
        sandbox.kill()
    assert journal.read(tmp_path)["charges"] == []
    with start(tmp_path, knobs=knobs) as sandbox:
        again = Caller(sandbox, "sk_test_kill")
        assert again.submit(session_id, "scan.png", submission_id="sub:kill") == running
        address = again.status(running, wait=10)["output"]["json_url"]
        sandbox.kill()
    [charge] = journal.read(tmp_path)["charges"]
    assert charge["job_id"] == running
    with start(tmp_path, port=int(address.split(":")[2].split("/")[0])):
        assert requests.get(address, timeout=10).json()[0]["Invoice number"] == "EV-20299"
    for caller in (first, again):
        caller.session.close()


def test_every_knob_has_a_row_in_the_readme() -> None:
    readme = Path(journal.__file__).with_name("README.md").read_text(encoding="utf-8")
    assert [name for name in KNOBS if f"| `{name}` |" not in readme] == []
