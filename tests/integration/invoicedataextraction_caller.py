"""Someone with an API key of their own at the stand-in for Invoice Data Extraction."""

from __future__ import annotations

import itertools
from typing import Any

import requests

from sandbox import samples_directory
from sandbox.serving import Sandbox

INBOX = samples_directory() / "inbox"
SCAN = INBOX / "scans" / "scan0001.png"
KEYS = (f"sk_test_ide_{number}" for number in itertools.count())
NUMBERS = itertools.count(1)
FIELDS = (
    "Document type", "Invoice number", "Invoice date", "Due date", "Order number", "Supplier name", "Supplier tax ID",
    "Supplier country", "Supplier IBAN", "Customer name", "Customer tax ID", "Currency", "Net amount", "Tax amount",
    "Total amount", "Line description", "Line quantity", "Line unit price", "Line net amount", "Line tax rate",
)  # fmt: skip
PROMPT = {"fields": [{"name": name} for name in FIELDS], "general_prompt": "Dates as YYYY-MM-DD."}


class Caller:
    """Speaks the vendor's HTTP; every answer is returned as it came."""

    def __init__(self, sandbox: Sandbox, key: str | None = None) -> None:
        self.sandbox, self.key = sandbox, key or next(KEYS)
        self.base = sandbox.invoicedataextraction_com["base_url"]
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {self.key}"

    def turn(self, **knobs: object) -> None:
        """Turn this vendor's knobs for this key."""
        self.sandbox.turn(self.key, **{f"invoicedataextraction_com__{name}": value for name, value in knobs.items()})

    def get(self, path: str, **query: object) -> requests.Response:
        return self.session.get(self.base + path, params={k: str(v) for k, v in query.items()}, timeout=20)

    def post(self, path: str, body: object = None) -> requests.Response:
        return self.session.post(self.base + path, json=body, timeout=20)

    def open(self, files: dict[str, bytes], session_id: str | None = None) -> tuple[str, requests.Response]:
        """Create a session for these files, whose ids are their names."""
        session_id = session_id or f"sess:{next(NUMBERS)}"
        declared = [{"file_id": name, "file_name": name, "file_size_bytes": len(files[name])} for name in files]
        return session_id, self.post("/uploads/sessions", {"upload_session_id": session_id, "files": declared})

    def address(self, session_id: str, name: str, part: int = 1) -> str:
        """Return the presigned address of a part."""
        body = self.post(f"/uploads/sessions/{session_id}/parts", {"file_id": name, "part_numbers": [part]}).json()
        url: str = body["part_urls"][0]["url"]
        return url

    def complete(self, session_id: str, name: str, *e_tags: str) -> requests.Response:
        """Complete a file with the ETags of its parts."""
        parts = [{"part_number": number, "e_tag": e_tag} for number, e_tag in enumerate(e_tags, start=1)]
        return self.post(f"/uploads/sessions/{session_id}/complete", {"file_id": name, "parts": parts})

    def upload(self, files: dict[str, bytes]) -> str:
        """Upload files of one part each and return their session's id."""
        session_id, answer = self.open(files)
        assert answer.status_code == 200, answer.text
        for name, content in files.items():
            e_tag = put(self.address(session_id, name), content).headers["ETag"]
            assert self.complete(session_id, name, e_tag).json()["status"] == "completed"
        return session_id

    def submission(self, session_id: str, *names: str, **changes: object) -> dict[str, Any]:
        """Return a submission's body."""
        body: dict[str, Any] = {
            "submission_id": f"sub:{next(NUMBERS)}", "upload_session_id": session_id, "file_ids": list(names),
            "task_name": "a rehearsal", "prompt": PROMPT, "output_structure": "per_line_item",
            "options": {"json_typed_values": True},
        }  # fmt: skip
        return {**body, **changes}

    def submit(self, session_id: str, *names: str, **changes: object) -> str:
        """Submit files and return the extraction's id."""
        answer = self.post("/extractions", self.submission(session_id, *names, **changes))
        assert answer.status_code == 202, answer.text
        extraction_id: str = answer.json()["extraction_id"]
        return extraction_id

    def extract(self, files: dict[str, bytes], **changes: object) -> str:
        """Upload and submit files and return the extraction's id."""
        return self.submit(self.upload(files), *files, **changes)

    def status(self, extraction_id: str, **query: object) -> dict[str, Any]:
        body: dict[str, Any] = self.get(f"/extractions/{extraction_id}", **query).json()
        return body

    def results(self, extraction_id: str, **query: object) -> dict[str, Any]:
        body: dict[str, Any] = self.get(f"/extractions/{extraction_id}/results", **query).json()
        return body

    def journal(self) -> dict[str, Any]:
        return self.sandbox.journal(self.key)


def put(url: str, content: bytes, **headers: str) -> requests.Response:
    """PUT bytes to a presigned address, without a key."""
    with requests.Session() as session:
        session.trust_env = False
        return session.put(url, data=content, headers=headers, timeout=20)


def code(answer: requests.Response) -> tuple[int, str]:
    """Return an error's status and code, and see to its envelope."""
    body = answer.json()
    assert body["success"] is False
    assert set(body["error"]) == {"code", "message", "retryable", "details"}
    return answer.status_code, body["error"]["code"]
