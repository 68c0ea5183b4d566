"""The stand-in for smartbills.com over HTTP: extraction, rate limits, lost answers, hostile bodies, separate keys."""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Iterator
from decimal import Decimal

import pytest
import requests

from sandbox.process import Sandbox
from sandbox.sample_manifest import load_manifest
from tests.integration.sandbox.smartbills_api_client import SCAN_PATH, ApiClient


@pytest.fixture
def api_client(sandbox: Sandbox) -> Iterator[ApiClient]:
    """Return a client with an unused API key."""
    new_client = ApiClient(sandbox)
    yield new_client
    new_client.session.close()


def test_a_sample_document_is_extracted_as_the_manifest_says(api_client: ApiClient) -> None:
    answer = api_client.extract_sample("scans/scan0001.png")
    data = answer["extracted_data"]
    assert isinstance(data, dict)
    assert (answer["status"], data["invoice_number"], data["date"]) == ("completed", "EV-20299", "2026-06-11")
    assert (data["total_amount"], data["currency"]) == (Decimal("2400.00"), "SEK")
    assert data["vendor"] == {"name": "Exempel Verkstad AB", "address": "Provgatan 6, 411 03 Göteborg, SE"}
    assert data["line_items"][0]["amount"] == Decimal("1920.00")


def test_a_document_that_is_not_an_invoice_completes_with_null_fields(api_client: ApiClient) -> None:
    for path in ("tools/logo.png", "orders/PO-7060.pdf"):
        answer = api_client.extract_sample(path)
        data = answer["extracted_data"]
        assert isinstance(data, dict)
        assert answer["status"] == "completed"
        assert set(data.values()) == {None}


def test_an_unreadable_number_is_null_and_the_rest_is_extracted(api_client: ApiClient) -> None:
    data = api_client.extract_sample("scans/batch/scan0005.pdf")["extracted_data"]
    assert isinstance(data, dict)
    assert data["invoice_number"] is None
    assert data["total_amount"] == Decimal("213.96")


def test_an_unknown_document_fails_with_a_message_about_the_rehearsal(api_client: ApiClient) -> None:
    job = api_client.upload_file(b"%PDF-1.7 of somebody else").json()
    answer = api_client.poll_job(job["id"]).json()
    assert (answer["status"], answer["error"]["code"]) == ("failed", "UNREADABLE_DOCUMENT")
    assert "rehearsal" in answer["error"]["message"]


def test_each_unknown_document_can_be_a_different_invoice_whose_line_equals_its_total(
    api_client: ApiClient,
) -> None:
    api_client.update_sandbox_settings(smartbills_com__read_strangers="on")
    jobs = [api_client.upload_file(content).json() for content in (b"%PDF-1.7 one", b"%PDF-1.7 two", b"%PDF-1.7 one")]
    one, two, again = (api_client.poll_job(job["id"]).json()["extracted_data"] for job in jobs)
    assert one == again
    assert one["invoice_number"] != two["invoice_number"]
    assert one["total_amount"] == one["line_items"][0]["amount"]


def test_each_accepted_upload_is_one_charge_even_of_the_same_bytes(api_client: ApiClient) -> None:
    ids = {api_client.upload_file(SCAN_PATH.read_bytes()).json()["id"] for _ in range(3)}
    charges = api_client.sandbox.read_journal(api_client.api_key)["charges"]
    assert {charge["job_id"] for charge in charges} == ids
    assert {charge["document_sha256"] for charge in charges} == {
        row["sha256"] for row in load_manifest() if row["path"] == "inbox/scans/scan0001.png"
    }


def test_an_uploaded_file_is_served_without_a_key_at_an_unguessable_url(api_client: ApiClient) -> None:
    url = api_client.upload_file(SCAN_PATH.read_bytes()).json()["file_url"]
    assert requests.get(url, timeout=10).content == SCAN_PATH.read_bytes()
    guess = url.replace(url.split("/")[-2], "guess")
    assert requests.get(guess, timeout=10).status_code == 404


