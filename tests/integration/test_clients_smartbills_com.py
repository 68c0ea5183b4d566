"""The extraction client on the wire: what it sends, and what it makes of every answer the vendor may give."""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from scripted_server import Answer, Drop, ScriptedServer

from invoices.clients.classification import NotFound
from invoices.clients.smartbills_com import JobSummary, RateLimit, SmartBillsCom
from invoices.clients.transport import make_session
from invoices.errors import ConfigurationError, ContractError, DocumentError, TransientError, UnknownOutcome

KEY = "sk_test_4f1e"
CONTRACT = Path(os.environ.get("INVOICES_API_CONTRACTS", Path(__file__).parents[3] / "shared/apis/openapi"))
ACCEPTED = {
    "id": "inv_00000001",
    "status": "processing",
    "created_at": "2026-01-15T10:30:00Z",
    "file_url": "https://files.smartbills.com/inv_00000001.pdf",
}
COMPLETED = {
    "id": "inv_1",
    "status": "completed",
    "extracted_data": {"invoice_number": "A-17", "total_amount": 1250.0, "vendor": {"name": "Example SA"}},
}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[SmartBillsCom]:
    with make_session() as session:
        yield SmartBillsCom(server.url, KEY, session, deadline=2)


def test_a_submission_is_one_post_with_the_file_the_key_and_nothing_else(
    server: ScriptedServer, client: SmartBillsCom
) -> None:
    server.play(
        Answer.json(ACCEPTED, X_RateLimit_Limit="10", X_RateLimit_Remaining="9", X_RateLimit_Reset="1768473060")
    )
    job = client.submit(b"%PDF-1.7 \r\n--x\x00", "invoice.pdf", "application/pdf")
    assert (job.id, job.status, job.file_url) == ("inv_00000001", "processing", ACCEPTED["file_url"])
    assert job.created_at == dt.datetime(2026, 1, 15, 10, 30, tzinfo=dt.UTC)
    assert job.limits == RateLimit(10, 9, dt.datetime(2026, 1, 15, 10, 31, tzinfo=dt.UTC))
    [seen] = server.seen
    assert (seen.method, seen.target) == ("POST", "/v1/invoices/extract")
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    boundary = re.fullmatch(r"multipart/form-data; boundary=(\w+)", seen.headers["content-type"])[1]
    assert (
        seen.body
        == (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="invoice.pdf"\r\n'
            f"Content-Type: application/pdf\r\n\r\n%PDF-1.7 \r\n--x\x00\r\n--{boundary}--\r\n"
        ).encode()
    )


HOSTILE_NAMES = {
    "../../etc/passwd": "passwd",
    "C:\\bills\\a.pdf": "a.pdf",
    'a"; filename="b.exe': "a_; filename=_b.exe",
    "a\r\nX-Evil: 1\r\n\r\n.pdf": "a__X-Evil: 1____.pdf",
    "nul\x00.pdf": "nul_.pdf",
    "": "document",
    "half\udcff.pdf": "half?.pdf",
}


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_no_file_name_leaves_its_place(server: ScriptedServer, client: SmartBillsCom, name: str) -> None:
    server.play(Answer.json(ACCEPTED))
    client.submit(b"x", name, "application/pdf")
    head = server.seen[0].body.partition(b"\r\n\r\n")[0].decode()
    assert head.split("\r\n")[1] == f'Content-Disposition: form-data; name="file"; filename="{HOSTILE_NAMES[name]}"'
    assert len(head.split("\r\n")) == 3


def test_a_wrapped_answer_is_unwrapped(server: ScriptedServer, client: SmartBillsCom) -> None:
    server.play(Answer.json({"success": True, "data": ACCEPTED, "error": None}, 201))
    assert client.submit(b"x", "a.pdf", "application/pdf").id == "inv_00000001"


@pytest.mark.parametrize("answer", [{}, {"id": ""}, {"id": "../x"}, {"id": 7}, [], {"success": True, "data": None}])
def test_a_success_without_a_job_id_is_unknown(server: ScriptedServer, client: SmartBillsCom, answer: Any) -> None:
    server.play(Answer.json(answer))
    with pytest.raises(UnknownOutcome):
        client.submit(b"x", "a.pdf", "application/pdf")


@pytest.mark.parametrize("step", [Drop(), Drop(reset=True), Answer(503), Answer(200, b"<html>")])
def test_work_that_may_be_done_is_unknown_and_never_sent_twice(
    server: ScriptedServer, client: SmartBillsCom, step: Answer | Drop
) -> None:
    server.play(step)
    with pytest.raises(UnknownOutcome):
        client.submit(b"x", "a.pdf", "application/pdf")
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer.json({"success": False, "data": None, "error": {"code": "INVALID_FILE_FORMAT", "message": "no"}}, 400),
        Answer.json({"success": False, "data": None, "error": {"code": "INVALID_FILE_FORMAT", "message": "no"}}, 200),
        Answer.json({"error": "INVALID_FILE_FORMAT"}, 400),
    ],
)
def test_a_refused_document_is_set_aside_with_the_vendors_word(
    server: ScriptedServer, client: SmartBillsCom, answer: Answer
) -> None:
    server.play(answer)
    with pytest.raises(DocumentError, match="INVALID_FILE_FORMAT") as caught:
        client.submit(b"x", "a.pdf", "application/pdf")
    assert caught.value.reason_code == "request_refused"


