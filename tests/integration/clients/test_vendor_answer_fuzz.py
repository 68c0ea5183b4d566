"""Mutated answers of every vendor: each call ends with a result or with one of our errors, whatever an answer holds."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from invoices.clients.billflowai import BillflowAiClient
from invoices.clients.http_client import make_session
from invoices.clients.invoicedataextraction_com import InvoiceDataExtractionClient
from invoices.clients.smartbills_com import SmartBillsComClient
from invoices.clients.smartbills_io import SmartBillsIoClient
from invoices.errors import InvoicesError
from tests.integration.clients.invoicedataextraction_com_responses import ROUTES
from tests.mutation import CASES_DIRECTORY, build_random, iter_case_numbers, mutate_json
from tests.servers.scripted_http_server import Response, ScriptedServer

KEY, TIMESTAMP = "key-4f1e", "2026-01-15T10:30:00Z"
JOB = {
    "id": "inv_1", "status": "completed", "created_at": TIMESTAMP, "file_url": "https://files.smartbills.com/1.pdf",
    "extracted_data": {
        "invoice_number": "A-17", "total_amount": 1250.0, "vendor": {"name": "Example SA"},
        "line_items": [{"description": "Service", "quantity": 1, "unit_price": 1250.0}],
    },
}  # fmt: skip
ANSWER = {
    "invoice_number": "INV-12345", "date": "2026-03-20", "counterparty": "Acme Corp", "total": 1200, "subtotal": 1000,
    "tax": 200, "currency": "USD", "items": [{"description": "Service", "quantity": 1, "price": 1000}],
    "meta": {"source": "extracted", "invoiceId": "0b0f2a0e-5d0a-4c52-9a0c-6a2d6d9a5f11"},
}  # fmt: skip
RECEIPT = {"id": 12, "receiptId": "abc-v1", "createdAt": TIMESTAMP, "total": {"amount": 1.5, "currency": "EUR"}}
PAGE = {"data": [RECEIPT, {**RECEIPT, "id": 13}], "metadata": {"page": 1, "pageSize": 50, "totalPages": 1, "total": 2}}

Call = Callable[[str, requests.Session], Any]
CALLS: dict[str, tuple[Call, Any]] = {
    "smartbills_com poll": (lambda url, http: SmartBillsComClient(url, KEY, http, deadline=2).poll_job("inv_1"), JOB),
    "smartbills_com list": (lambda url, http: SmartBillsComClient(url, KEY, http, deadline=2).list_jobs(), [JOB, JOB]),
    "smartbills_com submit": (
        lambda url, http: SmartBillsComClient(url, KEY, http, deadline=2).submit_document(b"x", "a.pdf", "text/plain"),
        JOB,
    ),
    "smartbills_io receipt": (
        lambda url, http: SmartBillsIoClient(f"{url}/v1", KEY, "t", http, deadline=2).fetch_receipt(12), RECEIPT,
    ),
    "smartbills_io list": (
        lambda url, http: SmartBillsIoClient(f"{url}/v1", KEY, "t", http, deadline=2).fetch_receipt_page(), PAGE,
    ),
    "smartbills_io create": (
        lambda url, http: SmartBillsIoClient(f"{url}/v1", KEY, "t", http, deadline=2).create_receipt({}, "abc-v1"),
        RECEIPT,
    ),
    "billflowai extract": (
        lambda url, http: BillflowAiClient(url, KEY, http, deadline=2).extract_file(b"x", "a.pdf", "text/plain"),
        ANSWER,
    ),
    "billflowai list": (
        lambda url, http: BillflowAiClient(url, KEY, http, deadline=2).list_invoices(),
        {"invoices": [{"id": "i1", "invoice_number": "A-17", "created_at": TIMESTAMP}]},
    ),
    **{
        f"invoicedataextraction_com {name}": (
            lambda url, http, call=route[0]: call(InvoiceDataExtractionClient(f"{url}/v1", KEY, http, deadline=2)),
            route[1],
        )
        for name, route in ROUTES.items()
    },
}  # fmt: skip


@pytest.fixture
def http_session() -> Iterator[requests.Session]:
    """A session as the clients use it."""
    with make_session() as session:
        yield session


@pytest.mark.parametrize("path", sorted((CASES_DIRECTORY / "vendor").glob("*")), ids=lambda path: path.name)
def test_an_answer_that_once_failed_is_handled(
    server: ScriptedServer, http_session: requests.Session, path: Path
) -> None:
    name = path.name.partition(" - ")[0]
    server.set_replies(Response(200, path.read_bytes(), {"Content-Type": "application/json"}))
    with contextlib.suppress(InvoicesError):
        CALLS[name][0](server.url, http_session)


@pytest.mark.sweep
def test_no_answer_of_a_vendor_fails_a_client(
    server: ScriptedServer, http_session: requests.Session, record_property: Callable[[str, object], None]
) -> None:
    outcomes: Counter[str] = Counter()
    for number in iter_case_numbers(3 * len(CALLS)):
        name = sorted(CALLS)[number % len(CALLS)]
        call, answer = CALLS[name]
        random = build_random("vendor", number)
        body, status = mutate_json(answer, random), random.choice((200, 200, 200, 201, 400, 409, 422, 500))
        server.set_replies(Response(status, body, {"Content-Type": "application/json"}))
        try:
            call(server.url, http_session)
            outcomes["result"] += 1
        except InvoicesError as error:
            outcomes[type(error).__name__] += 1
        except Exception as error:
            raise AssertionError(f"case {number} of {name!r}, status {status}: {body!r}") from error
    record_property("outcomes", dict(outcomes))
