"""A client for the SmartBills APIs of the sandbox, with its own API key."""

from __future__ import annotations

import itertools

import requests

from sandbox import get_samples_directory
from sandbox.exact_json import parse_json
from sandbox.process import Sandbox

INBOX = get_samples_directory() / "inbox"
SCAN_PATH = INBOX / "scans" / "scan0001.png"
AMOUNT_FIELDS = (
    "totalDiscounts", "totalFees", "subTotal", "totalTip", "totalDuties", "totalShipping", "totalTaxes", "total",
    "totalPayments",
)  # fmt: skip
API_KEYS = (f"sk_test_{number}" for number in itertools.count())


class ApiClient:
    """A client of the API with its own API key; answers are returned unchanged."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self.api_key = sandbox, next(API_KEYS)
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers.update({"Authorization": f"Bearer {self.api_key}", "x-tenant-id": "1"})
        self.invoices_url = sandbox.smartbills_com["base_url"] + "/v1/invoices"
        self.receipts_url = sandbox.smartbills_io["base_url"] + "/receipts"
        self.business_receipts_url = sandbox.smartbills_io["base_url"] + "/businesses/1/receipts"

    def update_sandbox_settings(self, **sandbox_settings: object) -> None:
        self.sandbox.update_settings(self.api_key, **sandbox_settings)

    def upload_file(self, content: bytes, **fields: str) -> requests.Response:
        return self.session.post(
            f"{self.invoices_url}/extract", files={"file": ("f", content)}, data=fields, timeout=10
        )

    def poll_job(self, job_id: str) -> requests.Response:
        return self.session.get(f"{self.invoices_url}/{job_id}", timeout=10)

    def extract_sample(self, path: str) -> dict[str, object]:
        """Upload a sample and return its job's first answer, numbers as Decimal."""
        job = self.upload_file((INBOX / path).read_bytes()).json()
        invoice = parse_json(self.poll_job(job["id"]).content)
        assert isinstance(invoice, dict)
        return invoice

    def create_receipt(self, url: str | None = None, **changes: object) -> requests.Response:
        zero_amount = {"amount": 0, "currency": "EUR"}
        body = {**dict.fromkeys(AMOUNT_FIELDS, zero_amount), "type": "OFFICIAL", "taxesIncluded": False, **changes}
        return self.session.post(url or self.receipts_url, json=body, timeout=10)

    def count_charges(self) -> int:
        return len(self.sandbox.read_journal(self.api_key)["charges"])

    def count_receipts(self) -> int:
        return len(self.sandbox.read_journal(self.api_key)["receipts"])
