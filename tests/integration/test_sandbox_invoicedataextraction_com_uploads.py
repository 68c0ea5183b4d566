"""The stand-in for Invoice Data Extraction takes files in: sessions, parts, presigned addresses, completion."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
import requests
from invoicedataextraction_caller import SCAN, Caller, code, put

from sandbox.serving import Sandbox, start

PDF = b"%PDF-1.7 of somebody else"


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


def test_a_completed_file_is_journaled_with_the_hash_of_its_bytes(caller: Caller) -> None:
    session_id = caller.upload({"scan.png": SCAN.read_bytes()})
    [session], [upload] = caller.journal()["sessions"], caller.journal()["uploads"]
    assert (session["id"], session["file_count"]) == (session_id, 1)
    assert (upload["file_name"], upload["session_id"]) == ("scan.png", session_id)
    assert upload["document_sha256"] == hashlib.sha256(SCAN.read_bytes()).hexdigest()


def test_a_file_of_several_parts_is_one_document(caller: Caller) -> None:
    content = SCAN.read_bytes()
    caller.turn(part_size=-(-len(content) // 3))
    session_id, answer = caller.open({"scan.png": content})
    size = answer.json()["files"][0]["part_size"]
    addresses = [caller.address(session_id, "scan.png", number) for number in (1, 2, 3)]
    pieces = [content[size * n : size * (n + 1)] for n in range(3)]
    e_tags = [put(url, piece).headers["ETag"] for url, piece in zip(addresses, pieces, strict=True)]
    assert code(caller.complete(session_id, "scan.png", *e_tags[:2])) == (400, "INVALID_COMPLETION_PARTS")
    assert caller.complete(session_id, "scan.png", *e_tags).json()["status"] == "completed"
    extraction_id = caller.submit(session_id, "scan.png")
    assert caller.results(extraction_id)["rows"][0]["Invoice number"] == "EV-20299"


def test_a_session_id_is_the_same_session_again_and_refused_for_other_files(caller: Caller) -> None:
    session_id, first = caller.open({"a.pdf": PDF})
    assert caller.open({"a.pdf": PDF}, session_id)[1].json() == first.json()
    assert code(caller.open({"b.pdf": PDF}, session_id)[1]) == (409, "SESSION_ALREADY_INITIALIZED")
    caller.turn(lenient_ids="on")
    assert caller.open({"b.pdf": PDF}, session_id)[1].json() == first.json()
    assert len(caller.journal()["sessions"]) == 1


@pytest.mark.parametrize(
    ("files", "wanted"),
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
def test_a_file_list_with_a_fault_is_a_400(caller: Caller, files: list[dict[str, object]], wanted: str) -> None:
    sound = {"file_id": "f", "file_name": "f.pdf", "file_size_bytes": 5}
    declared = [{**sound, **file} if file else {} for file in files]
    answer = caller.post("/uploads/sessions", {"upload_session_id": "s", "files": declared})
    assert code(answer) == (400, wanted)
    assert wanted != "INVALID_INPUT" or answer.json()["error"]["details"]["issues"][0]["path"][0] == "files"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[" * 100_000, b"\xff\xfe", b'{"files": NaN}', b'"\\ud800"'])
def test_a_hostile_body_is_a_400(caller: Caller, body: bytes) -> None:
    for path in ("/uploads/sessions", "/extractions", "/uploads/sessions/s/parts"):
        answer = caller.session.post(caller.base + path, data=body, timeout=10)
        assert code(answer) == (400, "INVALID_INPUT")


def test_fewer_credits_than_files_is_a_402(caller: Caller) -> None:
    caller.turn(credits=1)
    answer = caller.open({"a.pdf": PDF, "b.pdf": PDF})[1]
    assert code(answer) == (402, "INSUFFICIENT_CREDITS")
    assert answer.json()["error"]["details"] == {"credits_balance": 1, "credits_reserved": 0, "file_count": 2}


def test_a_part_goes_only_to_an_address_that_was_given_out(caller: Caller) -> None:
    session_id, _ = caller.open({"a.pdf": PDF})
    address = caller.address(session_id, "a.pdf")
    assert put(address, PDF, Authorization=f"Bearer {caller.key}").status_code == 400
    for forged in (address.replace("/1?", "/2?"), address.split("&X-Amz-Sig")[0], address.replace("Until=", "Until=9")):
        assert put(forged, PDF).status_code == 403
    assert put(address.replace("uploads/", "uploads/" + "9" * 40), PDF).status_code == 403
    with requests.Session() as session:
        assert session.get(address, timeout=10).status_code == 405
    assert put(address, PDF).status_code == 200


def test_addresses_expire_and_new_ones_are_given(caller: Caller) -> None:
    session_id, _ = caller.open({"a.pdf": PDF})
    address = caller.address(session_id, "a.pdf")
    caller.turn(clock=901)
    late = put(address, PDF)
    assert (late.status_code, late.headers["Content-Type"]) == (403, "application/xml")
    assert "Request has expired" in late.text
    assert put(caller.address(session_id, "a.pdf"), PDF).status_code == 200
    caller.turn(put_expiry=0)
    assert put(caller.address(session_id, "a.pdf"), PDF).status_code == 403


def test_an_etag_without_its_quotes_is_refused_unless_the_knob_says_so(caller: Caller) -> None:
    session_id, _ = caller.open({"a.pdf": PDF})
    e_tag = put(caller.address(session_id, "a.pdf"), PDF).headers["ETag"]
    assert e_tag == f'"{hashlib.md5(PDF, usedforsecurity=False).hexdigest()}"'
    answer = caller.complete(session_id, "a.pdf", e_tag.strip('"'))
    assert code(answer) == (400, "INVALID_COMPLETION_PARTS")
    assert "quotes" in answer.json()["error"]["details"]["reason"]
    caller.turn(strict_etag="off")
    assert caller.complete(session_id, "a.pdf", e_tag.strip('"')).status_code == 200


def test_completing_twice_is_success_without_a_status(caller: Caller) -> None:
    session_id, _ = caller.open({"a.pdf": PDF})
    address = caller.address(session_id, "a.pdf")
    e_tag = put(address, PDF).headers["ETag"]
    caller.turn(complete_fail_n=1)
    answer = caller.complete(session_id, "a.pdf", e_tag)
    assert code(answer) == (502, "UPLOAD_COMPLETE_FAILED")
    assert answer.json()["error"]["retryable"] is True
    assert caller.complete(session_id, "a.pdf", e_tag).json()["status"] == "completed"
    assert "status" not in caller.complete(session_id, "a.pdf", e_tag).json()
    parts = caller.post(f"/uploads/sessions/{session_id}/parts", {"file_id": "a.pdf", "part_numbers": [1]})
    assert code(parts) == (409, "FILE_NOT_UPLOADABLE")
    assert put(address, PDF).status_code == 404


def test_bytes_that_are_not_as_many_as_declared_need_a_new_session(caller: Caller) -> None:
    session_id, _ = caller.open({"a.pdf": PDF})
    e_tag = put(caller.address(session_id, "a.pdf"), PDF + b"more").headers["ETag"]
    answer = caller.complete(session_id, "a.pdf", e_tag)
    assert code(answer) == (422, "OBJECT_SIZE_MISMATCH")
    assert answer.json()["error"]["details"]["actual_size_bytes"] == len(PDF) + 4
    assert code(caller.complete(session_id, "a.pdf", e_tag)) == (409, "FILE_ABORTED")


def test_a_session_is_gone_after_a_day(caller: Caller) -> None:
    session_id, _ = caller.open({"a.pdf": PDF})
    e_tag = put(caller.address(session_id, "a.pdf"), PDF).headers["ETag"]
    assert code(caller.complete("elsewhere", "a.pdf", e_tag)) == (404, "FILE_NOT_FOUND")
    caller.turn(clock=24 * 3600 + 1)
    assert code(caller.complete(session_id, "a.pdf", e_tag)) == (409, "UPLOAD_ID_NOT_FOUND")


def test_an_aborted_file_is_neither_uploaded_nor_completed(caller: Caller) -> None:
    session_id, _ = caller.open({"a.pdf": PDF, "b.pdf": PDF})
    caller.turn(abort_files="a.pdf")
    parts = caller.post(f"/uploads/sessions/{session_id}/parts", {"file_id": "a.pdf", "part_numbers": [1]})
    assert code(parts) == (409, "FILE_NOT_UPLOADABLE")
    assert code(caller.complete(session_id, "a.pdf", '"x"')) == (409, "FILE_ABORTED")
    assert put(caller.address(session_id, "b.pdf"), PDF).status_code == 200
