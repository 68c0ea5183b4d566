"""A client for the stand-in for Invoice Data Extraction, with its own API key."""

from __future__ import annotations

import itertools
from typing import Any

import requests

from sandbox import get_samples_directory
from sandbox.process import Sandbox

INBOX = get_samples_directory() / "inbox"
SCAN_PATH = INBOX / "scans" / "scan0001.png"
API_KEYS = (f"sk_test_ide_{number}" for number in itertools.count())
NUMBERS = itertools.count(1)
FIELD_NAMES = (
    "Document type", "Invoice number", "Invoice date", "Due date", "Order number", "Supplier name", "Supplier tax ID",
    "Supplier country", "Supplier IBAN", "Customer name", "Customer tax ID", "Currency", "Net amount", "Tax amount",
    "Total amount", "Line description", "Line quantity", "Line unit price", "Line net amount", "Line tax rate",
)  # fmt: skip
PROMPT = {"fields": [{"name": name} for name in FIELD_NAMES], "general_prompt": "Dates as YYYY-MM-DD."}


class ApiClient:
    """A client of the API with its own API key; answers are returned unchanged."""

    def __init__(self, sandbox: Sandbox, api_key: str | None = None) -> None:
        self.sandbox, self.api_key = sandbox, api_key or next(API_KEYS)
        self.base_url = sandbox.invoicedataextraction_com["base_url"]
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {self.api_key}"

    def update_sandbox_settings(self, **sandbox_settings: object) -> None:
        """Change settings of this vendor for this API key."""
        self.sandbox.update_settings(
            self.api_key, **{f"invoicedataextraction_com__{name}": value for name, value in sandbox_settings.items()}
        )

    def get(self, path: str, **query: object) -> requests.Response:
        return self.session.get(self.base_url + path, params={k: str(v) for k, v in query.items()}, timeout=20)

    def post(self, path: str, body: object = None) -> requests.Response:
        return self.session.post(self.base_url + path, json=body, timeout=20)

    def open_session(self, files: dict[str, bytes], session_id: str | None = None) -> tuple[str, requests.Response]:
        """Create a session for these files, whose ids are their names."""
        session_id = session_id or f"sess:{next(NUMBERS)}"
        file_declarations = [
            {"file_id": name, "file_name": name, "file_size_bytes": len(files[name])} for name in files
        ]
        return session_id, self.post("/uploads/sessions", {"upload_session_id": session_id, "files": file_declarations})

    def get_part_url(self, session_id: str, name: str, part_number: int = 1) -> str:
        """Return the presigned URL of a part."""
        body = self.post(
            f"/uploads/sessions/{session_id}/parts", {"file_id": name, "part_numbers": [part_number]}
        ).json()
        url: str = body["part_urls"][0]["url"]
        return url

    def finish_file_upload(self, session_id: str, name: str, *e_tags: str) -> requests.Response:
        """Complete a file with the ETags of its parts."""
        parts = [{"part_number": number, "e_tag": e_tag} for number, e_tag in enumerate(e_tags, start=1)]
        return self.post(f"/uploads/sessions/{session_id}/complete", {"file_id": name, "parts": parts})

    def upload_files(self, files: dict[str, bytes]) -> str:
        """Upload files of one part each and return their session's id."""
        session_id, response = self.open_session(files)
        assert response.status_code == 200, response.text
        for name, content in files.items():
            e_tag = put_part(self.get_part_url(session_id, name), content).headers["ETag"]
            assert self.finish_file_upload(session_id, name, e_tag).json()["status"] == "completed"
        return session_id

    def build_submission(self, session_id: str, *names: str, **changes: object) -> dict[str, Any]:
        """Return a submission's body."""
        body: dict[str, Any] = {
            "submission_id": f"sub:{next(NUMBERS)}", "upload_session_id": session_id, "file_ids": list(names),
            "task_name": "a rehearsal", "prompt": PROMPT, "output_structure": "per_line_item",
            "options": {"json_typed_values": True},
        }  # fmt: skip
        return {**body, **changes}

    def submit_files(self, session_id: str, *names: str, **changes: object) -> str:
        """Submit files and return the extraction's id."""
        response = self.post("/extractions", self.build_submission(session_id, *names, **changes))
        assert response.status_code == 202, response.text
        extraction_id: str = response.json()["extraction_id"]
        return extraction_id

    def extract_files(self, files: dict[str, bytes], **changes: object) -> str:
        """Upload and submit files and return the extraction's id."""
        return self.submit_files(self.upload_files(files), *files, **changes)

    def get_status(self, extraction_id: str, **query: object) -> dict[str, Any]:
        body: dict[str, Any] = self.get(f"/extractions/{extraction_id}", **query).json()
        return body

    def get_results(self, extraction_id: str, **query: object) -> dict[str, Any]:
        body: dict[str, Any] = self.get(f"/extractions/{extraction_id}/results", **query).json()
        return body

    def read_journal(self) -> dict[str, Any]:
        return self.sandbox.read_journal(self.api_key)


def put_part(url: str, content: bytes, **headers: str) -> requests.Response:
    """PUT bytes to a presigned URL, without a key."""
    with requests.Session() as session:
        session.trust_env = False
        return session.put(url, data=content, headers=headers, timeout=20)


def get_error(response: requests.Response) -> tuple[int, str]:
    """Return an error's status and code; assert that its envelope is complete."""
    body = response.json()
    assert body["success"] is False
    assert set(body["error"]) == {"code", "message", "retryable", "details"}
    return response.status_code, body["error"]["code"]
