"""BillflowAI downloads files from public addresses, but not from private ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from sandbox.billflowai.download import is_public_ip_address
from sandbox.process import Sandbox
from tests.integration.sandbox.billflowai_api_client import SCAN_CONTENT, ApiClient
from tests.servers.scripted_http_server import Disconnect, Response, ScriptedServer


@pytest.fixture
def api_client(sandbox: Sandbox) -> Iterator[ApiClient]:
    """Return a client with an unused API key that may use private addresses."""
    new_client = ApiClient(sandbox)
    new_client.update_sandbox_settings(allow_private_urls="on")
    yield new_client
    new_client.session.close()


@pytest.fixture
def file_server() -> Iterator[ScriptedServer]:
    """Return a server for the caller's files."""
    with ScriptedServer() as server:
        yield server


def submit_url(api_client: ApiClient, url: object, **fields: object) -> requests.Response:
    """Submit a URL for extraction."""
    return api_client.session.post(
        f"{api_client.api_url}/extract-invoice", json={"file_url": url, **fields}, timeout=60
    )


def get_error(response: requests.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_the_file_of_an_address_is_downloaded_and_read(api_client: ApiClient, file_server: ScriptedServer) -> None:
    file_server.set_replies(Response(200, SCAN_CONTENT))
    answer = submit_url(api_client, f"{file_server.url}/bills/a.png?signature=x", invoice_kind="revenue").json()
    assert (answer["invoice_number"], answer["invoice_kind"]) == ("EV-20299", "revenue")
    assert [request.target for request in file_server.requests] == ["/bills/a.png?signature=x"]
    assert "authorization" not in file_server.requests[0].headers


def test_the_same_url_again_is_neither_downloaded_nor_charged(
    api_client: ApiClient, file_server: ScriptedServer
) -> None:
    file_server.set_replies(Response(200, SCAN_CONTENT))
    assert [submit_url(api_client, f"{file_server.url}/a.png").json()["meta"]["source"] for _ in range(2)] == [
        "extracted",
        "cache",
    ]
    assert len(file_server.requests) == 1
    file_server.set_replies(Response(200, SCAN_CONTENT))
    assert submit_url(api_client, f"{file_server.url}/b.png").json()["meta"]["source"] == "cache"
    assert len(api_client.list_charges()) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/a.pdf", "http://localhost/a.pdf", "http://127.1/a.pdf", "http://2130706433/a.pdf",
        "http://0x7f000001/a.pdf", "http://10.0.0.1/", "http://192.168.1.1/", "http://169.254.169.254/latest/",
        "http://[::1]/", "http://[fe80::1]/", "http://[::ffff:127.0.0.1]/", "http://0.0.0.0/", "http://224.0.0.1/",
        "ftp://192.0.2.1/a.pdf", "file:///etc/passwd", "http://user:secret@8.8.8.8/", "http:///a.pdf",
    ],
)  # fmt: skip
def test_a_private_or_unusual_url_is_not_allowed(sandbox: Sandbox, url: str) -> None:
    other_client = ApiClient(sandbox)
    assert get_error(submit_url(other_client, url)) == (400, "INVALID_URL")
    assert other_client.list_charges() == []
    other_client.session.close()


@pytest.mark.parametrize("url", [None, 5, "", "no url", "/a.pdf", "http://[::1", "http://a:b:c/", "http://a\u00e9/"])
def test_text_that_is_not_a_url_is_invalid(api_client: ApiClient, url: object) -> None:
    assert get_error(submit_url(api_client, url)) == (400, "VALIDATION")


def test_a_redirect_is_followed_only_to_allowed_addresses(api_client: ApiClient, file_server: ScriptedServer) -> None:
    file_server.set_replies(Response(302, headers={"Location": "/there.png"}), Response(200, SCAN_CONTENT))
    assert submit_url(api_client, f"{file_server.url}/a.png").status_code == 200
    file_server.set_replies(Response(302, headers={"Location": "file:///etc/passwd"}))
    assert get_error(submit_url(api_client, f"{file_server.url}/b.png")) == (400, "INVALID_URL")
    file_server.set_replies(*[Response(302, headers={"Location": "/again"}) for _ in range(6)])
    assert get_error(submit_url(api_client, f"{file_server.url}/c.png")) == (422, "FETCH_FAILED")


def test_an_incomplete_download_is_a_failed_fetch(api_client: ApiClient, file_server: ScriptedServer) -> None:
    api_client.update_sandbox_settings(max_file_bytes=10_000)
    answers = (
        Response(404),
        Disconnect(),
        Response(200, SCAN_CONTENT, close_after_bytes=100),
        Response(200, b"%PDF-" + bytes(10_000)),
    )
    for number, answer in enumerate(answers):
        file_server.set_replies(answer)
        assert get_error(submit_url(api_client, f"{file_server.url}/{number}.png")) == (422, "FETCH_FAILED"), answer
    assert api_client.list_charges() == []


def test_a_page_instead_of_a_file_cannot_be_read(api_client: ApiClient, file_server: ScriptedServer) -> None:
    file_server.set_replies(Response(200, b"<html>expired</html>"))
    assert get_error(submit_url(api_client, f"{file_server.url}/a.png")) == (422, "EXTRACTION_FAILED")


def test_only_json_is_accepted(api_client: ApiClient) -> None:
    url = f"{api_client.api_url}/extract-invoice"
    for body, kind in ((b"file_url=x", "application/x-www-form-urlencoded"), (b"{", "application/json"), (b"[]", "x")):
        answer = api_client.session.post(url, data=body, headers={"Content-Type": kind}, timeout=30)
        assert get_error(answer) == (400, "VALIDATION")


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("8.8.8.8", True), ("2001:4860:4860::8888", True), ("::ffff:8.8.8.8", True), ("64:ff9b::808:808", True),
        ("::ffff:10.0.0.1", False), ("64:ff9b::a00:1", False), ("2002:7f00:1::", False), ("fe80::1%eth0", False),
        ("100.64.0.1", False), ("fc00::1", False), ("ff02::1", False), ("255.255.255.255", False),
    ],
)  # fmt: skip
def test_an_address_is_public_or_not(host: str, public: bool) -> None:
    assert is_public_ip_address(host) is public
