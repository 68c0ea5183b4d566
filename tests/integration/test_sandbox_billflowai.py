"""The stand-in of BillflowAI as its callers meet it: one call per document, its memory, its charges, its refusals."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
import requests
from billflowai_caller import SCAN, Caller

from sandbox import samples_directory
from sandbox.journal import sha256
from sandbox.serving import Sandbox, start

INBOX = samples_directory() / "inbox"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox for all tests; each test comes with a key of its own."""
    with start(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture
def caller(sandbox: Sandbox) -> Iterator[Caller]:
    """A caller with a key that nobody used before."""
    made = Caller(sandbox)
    yield made
    made.session.close()


def test_a_known_document_is_read_as_the_manifest_says(caller: Caller) -> None:
    answer = caller.read(SCAN)
    assert (answer["invoice_number"], answer["date"], answer["currency"]) == ("EV-20299", "2026-06-11", "SEK")
    assert answer["counterparty"] == "Exempel Verkstad AB"
    assert answer["total"] == Decimal("2400.00")
    assert answer["subtotal"] - answer["discount"] + answer["tax"] == answer["total"]
    assert sum(line["line_total"] for line in answer["items"]) + answer["tax"] == answer["total"]
    assert answer["meta"]["source"] == "extracted"


def test_revenue_names_the_customer(caller: Caller) -> None:
    answer = caller.read(SCAN, invoice_kind="revenue")
    assert answer["counterparty"] != "Exempel Verkstad AB"
    assert answer["invoice_kind"] == "revenue"


def test_an_extraction_is_one_charge_of_this_vendor_and_one_stored_invoice(caller: Caller) -> None:
    invoice_id = caller.read(SCAN)["meta"]["invoiceId"]
    [charge] = caller.charges()
    assert (charge["vendor"], charge["job_id"], charge["pages"]) == ("billflowai", invoice_id, 1)
    assert charge["document_sha256"] == sha256(SCAN)
    assert [row["id"] for row in caller.stored()] == [invoice_id]


def test_the_same_bytes_again_come_from_memory_and_cost_nothing(caller: Caller) -> None:
    first, second = caller.read(SCAN), caller.read(SCAN)
    assert second == {**first, "meta": {"source": "cache", "invoiceId": first["meta"]["invoiceId"]}}
    assert len(caller.charges()) == 1


def test_the_memory_is_of_one_key_only(caller: Caller) -> None:
    other = Caller(caller.sandbox)
    invoice_id = caller.read(SCAN)["meta"]["invoiceId"]
    assert other.session.get(f"{other.api}/invoices/{invoice_id}", timeout=30).status_code == 404
    assert other.stored() == []
    assert other.read(SCAN)["meta"]["source"] == "extracted"
    other.session.close()


@pytest.mark.parametrize("form", ["fresh", "stored"])
def test_a_duplicate_is_answered_as_read_now_or_as_stored(caller: Caller, form: str) -> None:
    first = caller.read(SCAN)
    invoice_id = first["meta"]["invoiceId"]
    url = f"{caller.api}/invoices/{invoice_id}"
    caller.turn(read_strangers="on", duplicate_answer=form)
    stranger = b"%PDF- twin"
    number = f"S-{sha256(stranger)[:16].upper()}"
    caller.session.patch(url, json={"parsed_data": {"invoice_number": number}}, timeout=30).raise_for_status()
    second = caller.read(stranger)
    assert second["meta"] == {"source": "duplicate", "invoiceId": invoice_id, "duplicate": True}
    assert (second["total"] == first["total"]) is (form == "stored")
    assert len(caller.charges()) == 2
    assert len(caller.stored()) == 1


def test_what_is_no_invoice_is_read_as_nothing(caller: Caller) -> None:
    answer = caller.read((INBOX / "tools" / "logo.png").read_bytes())
    assert answer.pop("items") == []
    assert answer.pop("meta")["source"] == "extracted"
    assert answer.pop("invoice_kind") == "expense"
    assert len(answer) == 8
    assert set(answer.values()) == {None}


def test_a_strange_document_is_not_read_and_not_charged_and_told_that_this_is_a_rehearsal(caller: Caller) -> None:
    answer = caller.upload(b"%PDF-1.7 of somebody else")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "EXTRACTION_FAILED")
    assert "rehearsal" in answer.json()["error"]["message"]
    assert caller.charges() == []


