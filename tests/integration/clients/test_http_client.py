"""One exchange with a misbehaving server: the error for each failure, and that the call ends in time."""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from invoices.clients.error_mapping import Conflict, NotFound, RequestRefused
from invoices.clients.http_client import HttpClient, Timeouts
from invoices.errors import (
    AccountError,
    ConfigurationError,
    ContractError,
    DocumentError,
    TransientError,
    UnknownOutcome,
)
from tests.servers.scripted_http_server import Disconnect, Response, ScriptedServer

API_KEY = "sk_live_Zk3-very-secret/key+1"
JSON_HEADERS = {"Content-Type": "application/json"}
SHORT_TIMEOUTS = Timeouts(connect=1, read=5, total=0.6)


@pytest.fixture
def http_client(server: ScriptedServer, session: requests.Session) -> HttpClient:
    return HttpClient(
        server.url, session, {"Authorization": f"Bearer {API_KEY}"}, (API_KEY,), Timeouts.from_deadline(5)
    )


@pytest.fixture
def impatient_http_client(server: ScriptedServer, session: requests.Session) -> HttpClient:
    return HttpClient(server.url, session, {"Authorization": f"Bearer {API_KEY}"}, (API_KEY,), SHORT_TIMEOUTS)


def find_closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_a_response_has_exact_numbers(server: ScriptedServer, http_client: HttpClient) -> None:
    server.set_replies(Response(200, b'{"total": 0.30}', JSON_HEADERS))
    assert str(http_client.send_request("GET", "x").parse_json()["total"]) == "0.30"


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_complete_response_is_read_with_any_framing(
    server: ScriptedServer, http_client: HttpClient, framing: str
) -> None:
    server.set_replies(Response(200, b'{"a": 1}', JSON_HEADERS, framing=framing))
    response = http_client.send_request("GET", "x")
    assert response.parse_json() == {"a": 1}
    assert response.is_length_declared is (framing != "close")


@pytest.mark.parametrize(("method", "error"), [("GET", TransientError), ("POST", TransientError)])
def test_a_call_that_was_not_sent_is_a_transient_error(session: requests.Session, method: str, error: type) -> None:
    http_client = HttpClient(f"http://127.0.0.1:{find_closed_port()}", session)
    with pytest.raises(error, match="was not sent"):
        http_client.send_request(method, "x", data=b"{}")


@pytest.mark.parametrize("disconnect", [Disconnect(), Disconnect(is_reset=True), Disconnect(delay_seconds=3)])
@pytest.mark.parametrize(("method", "error"), [("GET", TransientError), ("POST", UnknownOutcome)])
def test_a_connection_that_breaks_after_sending_makes_a_post_unknown(
    server: ScriptedServer, impatient_http_client: HttpClient, disconnect: Disconnect, method: str, error: type
) -> None:
    server.set_replies(disconnect)
    with pytest.raises(error):
        impatient_http_client.send_request(method, "x", data=b"{}")
    assert len(server.requests) == 1


@pytest.mark.parametrize(("method", "error"), [("GET", TransientError), ("POST", UnknownOutcome)])
def test_a_stale_connection_does_not_count_as_a_call_that_was_not_sent(
    server: ScriptedServer, http_client: HttpClient, method: str, error: type
) -> None:
    server.set_replies(Response(200, b"{}", JSON_HEADERS), Disconnect(is_reset=True))
    http_client.send_request("GET", "x")
    with pytest.raises(error):
        http_client.send_request(method, "x", data=b"{}")
    assert len(server.requests) == 2


@pytest.mark.parametrize("are_headers_slow", [False, True])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize(("method", "error"), [("GET", TransientError), ("POST", UnknownOutcome)])
def test_a_slow_response_ends_at_the_deadline(
    server: ScriptedServer,
    impatient_http_client: HttpClient,
    are_headers_slow: bool,
    framing: str,
    method: str,
    error: type,
) -> None:
    server.set_replies(
        Response(
            200,
            b'{"a": 1}' + b" " * 200,
            JSON_HEADERS,
            framing=framing,
            seconds_per_byte=0.05,
            are_headers_slow=are_headers_slow,
        )
    )
    started = time.monotonic()
    with pytest.raises(error, match=r"no complete answer within 0\.6 s"):
        impatient_http_client.send_request(method, "x", data=b"{}")
    assert time.monotonic() - started < 1.6


