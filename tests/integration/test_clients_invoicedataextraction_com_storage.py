"""Parts and outputs of the batch extraction API: no key goes to the storage, and no half of anything is believed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import requests
from invoicedataextraction_answers import ID, KEY, PAGE
from scripted_server import Answer, Drop, ScriptedServer

from invoices.clients.invoicedataextraction_com import ExpiredUrl, InvoiceDataExtraction, PartRefused
from invoices.clients.transport import Patience, exchange, make_session
from invoices.errors import ContractError, InvoicesError, TransientError

XML = {"Content-Type": "application/xml"}
EXPIRED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[InvoiceDataExtraction]:
    with make_session() as session:
        yield InvoiceDataExtraction(f"{server.url}/v1", KEY, session, deadline=2)


def test_a_part_is_put_with_nothing_but_its_bytes(server: ScriptedServer, client: InvoiceDataExtraction) -> None:
    server.play(Answer(200, headers={"ETag": '"d41d8cd98f"'}))
    assert client.put_part(f"{server.url}/s/p1?X-Amz-Signature=s%2F1", b"%PDF\x00\r\n") == '"d41d8cd98f"'
    [seen] = server.seen
    assert (seen.method, seen.target, seen.body) == ("PUT", "/s/p1?X-Amz-Signature=s%2F1", b"%PDF\x00\r\n")
    assert set(seen.headers) == {"host", "user-agent", "accept", "accept-encoding", "connection", "content-length"}
    assert KEY not in str(seen)


def test_not_even_a_session_with_credentials_of_its_own_shows_them_to_the_storage(server: ScriptedServer) -> None:
    server.play(Answer(200, b"x", {"ETag": '"a"'}))
    with make_session() as session:
        session.headers["X-API-Key"] = KEY
        session.auth = ("user", KEY)
        client = InvoiceDataExtraction(f"{server.url}/v1", KEY, session)
        client.put_part(f"{server.url}/p", b"x")
        client.download(f"{server.url}/d")
    assert KEY not in str(server.seen)
    assert not any("authorization" in seen.headers for seen in server.seen)


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (Answer(200), TransientError), (Answer(200, headers={"ETag": ""}), TransientError),
        (Answer(200, headers={"ETag": "abc"}), TransientError),
        (Answer(200, headers={"ETag": '"a"b"'}), TransientError),
        (Answer(200, EXPIRED, {"ETag": '"a"', **XML}), TransientError), (Drop(), TransientError),
        (Answer(200, b"ab", {"ETag": '"a"'}, claims=9, cut_after=2), TransientError),
        (Answer(500), TransientError), (Answer(503, b"<Error><Code>SlowDown</Code></Error>", XML), TransientError),
        (Answer(400, b"<Error><Code>RequestTimeout</Code></Error>", XML), TransientError),
        (Answer(429), TransientError), (Answer(403, EXPIRED, XML), ExpiredUrl), (Answer(404), ExpiredUrl),
        (Answer(401), ExpiredUrl), (Answer(400, b"<Error><Code>ExpiredToken</Code></Error>", XML), ExpiredUrl),
        (Answer(400, b"<Error><Code>BadDigest</Code></Error>", XML), PartRefused), (Answer(411), PartRefused),
        (Answer(307, headers={"Location": "http://169.254.169.254/"}), ContractError),
    ],
)  # fmt: skip
def test_nothing_but_a_quoted_e_tag_proves_a_part(
    server: ScriptedServer, client: InvoiceDataExtraction, step: Answer | Drop, kind: type[InvoicesError]
) -> None:
    server.play(step)
    with pytest.raises(kind) as caught:
        client.put_part(f"{server.url}/p?X-Amz-Signature=very-secret", b"x")
    assert type(caught.value) is kind
    assert "very-secret" not in str(caught.value)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (Answer(403, EXPIRED, XML), ExpiredUrl), (Answer(404), ExpiredUrl), (Answer(500), TransientError),
        (Answer(200, b"[]", framing="close"), TransientError),
        (Answer(200, b"[]", claims=9, cut_after=2), TransientError),
        (Drop(), TransientError), (Answer(400), ContractError), (Answer(416), ContractError),
        (Answer(302, headers={"Location": "http://127.0.0.1:1/"}), ContractError),
    ],
)  # fmt: skip
def test_an_output_is_whole_or_an_error(
    server: ScriptedServer, client: InvoiceDataExtraction, step: Answer | Drop, kind: type[InvoicesError]
) -> None:
    server.play(step)
    with pytest.raises(kind) as caught:
        client.download(f"{server.url}/d?sig=very-secret")
    assert type(caught.value) is kind
    assert "very-secret" not in str(caught.value)


def test_an_output_cut_anywhere_is_never_taken_for_whole(server: ScriptedServer, client: InvoiceDataExtraction) -> None:
    body = b'[{"No":"A"},{"No":"B"}]'
    for end in range(0, len(body), 4):
        server.play(Answer(200, body, cut_after=end))
        with pytest.raises(TransientError):
            client.download(f"{server.url}/d")


def test_an_output_is_bounded(server: ScriptedServer, client: InvoiceDataExtraction) -> None:
    server.play(Answer(200, b"x" * 101))
    assert len(client.download(f"{server.url}/d", largest=101)) == 101
    with pytest.raises(ContractError, match="larger than allowed"):
        client.download(f"{server.url}/d", largest=100)


def test_a_dripping_storage_is_left_in_time(server: ScriptedServer) -> None:
    server.play(Answer(200, b" " * 5000, {"ETag": '"a"'}, drip=0.05))
    with make_session() as session:
        hasty = InvoiceDataExtraction(f"{server.url}/v1", KEY, session, deadline=0.2)
        with pytest.raises(TransientError, match=r"within 0\.2 s"):
            hasty.download(f"{server.url}/d")
        with pytest.raises(TransientError, match=r"within 0\.2 s"):
            hasty.put_part(f"{server.url}/p", b"x")


FORBIDDEN = [
    "http://storage.example/p", "http://169.254.169.254/latest", "https://169.254.169.254/", "https://10.0.0.1/p",
    "https://192.168.1.1:9000/", "https://0x0a000001/", "https://012.0.0.1/", "https://0/",
    "https://[::ffff:10.0.0.1]/", "https://[fe80::1]/", "https://[64:ff9b::a9fe:a9fe]/", "https://[fd00::1]/",
    "https://u@storage.example/", "file:///etc/passwd", "ftp://127.0.0.1:{port}/", "//127.0.0.1:{port}/", "", "https://",
    "http://127.0.0.1.nip.io:{port}/", "http://127.0.0.1:{port}\\@e.test/", "https://[::1", "https://e.test:99999/",
    "https://storage.example/a b", "https://storage.example/\r\nX: 1", "https://störage.example/", "http://2130706433:{port}/",
    "https://224.0.0.1/", "https://100.64.0.1/",
]  # fmt: skip


@pytest.mark.parametrize("url", FORBIDDEN)
def test_no_other_place_is_asked(server: ScriptedServer, client: InvoiceDataExtraction, url: str) -> None:
    there = url.replace("{port}", server.url.rpartition(":")[2])
    for ask in (lambda: client.download(there), lambda: client.put_part(there, b"x")):
        with pytest.raises(ContractError, match="the storage is said to be at"):
            ask()
    assert server.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.1", "2130706433"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_vendor_itself_never_sends_us_to_this_machine(server: ScriptedServer, scheme: str, host: str) -> None:
    with make_session() as session:
        client = InvoiceDataExtraction("https://api.invoicedataextraction.com/v1", KEY, session, deadline=2)
        with pytest.raises(InvoicesError):
            client.download(f"{scheme}://{host}:{server.url.rpartition(':')[2]}/d")
    assert server.seen == []


def test_a_name_that_leads_to_a_forbidden_address_is_sent_nothing(server: ScriptedServer) -> None:
    asked: list[str] = []
    request = requests.Request("GET", server.url.replace("127.0.0.1", "localhost"))
    with make_session() as session, pytest.raises(ContractError, match="not a public address"):
        exchange(session, request, Patience.within(2), may_speak_with=lambda place: bool(asked.append(place)))
    assert asked == ["127.0.0.1"]
    assert server.seen == []


def test_the_rows_of_a_file_are_exact(server: ScriptedServer, client: InvoiceDataExtraction) -> None:
    address = Answer.json({"download_url": f"{server.url}/d?sig=1", "format": "json", "expires_in_seconds": 300})
    body = '[{"Total": 1250.10, "Paid": true, "Source File": "ä.pdf (Page 1)"}, {}]'.encode()
    server.play(address, Answer(200, body, {"Content-Type": "binary/octet-stream"}))
    first, second = client.output_rows(ID)
    assert (str(first["Total"]), first["Paid"], first["Source File"], second) == ("1250.10", True, "ä.pdf (Page 1)", {})
    assert [seen.target for seen in server.seen] == [f"/v1/extractions/{ID}/output?format=json", "/d?sig=1"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"null", b"[1]", b'[{"a": [1]}]', b'[{"a": {}}]', b"<html>", b"\xef\xbb\xbf[]", b'[{"a": NaN}]',
     b'[{"a": 1, "a": 2}]', b'[{"a": 1e400}]', "[]".encode("utf-16"), b"[" * 100_000],
)  # fmt: skip
def test_a_file_of_anything_but_flat_rows_is_unusable(
    server: ScriptedServer, client: InvoiceDataExtraction, body: bytes
) -> None:
    server.play(Answer.json({"download_url": f"{server.url}/d", "format": "json"}), Answer(200, body))
    with pytest.raises(ContractError, match="the output of"):
        client.output_rows(ID)


def page(numbers: range, total: int | None, **more: Any) -> dict[str, Any]:
    rows = [{"No": number} for number in numbers]
    ending = {"has_more": False, "next_offset": None} if numbers.stop == total else {}
    return {
        **PAGE, "rows": rows, "offset": numbers.start, "row_count": len(rows), "total_rows": total, "has_more": True,
        "next_offset": numbers.stop, **ending, **more,
    }  # fmt: skip


def test_results_are_turned_to_their_end(server: ScriptedServer, client: InvoiceDataExtraction) -> None:
    extra = {"columns": ["No", "Late"], "review_needed": {"count": 1, "items": [{"message": "Look"}]}}
    server.play(Answer.json(page(range(2), 3, **extra)), Answer.json(page(range(2, 3), 3)))
    results = client.results(ID)
    assert [row["No"] for row in results.rows] == [0, 1, 2]
    assert (results.columns, results.json_typed_values) == (("No", "Late", "Total"), True)
    assert [item.message for item in results.review_items] == ["Look"]
    assert [seen.query for seen in server.seen] == [{"offset": o, "limit": "1000"} for o in ("0", "2")]


def test_an_output_without_rows_has_none(server: ScriptedServer, client: InvoiceDataExtraction) -> None:
    server.play(Answer.json(page(range(0), 0)))
    assert client.results(ID).rows == ()


@pytest.mark.parametrize(
    "last",
    [page(range(2, 3), 3, total_rows=4), page(range(2, 4), 4, total_rows=4), page(range(2, 2), 3, has_more=False)],
)
def test_rows_that_are_not_as_many_as_told_are_asked_for_again(
    server: ScriptedServer, client: InvoiceDataExtraction, last: Any
) -> None:
    server.play(Answer.json(page(range(2), 3)), Answer.json(last))
    with pytest.raises(TransientError, match="rows"):
        client.results(ID)


@pytest.mark.parametrize(
    "more",
    [{"next_offset": 0}, {"next_offset": 1}, {"next_offset": 3}, {"next_offset": None}, {"rows": [], "row_count": 0},
     {"has_more": None}, {"has_more": "yes"}, {"rows": None}, {"rows": [[1]]}, {"rows": [{"a": {}}], "row_count": 1},
     {"row_count": 3}, {"offset": 5}, {"pages": {"failed": [{"page": 1}]}}],
)  # fmt: skip
def test_pages_that_do_not_go_on_where_they_end_are_unusable(
    server: ScriptedServer, client: InvoiceDataExtraction, more: dict[str, Any]
) -> None:
    server.play(Answer.json(page(range(2), 3, **more)))
    with pytest.raises(ContractError):
        client.results(ID)
    assert len(server.seen) == 1


def test_results_without_an_end_are_left(server: ScriptedServer, client: InvoiceDataExtraction) -> None:
    def endless(seen: Any) -> Answer:
        start = int(seen.query["offset"])
        return Answer.json(page(range(start, start + 1), None))

    server.react(endless)
    with pytest.raises(ContractError, match="do not end"):
        client.results(ID)
    assert len(server.seen) == 1000


def test_a_page_of_rows_may_be_larger_than_other_answers(server: ScriptedServer, client: InvoiceDataExtraction) -> None:
    row = json.dumps({**PAGE, "rows": [{"No": "x" * 11_000_000}]}).encode()
    server.play(Answer(200, row, {"Content-Type": "application/json"}))
    assert len(client.results(ID).rows[0]["No"]) == 11_000_000
    with pytest.raises(ContractError, match="larger than allowed"):
        client.balance()


def test_fractions_of_a_page_are_decimal(server: ScriptedServer, client: InvoiceDataExtraction) -> None:
    server.play(Answer.json({**PAGE, "rows": [{"Total": 0.1}]}))
    assert client.results_page(ID, 0, 1).rows[0]["Total"] == Decimal("0.1")