def test_a_completed_job_keeps_its_data_exact(server: ScriptedServer, client: SmartBillsCom) -> None:
    body = b'{"id": "inv_1", "status": "completed", "extracted_data": {"total_amount": 1250.10, "due": null}}'
    server.play(Answer(200, body, {"Content-Type": "application/json; charset=utf-8"}))
    job = client.job("inv_1")
    assert job.status == "completed"
    assert job.extracted_data == {"total_amount": Decimal("1250.10"), "due": None}
    assert str(job.extracted_data["total_amount"]) == "1250.10"
    assert server.seen[0].target == "/v1/invoices/inv_1"


def test_a_failed_job_tells_why(server: ScriptedServer, client: SmartBillsCom) -> None:
    server.play(
        Answer.json({"id": "inv_1", "status": "failed", "error": {"code": "EXTRACTION_FAILED", "message": "Blurred"}}),
        Answer.json({"id": "inv_1", "status": "failed", "error": "BLURRED"}),
        Answer.json({"id": "inv_1", "status": "failed"}),
    )
    told = [(job.error_code, job.error_message) for job in (client.job("inv_1") for _ in range(3))]
    assert told == [("EXTRACTION_FAILED", "Blurred"), ("BLURRED", None), (None, None)]


def test_an_unknown_status_is_passed_on(server: ScriptedServer, client: SmartBillsCom) -> None:
    server.play(Answer.json({"id": "inv_1", "status": "queued_for_review"}))
    assert client.job("inv_1").status == "queued_for_review"


@pytest.mark.parametrize(
    "answer",
    [{**COMPLETED, "id": "inv_2"}, {"id": "inv_1"}, {**COMPLETED, "extracted_data": [1]}, [], None,
     {"success": False, "error": {"code": "X"}}],
)  # fmt: skip
def test_an_answer_about_something_else_is_never_attached(
    server: ScriptedServer, client: SmartBillsCom, answer: Any
) -> None:
    server.play(Answer.json(answer))
    with pytest.raises(ContractError):
        client.job("inv_1")


def test_a_job_the_vendor_lost_is_not_found(server: ScriptedServer, client: SmartBillsCom) -> None:
    server.play(Answer(404))
    with pytest.raises(NotFound):
        client.job("inv_1")


@pytest.mark.parametrize("job_id", ["", "..", "a/b", "a?b", "a b", "inv_1#"])
def test_an_id_that_would_change_the_path_is_not_asked_for(
    server: ScriptedServer, client: SmartBillsCom, job_id: str
) -> None:
    with pytest.raises(ContractError):
        client.job(job_id)
    assert server.seen == []


@pytest.mark.parametrize(
    "wrap", [lambda jobs: jobs, lambda jobs: {"data": jobs}, lambda jobs: {"success": True, "data": jobs}]
)
def test_jobs_are_listed_in_any_known_wrapping(server: ScriptedServer, client: SmartBillsCom, wrap: Any) -> None:
    server.play(Answer.json(wrap([ACCEPTED, {"id": "inv_2"}])))
    listed = client.jobs()
    assert [job.id for job in listed] == ["inv_00000001", "inv_2"]
    assert listed[1] == JobSummary("inv_2", None, None, None)


@pytest.mark.parametrize(
    "answer",
    [{}, {"data": {}}, {"invoices": []}, [1], [{"status": "x"}], "x", None, {"data": [ACCEPTED], "has_more": True},
     {"data": [ACCEPTED], "metadata": {"totalPages": 2}}, {"data": [], "pagination": {"hasNext": True}}],
)  # fmt: skip
def test_a_list_that_may_not_be_whole_is_unusable(server: ScriptedServer, client: SmartBillsCom, answer: Any) -> None:
    server.play(Answer.json(answer))
    with pytest.raises(ContractError):
        client.jobs()


def test_a_missing_list_is_unusable(server: ScriptedServer, client: SmartBillsCom) -> None:
    server.play(Answer(404))
    with pytest.raises(ContractError):
        client.jobs()


def test_the_original_is_fetched_without_any_credential(server: ScriptedServer, client: SmartBillsCom) -> None:
    server.play(Answer(200, b"%PDF", {"Content-Type": "application/pdf"}))
    assert client.file(f"{server.url}/files/inv_1.pdf?sig=1") == b"%PDF"
    [seen] = server.seen
    assert seen.target == "/files/inv_1.pdf?sig=1"
    assert set(seen.headers) == {"host", "user-agent", "accept", "accept-encoding", "connection"}
    assert KEY not in str(seen)