def test_the_read_timeout_is_respected(server: ScriptedServer, session: requests.Session) -> None:
    server.set_replies(Disconnect(delay_seconds=3))
    started = time.monotonic()
    with pytest.raises(TransientError):
        HttpClient(server.url, session, timeouts=Timeouts(1, 0.3, 10)).send_request("GET", "x")
    assert time.monotonic() - started < 1.3


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_truncated_response_is_never_accepted(server: ScriptedServer, http_client: HttpClient, framing: str) -> None:
    body = json.dumps({"id": "inv_1", "items": [{"amount": 12.5}, None, True], "text": 'a"b\\'}).encode()
    full_length = len(body) if framing != "chunked" else len(body) + 7  # up to the closing chunk
    for sent_length in range(full_length):
        server.set_replies(Response(200, body, JSON_HEADERS, framing=framing, close_after_bytes=sent_length))
        with pytest.raises(TransientError):
            http_client.send_request("GET", "x").parse_json()


def test_a_truncated_success_of_a_post_is_unknown(server: ScriptedServer, http_client: HttpClient) -> None:
    server.set_replies(Response(200, b'{"id": "inv_1"}', JSON_HEADERS, close_after_bytes=5))
    with pytest.raises(UnknownOutcome):
        http_client.send_request("POST", "x", data=b"{}")


def test_the_status_decides_even_if_its_body_is_truncated(server: ScriptedServer, http_client: HttpClient) -> None:
    server.set_replies(Response(422, b'{"message": "no"}', JSON_HEADERS, close_after_bytes=5))
    with pytest.raises(DocumentError) as caught:
        http_client.send_request("POST", "x", data=b"{}")
    assert caught.value.reason_code == "content_refused"


BROKEN_JSON = {
    "html": (b"<html>log in</html>", "text/html", "text/html"),
    "html called json": (b"<html>", "application/json", "not valid JSON"),
    "bom": (b"\xef\xbb\xbf{}", "application/json", "not valid JSON"),
    "utf-16": ("{}".encode("utf-16"), "application/json", "not UTF-8"),
    "nan": (b'{"a": NaN}', "application/json", "NaN"),
    "infinity": (b'{"a": -Infinity}', "application/json", "Infinity"),
    "huge": (b'{"a": 1e400}', "application/json", "exponent"),
    "twice": (b'{"a": 1, "a": 2}', "application/json", "duplicate key"),
    "deep": (b"[" * 65 + b"]" * 65, "application/json", "deeper"),
    "very deep": (b"[" * 100_000 + b"]" * 100_000, "application/json", "deeper"),
    "unoffered compression": (b"xx", "application/json", "compressed"),
}


@pytest.mark.parametrize("name", BROKEN_JSON)
@pytest.mark.parametrize(("method", "error"), [("GET", ContractError), ("POST", UnknownOutcome)])
def test_the_error_for_an_unreadable_success_says_why(
    server: ScriptedServer, http_client: HttpClient, name: str, method: str, error: type
) -> None:
    body, media_type, problem = BROKEN_JSON[name]
    headers = {"Content-Type": media_type, **({"Content-Encoding": "br"} if "compression" in name else {})}
    server.set_replies(Response(200, body, headers))
    with pytest.raises(error, match=problem):
        http_client.send_request(method, "x", data=b"{}").parse_json()


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_response_is_decompressed(server: ScriptedServer, http_client: HttpClient, encoding: str) -> None:
    compressed_body = gzip.compress(b'{"a": 1}') if encoding == "gzip" else zlib.compress(b'{"a": 1}')
    server.set_replies(Response(200, compressed_body, {**JSON_HEADERS, "Content-Encoding": encoding}))
    assert http_client.send_request("GET", "x").parse_json() == {"a": 1}


