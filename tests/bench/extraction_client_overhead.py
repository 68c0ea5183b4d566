"""The overhead of our clients: requests per second, compared with the same exchanges in a bare loop of ``requests``."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from invoices.clients.billflowai import BillflowAiClient
from invoices.clients.http_client import make_session
from invoices.clients.invoicedataextraction_com import FileToUpload, InvoiceDataExtractionClient, Submission
from invoices.clients.smartbills_com import SmartBillsComClient
from sandbox.process import Sandbox, start_sandbox
from tests.bench.extraction_runs import build_png

SANDBOX_SETTINGS = {
    "smartbills_com.rate_limits": "off",
    "smartbills_com.read_strangers": "on",
    "invoicedataextraction_com.rate_limits": "off",
    "invoicedataextraction_com.read_strangers": "on",
    "billflowai.rate_limit_per_minute": 0,
    "billflowai.read_strangers": "on",
}
PROMPT = "Extract the fields of each invoice."
TIMEOUTS = (5.0, 60.0)
WARM_UP_DOCUMENTS = 5  # not counted
ReadDocument = Callable[[bytes, str], None]  # extracts one document under an unused name


@dataclass(frozen=True, slots=True)
class ClientOverhead:
    """Requests per second of a client and of the bare loop; only the ratio is comparable between machines."""

    client: str
    requests: int
    ours: float
    bare: float
    ratio: float


def measure_client_overhead(rounds: int = 16, documents: int = 20) -> list[ClientOverhead]:
    """Return the overhead of each client; client and bare loop take turns, with ``documents`` per round."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as directory,
        start_sandbox(Path(directory), settings=SANDBOX_SETTINGS) as sandbox,
    ):
        builders = {
            "smartbills_com": _build_smartbills_exchanges,
            "invoicedataextraction_com": _build_invoicedataextraction_exchanges,
            "billflowai": _build_billflowai_exchanges,
        }
        return [
            _compare_client(name, *build_exchanges(sandbox), rounds, documents)
            for name, build_exchanges in builders.items()
        ]


def _compare_client(
    name: str, exchanges: int, client_read: ReadDocument, bare_read: ReadDocument, rounds: int, documents: int
) -> ClientOverhead:
    unused_documents = ((build_png(number), f"document-{number:06d}") for number in itertools.count())
    seconds_by_reader = {client_read: 0.0, bare_read: 0.0}
    for reader in seconds_by_reader:
        _measure_seconds(reader, unused_documents, WARM_UP_DOCUMENTS)
    for number in range(rounds):
        for reader in (client_read, bare_read) if number % 2 else (bare_read, client_read):
            seconds_by_reader[reader] += _measure_seconds(reader, unused_documents, documents)
    request_count = rounds * documents * exchanges
    return ClientOverhead(
        name,
        request_count,
        round(request_count / seconds_by_reader[client_read], 1),
        round(request_count / seconds_by_reader[bare_read], 1),
        round(seconds_by_reader[bare_read] / seconds_by_reader[client_read], 3),
    )


def _measure_seconds(reader: ReadDocument, unused_documents: Iterator[tuple[bytes, str]], count: int) -> float:
    batch = list(itertools.islice(unused_documents, count))
    started = time.perf_counter()
    for content, name in batch:
        reader(content, name)
    return time.perf_counter() - started


def _create_bare_session(api_key: str) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.headers["Authorization"] = f"Bearer {api_key}"
    return session


def _build_smartbills_exchanges(sandbox: Sandbox) -> tuple[int, ReadDocument, ReadDocument]:
    """Return the exchanges per document, and both readers: one submission and one poll."""
    endpoint = sandbox.smartbills_com
    client = SmartBillsComClient(endpoint["base_url"], endpoint["api_key"], make_session())
    session, base = _create_bare_session(endpoint["api_key"]), f"{endpoint['base_url']}/v1/invoices"

    def read_with_client(content: bytes, name: str) -> None:
        _require_completed(client.poll_job(client.submit_document(content, f"{name}.png", "image/png").id).status)

    def read_with_requests(content: bytes, name: str) -> None:
        files = {"file": (f"{name}.png", content, "image/png")}
        job = session.post(f"{base}/extract", files=files, timeout=TIMEOUTS).json()["id"]
        _require_completed(session.get(f"{base}/{job}", timeout=TIMEOUTS).json()["status"])

    return 2, read_with_client, read_with_requests


