"""The smartbills.com client: the requests it sends, and how it handles every kind of response."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from invoices.clients.error_mapping import NotFound
from invoices.clients.http_client import make_session
from invoices.clients.smartbills_com import JobSummary, RateLimit, SmartBillsComClient
from invoices.errors import ConfigurationError, ContractError, DocumentError, TransientError, UnknownOutcome
from tests.run_environment import CONTRACT_DIRECTORY
from tests.servers.scripted_http_server import Disconnect, Response, ScriptedServer

API_KEY = "sk_test_4f1e"
ACCEPTED_RESPONSE = {
    "id": "inv_00000001",
    "status": "processing",
    "created_at": "2026-01-15T10:30:00Z",
    "file_url": "https://files.smartbills.com/inv_00000001.pdf",
}
COMPLETED_RESPONSE = {
    "id": "inv_1",
    "status": "completed",
    "extracted_data": {"invoice_number": "A-17", "total_amount": 1250.0, "vendor": {"name": "Example SA"}},
}


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[SmartBillsComClient]:
    with make_session() as session:
        yield SmartBillsComClient(server.url, API_KEY, session, deadline=2)


def test_a_submission_is_one_post_with_the_file_the_key_and_nothing_else(
    server: ScriptedServer, client: SmartBillsComClient
) -> None:
    server.set_replies(
        Response.from_json(
            ACCEPTED_RESPONSE, X_RateLimit_Limit="10", X_RateLimit_Remaining="9", X_RateLimit_Reset="1768473060"
        )
    )
    job = client.submit_document(b"%PDF-1.7 \r\n--x\x00", "invoice.pdf", "application/pdf")
    assert (job.id, job.status, job.file_url) == ("inv_00000001", "processing", ACCEPTED_RESPONSE["file_url"])
    assert job.created_at == dt.datetime(2026, 1, 15, 10, 30, tzinfo=dt.UTC)
    assert job.rate_limit == RateLimit(10, 9, dt.datetime(2026, 1, 15, 10, 31, tzinfo=dt.UTC))
    [request] = server.requests
    assert (request.method, request.target) == ("POST", "/v1/invoices/extract")
    assert request.headers["authorization"] == f"Bearer {API_KEY}"
    boundary = re.fullmatch(r"multipart/form-data; boundary=(\w+)", request.headers["content-type"])[1]
    assert (
        request.body
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
def test_file_names_are_made_safe(server: ScriptedServer, client: SmartBillsComClient, name: str) -> None:
    server.set_replies(Response.from_json(ACCEPTED_RESPONSE))
    client.submit_document(b"x", name, "application/pdf")
    part_headers = server.requests[0].body.partition(b"\r\n\r\n")[0].decode()
    assert (
        part_headers.split("\r\n")[1]
        == f'Content-Disposition: form-data; name="file"; filename="{HOSTILE_NAMES[name]}"'
    )
    assert len(part_headers.split("\r\n")) == 3


def test_an_envelope_is_removed(server: ScriptedServer, client: SmartBillsComClient) -> None:
    server.set_replies(Response.from_json({"success": True, "data": ACCEPTED_RESPONSE, "error": None}, 201))
    assert client.submit_document(b"x", "a.pdf", "application/pdf").id == "inv_00000001"


@pytest.mark.parametrize("answer", [{}, {"id": ""}, {"id": "../x"}, {"id": 7}, [], {"success": True, "data": None}])
def test_a_success_without_a_job_id_is_an_unknown_outcome(
    server: ScriptedServer, client: SmartBillsComClient, answer: Any
) -> None:
    server.set_replies(Response.from_json(answer))
    with pytest.raises(UnknownOutcome):
        client.submit_document(b"x", "a.pdf", "application/pdf")


@pytest.mark.parametrize("reply", [Disconnect(), Disconnect(is_reset=True), Response(503), Response(200, b"<html>")])
def test_an_unclear_outcome_is_unknown_and_never_sent_twice(
    server: ScriptedServer, client: SmartBillsComClient, reply: Response | Disconnect
) -> None:
    server.set_replies(reply)
    with pytest.raises(UnknownOutcome):
        client.submit_document(b"x", "a.pdf", "application/pdf")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Response.from_json(
            {"success": False, "data": None, "error": {"code": "INVALID_FILE_FORMAT", "message": "no"}}, 400
        ),
        Response.from_json(
            {"success": False, "data": None, "error": {"code": "INVALID_FILE_FORMAT", "message": "no"}}, 200
        ),
        Response.from_json({"error": "INVALID_FILE_FORMAT"}, 400),
    ],
)
def test_a_refused_document_is_a_document_error_with_the_vendors_code(
    server: ScriptedServer, client: SmartBillsComClient, answer: Response
) -> None:
    server.set_replies(answer)
    with pytest.raises(DocumentError, match="INVALID_FILE_FORMAT") as caught:
        client.submit_document(b"x", "a.pdf", "application/pdf")
    assert caught.value.reason_code == "request_refused"


def test_the_data_of_a_completed_job_are_exact(server: ScriptedServer, client: SmartBillsComClient) -> None:
    body = b'{"id": "inv_1", "status": "completed", "extracted_data": {"total_amount": 1250.10, "due": null}}'
    server.set_replies(Response(200, body, {"Content-Type": "application/json; charset=utf-8"}))
    job = client.poll_job("inv_1")
    assert job.status == "completed"
    assert job.extracted_data == {"total_amount": Decimal("1250.10"), "due": None}
    assert str(job.extracted_data["total_amount"]) == "1250.10"
    assert server.requests[0].target == "/v1/invoices/inv_1"


def test_a_failed_job_has_a_reason(server: ScriptedServer, client: SmartBillsComClient) -> None:
    server.set_replies(
        Response.from_json(
            {"id": "inv_1", "status": "failed", "error": {"code": "EXTRACTION_FAILED", "message": "Blurred"}}
        ),
        Response.from_json({"id": "inv_1", "status": "failed", "error": "BLURRED"}),
        Response.from_json({"id": "inv_1", "status": "failed"}),
    )
    errors = [(job.error_code, job.error_message) for job in (client.poll_job("inv_1") for _ in range(3))]
    assert errors == [("EXTRACTION_FAILED", "Blurred"), ("BLURRED", None), (None, None)]


def test_an_unknown_status_is_passed_on(server: ScriptedServer, client: SmartBillsComClient) -> None:
    server.set_replies(Response.from_json({"id": "inv_1", "status": "queued_for_review"}))
    assert client.poll_job("inv_1").status == "queued_for_review"


@pytest.mark.parametrize(
    "answer",
    [{**COMPLETED_RESPONSE, "id": "inv_2"}, {"id": "inv_1"}, [], None,
     {"success": False, "error": {"code": "X"}}],
)  # fmt: skip
def test_a_response_for_something_else_is_refused(
    server: ScriptedServer, client: SmartBillsComClient, answer: Any
) -> None:
    server.set_replies(Response.from_json(answer))
    with pytest.raises(ContractError):
        client.poll_job("inv_1")


@pytest.mark.parametrize(
    ("data", "kept"),
    [(b"[1]", [1]), (b'{"total_amount": NaN}', {"total_amount": "NaN"}), (b'{"a": 1, "a": 2}', {"a": [1, 2]}),
     (b'{"total_amount": 1e400}', {"total_amount": "1e400"}), (b'"x"', "x")],
)  # fmt: skip
def test_extracted_data_of_any_kind_is_kept(
    server: ScriptedServer, client: SmartBillsComClient, data: bytes, kept: Any
) -> None:
    server.set_replies(
        Response(
            200,
            b'{"id": "inv_1", "status": "completed", "extracted_data": %b}' % data,
            {"Content-Type": "application/json"},
        )
    )
    assert client.poll_job("inv_1").extracted_data == kept


def test_a_job_that_the_vendor_does_not_know_is_not_found(server: ScriptedServer, client: SmartBillsComClient) -> None:
    server.set_replies(Response(404))
    with pytest.raises(NotFound):
        client.poll_job("inv_1")


@pytest.mark.parametrize("job_id", ["", "..", "a/b", "a?b", "a b", "inv_1#"])
def test_an_id_that_would_change_the_path_is_not_sent(
    server: ScriptedServer, client: SmartBillsComClient, job_id: str
) -> None:
    with pytest.raises(ContractError):
        client.poll_job(job_id)
    assert server.requests == []


@pytest.mark.parametrize(
    "build_list", [lambda jobs: jobs, lambda jobs: {"data": jobs}, lambda jobs: {"success": True, "data": jobs}]
)
def test_jobs_are_listed_from_any_known_envelope(
    server: ScriptedServer, client: SmartBillsComClient, build_list: Any
) -> None:
    server.set_replies(Response.from_json(build_list([ACCEPTED_RESPONSE, {"id": "inv_2"}])))
    jobs = client.list_jobs()
    assert [job.id for job in jobs] == ["inv_00000001", "inv_2"]
    assert jobs[1] == JobSummary("inv_2", None, None, None)


@pytest.mark.parametrize(
    "answer",
    [{}, {"data": {}}, {"invoices": []}, [1], [{"status": "x"}], "x", None,
        {"data": [ACCEPTED_RESPONSE], "has_more": True},
     {"data": [ACCEPTED_RESPONSE], "metadata": {"totalPages": 2}}, {"data": [], "pagination": {"hasNext": True}}],
)  # fmt: skip
def test_a_list_that_may_be_incomplete_is_a_contract_error(
    server: ScriptedServer, client: SmartBillsComClient, answer: Any
) -> None:
    server.set_replies(Response.from_json(answer))
    with pytest.raises(ContractError):
        client.list_jobs()


def test_a_missing_list_is_a_contract_error(server: ScriptedServer, client: SmartBillsComClient) -> None:
    server.set_replies(Response(404))
    with pytest.raises(ContractError):
        client.list_jobs()


def test_the_document_is_downloaded_without_credentials(server: ScriptedServer, client: SmartBillsComClient) -> None:
    server.set_replies(Response(200, b"%PDF", {"Content-Type": "application/pdf"}))
    assert client.fetch_job_file(f"{server.url}/files/inv_1.pdf?sig=1") == b"%PDF"
    [request] = server.requests
    assert request.target == "/files/inv_1.pdf?sig=1"
    assert set(request.headers) == {"host", "user-agent", "accept", "accept-encoding", "connection"}
    assert API_KEY not in str(request)


def test_credentials_of_the_session_are_not_sent_with_a_download(server: ScriptedServer) -> None:
    server.set_replies(Response(200, b"%PDF"))
    with make_session() as session:
        session.headers["X-API-Key"] = API_KEY
        session.auth = ("user", API_KEY)
        SmartBillsComClient(server.url, API_KEY, session).fetch_job_file(f"{server.url}/a.pdf")
    assert API_KEY not in str(server.requests)
    assert "authorization" not in server.requests[0].headers


FOREIGN_URLS = [
    "http://files.smartbills.com/a.pdf", "https://files.smartbills.com:8443/a",
    "https://files.smartbills.com.evil.test/",
    "https://evil.test/files.smartbills.com", "https://files.smartbills.com@evil.test/",
    "https://k@files.smartbills.com/a",
    "http://169.254.169.254/latest", "http://127.0.0.1:1/", "http://localhost:{port}/", "http://2130706433:{port}/",
    "http://127.0.0.1:{port}\\@evil.test/", "file:///etc/passwd", "ftp://127.0.0.1:{port}/", "//127.0.0.1:{port}/a", "",
    "https://[::1", "https://files.smartbills.com/a b", "https://files.smartbills.com/a\r\nX: 1",
    "https://fıles.smartbills.com/",
]  # fmt: skip


@pytest.mark.parametrize("url", FOREIGN_URLS)
def test_files_are_downloaded_from_the_vendors_hosts_only(
    server: ScriptedServer, client: SmartBillsComClient, url: str
) -> None:
    with pytest.raises(ContractError, match="from which this API serves no files"):
        client.fetch_job_file(url.replace("{port}", server.url.rpartition(":")[2]))
    assert server.connection_count == 0


def test_a_refused_download_is_never_an_account_error(server: ScriptedServer, client: SmartBillsComClient) -> None:
    server.set_replies(Response(403))
    with pytest.raises(ContractError, match="access to the file of a job is refused"):
        client.fetch_job_file(f"{server.url}/a.pdf")


def test_a_file_that_may_be_truncated_is_a_transient_error(server: ScriptedServer, client: SmartBillsComClient) -> None:
    server.set_replies(
        Response(200, b"%PDF", framing="close"), Response(200, b"%PDF", declared_length=9, close_after_bytes=4)
    )
    for _ in range(2):
        with pytest.raises(TransientError):
            client.fetch_job_file(f"{server.url}/a.pdf")


def test_a_redirect_of_a_download_is_not_followed(server: ScriptedServer, client: SmartBillsComClient) -> None:
    server.set_replies(Response(302, headers={"Location": "http://169.254.169.254/"}))
    with pytest.raises(ContractError, match=r"169\.254\.169\.254"):
        client.fetch_job_file(f"{server.url}/a.pdf")


def test_the_client_does_not_show_its_key(client: SmartBillsComClient) -> None:
    assert API_KEY not in repr(client)
    assert API_KEY not in repr(vars(client))


@pytest.mark.parametrize("key", ["", " ", "a\nb", "schlüssel", "a\x00"])
def test_an_invalid_key_is_a_configuration_error(key: str) -> None:
    with make_session() as session, pytest.raises(ConfigurationError) as caught:
        SmartBillsComClient("https://api.smartbills.com", key, session)
    assert not key.strip() or key not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["http://api.smartbills.com", "api.smartbills.com", "https://u:p4ss@api.test", "ftp://x", "", "https://a/?k=v"],
)
def test_a_key_is_not_sent_to_an_unsafe_address(url: str) -> None:
    with make_session() as session, pytest.raises(ConfigurationError) as caught:
        SmartBillsComClient(url, API_KEY, session)
    assert "p4ss" not in str(caught.value)


def build_schema_validator(name: str) -> Any:
    path = CONTRACT_DIRECTORY / "01-smartbills-extraction.yaml"
    if not path.exists():
        pytest.skip("the vendor's contract is not available: set INVOICES_API_CONTRACTS")
    jsonschema = pytest.importorskip("jsonschema")
    yaml = pytest.importorskip("yaml")
    document = yaml.safe_load(path.read_text("utf-8"))
    return jsonschema.Draft202012Validator({**document, "$ref": f"#/components/schemas/{name}"}), document


def test_the_examples_of_the_contract_are_parsed(server: ScriptedServer, client: SmartBillsComClient) -> None:
    validator, document = build_schema_validator("InvoiceProcessing")
    validator.validate(ACCEPTED_RESPONSE)
    routes = document["paths"]
    accepted = routes["/v1/invoices/extract"]["post"]["responses"]["200"]["content"]["application/json"]["example"]
    states = routes["/v1/invoices/{id}"]["get"]["responses"]["200"]["content"]["application/json"]["examples"]
    server.set_replies(Response.from_json(accepted), *(Response.from_json(state["value"]) for state in states.values()))
    job_id = client.submit_document(b"x", "a.pdf", "application/pdf").id
    assert [client.poll_job(job_id).status for _ in states] == list(states)
