"""The client of the one-call vendor against its stand-in: one document, its memory, its refusals, its lost answers."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from decimal import Decimal

import pytest

from invoices.clients.billflowai import BillflowAi, ExtractionFailed, Reading
from invoices.clients.minted_urls import mint_url
from invoices.clients.transport import make_session
from invoices.errors import AccountError, DocumentError, InvoicesError, TransientError, UnknownOutcome
from sandbox import samples_directory
from sandbox.serving import Sandbox, start

SCAN = (samples_directory() / "inbox" / "scans" / "scan0001.png").read_bytes()
KEYS = (f"bf_live_sandbox_client_{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with start(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


class Caller:
    """A client with a key, and thus a world, of its own."""

    def __init__(self, sandbox: Sandbox, client: BillflowAi, key: str) -> None:
        self.sandbox, self.client, self.key = sandbox, client, key

    def turn(self, **knobs: object) -> None:
        self.sandbox.turn(self.key, **{f"billflowai__{name}": value for name, value in knobs.items()})

    def read(self) -> Reading:
        return self.client.extract_file(SCAN, "scan0001.png", "image/png")

    def charged(self) -> int:
        return len(self.sandbox.journal(self.key)["charges"])


@pytest.fixture
def caller(sandbox: Sandbox) -> Iterator[Caller]:
    key = next(KEYS)
    with make_session() as session:
        yield Caller(sandbox, BillflowAi(sandbox.billflowai["base_url"], key, session, deadline=30), key)


def test_a_document_is_read_once_and_then_remembered(caller: Caller) -> None:
    first, second = caller.read(), caller.read()
    assert (first.source, second.source, caller.charged()) == ("extracted", "cache", 1)
    assert isinstance(first.answer["total"], int | Decimal)
    assert first.answer["items"]
    assert [stored.id for stored in caller.client.invoices()] == [first.invoice_id] == [second.invoice_id]


def test_the_vendors_sample_and_its_gaps_are_read(caller: Caller) -> None:
    caller.turn(vendor_sample=True, line_total_null=True, numbers_as_strings=True, drop_fields="tax,meta")
    reading = caller.read()
    assert reading.source is None
    assert reading.answer["total"] == "1200"
    assert reading.answer["items"][0]["line_total"] is None
    assert "tax" not in reading.answer


@pytest.mark.parametrize(
    ("code", "kind"),
    [("QUOTA_EXCEEDED", AccountError), ("EXTRACTION_FAILED", ExtractionFailed), ("INVALID_URL", DocumentError),
     ("RATE_LIMITED", TransientError), ("502", UnknownOutcome), ("503", TransientError), ("504", UnknownOutcome),
     ("INTERNAL", UnknownOutcome)],
)  # fmt: skip
def test_a_refusal_is_understood_and_costs_nothing(caller: Caller, code: str, kind: type[InvoicesError]) -> None:
    caller.turn(fail_code=code)
    with pytest.raises(kind):
        caller.read()
    assert caller.charged() == 0


@pytest.mark.parametrize("knob", ["lost_response", "http_500_after_work"])
def test_work_whose_answer_is_lost_is_unknown_and_was_charged(caller: Caller, knob: str) -> None:
    caller.turn(**{knob: 1})
    with pytest.raises(UnknownOutcome):
        caller.read()
    assert caller.charged() == 1


def test_an_address_the_vendor_cannot_fetch_concerns_the_document(caller: Caller) -> None:
    caller.turn(fail_code="FETCH_FAILED")
    expires_at = dt.datetime(2999, 1, 1, tzinfo=dt.UTC)
    with pytest.raises(DocumentError) as caught:
        caller.client.extract_url(mint_url("https://papers.example.com", "s" * 32, "ab" * 32, "pdf", expires_at))
    assert caught.value.reason_code == "fetch_failed"
