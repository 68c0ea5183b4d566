"""What the stand-in for Invoice Data Extraction answers keeps to the contract kept beside the project."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from invoicedataextraction_caller import SCAN, Caller

from sandbox.serving import start

CONTRACTS = Path(os.environ.get("INVOICES_API_CONTRACTS", Path(__file__).parents[3] / "shared/apis/openapi"))
CONTRACT = CONTRACTS / "02-invoice-data-extraction.yaml"
EXTRACTION = "/extractions/{extraction_id}"
pytestmark = pytest.mark.skipif(not CONTRACT.is_file(), reason="the API contracts are not beside the project")


@pytest.fixture(scope="module")
def contract() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))
    return document


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with start(tmp_path_factory.mktemp("sandbox")) as sandbox:
        made = Caller(sandbox)
        yield made
        made.session.close()


class Keeper:
    """Holds answers against the contract's schema of their route and status."""

    def __init__(self, contract: dict[str, Any]) -> None:
        self._contract = contract

    def check(self, method: str, path: str, status: int, body: Any) -> None:
        response = self._contract["paths"][path][method]["responses"][str(status)]
        if "$ref" in response:
            response = self._contract["components"]["responses"][response["$ref"].rsplit("/", 1)[-1]]
        schema = {**response["content"]["application/json"]["schema"], "components": self._contract["components"]}
        jsonschema.validate(body, schema, format_checker=jsonschema.FormatChecker())


@pytest.fixture(scope="module")
def keeper(contract: dict[str, Any]) -> Keeper:
    return Keeper(contract)


def test_the_way_from_session_to_rows_keeps_to_the_contract(caller: Caller, keeper: Keeper) -> None:
    caller.turn(notes="Totals", review_needed="scan", fail_pages="other")
    session_id = caller.upload({"scan.png": SCAN.read_bytes(), "other.pdf": b"%PDF-"})
    again = caller.open({"scan.png": SCAN.read_bytes(), "other.pdf": b"%PDF-"}, session_id)[1]
    keeper.check("post", "/uploads/sessions", 200, again.json())
    submitted = caller.post("/extractions", caller.submission(session_id, "scan.png", "other.pdf"))
    keeper.check("post", "/extractions", 202, submitted.json())
    extraction_id = submitted.json()["extraction_id"]
    keeper.check("get", EXTRACTION, 200, caller.status(extraction_id))
    keeper.check("get", f"{EXTRACTION}/results", 200, caller.results(extraction_id))
    for path in (f"{EXTRACTION}/details", "/extractions", "/credits/balance"):
        keeper.check("get", path, 200, caller.get(path.format(extraction_id=extraction_id)).json())
    output = caller.get(f"/extractions/{extraction_id}/output", format="json")
    keeper.check("get", f"{EXTRACTION}/output", 200, output.json())


@pytest.mark.parametrize("wanted", ["processing", "input_required", "failed", "cancelled"])
def test_every_status_keeps_to_the_contract(caller: Caller, keeper: Keeper, wanted: str) -> None:
    caller.turn(stall=1 if wanted in ("processing", "cancelled") else 0)
    caller.turn(task_fail_code="PROMPT_UNCLEAR=1" if wanted == "failed" else "")
    extraction_id = caller.extract({"a.pdf": b"%PDF-"}, options={"ask_questions": wanted == "input_required"})
    if wanted == "cancelled":
        asked = caller.post(f"/extractions/{extraction_id}/cancel")
        keeper.check("post", f"{EXTRACTION}/cancel", 200, asked.json())
    body = caller.status(extraction_id)
    assert body["status"] == wanted
    keeper.check("get", EXTRACTION, 200, body)
    keeper.check("get", f"{EXTRACTION}/details", 200, caller.get(f"/extractions/{extraction_id}/details").json())
    keeper.check("get", "/extractions", 200, caller.get("/extractions").json())


def test_parts_and_completion_keep_to_the_contract(caller: Caller, keeper: Keeper) -> None:
    session_id = caller.upload({"a.pdf": b"%PDF-"})
    path = "/uploads/sessions/{upload_session_id}"
    keeper.check("post", f"{path}/complete", 200, caller.complete(session_id, "a.pdf", '"x"').json())
    refused = caller.post(f"/uploads/sessions/{session_id}/parts", {"file_id": "a.pdf", "part_numbers": [1]})
    keeper.check("post", f"{path}/parts", 409, refused.json())
    opened, _ = caller.open({"b.pdf": b"%PDF-"})
    told = caller.post(f"/uploads/sessions/{opened}/parts", {"file_id": "b.pdf", "part_numbers": [1]})
    keeper.check("post", f"{path}/parts", 200, told.json())


def test_refusals_keep_to_the_contract(caller: Caller, keeper: Keeper) -> None:
    keeper.check("post", "/extractions", 400, caller.post("/extractions", {}).json())
    nobody = "00000000-0000-0000-0000-000000000000"
    keeper.check("get", EXTRACTION, 404, caller.get(f"/extractions/{nobody}").json())
    keeper.check("get", "/extractions", 403, caller.get("/extractions", scope="team").json())
    stranger = Caller(caller.sandbox)
    stranger.turn(limits="balance=0")
    keeper.check("get", "/credits/balance", 429, stranger.get("/credits/balance").json())
    stranger.session.close()
