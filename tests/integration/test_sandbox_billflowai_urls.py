"""BillflowAI downloads what a public address shows, and nothing from a private one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from billflowai_caller import SCAN, Caller
from scripted_server import Answer, Drop, ScriptedServer

from sandbox.billflowai.fetching import is_public
from sandbox.serving import Sandbox, start


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox for all tests; each test comes with a key of its own."""
    with start(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture
def caller(sandbox: Sandbox) -> Iterator[Caller]:
    """A caller with a key that nobody used before, who may show private addresses."""
    made = Caller(sandbox)
    made.turn(allow_private_urls="on")
    yield made
    made.session.close()


@pytest.fixture
def files() -> Iterator[ScriptedServer]:
    """Where the caller's files are."""
    with ScriptedServer() as server:
        yield server


def show(caller: Caller, url: object, **fields: object) -> requests.Response:
    """Ask for the file of an address to be read."""
    return caller.session.post(f"{caller.api}/extract-invoice", json={"file_url": url, **fields}, timeout=60)


def refusal(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_the_file_of_an_address_is_downloaded_and_read(caller: Caller, files: ScriptedServer) -> None:
    files.play(Answer(200, SCAN))
    answer = show(caller, f"{files.url}/bills/a.png?signature=x", invoice_kind="revenue").json()
    assert (answer["invoice_number"], answer["invoice_kind"]) == ("EV-20299", "revenue")
    assert [seen.target for seen in files.seen] == ["/bills/a.png?signature=x"]
    assert "authorization" not in files.seen[0].headers


def test_the_same_address_again_is_neither_downloaded_nor_charged(caller: Caller, files: ScriptedServer) -> None:
    files.play(Answer(200, SCAN))
    assert [show(caller, f"{files.url}/a.png").json()["meta"]["source"] for _ in range(2)] == ["extracted", "cache"]
    assert len(files.seen) == 1
    files.play(Answer(200, SCAN))
    assert show(caller, f"{files.url}/b.png").json()["meta"]["source"] == "cache"
    assert len(caller.charges()) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/a.pdf", "http://localhost/a.pdf", "http://127.1/a.pdf", "http://2130706433/a.pdf",
        "http://0x7f000001/a.pdf", "http://10.0.0.1/", "http://192.168.1.1/", "http://169.254.169.254/latest/",
        "http://[::1]/", "http://[fe80::1]/", "http://[::ffff:127.0.0.1]/", "http://0.0.0.0/", "http://224.0.0.1/",
        "ftp://192.0.2.1/a.pdf", "file:///etc/passwd", "http://user:secret@8.8.8.8/", "http:///a.pdf",
    ],
)  # fmt: skip
def test_a_private_or_strange_address_is_not_allowed(sandbox: Sandbox, url: str) -> None:
    caller = Caller(sandbox)
    assert refusal(show(caller, url)) == (400, "INVALID_URL")
    assert caller.charges() == []
    caller.session.close()


@pytest.mark.parametrize("url", [None, 5, "", "no url", "/a.pdf", "http://[::1", "http://a:b:c/", "http://a\u00e9/"])
def test_what_is_no_address_is_not_valid(caller: Caller, url: object) -> None:
    assert refusal(show(caller, url)) == (400, "VALIDATION")


def test_a_redirect_is_followed_only_to_allowed_places(caller: Caller, files: ScriptedServer) -> None:
    files.play(Answer(302, headers={"Location": "/there.png"}), Answer(200, SCAN))
    assert show(caller, f"{files.url}/a.png").status_code == 200
    files.play(Answer(302, headers={"Location": "file:///etc/passwd"}))
    assert refusal(show(caller, f"{files.url}/b.png")) == (400, "INVALID_URL")
    files.play(*[Answer(302, headers={"Location": "/again"}) for _ in range(6)])
    assert refusal(show(caller, f"{files.url}/c.png")) == (422, "FETCH_FAILED")


def test_what_cannot_be_downloaded_whole_is_a_failed_fetch(caller: Caller, files: ScriptedServer) -> None:
    caller.turn(max_file_bytes=10_000)
    answers = (
        Answer(404), Drop(), Answer(200, SCAN, cut_after=100), Answer(200, b"%PDF-" + bytes(10_000)),
    )  # fmt: skip
    for number, answer in enumerate(answers):
        files.play(answer)
        assert refusal(show(caller, f"{files.url}/{number}.png")) == (422, "FETCH_FAILED"), answer
    assert caller.charges() == []


def test_a_page_instead_of_a_file_cannot_be_read(caller: Caller, files: ScriptedServer) -> None:
    files.play(Answer(200, b"<html>expired</html>"))
    assert refusal(show(caller, f"{files.url}/a.png")) == (422, "EXTRACTION_FAILED")


def test_only_json_is_taken(caller: Caller) -> None:
    url = f"{caller.api}/extract-invoice"
    for body, kind in ((b"file_url=x", "application/x-www-form-urlencoded"), (b"{", "application/json"), (b"[]", "x")):
        answer = caller.session.post(url, data=body, headers={"Content-Type": kind}, timeout=30)
        assert refusal(answer) == (400, "VALIDATION")


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("8.8.8.8", True), ("2001:4860:4860::8888", True), ("::ffff:8.8.8.8", True), ("64:ff9b::808:808", True),
        ("::ffff:10.0.0.1", False), ("64:ff9b::a00:1", False), ("2002:7f00:1::", False), ("fe80::1%eth0", False),
        ("100.64.0.1", False), ("fc00::1", False), ("ff02::1", False), ("255.255.255.255", False),
    ],
)  # fmt: skip
def test_an_address_is_public_or_not(host: str, public: bool) -> None:
    assert is_public(host) is public
