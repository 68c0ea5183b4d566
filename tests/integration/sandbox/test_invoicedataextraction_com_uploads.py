"""Uploads to the stand-in for Invoice Data Extraction: sessions, parts, presigned URLs, completion."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
import requests

from sandbox.process import Sandbox
from tests.integration.sandbox.invoicedataextraction_com_api_client import SCAN_PATH, ApiClient, get_error, put_part

UNKNOWN_PDF = b"%PDF-1.7 of somebody else"


@pytest.fixture
def api_client(sandbox: Sandbox) -> Iterator[ApiClient]:
    new_client = ApiClient(sandbox)
    yield new_client
    new_client.session.close()


def test_a_completed_file_is_journaled_with_the_hash_of_its_bytes(api_client: ApiClient) -> None:
    session_id = api_client.upload_files({"scan.png": SCAN_PATH.read_bytes()})
    [session], [upload] = api_client.read_journal()["sessions"], api_client.read_journal()["uploads"]
    assert (session["id"], session["file_count"]) == (session_id, 1)
    assert (upload["file_name"], upload["session_id"]) == ("scan.png", session_id)
    assert upload["document_sha256"] == hashlib.sha256(SCAN_PATH.read_bytes()).hexdigest()


def test_a_file_of_several_parts_is_one_document(api_client: ApiClient) -> None:
    content = SCAN_PATH.read_bytes()
    api_client.update_sandbox_settings(part_size=-(-len(content) // 3))
    session_id, answer = api_client.open_session({"scan.png": content})
    size = answer.json()["files"][0]["part_size"]
    part_urls = [api_client.get_part_url(session_id, "scan.png", number) for number in (1, 2, 3)]
    pieces = [content[size * n : size * (n + 1)] for n in range(3)]
    e_tags = [put_part(url, piece).headers["ETag"] for url, piece in zip(part_urls, pieces, strict=True)]
    assert get_error(api_client.finish_file_upload(session_id, "scan.png", *e_tags[:2])) == (
        400,
        "INVALID_COMPLETION_PARTS",
    )
    assert api_client.finish_file_upload(session_id, "scan.png", *e_tags).json()["status"] == "completed"
    extraction_id = api_client.submit_files(session_id, "scan.png")
    assert api_client.get_results(extraction_id)["rows"][0]["Invoice number"] == "EV-20299"


def test_a_known_session_id_returns_its_session_and_is_refused_for_other_files(api_client: ApiClient) -> None:
    session_id, first = api_client.open_session({"a.pdf": UNKNOWN_PDF})
    assert api_client.open_session({"a.pdf": UNKNOWN_PDF}, session_id)[1].json() == first.json()
    assert get_error(api_client.open_session({"b.pdf": UNKNOWN_PDF}, session_id)[1]) == (
        409,
        "SESSION_ALREADY_INITIALIZED",
    )
    api_client.update_sandbox_settings(lenient_ids="on")
    assert api_client.open_session({"b.pdf": UNKNOWN_PDF}, session_id)[1].json() == first.json()
    assert len(api_client.read_journal()["sessions"]) == 1


@pytest.mark.parametrize(
    ("files", "expected_code"),
    [
        ([{}], "INVALID_INPUT"), ([], "INVALID_INPUT"), ([{"file_name": "a.xml"}], "INVALID_INPUT"),
        ([{"file_name": "a/b.pdf"}], "INVALID_INPUT"), ([{"file_name": " a.pdf"}], "INVALID_INPUT"),
        ([{"file_size_bytes": 0}], "INVALID_INPUT"), ([{"file_size_bytes": "1"}], "INVALID_INPUT"),
        ([{"file_id": "ä"}], "INVALID_INPUT"), ([{"surprise": 1}], "INVALID_INPUT"),
        ([{"file_size_bytes": 157_286_401}], "FILE_TOO_LARGE"),
        ([{"file_name": "a.png", "file_size_bytes": 5_242_881}], "FILE_TOO_LARGE"),
        ([{"file_id": "x"}, {"file_id": "y"}], "DUPLICATE_FILE_NAME"),
        ([{"file_name": "a.pdf"}, {"file_name": "b.pdf"}], "DUPLICATE_FILE_ID"),
        ([{"file_id": str(n), "file_name": f"{n}.pdf", "file_size_bytes": 150_000_000} for n in range(14)],
         "TOTAL_UPLOAD_SIZE_LIMIT_EXCEEDED"),
    ],
)  # fmt: skip
def test_an_invalid_file_list_is_a_400(
    api_client: ApiClient, files: list[dict[str, object]], expected_code: str
) -> None:
    sound = {"file_id": "f", "file_name": "f.pdf", "file_size_bytes": 5}
    declared = [{**sound, **file} if file else {} for file in files]
    answer = api_client.post("/uploads/sessions", {"upload_session_id": "s", "files": declared})
    assert get_error(answer) == (400, expected_code)
    assert expected_code != "INVALID_INPUT" or answer.json()["error"]["details"]["issues"][0]["path"][0] == "files"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[" * 100_000, b"\xff\xfe", b'{"files": NaN}', b'"\\ud800"'])
def test_a_hostile_body_is_a_400(api_client: ApiClient, body: bytes) -> None:
    for path in ("/uploads/sessions", "/extractions", "/uploads/sessions/s/parts"):
        answer = api_client.session.post(api_client.base_url + path, data=body, timeout=10)
        assert get_error(answer) == (400, "INVALID_INPUT")


def test_fewer_credits_than_files_is_a_402(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(credits=1)
    answer = api_client.open_session({"a.pdf": UNKNOWN_PDF, "b.pdf": UNKNOWN_PDF})[1]
    assert get_error(answer) == (402, "INSUFFICIENT_CREDITS")
    assert answer.json()["error"]["details"] == {"credits_balance": 1, "credits_reserved": 0, "file_count": 2}


def test_a_part_is_accepted_only_at_a_signed_url(api_client: ApiClient) -> None:
    session_id, _ = api_client.open_session({"a.pdf": UNKNOWN_PDF})
    url = api_client.get_part_url(session_id, "a.pdf")
    assert put_part(url, UNKNOWN_PDF, Authorization=f"Bearer {api_client.api_key}").status_code == 400
    for forged in (url.replace("/1?", "/2?"), url.split("&X-Amz-Sig")[0], url.replace("Until=", "Until=9")):
        assert put_part(forged, UNKNOWN_PDF).status_code == 403
    assert put_part(url.replace("uploads/", "uploads/" + "9" * 40), UNKNOWN_PDF).status_code == 403
    with requests.Session() as session:
        assert session.get(url, timeout=10).status_code == 405
    assert put_part(url, UNKNOWN_PDF).status_code == 200


def test_presigned_urls_expire_and_can_be_renewed(api_client: ApiClient) -> None:
    session_id, _ = api_client.open_session({"a.pdf": UNKNOWN_PDF})
    url = api_client.get_part_url(session_id, "a.pdf")
    api_client.update_sandbox_settings(clock=901)
    late = put_part(url, UNKNOWN_PDF)
    assert (late.status_code, late.headers["Content-Type"]) == (403, "application/xml")
    assert "Request has expired" in late.text
    assert put_part(api_client.get_part_url(session_id, "a.pdf"), UNKNOWN_PDF).status_code == 200
    api_client.update_sandbox_settings(put_expiry=0)
    assert put_part(api_client.get_part_url(session_id, "a.pdf"), UNKNOWN_PDF).status_code == 403


def test_an_etag_without_quotes_is_refused_unless_the_setting_allows_it(api_client: ApiClient) -> None:
    session_id, _ = api_client.open_session({"a.pdf": UNKNOWN_PDF})
    e_tag = put_part(api_client.get_part_url(session_id, "a.pdf"), UNKNOWN_PDF).headers["ETag"]
    assert e_tag == f'"{hashlib.md5(UNKNOWN_PDF, usedforsecurity=False).hexdigest()}"'
    answer = api_client.finish_file_upload(session_id, "a.pdf", e_tag.strip('"'))
    assert get_error(answer) == (400, "INVALID_COMPLETION_PARTS")
    assert "quotes" in answer.json()["error"]["details"]["reason"]
    api_client.update_sandbox_settings(strict_etag="off")
    assert api_client.finish_file_upload(session_id, "a.pdf", e_tag.strip('"')).status_code == 200


def test_completing_twice_succeeds_without_a_status(api_client: ApiClient) -> None:
    session_id, _ = api_client.open_session({"a.pdf": UNKNOWN_PDF})
    url = api_client.get_part_url(session_id, "a.pdf")
    e_tag = put_part(url, UNKNOWN_PDF).headers["ETag"]
    api_client.update_sandbox_settings(complete_fail_n=1)
    answer = api_client.finish_file_upload(session_id, "a.pdf", e_tag)
    assert get_error(answer) == (502, "UPLOAD_COMPLETE_FAILED")
    assert answer.json()["error"]["retryable"] is True
    assert api_client.finish_file_upload(session_id, "a.pdf", e_tag).json()["status"] == "completed"
    assert "status" not in api_client.finish_file_upload(session_id, "a.pdf", e_tag).json()
    parts = api_client.post(f"/uploads/sessions/{session_id}/parts", {"file_id": "a.pdf", "part_numbers": [1]})
    assert get_error(parts) == (409, "FILE_NOT_UPLOADABLE")
    assert put_part(url, UNKNOWN_PDF).status_code == 404


def test_a_wrong_declared_size_requires_a_new_session(api_client: ApiClient) -> None:
    session_id, _ = api_client.open_session({"a.pdf": UNKNOWN_PDF})
    e_tag = put_part(api_client.get_part_url(session_id, "a.pdf"), UNKNOWN_PDF + b"more").headers["ETag"]
    answer = api_client.finish_file_upload(session_id, "a.pdf", e_tag)
    assert get_error(answer) == (422, "OBJECT_SIZE_MISMATCH")
    assert answer.json()["error"]["details"]["actual_size_bytes"] == len(UNKNOWN_PDF) + 4
    assert get_error(api_client.finish_file_upload(session_id, "a.pdf", e_tag)) == (409, "FILE_ABORTED")


def test_a_session_expires_after_a_day(api_client: ApiClient) -> None:
    session_id, _ = api_client.open_session({"a.pdf": UNKNOWN_PDF})
    e_tag = put_part(api_client.get_part_url(session_id, "a.pdf"), UNKNOWN_PDF).headers["ETag"]
    assert get_error(api_client.finish_file_upload("elsewhere", "a.pdf", e_tag)) == (404, "FILE_NOT_FOUND")
    api_client.update_sandbox_settings(clock=24 * 3600 + 1)
    assert get_error(api_client.finish_file_upload(session_id, "a.pdf", e_tag)) == (409, "UPLOAD_ID_NOT_FOUND")


def test_an_aborted_file_can_be_neither_uploaded_nor_completed(api_client: ApiClient) -> None:
    session_id, _ = api_client.open_session({"a.pdf": UNKNOWN_PDF, "b.pdf": UNKNOWN_PDF})
    api_client.update_sandbox_settings(abort_files="a.pdf")
    parts = api_client.post(f"/uploads/sessions/{session_id}/parts", {"file_id": "a.pdf", "part_numbers": [1]})
    assert get_error(parts) == (409, "FILE_NOT_UPLOADABLE")
    assert get_error(api_client.finish_file_upload(session_id, "a.pdf", '"x"')) == (409, "FILE_ABORTED")
    assert put_part(api_client.get_part_url(session_id, "b.pdf"), UNKNOWN_PDF).status_code == 200