def test_strangers_are_read_as_sound_invoices_that_differ(caller: Caller) -> None:
    caller.turn(read_strangers="on")
    answers = [caller.read(b"%%PDF-%d" % number) for number in range(5)]
    assert len({answer["invoice_number"] for answer in answers}) == 5
    for answer in answers:
        assert sum(line["quantity"] * line["price"] for line in answer["items"]) == answer["subtotal"]
        assert answer["subtotal"] - answer["discount"] + answer["tax"] == answer["total"]


def test_only_known_forms_up_to_a_size_are_taken(caller: Caller) -> None:
    caller.turn(max_file_bytes=1_000)
    for content in (b"<Invoice/>", b"", b"%PDF-" + bytes(1_000), b"%PDF-" + bytes(500_000)):
        assert caller.refusal(content) == (400, "VALIDATION")
    assert caller.refusal(SCAN[:900], invoice_kind="both") == (400, "VALIDATION")
    assert caller.charges() == []


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--x\r\n"), ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"no boundary at all"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\n" + b"A: b\r\n" * 20_000),
        ("application/json", b"{}"), ("", b"%PDF-"),
    ],
)  # fmt: skip
def test_a_hostile_form_is_a_400_and_no_charge(caller: Caller, content_type: str, body: bytes) -> None:
    url, headers = f"{caller.api}/extract-invoice-file", {"Content-Type": content_type}
    answer = caller.session.post(url, data=body, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "VALIDATION")
    assert caller.charges() == []


def test_stored_invoices_have_pages_newest_first(caller: Caller) -> None:
    caller.turn(read_strangers="on")
    ids = [caller.read(b"%%PDF-%d" % n)["meta"]["invoiceId"] for n in range(3)]
    answer = caller.session.get(f"{caller.api}/invoices", params={"page": 1, "pageSize": 2}, timeout=30).json()
    assert [row["id"] for row in answer["invoices"]] == [ids[2], ids[1]]
    assert answer["pagination"] == {"page": 1, "pageSize": 2, "totalPages": 2, "total": 3}
    for wrong in ({"page": 0}, {"pageSize": 101}, {"page": "x"}):
        refused = caller.session.get(f"{caller.api}/invoices", params=wrong, timeout=30)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "VALIDATION")


def test_a_stored_invoice_is_corrected_and_deleted_and_then_its_file_is_new_again(caller: Caller) -> None:
    url = f"{caller.api}/invoices/{caller.read(SCAN)['meta']['invoiceId']}"
    changed = caller.session.patch(
        url, json={"invoice_kind": "revenue", "parsed_data": {"counterparty": "Other"}}, timeout=30
    )
    assert (changed.json()["invoice_kind"], changed.json()["counterparty"]) == ("revenue", "Other")
    assert changed.json()["parsed_data"]["invoice_number"] == "EV-20299"
    assert caller.session.get(url, timeout=30).json() == changed.json()
    assert caller.session.delete(url, timeout=30).json()["deleted"] is True
    assert caller.session.delete(url, timeout=30).status_code == 404
    assert caller.read(SCAN)["meta"]["source"] == "extracted"


def test_without_a_key_of_ours_nobody_comes_in(caller: Caller) -> None:
    for url in (f"{caller.api}/invoices", f"{caller.api}/nothing"):
        for header in ({}, {"Authorization": "Bearer bf_live_secret"}, {"Authorization": "Bearer a.b.c"}):
            answer = requests.get(url, headers=header, timeout=30)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "UNAUTHORIZED")
    assert b"bf_live_secret" not in b"".join(p.read_bytes() for p in caller.sandbox.state.iterdir())