def test_the_eleventh_call_of_a_free_minute_is_refused_and_one_of_another_key_is_not(api_client: ApiClient) -> None:
    answers = [api_client.poll_job("inv_none") for _ in range(11)]
    assert [answer.status_code for answer in answers] == [404] * 10 + [429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers[:3]] == ["9", "8", "7"]
    assert "Retry-After" not in answers[-1].headers
    assert ApiClient(api_client.sandbox).poll_job("inv_none").status_code == 404


def test_a_refused_upload_is_neither_done_nor_charged(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(smartbills_com__retry_after_on_429="seconds")
    for _ in range(10):
        api_client.poll_job("inv_none")
    refused = api_client.upload_file(SCAN_PATH.read_bytes())
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert api_client.count_charges() == 0


def test_the_plan_is_a_setting(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(smartbills_com__plan="pro")
    assert api_client.poll_job("inv_none").headers["X-RateLimit-Limit"] == "100"


def test_calls_without_a_sandbox_key_are_refused(api_client: ApiClient) -> None:
    for url in (
        f"{api_client.invoices_url}/inv_1",
        api_client.receipts_url,
        api_client.sandbox.smartbills_io["base_url"] + "/nothing",
    ):
        for header in ({}, {"Authorization": "Bearer sk_live_secret"}):
            assert requests.get(url, headers=header, timeout=10).status_code == 401
    assert b"sk_live_secret" not in b"".join(p.read_bytes() for p in api_client.sandbox.state_directory.iterdir())


def test_one_key_cannot_see_the_jobs_and_receipts_of_another(api_client: ApiClient) -> None:
    job, receipt = api_client.upload_file(SCAN_PATH.read_bytes()).json(), api_client.create_receipt().json()
    other = ApiClient(api_client.sandbox)
    assert other.poll_job(job["id"]).status_code == 404
    assert other.session.get(f"{other.receipts_url}/{receipt['id']}", timeout=10).status_code == 404
    assert other.session.get(other.invoices_url, timeout=10).json() == {"data": []}


def test_an_answer_lost_after_an_upload_leaves_one_charge_and_a_job_in_the_list(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(smartbills_com__post_lost_response=1)
    with pytest.raises(requests.ConnectionError):
        api_client.upload_file(SCAN_PATH.read_bytes())
    assert api_client.count_charges() == 1
    jobs = api_client.session.get(api_client.invoices_url, timeout=10).json()["data"]
    assert [set(job) for job in jobs] == [{"id", "status", "created_at", "file_url"}]
    assert api_client.upload_file(SCAN_PATH.read_bytes()).status_code == 200
    newest_first = [job["id"] for job in api_client.session.get(api_client.invoices_url, timeout=10).json()["data"]]
    assert newest_first == sorted(newest_first, reverse=True)


def test_a_500_after_the_work_is_charged_and_one_without_is_not(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(smartbills_com__http_500_after_work=1)
    assert api_client.upload_file(SCAN_PATH.read_bytes()).status_code == 500
    assert api_client.count_charges() == 1
    api_client.update_sandbox_settings(smartbills_com__http_500_every=2)
    assert [api_client.upload_file(SCAN_PATH.read_bytes()).status_code for _ in range(2)] == [500, 200]
    assert api_client.count_charges() == 2


def test_polls_answer_processing_or_an_unknown_status_before_completed(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(smartbills_com__processing_polls=1)
    job = api_client.upload_file(SCAN_PATH.read_bytes()).json()["id"]
    assert [api_client.poll_job(job).json()["status"] for _ in range(2)] == ["processing", "completed"]
    api_client.update_sandbox_settings(smartbills_com__unknown_status="queued")
    job = api_client.upload_file(SCAN_PATH.read_bytes()).json()["id"]
    assert [api_client.poll_job(job).json()["status"] for _ in range(2)] == ["queued", "completed"]


def test_the_shapes_of_older_versions_are_settings(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(smartbills_com__envelope="wrapped", smartbills_com__vendor_info_shape="on")
    api_client.update_sandbox_settings(
        smartbills_com__missing_fields="date,line_items", smartbills_com__reset_encoding="iso8601"
    )
    answer = api_client.upload_file(SCAN_PATH.read_bytes())
    assert answer.headers["X-RateLimit-Reset"].endswith("Z")
    data = api_client.poll_job(answer.json()["data"]["id"]).json()["data"]["extracted_data"]
    assert set(data) == {"invoice_number", "total_amount", "currency", "vendor_info"}


def test_chosen_documents_fail(api_client: ApiClient) -> None:
    job = api_client.upload_file(SCAN_PATH.read_bytes()).json()["id"]
    api_client.update_sandbox_settings(smartbills_com__fail_ids=job, smartbills_com__list_route="off")
    assert api_client.poll_job(job).json()["status"] == "failed"
    assert api_client.session.get(api_client.invoices_url, timeout=10).status_code == 404


def test_only_pdf_jpg_and_png_files_up_to_the_size_limit_are_accepted(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(smartbills_com__max_file_bytes=1_000)
    refused = api_client.upload_file(b"<Invoice/>")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "INVALID_FILE_FORMAT")
    assert api_client.upload_file(b"").status_code == 400
    assert api_client.upload_file(b"%PDF-" + bytes(1_000)).status_code == 413
    assert api_client.upload_file(b"%PDF-" + bytes(500_000)).status_code == 413
    assert api_client.upload_file(b"%PDF-" + bytes(995)).status_code == 200
    assert api_client.count_charges() == 1


def test_an_endless_body_is_cut_off(api_client: ApiClient) -> None:
    piece = bytes(1_000_000)
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    pieces = itertools.chain([form], itertools.repeat(piece, 80))
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    with contextlib.suppress(requests.ConnectionError):  # it may hang up before its answer is read
        answer = api_client.session.post(f"{api_client.invoices_url}/extract", data=pieces, headers=kind, timeout=30)
        assert answer.status_code == 413
    assert api_client.count_charges() == 0
    assert api_client.poll_job("inv_none").status_code == 404


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--x\r\n"), ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"no boundary at all"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x; charset=none", b"--x\r\nContent-Disposition: form-data; name=file\r\n\r\n"),
        ("multipart/form-data; boundary=" + "x" * 5_000, b"--x\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=\xff\r\n\r\n1\r\n--x--\r\n"),
        ("application/x-www-form-urlencoded", b"file=%PDF-"), ("application/json", b"{}"), ("", b"%PDF-"),
        ("multipart/form-data; boundary=x", b"--x\r\n" + b"A: b\r\n" * 20_000),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 100 + b"--x--\r\n",
        ),
    ],
)  # fmt: skip
def test_a_hostile_form_is_a_400_and_no_charge(api_client: ApiClient, content_type: str, body: bytes) -> None:
    answer = api_client.session.post(
        f"{api_client.invoices_url}/extract", data=body, headers={"Content-Type": content_type}, timeout=10
    )
    assert answer.status_code == 400
    assert answer.json()["success"] is False
    assert "X-RateLimit-Reset" in answer.headers
    assert api_client.count_charges() == 0


def test_a_caller_who_disconnects_midway_causes_no_error(
    api_client: ApiClient, capfd: pytest.CaptureFixture[str]
) -> None:
    head = "POST /smartbills_com/v1/invoices/extract HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    head += f"Authorization: Bearer {api_client.api_key}\r\n"
    form = "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 9000\r\n\r\n--x\r\n"
    with socket.create_connection(("127.0.0.1", api_client.sandbox.port)) as connection:
        connection.sendall((head + form).encode())
    assert api_client.poll_job("inv_none").status_code == 404
    assert api_client.count_charges() == 0
    assert "Traceback" not in capfd.readouterr().err