def _build_invoicedataextraction_exchanges(sandbox: Sandbox) -> tuple[int, ReadDocument, ReadDocument]:
    """Return the exchanges per document, and both readers: session, URL, part, completion, submission, poll, rows."""
    endpoint = sandbox.invoicedataextraction_com
    client = InvoiceDataExtractionClient(endpoint["base_url"], endpoint["api_key"], make_session())
    bare_client = _BareUploadClient(endpoint["base_url"], _create_bare_session(endpoint["api_key"]), requests.Session())

    def read_with_client(content: bytes, name: str) -> None:
        client.open_session(name, [FileToUpload(file_id="f", file_name=f"{name}.png", size=len(content))])
        e_tag = client.upload_part(client.request_part_urls(name, "f", [1])[1], content)
        client.finish_file_upload(name, "f", {1: e_tag})
        extraction = client.submit_extraction(
            Submission(
                submission_id=name, session_id=name, file_ids=["f"], task_name=name, prompt=PROMPT,
                output_structure="per_invoice", options={"json_typed_values": True},
            )
        )  # fmt: skip
        _require_completed(client.poll_extraction(extraction).status)
        if len(client.fetch_results(extraction).rows) != 1:
            raise ValueError("the results do not have exactly one row")

    return 7, read_with_client, bare_client.read_document


@dataclass(frozen=True, slots=True)
class _BareUploadClient:
    base_url: str
    session: requests.Session
    storage_session: requests.Session

    def read_document(self, content: bytes, name: str) -> None:
        file = {"file_id": "f", "file_name": f"{name}.png", "file_size_bytes": len(content)}
        self._post_json("uploads/sessions", {"upload_session_id": name, "files": [file]})
        part_urls_response = self._post_json(f"uploads/sessions/{name}/parts", {"file_id": "f", "part_numbers": [1]})
        part_response = self.storage_session.put(part_urls_response["part_urls"][0]["url"], content, timeout=TIMEOUTS)
        part = {"part_number": 1, "e_tag": part_response.headers["ETag"]}
        self._post_json(f"uploads/sessions/{name}/complete", {"file_id": "f", "parts": [part]})
        submission = {
            "submission_id": name, "upload_session_id": name, "file_ids": ["f"], "task_name": name, "prompt": PROMPT,
            "output_structure": "per_invoice", "options": {"json_typed_values": True},
        }  # fmt: skip
        extraction = self._post_json("extractions", submission)["extraction_id"]
        _require_completed(self._get_json(f"extractions/{extraction}")["status"])
        if len(self._get_json(f"extractions/{extraction}/results?offset=0&limit=1000")["rows"]) != 1:
            raise ValueError("the results do not have exactly one row")

    def _post_json(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        response: dict[str, Any] = self.session.post(f"{self.base_url}/{path}", json=body, timeout=TIMEOUTS).json()
        return response

    def _get_json(self, path: str) -> dict[str, Any]:
        response: dict[str, Any] = self.session.get(f"{self.base_url}/{path}", timeout=TIMEOUTS).json()
        return response


def _build_billflowai_exchanges(sandbox: Sandbox) -> tuple[int, ReadDocument, ReadDocument]:
    """Return the exchanges per document, and both readers: one upload, which is answered with the extraction."""
    endpoint = sandbox.billflowai
    client = BillflowAiClient(endpoint["base_url"], endpoint["api_key"], make_session())
    session, url = _create_bare_session(endpoint["api_key"]), f"{endpoint['base_url']}/api/extract-invoice-file"

    def read_with_client(content: bytes, name: str) -> None:
        client.extract_file(content, f"{name}.png", "image/png")

    def read_with_requests(content: bytes, name: str) -> None:
        files: dict[str, Any] = {"invoice_kind": (None, "expense"), "file": (f"{name}.png", content, "image/png")}
        response = session.post(url, files=files, timeout=TIMEOUTS)
        if "total" not in response.json():
            raise ValueError(f"the document was not extracted: {response.text[:200]!r}")

    return 1, read_with_client, read_with_requests


def _require_completed(status: str) -> None:
    if status != "completed":
        raise ValueError(f"the status is {status!r}, not 'completed'")
