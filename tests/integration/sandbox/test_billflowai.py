"""The stand-in for BillflowAI over HTTP: one call per document, its cache, its charges, its errors."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
import requests

from sandbox import get_samples_directory
from sandbox.journal import compute_sha256
from sandbox.process import Sandbox
from tests.integration.sandbox.billflowai_api_client import SCAN_CONTENT, ApiClient

INBOX = get_samples_directory() / "inbox"


@pytest.fixture
def api_client(sandbox: Sandbox) -> Iterator[ApiClient]:
    """Return a client with an unused API key."""
    new_client = ApiClient(sandbox)
    yield new_client
    new_client.session.close()


def test_a_sample_document_is_extracted_as_the_manifest_says(api_client: ApiClient) -> None:
    answer = api_client.read_invoice(SCAN_CONTENT)
    assert (answer["invoice_number"], answer["date"], answer["currency"]) == ("EV-20299", "2026-06-11", "SEK")
    assert answer["counterparty"] == "Exempel Verkstad AB"
    assert answer["total"] == Decimal("2400.00")
    assert answer["subtotal"] - answer["discount"] + answer["tax"] == answer["total"]
    assert sum(line["line_total"] for line in answer["items"]) + answer["tax"] == answer["total"]
    assert answer["meta"]["source"] == "extracted"


def test_revenue_names_the_customer(api_client: ApiClient) -> None:
    answer = api_client.read_invoice(SCAN_CONTENT, invoice_kind="revenue")
    assert answer["counterparty"] != "Exempel Verkstad AB"
    assert answer["invoice_kind"] == "revenue"


def test_an_extraction_is_one_charge_of_this_vendor_and_one_stored_invoice(api_client: ApiClient) -> None:
    invoice_id = api_client.read_invoice(SCAN_CONTENT)["meta"]["invoiceId"]
    [charge] = api_client.list_charges()
    assert (charge["vendor"], charge["job_id"], charge["pages"]) == ("billflowai", invoice_id, 1)
    assert charge["document_sha256"] == compute_sha256(SCAN_CONTENT)
    assert [row["id"] for row in api_client.list_stored_invoices()] == [invoice_id]


def test_the_same_bytes_again_come_from_the_cache_and_cost_nothing(api_client: ApiClient) -> None:
    first, second = api_client.read_invoice(SCAN_CONTENT), api_client.read_invoice(SCAN_CONTENT)
    assert second == {**first, "meta": {"source": "cache", "invoiceId": first["meta"]["invoiceId"]}}
    assert len(api_client.list_charges()) == 1


def test_the_cache_of_a_key_is_its_own(api_client: ApiClient) -> None:
    other = ApiClient(api_client.sandbox)
    invoice_id = api_client.read_invoice(SCAN_CONTENT)["meta"]["invoiceId"]
    assert other.session.get(f"{other.api_url}/invoices/{invoice_id}", timeout=30).status_code == 404
    assert other.list_stored_invoices() == []
    assert other.read_invoice(SCAN_CONTENT)["meta"]["source"] == "extracted"
    other.session.close()


@pytest.mark.parametrize("form", ["fresh", "stored"])
def test_a_duplicate_is_answered_with_the_new_or_the_stored_extraction(api_client: ApiClient, form: str) -> None:
    first = api_client.read_invoice(SCAN_CONTENT)
    invoice_id = first["meta"]["invoiceId"]
    url = f"{api_client.api_url}/invoices/{invoice_id}"
    api_client.update_sandbox_settings(read_strangers="on", duplicate_answer=form)
    unknown_pdf = b"%PDF- twin"
    number = f"S-{compute_sha256(unknown_pdf)[:16].upper()}"
    api_client.session.patch(url, json={"parsed_data": {"invoice_number": number}}, timeout=30).raise_for_status()
    second = api_client.read_invoice(unknown_pdf)
    assert second["meta"] == {"source": "duplicate", "invoiceId": invoice_id, "duplicate": True}
    assert (second["total"] == first["total"]) is (form == "stored")
    assert len(api_client.list_charges()) == 2
    assert len(api_client.list_stored_invoices()) == 1


def test_a_document_that_is_not_an_invoice_has_null_fields(api_client: ApiClient) -> None:
    answer = api_client.read_invoice((INBOX / "tools" / "logo.png").read_bytes())
    assert answer.pop("items") == []
    assert answer.pop("meta")["source"] == "extracted"
    assert answer.pop("invoice_kind") == "expense"
    assert len(answer) == 8
    assert set(answer.values()) == {None}


def test_an_unknown_document_is_refused_with_a_message_about_the_rehearsal_and_not_charged(
    api_client: ApiClient,
) -> None:
    answer = api_client.upload_file(b"%PDF-1.7 of somebody else")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "EXTRACTION_FAILED")
    assert "rehearsal" in answer.json()["error"]["message"]
    assert api_client.list_charges() == []


def test_unknown_documents_can_be_different_correct_invoices(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(read_strangers="on")
    answers = [api_client.read_invoice(b"%%PDF-%d" % number) for number in range(5)]
    assert len({answer["invoice_number"] for answer in answers}) == 5
    for answer in answers:
        assert sum(line["quantity"] * line["price"] for line in answer["items"]) == answer["subtotal"]
        assert answer["subtotal"] - answer["discount"] + answer["tax"] == answer["total"]


def test_only_known_file_types_up_to_the_size_limit_are_accepted(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(max_file_bytes=1_000)
    for content in (b"<Invoice/>", b"", b"%PDF-" + bytes(1_000), b"%PDF-" + bytes(500_000)):
        assert api_client.upload_refused_file(content) == (400, "VALIDATION")
    assert api_client.upload_refused_file(SCAN_CONTENT[:900], invoice_kind="both") == (400, "VALIDATION")
    assert api_client.list_charges() == []


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
def test_a_hostile_form_is_a_400_and_no_charge(api_client: ApiClient, content_type: str, body: bytes) -> None:
    url, headers = f"{api_client.api_url}/extract-invoice-file", {"Content-Type": content_type}
    answer = api_client.session.post(url, data=body, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "VALIDATION")
    assert api_client.list_charges() == []


def test_stored_invoices_have_pages_newest_first(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(read_strangers="on")
    ids = [api_client.read_invoice(b"%%PDF-%d" % n)["meta"]["invoiceId"] for n in range(3)]
    answer = api_client.session.get(
        f"{api_client.api_url}/invoices", params={"page": 1, "pageSize": 2}, timeout=30
    ).json()
    assert [row["id"] for row in answer["invoices"]] == [ids[2], ids[1]]
    assert answer["pagination"] == {"page": 1, "pageSize": 2, "totalPages": 2, "total": 3}
    for wrong in ({"page": 0}, {"pageSize": 101}, {"page": "x"}):
        refused = api_client.session.get(f"{api_client.api_url}/invoices", params=wrong, timeout=30)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "VALIDATION")


def test_a_stored_invoice_is_corrected_and_deleted_and_then_its_file_is_new_again(api_client: ApiClient) -> None:
    url = f"{api_client.api_url}/invoices/{api_client.read_invoice(SCAN_CONTENT)['meta']['invoiceId']}"
    changed = api_client.session.patch(
        url, json={"invoice_kind": "revenue", "parsed_data": {"counterparty": "Other"}}, timeout=30
    )
    assert (changed.json()["invoice_kind"], changed.json()["counterparty"]) == ("revenue", "Other")
    assert changed.json()["parsed_data"]["invoice_number"] == "EV-20299"
    assert api_client.session.get(url, timeout=30).json() == changed.json()
    assert api_client.session.delete(url, timeout=30).json()["deleted"] is True
    assert api_client.session.delete(url, timeout=30).status_code == 404
    assert api_client.read_invoice(SCAN_CONTENT)["meta"]["source"] == "extracted"


def test_calls_without_a_sandbox_key_are_refused(api_client: ApiClient) -> None:
    for url in (f"{api_client.api_url}/invoices", f"{api_client.api_url}/nothing"):
        for header in ({}, {"Authorization": "Bearer bf_live_secret"}, {"Authorization": "Bearer a.b.c"}):
            answer = requests.get(url, headers=header, timeout=30)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "UNAUTHORIZED")
    assert b"bf_live_secret" not in b"".join(p.read_bytes() for p in api_client.sandbox.state_directory.iterdir())