def test_not_even_a_session_with_credentials_of_its_own_shows_them_to_the_files(server: ScriptedServer) -> None:
    server.play(Answer(200, b"%PDF"))
    with make_session() as session:
        session.headers["X-API-Key"] = KEY
        session.auth = ("user", KEY)
        SmartBillsCom(server.url, KEY, session).file(f"{server.url}/a.pdf")
    assert KEY not in str(server.seen)
    assert "authorization" not in server.seen[0].headers


ELSEWHERE = [
    "http://files.smartbills.com/a.pdf", "https://files.smartbills.com:8443/a", "https://files.smartbills.com.evil.test/",
    "https://evil.test/files.smartbills.com", "https://files.smartbills.com@evil.test/", "https://k@files.smartbills.com/a",
    "http://169.254.169.254/latest", "http://127.0.0.1:1/", "http://localhost:{port}/", "http://2130706433:{port}/",
    "http://127.0.0.1:{port}\\@evil.test/", "file:///etc/passwd", "ftp://127.0.0.1:{port}/", "//127.0.0.1:{port}/a", "",
    "https://[::1", "https://files.smartbills.com/a b", "https://files.smartbills.com/a\r\nX: 1", "https://fıles.smartbills.com/",
]  # fmt: skip


@pytest.mark.parametrize("url", ELSEWHERE)
def test_no_other_place_is_asked_for_a_file(server: ScriptedServer, client: SmartBillsCom, url: str) -> None:
    with pytest.raises(ContractError, match="not this API's place"):
        client.file(url.replace("{port}", server.url.rpartition(":")[2]))
    assert server.connections == 0


def test_a_file_that_is_not_given_out_blames_no_account(server: ScriptedServer, client: SmartBillsCom) -> None:
    server.play(Answer(403))
    with pytest.raises(ContractError, match="not given out"):
        client.file(f"{server.url}/a.pdf")


def test_a_file_that_may_be_cut_proves_nothing(server: ScriptedServer, client: SmartBillsCom) -> None:
    server.play(Answer(200, b"%PDF", framing="close"), Answer(200, b"%PDF", claims=9, cut_after=4))
    for _ in range(2):
        with pytest.raises(TransientError):
            client.file(f"{server.url}/a.pdf")


def test_a_file_that_moved_is_not_followed(server: ScriptedServer, client: SmartBillsCom) -> None:
    server.play(Answer(302, headers={"Location": "http://169.254.169.254/"}))
    with pytest.raises(ContractError, match=r"169\.254\.169\.254"):
        client.file(f"{server.url}/a.pdf")


def test_the_client_does_not_show_its_key(client: SmartBillsCom) -> None:
    assert KEY not in repr(client)
    assert KEY not in repr(vars(client))


@pytest.mark.parametrize("key", ["", " ", "a\nb", "schlüssel", "a\x00"])
def test_a_key_that_cannot_be_sent_is_a_setting_to_fix(key: str) -> None:
    with make_session() as session, pytest.raises(ConfigurationError) as caught:
        SmartBillsCom("https://api.smartbills.com", key, session)
    assert not key.strip() or key not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["http://api.smartbills.com", "api.smartbills.com", "https://u:p4ss@api.test", "ftp://x", "", "https://a/?k=v"],
)
def test_a_key_is_not_sent_to_an_unsafe_address(url: str) -> None:
    with make_session() as session, pytest.raises(ConfigurationError) as caught:
        SmartBillsCom(url, KEY, session)
    assert "p4ss" not in str(caught.value)


def schema_of(name: str) -> Any:
    path = CONTRACT / "01-smartbills-extraction.yaml"
    if not path.exists():
        pytest.skip("the vendor's contract is not at hand (INVOICES_API_CONTRACTS)")
    jsonschema = pytest.importorskip("jsonschema")
    yaml = pytest.importorskip("yaml")
    document = yaml.safe_load(path.read_text("utf-8"))
    return jsonschema.Draft202012Validator({**document, "$ref": f"#/components/schemas/{name}"}), document


def test_the_contracts_own_examples_are_read(server: ScriptedServer, client: SmartBillsCom) -> None:
    validator, document = schema_of("InvoiceProcessing")
    validator.validate(ACCEPTED)
    routes = document["paths"]
    accepted = routes["/v1/invoices/extract"]["post"]["responses"]["200"]["content"]["application/json"]["example"]
    states = routes["/v1/invoices/{id}"]["get"]["responses"]["200"]["content"]["application/json"]["examples"]
    server.play(Answer.json(accepted), *(Answer.json(state["value"]) for state in states.values()))
    job_id = client.submit(b"x", "a.pdf", "application/pdf").id
    assert [client.job(job_id).status for _ in states] == list(states)
