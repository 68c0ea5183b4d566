"""A client for the stand-in for BillflowAI, with its own API key."""

from __future__ import annotations

import itertools
from typing import Any

import requests

from sandbox import get_samples_directory
from sandbox.exact_json import parse_json
from sandbox.process import Sandbox

SCAN_CONTENT = (get_samples_directory() / "inbox" / "scans" / "scan0001.png").read_bytes()
API_KEYS = (f"bf_live_sandbox_{number}" for number in itertools.count())


class ApiClient:
    """A client of the API with its own API key; answers are returned unchanged."""

    def __init__(self, sandbox: Sandbox, api_key: str | None = None) -> None:
        self.sandbox, self.api_key = sandbox, api_key or next(API_KEYS)
        self.api_url = sandbox.billflowai["base_url"] + "/api"
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {self.api_key}"

    def update_sandbox_settings(self, **sandbox_settings: object) -> None:
        self.sandbox.update_settings(
            self.api_key, **{f"billflowai__{name}": value for name, value in sandbox_settings.items()}
        )

    def upload_file(self, content: bytes, **fields: str) -> requests.Response:
        files = {"file": ("f", content)}
        return self.session.post(f"{self.api_url}/extract-invoice-file", files=files, data=fields, timeout=30)

    def read_invoice(self, content: bytes, **fields: str) -> dict[str, Any]:
        """Upload and return the answer, numbers as Decimal."""
        response = self.upload_file(content, **fields)
        assert response.status_code == 200, response.text
        invoice: dict[str, Any] = parse_json(response.content)
        return invoice

    def upload_refused_file(self, content: bytes, **fields: str) -> tuple[int, str]:
        response = self.upload_file(content, **fields)
        return response.status_code, response.json()["error"]["code"]

    def list_charges(self) -> list[dict[str, Any]]:
        charges: list[dict[str, Any]] = self.sandbox.read_journal(self.api_key)["charges"]
        return charges

    def list_stored_invoices(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.session.get(f"{self.api_url}/invoices", timeout=30).json()["invoices"]
        return rows
