"""The BillflowAI client against the sandbox: one document, the cache, refusals and lost responses."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from decimal import Decimal

import pytest

from invoices.clients.billflowai import BillflowAiClient, ExtractionFailed, ExtractionResponse
from invoices.clients.http_client import make_session
from invoices.clients.presigned_urls import build_presigned_url
from invoices.errors import AccountError, DocumentError, InvoicesError, TransientError, UnknownOutcome
from sandbox import get_samples_directory
from sandbox.process import Sandbox, start_sandbox

SCAN_CONTENT = (get_samples_directory() / "inbox" / "scans" / "scan0001.png").read_bytes()
API_KEYS = (f"bf_live_sandbox_client_{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with start_sandbox(tmp_path_factory.mktemp("sandbox")) as running_sandbox:
        yield running_sandbox


class SandboxAccount:
    """A client with its own key, and so with its own data in the sandbox."""

    def __init__(self, sandbox: Sandbox, client: BillflowAiClient, api_key: str) -> None:
        self.sandbox, self.client, self.api_key = sandbox, client, api_key

    def update_sandbox_settings(self, **sandbox_settings: object) -> None:
        self.sandbox.update_settings(
            self.api_key, **{f"billflowai__{name}": value for name, value in sandbox_settings.items()}
        )

    def extract_scan(self) -> ExtractionResponse:
        return self.client.extract_file(SCAN_CONTENT, "scan0001.png", "image/png")

    def count_charges(self) -> int:
        return len(self.sandbox.read_journal(self.api_key)["charges"])


@pytest.fixture
def account(sandbox: Sandbox) -> Iterator[SandboxAccount]:
    api_key = next(API_KEYS)
    with make_session() as session:
        yield SandboxAccount(
            sandbox, BillflowAiClient(sandbox.billflowai["base_url"], api_key, session, deadline=30), api_key
        )


def test_a_document_is_extracted_once_and_then_cached(account: SandboxAccount) -> None:
    first, second = account.extract_scan(), account.extract_scan()
    assert (first.source, second.source, account.count_charges()) == ("extracted", "cache", 1)
    assert isinstance(first.payload["total"], int | Decimal)
    assert first.payload["items"]
    assert [stored.id for stored in account.client.list_invoices()] == [first.invoice_id] == [second.invoice_id]


def test_the_vendors_sample_with_missing_fields_is_parsed(account: SandboxAccount) -> None:
    account.update_sandbox_settings(
        vendor_sample=True, line_total_null=True, numbers_as_strings=True, drop_fields="tax,meta"
    )
    extraction = account.extract_scan()
    assert extraction.source is None
    assert extraction.payload["total"] == "1200"
    assert extraction.payload["items"][0]["line_total"] is None
    assert "tax" not in extraction.payload


@pytest.mark.parametrize(
    ("code", "error_type"),
    [("QUOTA_EXCEEDED", AccountError), ("EXTRACTION_FAILED", ExtractionFailed), ("INVALID_URL", DocumentError),
     ("RATE_LIMITED", TransientError), ("502", UnknownOutcome), ("503", TransientError), ("504", UnknownOutcome),
     ("INTERNAL", UnknownOutcome)],
)  # fmt: skip
def test_a_refusal_is_mapped_and_costs_nothing(
    account: SandboxAccount, code: str, error_type: type[InvoicesError]
) -> None:
    account.update_sandbox_settings(fail_code=code)
    with pytest.raises(error_type):
        account.extract_scan()
    assert account.count_charges() == 0


@pytest.mark.parametrize("fault", ["lost_response", "http_500_after_work"])
def test_work_with_a_lost_response_is_unknown_and_charged(account: SandboxAccount, fault: str) -> None:
    account.update_sandbox_settings(**{fault: 1})
    with pytest.raises(UnknownOutcome):
        account.extract_scan()
    assert account.count_charges() == 1


def test_a_url_that_the_vendor_cannot_fetch_is_a_document_error(account: SandboxAccount) -> None:
    account.update_sandbox_settings(fail_code="FETCH_FAILED")
    expires_at = dt.datetime(2999, 1, 1, tzinfo=dt.UTC)
    with pytest.raises(DocumentError) as caught:
        account.client.extract_url(
            build_presigned_url("https://documents.example.com", "s" * 32, "ab" * 32, "pdf", expires_at)
        )
    assert caught.value.reason_code == "fetch_failed"
