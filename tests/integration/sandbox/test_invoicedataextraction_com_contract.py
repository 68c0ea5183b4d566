"""The answers of the stand-in for Invoice Data Extraction follow the vendor's contract, kept beside the project."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from sandbox.process import start_sandbox
from tests.integration.sandbox.invoicedataextraction_com_api_client import SCAN_PATH, ApiClient
from tests.run_environment import CONTRACT_DIRECTORY

CONTRACT = CONTRACT_DIRECTORY / "02-invoice-data-extraction.yaml"
EXTRACTION_PATH = "/extractions/{extraction_id}"
pytestmark = pytest.mark.skipif(not CONTRACT.is_file(), reason="the API contracts are not beside the project")


@pytest.fixture(scope="module")
def contract() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))
    return document


@pytest.fixture(scope="module")
def api_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiClient]:
    with start_sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        new_client = ApiClient(sandbox)
        yield new_client
        new_client.session.close()


class ContractChecker:
    """Validates answers with the contract's schema for their route and status."""

    def __init__(self, contract: dict[str, Any]) -> None:
        self._contract = contract

    def check_response(self, method: str, path: str, status: int, body: Any) -> None:
        response = self._contract["paths"][path][method]["responses"][str(status)]
        if "$ref" in response:
            response = self._contract["components"]["responses"][response["$ref"].rsplit("/", 1)[-1]]
        schema = {**response["content"]["application/json"]["schema"], "components": self._contract["components"]}
        jsonschema.validate(body, schema, format_checker=jsonschema.FormatChecker())


@pytest.fixture(scope="module")
def contract_checker(contract: dict[str, Any]) -> ContractChecker:
    return ContractChecker(contract)


def test_every_answer_from_session_to_rows_follows_the_contract(
    api_client: ApiClient, contract_checker: ContractChecker
) -> None:
    api_client.update_sandbox_settings(notes="Totals", review_needed="scan", fail_pages="other")
    session_id = api_client.upload_files({"scan.png": SCAN_PATH.read_bytes(), "other.pdf": b"%PDF-"})
    again = api_client.open_session({"scan.png": SCAN_PATH.read_bytes(), "other.pdf": b"%PDF-"}, session_id)[1]
    contract_checker.check_response("post", "/uploads/sessions", 200, again.json())
    submitted = api_client.post("/extractions", api_client.build_submission(session_id, "scan.png", "other.pdf"))
    contract_checker.check_response("post", "/extractions", 202, submitted.json())
    extraction_id = submitted.json()["extraction_id"]
    contract_checker.check_response("get", EXTRACTION_PATH, 200, api_client.get_status(extraction_id))
    contract_checker.check_response("get", f"{EXTRACTION_PATH}/results", 200, api_client.get_results(extraction_id))
    for path in (f"{EXTRACTION_PATH}/details", "/extractions", "/credits/balance"):
        contract_checker.check_response(
            "get", path, 200, api_client.get(path.format(extraction_id=extraction_id)).json()
        )
    output = api_client.get(f"/extractions/{extraction_id}/output", format="json")
    contract_checker.check_response("get", f"{EXTRACTION_PATH}/output", 200, output.json())


@pytest.mark.parametrize("expected_status", ["processing", "input_required", "failed", "cancelled"])
def test_every_status_follows_the_contract(
    api_client: ApiClient, contract_checker: ContractChecker, expected_status: str
) -> None:
    api_client.update_sandbox_settings(stall=1 if expected_status in ("processing", "cancelled") else 0)
    api_client.update_sandbox_settings(task_fail_code="PROMPT_UNCLEAR=1" if expected_status == "failed" else "")
    extraction_id = api_client.extract_files(
        {"a.pdf": b"%PDF-"}, options={"ask_questions": expected_status == "input_required"}
    )
    if expected_status == "cancelled":
        cancel_response = api_client.post(f"/extractions/{extraction_id}/cancel")
        contract_checker.check_response("post", f"{EXTRACTION_PATH}/cancel", 200, cancel_response.json())
    body = api_client.get_status(extraction_id)
    assert body["status"] == expected_status
    contract_checker.check_response("get", EXTRACTION_PATH, 200, body)
    contract_checker.check_response(
        "get", f"{EXTRACTION_PATH}/details", 200, api_client.get(f"/extractions/{extraction_id}/details").json()
    )
    contract_checker.check_response("get", "/extractions", 200, api_client.get("/extractions").json())


def test_parts_and_completion_follow_the_contract(api_client: ApiClient, contract_checker: ContractChecker) -> None:
    session_id = api_client.upload_files({"a.pdf": b"%PDF-"})
    path = "/uploads/sessions/{upload_session_id}"
    contract_checker.check_response(
        "post", f"{path}/complete", 200, api_client.finish_file_upload(session_id, "a.pdf", '"x"').json()
    )
    refused = api_client.post(f"/uploads/sessions/{session_id}/parts", {"file_id": "a.pdf", "part_numbers": [1]})
    contract_checker.check_response("post", f"{path}/parts", 409, refused.json())
    opened, _ = api_client.open_session({"b.pdf": b"%PDF-"})
    parts_response = api_client.post(f"/uploads/sessions/{opened}/parts", {"file_id": "b.pdf", "part_numbers": [1]})
    contract_checker.check_response("post", f"{path}/parts", 200, parts_response.json())


def test_errors_follow_the_contract(api_client: ApiClient, contract_checker: ContractChecker) -> None:
    contract_checker.check_response("post", "/extractions", 400, api_client.post("/extractions", {}).json())
    unknown_id = "00000000-0000-0000-0000-000000000000"
    contract_checker.check_response("get", EXTRACTION_PATH, 404, api_client.get(f"/extractions/{unknown_id}").json())
    contract_checker.check_response("get", "/extractions", 403, api_client.get("/extractions", scope="team").json())
    other_client = ApiClient(api_client.sandbox)
    other_client.update_sandbox_settings(limits="balance=0")
    contract_checker.check_response("get", "/credits/balance", 429, other_client.get("/credits/balance").json())
    other_client.session.close()
