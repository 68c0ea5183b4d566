"""Runs the extractor chain with all vendors of one sandbox, each through an optional proxy."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from typing import Any

from sqlalchemy import delete

from invoices.extraction.extraction_recorder import ExtractorReport
from invoices.extraction.extractor_chain import ExtractorChain
from invoices.extraction.resilience.rate_limit_store import RateLimitStore
from invoices.ledger.claims import claim_all_or_none
from invoices.ledger.tables import claims
from invoices.settings import Settings
from tests.integration.extraction.extraction_fixtures import (
    TIME_SCALE,
    VENDOR_MINUTE_SECONDS,
    ExtractionHarness,
    VendorProxy,
    create_api_key,
)

SMARTBILLS, BILLFLOWAI, INVOICE_DATA_EXTRACTION = "smartbills_com", "billflowai", "invoicedataextraction_com"


class ChainHarness:
    """``extractor_order`` is the order of preference; a vendor without a proxy is called directly."""

    def __init__(self, harness: ExtractionHarness, settings: Settings, proxies: dict[str, VendorProxy]) -> None:
        self.harness, self.proxies, self._settings, self.run_count = harness, proxies, settings, 0
        self.extractor_order: tuple[str, ...] = (SMARTBILLS, BILLFLOWAI)
        self.fall_back = "failed"
        self.api_keys = {
            INVOICE_DATA_EXTRACTION: create_api_key(),
            SMARTBILLS: create_api_key(),
            BILLFLOWAI: create_api_key("bf_live_sandbox_chain"),
        }
        self.vendors_without_key: set[str] = set()
        self.vendor_settings: dict[str, dict[str, Any]] = {name: {} for name in self.api_keys}
        self.reports: dict[str, ExtractorReport] = {}
        self.suspended_vendors: set[str] = set()
        self.update_sandbox_settings(SMARTBILLS, plan="enterprise", rate_limits=False)
        self.update_sandbox_settings(BILLFLOWAI, rate_limit_per_minute=0)

    def update_sandbox_settings(self, vendor: str, **sandbox_settings: object) -> None:
        """Change settings of one vendor for its account."""
        self.harness.sandbox.update_settings(
            self.api_keys[vendor], **{f"{vendor}__{name}": value for name, value in sandbox_settings.items()}
        )

    def build_settings(self) -> Settings:
        """Return the settings of the next run."""
        vendor_values = {name: self._build_vendor_settings(name) for name in self.api_keys}
        values = {
            "home": self._settings.home,
            "extractors": self.extractor_order,
            "fall_back": self.fall_back,
            **vendor_values,
        }
        return Settings(**values, vendor_minute_seconds=VENDOR_MINUTE_SECONDS)

    def _build_vendor_settings(self, name: str) -> dict[str, Any]:
        base_url = getattr(self.harness.sandbox, name)["base_url"]
        address = self.proxies[name].to_proxy_url(base_url) if name in self.proxies else base_url
        key_settings = {} if name in self.vendors_without_key else {"api_key": self.api_keys[name]}
        plan_settings = {"plan": "enterprise"} if name == SMARTBILLS else {}
        if name == BILLFLOWAI:
            plan_settings = {"requests_per_minute": 1_000}
        return {"base_url": address, "connections": 1, **plan_settings, **key_settings, **self.vendor_settings[name]}

    def run_extraction(self, *, batch_count: int = 1, lost_documents: Iterable[str] = ()) -> dict[str, ExtractorReport]:
        """Extract all waiting documents in ``batch_count`` batches of one run; return the reports by vendor.

        Another worker claims ``lost_documents`` before the extraction starts.
        """
        self.run_count += 1
        worker, ledger = f"worker-{self.run_count}", self.harness.ledger

        def claim_documents(hashes: Iterable[str]) -> bool:
            with ledger.begin_transaction() as tx:
                return claim_all_or_none(tx, worker, hashes)

        with closing(RateLimitStore(ledger.url, self._settings.home, TIME_SCALE)) as rate_limit_store:
            chain = ExtractorChain(
                self.build_settings(), ledger, self.harness.store, rate_limit_store, worker, claim_documents
            )
            documents = self.harness.claim_documents(worker)
            self._claim_for_other_worker(lost_documents)
            size = -(-len(documents) // batch_count) or 1
            for start in range(0, len(documents), size):
                chain.extract_documents(documents[start : start + size], self.harness.add_concluded)
            self.reports, self.suspended_vendors = chain.take_reports(), set(chain.suspended_vendors)
        return self.reports

    def _claim_for_other_worker(self, hashes: Iterable[str]) -> None:
        with self.harness.ledger.begin_transaction() as tx:
            for sha256 in hashes:
                tx.connection.execute(delete(claims).where(claims.c.document_sha256 == sha256))
            claim_all_or_none(tx, "another", hashes)

    def list_charged_documents(self, vendor: str) -> list[str]:
        """Return the documents that a vendor charged for, in order."""
        return [charge["document_sha256"] for charge in self._read_journal(vendor)["charges"]]

    def sum_charged_pages(self, vendor: str) -> int:
        """Return the pages that a vendor charged for."""
        return sum(charge["pages"] for charge in self._read_journal(vendor)["charges"])

    def count_calls(self, vendor: str) -> int:
        """Return the number of calls that a vendor received."""
        return sum(self._read_journal(vendor)["requests"].values())

    def _read_journal(self, vendor: str) -> dict[str, Any]:
        return self.harness.sandbox.read_journal(self.api_keys[vendor])

    def list_statuses_by_extractor(self, sha256: str) -> dict[str, str]:
        """Return the status of a document's extraction at each vendor."""
        return {job["extracted_by"]: job["status"] for job in self.harness.list_extractions(sha256)}
