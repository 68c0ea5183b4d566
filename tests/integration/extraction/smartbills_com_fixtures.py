"""Runs extraction with smartbills.com, through a proxy to the sandbox."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from invoices.clients.http_client import make_session
from invoices.clients.smartbills_com import SmartBillsComClient
from invoices.extraction.extraction_recorder import ExtractorReport
from invoices.extraction.resilience.retry import VendorSuspended
from invoices.extraction.smartbills_com import EXTRACTOR, VENDOR, SmartBillsExtractor
from invoices.ledger.documents import count_pending_documents
from tests.integration.extraction.extraction_fixtures import (
    VENDOR_MINUTE_SECONDS,
    ExtractionHarness,
    SharedRateLimit,
    VendorProxy,
    create_api_key,
)


class SmartBillsRunner:
    """One account; ``report`` and ``suspension`` are those of the last run."""

    def __init__(self, harness: ExtractionHarness, proxy: VendorProxy) -> None:
        self.harness, self.proxy, self.api_key = harness, proxy, create_api_key()
        self.options: dict[str, Any] = {}
        self.shared_rate_limit = SharedRateLimit()
        self.client_class: Callable[..., SmartBillsComClient] = SmartBillsComClient
        self.report, self.run_count = ExtractorReport(), 0
        self.suspension: VendorSuspended | None = None
        self.call_deadline_seconds = 30.0
        self.update_sandbox_settings(plan="enterprise", rate_limits=False)

    def update_sandbox_settings(self, **sandbox_settings: object) -> None:
        """Change settings of the vendor for this account."""
        self.harness.sandbox.update_settings(
            self.api_key, **{f"smartbills_com__{name}": value for name, value in sandbox_settings.items()}
        )

    def run_extraction(self) -> ExtractorReport:
        """Extract all waiting documents in a new run."""
        self.run_count += 1
        worker = f"worker-{self.run_count}"
        proxy_url = self.proxy.to_proxy_url(self.harness.sandbox.smartbills_com["base_url"])
        recorder = self.harness.build_recorder(EXTRACTOR, VENDOR, worker)
        with make_session() as session:
            client = self.client_class(proxy_url, self.api_key, session, deadline=self.call_deadline_seconds)
            extractor = SmartBillsExtractor(
                recorder, client, self.shared_rate_limit.build_rate_limiter(), **self.options
            )
            self.report, self.suspension = recorder.report, None
            try:
                extractor.extract_documents(self.harness.claim_documents(worker), self.harness.add_concluded)
            except VendorSuspended as suspension:
                self.suspension = suspension
        return recorder.report

    def run_until_nothing_waits(self, *, max_runs: int = 20) -> None:
        """Run extraction again and again, with a vendor's minute between the runs."""
        for _ in range(max_runs):
            self.run_extraction()
            with self.harness.ledger.open_snapshot() as connection:
                if not count_pending_documents(connection, "extract_remote"):
                    return
            time.sleep(VENDOR_MINUTE_SECONDS)

    def list_charged_documents(self) -> list[str]:
        """Return the documents that the vendor charged for, in order."""
        return [charge["document_sha256"] for charge in self.harness.sandbox.read_journal(self.api_key)["charges"]]

    def sum_charged_pages(self) -> int:
        """Return the pages that the vendor charged for."""
        return sum(charge["pages"] for charge in self.harness.sandbox.read_journal(self.api_key)["charges"])
