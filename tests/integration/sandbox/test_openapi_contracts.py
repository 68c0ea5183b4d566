"""The answers of the stand-ins follow the vendors' contracts, which are kept beside the project."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema
import pytest
import requests
import yaml

from sandbox import get_samples_directory
from sandbox.process import Sandbox, start_sandbox
from sandbox.sample_manifest import load_manifest
from sandbox.smartbills_io.receipt_validation import MONEY_PROPERTIES
from tests.run_environment import CONTRACT_DIRECTORY

HEADERS = {"Authorization": "Bearer sk_test_contracts", "x-tenant-id": "1"}
SANDBOX_SETTINGS = {"smartbills_com.rate_limits": "off", "billflowai.rate_limit_per_minute": 0}
READABLE_SAMPLES = [row for row in load_manifest() if row["path"].lower().endswith((".pdf", ".png", ".jpg"))]
RECEIPT_CHANGE = {"merchantId": 1, "totalAmount": 2, "currency": "EUR", "items": [], "paymentMethod": "x"}


@cache
def load_contract(name: str) -> dict[str, Any]:
    """Return a vendor's contract; skip the test if it is missing."""
    [*paths] = CONTRACT_DIRECTORY.glob(f"{name}-*.yaml")
    if not paths:
        pytest.skip("the vendors' contracts are missing (INVOICES_API_CONTRACTS)")
    document: dict[str, Any] = yaml.safe_load(paths[0].read_text("utf-8"))
    return document


def validate_response(response: requests.Response, name: str, path: str, status: int) -> Any:
    """Return the JSON of an answer; assert its status and the contract's schema for it."""
    assert response.status_code == status, response.text
    document = load_contract(name)
    response_schema = document["paths"][path][str(response.request.method).lower()]["responses"][str(status)]
    if "$ref" in response_schema:
        response_schema = document["components"]["responses"][response_schema["$ref"].rpartition("/")[2]]
    schema = response_schema["content"]["application/json"]["schema"]
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    validator = jsonschema.Draft202012Validator({**document, **schema}, format_checker=checker)
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(response.json())] == []
    return response.json()


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Return a running sandbox without rate limits."""
    with start_sandbox(tmp_path_factory.mktemp("sandbox"), settings=SANDBOX_SETTINGS) as running_sandbox:
        yield running_sandbox


def read_sample(row: dict[str, Any]) -> bytes:
    """Return the content of a sample file."""
    return (get_samples_directory() / str(row["path"])).read_bytes()


def test_every_extraction_of_smartbills_com_follows_the_contract(sandbox: Sandbox) -> None:
    url = f"{sandbox.smartbills_com['base_url']}/v1/invoices"
    for row in READABLE_SAMPLES:
        answer = requests.post(f"{url}/extract", files={"file": read_sample(row)}, headers=HEADERS, timeout=30)
        if answer.status_code == 400:  # the name does not match the content
            validate_response(answer, "01", "/v1/invoices/extract", 400)
            continue
        job = validate_response(answer, "01", "/v1/invoices/extract", 200)
        state = requests.get(f"{url}/{job['id']}", headers=HEADERS, timeout=30)
        validate_response(state, "01", "/v1/invoices/{id}", 200)
    validate_response(requests.get(url, headers=HEADERS, timeout=30), "01", "/v1/invoices", 200)


def test_the_errors_of_smartbills_com_follow_the_contract(sandbox: Sandbox) -> None:
    url = f"{sandbox.smartbills_com['base_url']}/v1/invoices"
    validate_response(requests.get(f"{url}/none", headers=HEADERS, timeout=30), "01", "/v1/invoices/{id}", 404)
    validate_response(requests.get(f"{url}/none", timeout=30), "01", "/v1/invoices/{id}", 401)
    validate_response(requests.post(f"{url}/extract", headers=HEADERS, timeout=30), "01", "/v1/invoices/extract", 400)


def test_every_extraction_of_billflowai_follows_the_contract(sandbox: Sandbox) -> None:
    url = f"{sandbox.billflowai['base_url']}/api"
    compared_rows = set()
    for row in READABLE_SAMPLES:
        answer = requests.post(
            f"{url}/extract-invoice-file", files={"file": read_sample(row)}, headers=HEADERS, timeout=30
        )
        validate_response(answer, "03", "/api/extract-invoice-file", answer.status_code)
        compared_rows.add(answer.status_code)
    assert compared_rows <= {200, 400, 422}
    assert 200 in compared_rows
    stored = validate_response(requests.get(f"{url}/invoices", headers=HEADERS, timeout=30), "03", "/api/invoices", 200)
    item_url = f"{url}/invoices/{stored['invoices'][0]['id']}"
    validate_response(requests.get(item_url, headers=HEADERS, timeout=30), "03", "/api/invoices/{id}", 200)


def test_the_errors_of_billflowai_follow_the_contract(sandbox: Sandbox) -> None:
    url = f"{sandbox.billflowai['base_url']}/api/extract-invoice"
    for body, headers, status in (
        ({}, HEADERS, 400), ({"file_url": "http://127.0.0.1/a.pdf"}, HEADERS, 400), ({}, {}, 401),
    ):  # fmt: skip
        answer = requests.post(url, json=body, headers=headers, timeout=30)
        validate_response(answer, "03", "/api/extract-invoice", status)


@pytest.mark.parametrize("prefix", ["/v1/receipts", "/v1/businesses/{businessId}/receipts"])
@pytest.mark.parametrize("receipt_id", [{}, {"receiptId": "r-1", "date": "2026-01-15T00:00:00Z"}])
def test_the_life_cycle_of_a_receipt_follows_the_contract(
    sandbox: Sandbox, prefix: str, receipt_id: dict[str, str]
) -> None:
    url = sandbox.smartbills_io["base_url"] + prefix.removeprefix("/v1").replace("{businessId}", "1")
    money = {name: {"amount": 1, "currency": "EUR"} for name in MONEY_PROPERTIES}
    body = {**money, "type": "OFFICIAL", "taxesIncluded": False, **receipt_id}
    created = validate_response(requests.post(url, json=body, headers=HEADERS, timeout=30), "05", prefix, 201)
    validate_response(requests.get(url, headers=HEADERS, timeout=30), "05", prefix, 200)
    item_url, path = f"{url}/{created['id']}", prefix + "/{id}"
    validate_response(requests.get(item_url, headers=HEADERS, timeout=30), "05", path, 200)
    change = {**RECEIPT_CHANGE, "date": "2026-01-15T00:00:00Z"}
    validate_response(requests.put(item_url, json=change, headers=HEADERS, timeout=30), "05", path, 200)
    deleted = requests.delete(item_url, headers=HEADERS, timeout=30)
    if deleted.status_code != 204:
        validate_response(deleted, "05", path, 200)
    validate_response(requests.get(item_url, headers=HEADERS, timeout=30), "05", path, 404)


@pytest.mark.parametrize("envelope", ["1", "2", "3", "4"])
def test_each_error_envelope_follows_the_contract(sandbox: Sandbox, envelope: str) -> None:
    key = f"sk_test_envelope_{envelope}"
    sandbox.update_settings(key, smartbills_io__error_envelope=envelope)
    headers = {**HEADERS, "Authorization": f"Bearer {key}"}
    url = f"{sandbox.smartbills_io['base_url']}/receipts"
    validate_response(requests.post(url, json={}, headers=headers, timeout=30), "05", "/v1/receipts", 400)
