"""Someone with an API key of their own at the stand-in of BillflowAI."""

from __future__ import annotations

import itertools
from typing import Any

import requests

from sandbox import samples_directory
from sandbox.exact_json import loads
from sandbox.serving import Sandbox

SCAN = (samples_directory() / "inbox" / "scans" / "scan0001.png").read_bytes()
KEYS = (f"bf_live_sandbox_{number}" for number in itertools.count())


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
