"""Someone who asks BillflowAI about documents, run after run, over a line to the sandbox or straight."""

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
    """One account; ``asked`` and ``stopped`` are what the last run came to."""

    def __init__(self, harness: ExtractionHarness, proxy: VendorProxy | None) -> None:
        self.harness, self.api_key, self.shared_rate_limit = (
            harness,
            create_api_key("bf_live_sandbox_office"),
            SharedRateLimit(),
        )
        sandbox_url = harness.sandbox.billflowai["base_url"]
        self.base_url = sandbox_url if proxy is None else proxy.to_proxy_url(sandbox_url)
        self.options: dict[str, Any] = {}
        self.client_class: Callable[..., BillflowAiClient] = BillflowAiClient
        self.report, self.run_count = ExtractorReport(), 0
        self.stop_error: VendorSuspended | None = None
        self.update_sandbox_settings(read_strangers=True, rate_limit_per_minute=0)

    def update_sandbox_settings(self, **sandbox_settings: object) -> None:
        """Turn knobs of the vendor for this account."""
        self.harness.sandbox.update_settings(
            self.api_key, **{f"billflowai__{name}": value for name, value in sandbox_settings.items()}
        )

    def run_extraction(self) -> ExtractorReport:
        """Ask about everything that waits, as a run that starts anew would."""
        self.run_count += 1
        worker = f"worker-{self.run_count}"
        recorder = self.harness.build_recorder(EXTRACTOR, VENDOR, worker, counts_pages=False)
        with make_session() as session:
            client = self.client_class(self.base_url, self.api_key, session, deadline=30)
            extraction = BillflowAiExtractor(
                recorder, client, self.shared_rate_limit.build_rate_limiter(), **self.options
            )
            self.report, self.stop_error = recorder.report, None
            try:
                extraction.extract_documents(self.harness.claim_documents(worker), self.harness.add_concluded)
            except VendorSuspended as stop:
                self.stop_error = stop
        return recorder.report

    def list_charged_documents(self) -> list[str]:
        """Return the documents that the vendor charged for, in order."""
        return [charge["document_sha256"] for charge in self.harness.sandbox.read_journal(self.api_key)["charges"]]

    def count_requests(self) -> int:
        """Return how many calls the vendor saw."""
        return sum(self.harness.sandbox.read_journal(self.api_key)["requests"].values())
