"""Runs extraction with BillflowAI, through a proxy or directly with the sandbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from invoices.clients.billflowai import BillflowAiClient
from invoices.clients.http_client import make_session
from invoices.extraction.billflowai import EXTRACTOR, VENDOR, BillflowAiExtractor
from invoices.extraction.extraction_recorder import ExtractorReport
from invoices.extraction.resilience.retry import VendorSuspended
from tests.integration.extraction.extraction_fixtures import (
    ExtractionHarness,
    SharedRateLimit,
    VendorProxy,
    create_api_key,
)


class BillflowAiRunner:
    """One account; ``report`` and ``suspension`` are those of the last run."""

    def __init__(self, harness: ExtractionHarness, proxy: VendorProxy | None) -> None:
        self.harness, self.api_key = harness, create_api_key("bf_live_sandbox_extraction")
        self.shared_rate_limit = SharedRateLimit()
        sandbox_url = harness.sandbox.billflowai["base_url"]
        self.base_url = sandbox_url if proxy is None else proxy.to_proxy_url(sandbox_url)
        self.options: dict[str, Any] = {}
        self.client_class: Callable[..., BillflowAiClient] = BillflowAiClient
        self.report, self.run_count = ExtractorReport(), 0
        self.suspension: VendorSuspended | None = None
        self.update_sandbox_settings(read_strangers=True, rate_limit_per_minute=0)

    def update_sandbox_settings(self, **sandbox_settings: object) -> None:
        """Change settings of the vendor for this account."""
        self.harness.sandbox.update_settings(
            self.api_key, **{f"billflowai__{name}": value for name, value in sandbox_settings.items()}
        )

    def run_extraction(self) -> ExtractorReport:
        """Extract all waiting documents in a new run."""
        self.run_count += 1
        worker = f"worker-{self.run_count}"
        recorder = self.harness.build_recorder(EXTRACTOR, VENDOR, worker, charges_per_page=False)
        with make_session() as session:
            client = self.client_class(self.base_url, self.api_key, session, deadline=30)
            extractor = BillflowAiExtractor(
                recorder, client, self.shared_rate_limit.build_rate_limiter(), **self.options
            )
            self.report, self.suspension = recorder.report, None
            try:
                extractor.extract_documents(self.harness.claim_documents(worker), self.harness.add_concluded)
            except VendorSuspended as suspension:
                self.suspension = suspension
        return recorder.report

    def list_charged_documents(self) -> list[str]:
        """Return the documents that the vendor charged for, in order."""
        return [charge["document_sha256"] for charge in self.harness.sandbox.read_journal(self.api_key)["charges"]]

    def count_requests(self) -> int:
        """Return the number of calls that the vendor received."""
        return sum(self.harness.sandbox.read_journal(self.api_key)["requests"].values())
