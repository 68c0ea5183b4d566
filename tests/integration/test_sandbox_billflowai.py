"""The stand-in of BillflowAI as its callers meet it: one call per document, its memory, its charges, its refusals."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import requests

from sandbox import samples_directory
from sandbox.exact_json import loads
from sandbox.journal import sha256
from sandbox.serving import Sandbox, start

INBOX = samples_directory() / "inbox"
SCAN = (INBOX / "scans" / "scan0001.png").read_bytes()
KEYS = (f"bf_live_sandbox_{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox for all tests; each test comes with a key of its own."""
    with start(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


class Caller:
    """Someone with an API key of their own."""

    def __init__(self, sandbox: Sandbox, key: str | None = None) -> None:
        self.sandbox, self.key = sandbox, key or next(KEYS)
        self.api = sandbox.billflowai["base_url"] + "/api"
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {self.key}"

    def turn(self, **knobs: object) -> None:
        self.sandbox.turn(self.key, **{f"billflowai__{name}": value for name, value in knobs.items()})

    def upload(self, content: bytes, **fields: str) -> requests.Response:
        files = {"file": ("f", content)}
        return self.session.post(f"{self.api}/extract-invoice-file", files=files, data=fields, timeout=30)

    def read(self, content: bytes, **fields: str) -> dict[str, Any]:
        """Upload and return the answer, numbers as Decimal."""
        answer = self.upload(content, **fields)
        assert answer.status_code == 200, answer.text
        read: dict[str, Any] = loads(answer.content)
        return read

    def refusal(self, content: bytes, **fields: str) -> tuple[int, str]:
        answer = self.upload(content, **fields)
        return answer.status_code, answer.json()["error"]["code"]

    def charges(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.sandbox.journal(self.key)["charges"]
        return found

    def stored(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.session.get(f"{self.api}/invoices", timeout=30).json()["invoices"]
        return rows


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
