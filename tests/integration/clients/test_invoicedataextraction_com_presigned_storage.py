"""Uploads and downloads of invoicedataextraction.com: the storage gets no key, and nothing partial is accepted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import requests

from invoices.clients.http_client import Timeouts, make_session, send_request_once
from invoices.clients.invoicedataextraction_com import ExpiredUrl, InvoiceDataExtractionClient, PartRefused
from invoices.errors import ContractError, InvoicesError, TransientError
from tests.integration.clients.invoicedataextraction_com_responses import API_KEY, EXTRACTION_ID, RESULTS_PAGE
from tests.servers.scripted_http_server import Disconnect, Response, ScriptedServer

XML_HEADERS = {"Content-Type": "application/xml"}
EXPIRED_RESPONSE_BODY = (
    b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
)


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[InvoiceDataExtractionClient]:
    with make_session() as session:
        yield InvoiceDataExtractionClient(f"{server.url}/v1", API_KEY, session, deadline=2)


def test_an_upload_sends_nothing_but_the_bytes(server: ScriptedServer, client: InvoiceDataExtractionClient) -> None:
    server.set_replies(Response(200, headers={"ETag": '"d41d8cd98f"'}))
    assert client.upload_part(f"{server.url}/s/p1?X-Amz-Signature=s%2F1", b"%PDF\x00\r\n") == '"d41d8cd98f"'
    [request] = server.requests
    assert (request.method, request.target, request.body) == ("PUT", "/s/p1?X-Amz-Signature=s%2F1", b"%PDF\x00\r\n")
    assert set(request.headers) == {"host", "user-agent", "accept", "accept-encoding", "connection", "content-length"}
    assert API_KEY not in str(request)


def test_credentials_of_the_session_are_not_sent_to_the_storage(server: ScriptedServer) -> None:
    server.set_replies(Response(200, b"x", {"ETag": '"a"'}))
    with make_session() as session:
        session.headers["X-API-Key"] = API_KEY
        session.auth = ("user", API_KEY)
        client = InvoiceDataExtractionClient(f"{server.url}/v1", API_KEY, session)
        client.upload_part(f"{server.url}/p", b"x")
        client.download_output(f"{server.url}/d")
    assert API_KEY not in str(server.requests)
    assert not any("authorization" in request.headers for request in server.requests)


@pytest.mark.parametrize(
    ("reply", "error_type"),
    [
        (Response(200), TransientError), (Response(200, headers={"ETag": ""}), TransientError),
        (Response(200, headers={"ETag": "abc"}), TransientError),
        (Response(200, headers={"ETag": '"a"b"'}), TransientError),
        (Response(200, EXPIRED_RESPONSE_BODY, {"ETag": '"a"', **XML_HEADERS}), TransientError),
        (Disconnect(), TransientError),
        (Response(200, b"ab", {"ETag": '"a"'}, declared_length=9, close_after_bytes=2), TransientError),
        (Response(500), TransientError), (Response(503, b"<Error><Code>SlowDown</Code></Error>", XML_HEADERS),
            TransientError),
        (Response(400, b"<Error><Code>RequestTimeout</Code></Error>", XML_HEADERS), TransientError),
        (Response(429), TransientError), (Response(403, EXPIRED_RESPONSE_BODY, XML_HEADERS), ExpiredUrl),
        (Response(404), ExpiredUrl),
        (Response(401), ExpiredUrl), (Response(400, b"<Error><Code>ExpiredToken</Code></Error>", XML_HEADERS),
            ExpiredUrl),
        (Response(400, b"<Error><Code>BadDigest</Code></Error>", XML_HEADERS), PartRefused),
        (Response(411), PartRefused),
        (Response(307, headers={"Location": "http://169.254.169.254/"}), ContractError),
    ],
)  # fmt: skip
def test_only_a_quoted_etag_proves_an_upload(
    server: ScriptedServer,
    client: InvoiceDataExtractionClient,
    reply: Response | Disconnect,
    error_type: type[InvoicesError],
) -> None:
    server.set_replies(reply)
    with pytest.raises(error_type) as caught:
        client.upload_part(f"{server.url}/p?X-Amz-Signature=very-secret", b"x")
    assert type(caught.value) is error_type
    assert "very-secret" not in str(caught.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("reply", "error_type"),
    [
        (Response(403, EXPIRED_RESPONSE_BODY, XML_HEADERS), ExpiredUrl), (Response(404), ExpiredUrl),
        (Response(500), TransientError),
        (Response(200, b"[]", framing="close"), TransientError),
        (Response(200, b"[]", declared_length=9, close_after_bytes=2), TransientError),
        (Disconnect(), TransientError), (Response(400), ContractError), (Response(416), ContractError),
        (Response(302, headers={"Location": "http://127.0.0.1:1/"}), ContractError),
    ],
)  # fmt: skip
def test_an_output_is_complete_or_an_error(
    server: ScriptedServer,
    client: InvoiceDataExtractionClient,
    reply: Response | Disconnect,
    error_type: type[InvoicesError],
) -> None:
    server.set_replies(reply)
    with pytest.raises(error_type) as caught:
        client.download_output(f"{server.url}/d?sig=very-secret")
    assert type(caught.value) is error_type
    assert "very-secret" not in str(caught.value)


def test_a_truncated_output_is_never_accepted(server: ScriptedServer, client: InvoiceDataExtractionClient) -> None:
    body = b'[{"No":"A"},{"No":"B"}]'
    for end in range(0, len(body), 4):
        server.set_replies(Response(200, body, close_after_bytes=end))
        with pytest.raises(TransientError):
            client.download_output(f"{server.url}/d")


def test_the_size_of_an_output_is_limited(server: ScriptedServer, client: InvoiceDataExtractionClient) -> None:
    server.set_replies(Response(200, b"x" * 101))
    assert len(client.download_output(f"{server.url}/d", max_bytes=101)) == 101
    with pytest.raises(ContractError, match="larger than allowed"):
        client.download_output(f"{server.url}/d", max_bytes=100)


def test_a_slow_storage_is_abandoned_at_the_deadline(server: ScriptedServer) -> None:
    server.set_replies(Response(200, b" " * 5000, {"ETag": '"a"'}, seconds_per_byte=0.05))
    with make_session() as session:
        impatient_client = InvoiceDataExtractionClient(f"{server.url}/v1", API_KEY, session, deadline=0.2)
        with pytest.raises(TransientError, match=r"within 0\.2 s"):
            impatient_client.download_output(f"{server.url}/d")
        with pytest.raises(TransientError, match=r"within 0\.2 s"):
            impatient_client.upload_part(f"{server.url}/p", b"x")


FORBIDDEN_URLS = [
    "http://storage.example/p", "http://169.254.169.254/latest", "https://169.254.169.254/", "https://10.0.0.1/p",
    "https://192.168.1.1:9000/", "https://0x0a000001/", "https://012.0.0.1/", "https://0/",
    "https://[::ffff:10.0.0.1]/", "https://[fe80::1]/", "https://[64:ff9b::a9fe:a9fe]/", "https://[fd00::1]/",
    "https://u@storage.example/", "file:///etc/passwd", "ftp://127.0.0.1:{port}/", "//127.0.0.1:{port}/", "",
    "https://",
    "http://127.0.0.1.nip.io:{port}/", "http://127.0.0.1:{port}\\@e.test/", "https://[::1", "https://e.test:99999/",
    "https://storage.example/a b", "https://storage.example/\r\nX: 1", "https://störage.example/",
    "http://2130706433:{port}/",
    "https://224.0.0.1/", "https://100.64.0.1/",
]  # fmt: skip


@pytest.mark.parametrize("url", FORBIDDEN_URLS)
def test_forbidden_urls_are_never_requested(
    server: ScriptedServer, client: InvoiceDataExtractionClient, url: str
) -> None:
    target_url = url.replace("{port}", server.url.rpartition(":")[2])
    for call in (lambda: client.download_output(target_url), lambda: client.upload_part(target_url, b"x")):
        with pytest.raises(ContractError, match="the storage URL is not"):
            call()
    assert server.connection_count == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.1", "2130706433"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_real_vendor_cannot_point_to_this_machine(server: ScriptedServer, scheme: str, host: str) -> None:
    with make_session() as session:
        client = InvoiceDataExtractionClient("https://api.invoicedataextraction.com/v1", API_KEY, session, deadline=2)
        with pytest.raises(InvoicesError):
            client.download_output(f"{scheme}://{host}:{server.url.rpartition(':')[2]}/d")
    assert server.requests == []


def test_nothing_is_sent_to_a_host_with_a_forbidden_address(server: ScriptedServer) -> None:
    checked_addresses: list[str] = []
    request = requests.Request("GET", server.url.replace("127.0.0.1", "localhost"))
    with make_session() as session, pytest.raises(ContractError, match="not a public address"):
        send_request_once(
            session,
            request,
            Timeouts.from_deadline(2),
            is_address_allowed=lambda address: bool(checked_addresses.append(address)),
        )
    assert checked_addresses == ["127.0.0.1"]
    assert server.requests == []


def test_the_rows_of_an_output_file_are_exact(server: ScriptedServer, client: InvoiceDataExtractionClient) -> None:
    url_response = Response.from_json(
        {"download_url": f"{server.url}/d?sig=1", "format": "json", "expires_in_seconds": 300}
    )
    body = '[{"Total": 1250.10, "Paid": true, "Source File": "ä.pdf (Page 1)"}, {}]'.encode()
    server.set_replies(url_response, Response(200, body, {"Content-Type": "binary/octet-stream"}))
    first, second = client.fetch_output_rows(EXTRACTION_ID)
    assert (str(first["Total"]), first["Paid"], first["Source File"], second) == ("1250.10", True, "ä.pdf (Page 1)", {})
    assert [request.target for request in server.requests] == [
        f"/v1/extractions/{EXTRACTION_ID}/output?format=json",
        "/d?sig=1",
    ]


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"null", b"[1]", b"<html>", b"[" * 100_000, b'[{"a": 1}, 2]', b'[{"a": "\xff"}]'],
)  # fmt: skip
def test_an_output_file_without_rows_is_a_contract_error(
    server: ScriptedServer, client: InvoiceDataExtractionClient, body: bytes
) -> None:
    server.set_replies(Response.from_json({"download_url": f"{server.url}/d", "format": "json"}), Response(200, body))
    with pytest.raises(ContractError, match="the output of"):
        client.fetch_output_rows(EXTRACTION_ID)


@pytest.mark.parametrize(
    ("body", "cell"),
    [
        (b'[{"a": [1]}]', [1]), (b'[{"a": {}}]', {}), (b'[{"a": NaN}]', "NaN"), (b'[{"a": 1e400}]', "1e400"),
        (b'[{"a": 1, "a": 2}]', [1, 2]), (b'[{"a": true}]', True), ('[{"a": 1}]'.encode("utf-16"), 1),
        (b'\xef\xbb\xbf[{"a": 1}]', 1),
    ],
)  # fmt: skip
def test_a_cell_of_any_kind_is_kept(
    server: ScriptedServer, client: InvoiceDataExtractionClient, body: bytes, cell: Any
) -> None:
    server.set_replies(Response.from_json({"download_url": f"{server.url}/d", "format": "json"}), Response(200, body))
    assert client.fetch_output_rows(EXTRACTION_ID) == [{"a": cell}]


def build_results_page(numbers: range, total: int | None, **overrides: Any) -> dict[str, Any]:
    rows = [{"No": number} for number in numbers]
    ending = {"has_more": False, "next_offset": None} if numbers.stop == total else {}
    return {
        **RESULTS_PAGE, "rows": rows, "offset": numbers.start, "row_count": len(rows), "total_rows": total,
        "has_more": True,
        "next_offset": numbers.stop, **ending, **overrides,
    }  # fmt: skip


def test_all_pages_of_the_results_are_read(server: ScriptedServer, client: InvoiceDataExtractionClient) -> None:
    extra = {"columns": ["No", "Late"], "review_needed": {"count": 1, "items": [{"message": "Look"}]}}
    server.set_replies(
        Response.from_json(build_results_page(range(2), 3, **extra)),
        Response.from_json(build_results_page(range(2, 3), 3)),
    )
    results = client.fetch_results(EXTRACTION_ID)
    assert [row["No"] for row in results.rows] == [0, 1, 2]
    assert (results.columns, results.json_typed_values) == (("No", "Late", "Total"), True)
    assert [item.message for item in results.review_items] == ["Look"]
    assert [request.query for request in server.requests] == [{"offset": o, "limit": "1000"} for o in ("0", "2")]


def test_an_output_without_rows_has_none(server: ScriptedServer, client: InvoiceDataExtractionClient) -> None:
    server.set_replies(Response.from_json(build_results_page(range(0), 0)))
    assert client.fetch_results(EXTRACTION_ID).rows == ()


@pytest.mark.parametrize(
    "last",
    [
        build_results_page(range(2, 3), 3, total_rows=4),
        build_results_page(range(2, 4), 4, total_rows=4),
        build_results_page(range(2, 2), 3, has_more=False),
    ],
)
def test_a_wrong_number_of_rows_is_a_transient_error(
    server: ScriptedServer, client: InvoiceDataExtractionClient, last: Any
) -> None:
    server.set_replies(Response.from_json(build_results_page(range(2), 3)), Response.from_json(last))
    with pytest.raises(TransientError, match="rows"):
        client.fetch_results(EXTRACTION_ID)


@pytest.mark.parametrize(
    "more",
    [{"next_offset": 0}, {"next_offset": 1}, {"next_offset": 3}, {"next_offset": None}, {"rows": [], "row_count": 0},
     {"has_more": None}, {"has_more": "yes"}, {"rows": None}, {"rows": [[1]]}, {"rows": [{"a": {}}], "row_count": 1},
     {"row_count": 3}, {"offset": 5}, {"pages": {"failed": [{"page": 1}]}}],
)  # fmt: skip
def test_a_results_page_without_a_valid_continuation_is_a_contract_error(
    server: ScriptedServer, client: InvoiceDataExtractionClient, more: dict[str, Any]
) -> None:
    server.set_replies(Response.from_json(build_results_page(range(2), 3, **more)))
    with pytest.raises(ContractError):
        client.fetch_results(EXTRACTION_ID)
    assert len(server.requests) == 1


def test_results_without_an_end_are_a_contract_error(
    server: ScriptedServer, client: InvoiceDataExtractionClient
) -> None:
    def build_next_page(request: Any) -> Response:
        start = int(request.query["offset"])
        return Response.from_json(build_results_page(range(start, start + 1), None))

    server.set_handler(build_next_page)
    with pytest.raises(ContractError, match="do not end"):
        client.fetch_results(EXTRACTION_ID)
    assert len(server.requests) == 1000


def test_a_page_of_rows_may_be_larger_than_other_responses(
    server: ScriptedServer, client: InvoiceDataExtractionClient
) -> None:
    body = json.dumps({**RESULTS_PAGE, "rows": [{"No": "x" * 11_000_000}]}).encode()
    server.set_replies(Response(200, body, {"Content-Type": "application/json"}))
    assert len(client.fetch_results(EXTRACTION_ID).rows[0]["No"]) == 11_000_000
    with pytest.raises(ContractError, match="larger than allowed"):
        client.fetch_balance()


def test_fractions_of_a_page_are_decimal(server: ScriptedServer, client: InvoiceDataExtractionClient) -> None:
    server.set_replies(Response.from_json({**RESULTS_PAGE, "rows": [{"Total": 0.1}]}))
    assert client.fetch_results_page(EXTRACTION_ID, 0, 1).rows[0]["Total"] == Decimal("0.1")
