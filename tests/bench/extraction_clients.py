"""What our clients cost: requests a second beside a bare loop of ``requests`` that has the same exchanges, in turn."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from invoices.clients.billflowai import BillflowAi
from invoices.clients.invoicedataextraction_com import FileToUpload, InvoiceDataExtraction, Submission
from invoices.clients.smartbills_com import SmartBillsCom
from invoices.clients.transport import make_session
from sandbox.serving import Sandbox, start
from tests.bench.extraction_house import image

KNOBS = {
    "smartbills_com.rate_limits": "off",
    "smartbills_com.read_strangers": "on",
    "invoicedataextraction_com.rate_limits": "off",
    "invoicedataextraction_com.read_strangers": "on",
    "billflowai.rate_limit_per_minute": 0,
    "billflowai.read_strangers": "on",
}
PROMPT = "Extract the fields of each invoice."
PATIENCE = (5.0, 60.0)
WARM_UP = 5  # documents that are not counted
Chain = Callable[[bytes, str], None]  # has one document read, under a name that nobody had before


@dataclass(frozen=True, slots=True)
class Beside:
    """Requests a second of a client and of the bare loop; the ratio is what counts."""

    client: str
    requests: int
    ours: float
    bare: float
    ratio: float


def measured(rounds: int = 16, documents: int = 20) -> list[Beside]:
    """Return each client beside its bare loop: rounds of so many documents each, ours and bare in turn."""
    with tempfile.TemporaryDirectory(prefix="bench-") as place, start(Path(place), knobs=KNOBS) as sandbox:
        makers = {"smartbills_com": _smartbills, "invoicedataextraction_com": _uploads, "billflowai": _one_call}
        return [_beside(name, *maker(sandbox), rounds, documents) for name, maker in makers.items()]


def _beside(name: str, exchanges: int, ours: Chain, bare: Chain, rounds: int, documents: int) -> Beside:
    fresh = ((image(number), f"document-{number:06d}") for number in itertools.count())
    spent = {ours: 0.0, bare: 0.0}
    for chain in spent:
        _seconds(chain, fresh, WARM_UP)
    for number in range(rounds):
        for chain in (ours, bare) if number % 2 else (bare, ours):
            spent[chain] += _seconds(chain, fresh, documents)
    asked = rounds * documents * exchanges
    return Beside(
        name, asked, round(asked / spent[ours], 1), round(asked / spent[bare], 1), round(spent[bare] / spent[ours], 3)
    )


def _seconds(chain: Chain, fresh: Iterator[tuple[bytes, str]], count: int) -> float:
    some = list(itertools.islice(fresh, count))
    began = time.perf_counter()
    for content, name in some:
        chain(content, name)
    return time.perf_counter() - began


def _bare_session(api_key: str) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.headers["Authorization"] = f"Bearer {api_key}"
    return session


def _smartbills(sandbox: Sandbox) -> tuple[int, Chain, Chain]:
    """A submission and a look."""
    served = sandbox.smartbills_com
    client = SmartBillsCom(served["base_url"], served["api_key"], make_session())
    session, base = _bare_session(served["api_key"]), f"{served['base_url']}/v1/invoices"

    def ours(content: bytes, name: str) -> None:
        _check(client.job(client.submit(content, f"{name}.png", "image/png").id).status)

    def bare(content: bytes, name: str) -> None:
        files = {"file": (f"{name}.png", content, "image/png")}
        job = session.post(f"{base}/extract", files=files, timeout=PATIENCE).json()["id"]
        _check(session.get(f"{base}/{job}", timeout=PATIENCE).json()["status"])

    return 2, ours, bare


def _uploads(sandbox: Sandbox) -> tuple[int, Chain, Chain]:
    """A session, an address, a part, its completion, a submission, a poll and the rows."""
    served = sandbox.invoicedataextraction_com
    client = InvoiceDataExtraction(served["base_url"], served["api_key"], make_session())
    bare = _BareUploads(served["base_url"], _bare_session(served["api_key"]), requests.Session())

    def ours(content: bytes, name: str) -> None:
        client.open_session(name, [FileToUpload(file_id="f", file_name=f"{name}.png", size=len(content))])
        e_tag = client.put_part(client.part_urls(name, "f", [1])[1], content)
        client.complete(name, "f", {1: e_tag})
        extraction = client.submit(
            Submission(
                submission_id=name, session_id=name, file_ids=["f"], task_name=name, prompt=PROMPT,
                output_structure="per_invoice", options={"json_typed_values": True},
            )
        )  # fmt: skip
        _check(client.extraction(extraction).status)
        if len(client.results(extraction).rows) != 1:
            raise ValueError("not one row")

    return 7, ours, bare.read


@dataclass(frozen=True, slots=True)
class _BareUploads:
    base: str
    session: requests.Session
    storage: requests.Session

    def read(self, content: bytes, name: str) -> None:
        file = {"file_id": "f", "file_name": f"{name}.png", "file_size_bytes": len(content)}
        self._post("uploads/sessions", {"upload_session_id": name, "files": [file]})
        answer = self._post(f"uploads/sessions/{name}/parts", {"file_id": "f", "part_numbers": [1]})
        stored = self.storage.put(answer["part_urls"][0]["url"], content, timeout=PATIENCE)
        part = {"part_number": 1, "e_tag": stored.headers["ETag"]}
        self._post(f"uploads/sessions/{name}/complete", {"file_id": "f", "parts": [part]})
        submission = {
            "submission_id": name, "upload_session_id": name, "file_ids": ["f"], "task_name": name, "prompt": PROMPT,
            "output_structure": "per_invoice", "options": {"json_typed_values": True},
        }  # fmt: skip
        extraction = self._post("extractions", submission)["extraction_id"]
        _check(self._get(f"extractions/{extraction}")["status"])
        if len(self._get(f"extractions/{extraction}/results?offset=0&limit=1000")["rows"]) != 1:
            raise ValueError("not one row")

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self.session.post(f"{self.base}/{path}", json=body, timeout=PATIENCE).json()
        return answer

    def _get(self, path: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.session.get(f"{self.base}/{path}", timeout=PATIENCE).json()
        return answer


def _one_call(sandbox: Sandbox) -> tuple[int, Chain, Chain]:
    """An upload that is answered with what was read."""
    served = sandbox.billflowai
    client = BillflowAi(served["base_url"], served["api_key"], make_session())
    session, address = _bare_session(served["api_key"]), f"{served['base_url']}/api/extract-invoice-file"

    def ours(content: bytes, name: str) -> None:
        client.extract_file(content, f"{name}.png", "image/png")

    def bare(content: bytes, name: str) -> None:
        files: dict[str, Any] = {"invoice_kind": (None, "expense"), "file": (f"{name}.png", content, "image/png")}
        answer = session.post(address, files=files, timeout=PATIENCE)
        if "total" not in answer.json():
            raise ValueError(f"not read: {answer.text[:200]!r}")

    return 1, ours, bare


def _check(status: str) -> None:
    if status != "completed":
        raise ValueError(f"not completed: {status!r}")