def test_a_gzip_bomb_is_refused_in_little_memory(server: ScriptedServer, http_client: HttpClient) -> None:
    bomb = gzip.compress(b" " * 300_000_000, 9)
    server.set_replies(Response(200, bomb, {**JSON_HEADERS, "Content-Encoding": "gzip"}))
    tracemalloc.start()
    with pytest.raises(ContractError, match="decompresses to more than"):
        http_client.send_request("GET", "x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000_000


@pytest.mark.parametrize(
    "compressed_body", [gzip.compress(b"{}", mtime=0)[:-4], gzip.compress(b"{}", mtime=0) + b"more", b"\x1f\x8bxx"]
)
def test_broken_compression_is_refused(server: ScriptedServer, http_client: HttpClient, compressed_body: bytes) -> None:
    server.set_replies(Response(200, compressed_body, {**JSON_HEADERS, "Content-Encoding": "gzip"}))
    with pytest.raises(ContractError, match="compression"):
        http_client.send_request("GET", "x")


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_response_may_be_as_large_as_the_limit_and_no_larger(
    server: ScriptedServer, http_client: HttpClient, framing: str
) -> None:
    server.set_replies(
        Response(200, b"x" * 1000, JSON_HEADERS, framing=framing),
        Response(200, b"x" * 1001, JSON_HEADERS, framing=framing),
    )
    assert len(http_client.send_request("GET", "x", max_bytes=1000).body) == 1000
    with pytest.raises(ContractError, match="larger than allowed"):
        http_client.send_request("GET", "x", max_bytes=1000)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_redirect_is_followed_and_the_target_is_named(
    server: ScriptedServer, http_client: HttpClient, status: int, method: str
) -> None:
    with ScriptedServer() as other_server:
        location = other_server.url.replace("127.0.0.1", "localhost") + "/grab?token=t0p"
        server.set_replies(Response(status, b"x", {"Location": location}))
        with pytest.raises(ContractError, match="localhost") as caught:
            http_client.send_request(method, "x", data=b"{}")
        assert "t0p" not in str(caught.value)
        assert other_server.connection_count == 0
    assert len(server.requests) == 1


def test_the_body_of_a_redirect_is_not_read(server: ScriptedServer, impatient_http_client: HttpClient) -> None:
    server.set_replies(Response(302, b"x" * 1000, {"Location": "http://[bad"}, seconds_per_byte=0.05))
    started = time.monotonic()
    with pytest.raises(ContractError, match="redirects are not followed"):
        impatient_http_client.send_request("GET", "x")
    assert time.monotonic() - started < 0.5


STATUSES = [
    (400, "POST", DocumentError), (413, "POST", DocumentError), (415, "POST", DocumentError),
    (422, "POST", DocumentError), (400, "GET", RequestRefused), (401, "POST", AccountError),
    (402, "POST", AccountError), (403, "GET", AccountError), (404, "GET", NotFound), (404, "POST", NotFound),
    (405, "POST", RequestRefused), (408, "POST", TransientError),
    (409, "POST", Conflict), (409, "GET", RequestRefused), (418, "POST", RequestRefused), (425, "POST", TransientError),
    (429, "POST", TransientError), (500, "POST", UnknownOutcome), (500, "GET", TransientError),
    (502, "POST", UnknownOutcome), (503, "DELETE", TransientError), (504, "POST", UnknownOutcome),
]  # fmt: skip


@pytest.mark.parametrize(("status", "method", "error"), STATUSES)
def test_each_status_becomes_the_error_for_what_the_caller_does_next(
    server: ScriptedServer, http_client: HttpClient, status: int, method: str, error: type
) -> None:
    server.set_replies(
        Response.from_json({"error": {"code": "SOME_CODE", "message": "Some words"}}, status, X_Request_ID="req-1")
    )
    with pytest.raises(error) as caught:
        http_client.send_request(method, "x", data=b"{}")
    assert type(caught.value) is error
    assert caught.value.request_id == "req-1"
    assert f"{method} 127.0.0.1/x answered {status}: SOME_CODE 'Some words'" in str(caught.value)
    assert len(server.requests) == 1


def test_the_error_for_a_throttled_call_has_the_wait(server: ScriptedServer, http_client: HttpClient) -> None:
    server.set_replies(Response.from_json({"error": {"details": {"retry_after": 9}}}, 429, Retry_After="7"))
    with pytest.raises(TransientError) as caught:
        http_client.send_request("POST", "x", data=b"{}")
    assert caught.value.retry_after == 7.0


KEY_ECHOES = {
    "html": lambda key: (f"<html>at Parse() Authorization: Bearer {key}</html>", "text/html"),
    "message": lambda key: (json.dumps({"message": f"bad header Bearer {key} here"}), "application/json"),
    "bare key": lambda key: (
        json.dumps({"error": {"code": key, "message": key, "requestId": key}}),
        "application/json",
    ),
    "string": lambda key: (json.dumps(f"token={key}"), "application/json"),
    "late": lambda key: (json.dumps({"detail": "x" * 195 + key}), "application/json"),
}


@pytest.mark.parametrize("name", KEY_ECHOES)
@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
def test_no_error_repeats_the_key(server: ScriptedServer, http_client: HttpClient, name: str, status: int) -> None:
    body, media_type = KEY_ECHOES[name](API_KEY)
    server.set_replies(Response(status, body.encode(), {"Content-Type": media_type, "X-Request-ID": API_KEY}))
    with pytest.raises(Exception) as caught:  # noqa: PT011  any of our errors: only the text matters
        http_client.send_request("POST", "x", data=b"{}")
    displayed = f"{caught.value} {caught.value!r} {vars(caught.value)}"
    assert API_KEY not in displayed
    assert API_KEY[:12] not in displayed
    assert "<html>" not in displayed
    assert len(str(caught.value)) < 700


def test_the_session_uses_no_environment_and_no_cookies(
    server: ScriptedServer, http_client: HttpClient, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{find_closed_port()}")
    netrc = f"{tmp_path}/netrc"
    with open(netrc, "w") as file:
        file.write("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", netrc)
    server.set_replies(Response(200, b"{}", {**JSON_HEADERS, "Set-Cookie": "a=b; Path=/"}))
    http_client.send_request("GET", "x")
    http_client.send_request("GET", "x")
    assert [request.headers.get("cookie") for request in server.requests] == [None, None]
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {API_KEY}"}


def test_a_connection_is_reused_for_the_next_call(server: ScriptedServer, http_client: HttpClient) -> None:
    server.set_replies(Response(200, b"{}", JSON_HEADERS))
    for _ in range(3):
        http_client.send_request("GET", "x")
    assert server.connection_count == 1


def test_a_foreign_session_is_refused_before_anything_is_sent(server: ScriptedServer) -> None:
    with requests.Session() as foreign_session, pytest.raises(ConfigurationError, match="make_session"):
        HttpClient(server.url, foreign_session).send_request("GET", "x")
    assert server.connection_count == 0


def test_nothing_is_sent_to_a_server_without_a_valid_certificate(session: requests.Session, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    received: list[bytes] = []

    def receive_over_tls(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with (
            connection,
            contextlib.suppress(OSError),
            context.wrap_socket(connection, server_side=True) as tls_connection,
        ):
            received.append(tls_connection.recv(1000))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server_thread = threading.Thread(target=receive_over_tls, args=(listener,))
        server_thread.start()
        with pytest.raises(ContractError, match="certificate cannot be verified"):
            HttpClient(f"https://127.0.0.1:{listener.getsockname()[1]}", session).send_request("POST", "x", data=b"{}")
        server_thread.join()
    assert not any(received)


def test_an_upload_that_nobody_reads_ends_at_the_deadline(session: requests.Session) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        started = time.monotonic()
        with pytest.raises(UnknownOutcome, match="no complete answer"):
            HttpClient(f"http://127.0.0.1:{listener.getsockname()[1]}", session, timeouts=SHORT_TIMEOUTS).send_request(
                "POST", "x", data=b"x" * 30_000_000
            )
        assert time.monotonic() - started < 1.6


def test_many_threads_share_a_session_and_keep_their_own_deadlines(
    server: ScriptedServer, session: requests.Session
) -> None:
    server.set_handler(
        lambda request: (
            Disconnect(delay_seconds=10) if request.path == "/slow" else Response.from_json({"path": request.path})
        )
    )
    http_client = HttpClient(server.url, session, timeouts=Timeouts(connect=10, read=20, total=4))

    def fetch_path(number: int) -> str:
        try:
            return str(
                http_client.send_request("GET", "slow" if number % 10 == 0 else f"p{number}").parse_json()["path"]
            )
        except TransientError:
            return "late"

    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(fetch_path, range(40)))
    assert paths == ["late" if number % 10 == 0 else f"/p{number}" for number in range(40)]
