"""Schemathesis tests each stand-in against the OpenAPI document that it serves, with valid and invalid requests."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from schemathesis import Case
from schemathesis.config import SchemathesisConfig
from schemathesis.openapi import from_dict
from schemathesis.schemas import BaseSchema
from schemathesis.transport.serialization import Binary

from sandbox.billflowai import openapi as billflowai
from sandbox.process import Sandbox, start_sandbox
from sandbox.smartbills_com import openapi as smartbills_com
from sandbox.smartbills_io import openapi as smartbills_io
from sandbox.smartbills_io.receipt_validation import MONEY_PROPERTIES
from tests.sweep_size import choose_point_count

SANDBOX_SETTINGS = {
    "smartbills_com.rate_limits": "off",
    "billflowai.rate_limit_per_minute": 0,
    "billflowai.read_strangers": "on",
    "billflowai.allow_private_urls": "on",
    "smartbills_io.rate_model": "off",
}
DOCUMENTS = {
    "smartbills_com": smartbills_com.build_document,
    "billflowai": billflowai.build_document,
    "smartbills_io": smartbills_io.build_document,
}
EXAMPLE_COUNT = choose_point_count(2, 5)
HEADERS = {"Authorization": "Bearer sk_test_schemathesis"}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Return a running sandbox without rate limits."""
    with start_sandbox(tmp_path_factory.mktemp("sandbox"), settings=SANDBOX_SETTINGS) as running_sandbox:
        yield running_sandbox


def load_schema(document: Callable[[str], dict[str, Any]]) -> BaseSchema:
    """Return the schema of an OpenAPI document for Schemathesis, with the same few examples each time."""
    config = SchemathesisConfig(seed=1)
    config.projects.default.generation.update(
        max_examples=EXAMPLE_COUNT, deterministic=True, allow_extra_parameters=False
    )
    return from_dict(document("http://127.0.0.1:1"), config=config)


@pytest.fixture(scope="module")
def file_url(sandbox: Sandbox) -> str:
    """Return the URL of a file on the sandbox itself, so that nothing is downloaded from elsewhere."""
    url, headers = f"{sandbox.smartbills_com['base_url']}/v1/invoices/extract", HEADERS
    response = requests.post(url, files={"file": b"%PDF-1.7 shown"}, headers=headers, timeout=30)
    return str(response.json()["file_url"])


def make_files_readable(case: Case, file_url: str = "") -> None:
    """Make the files and URLs of a call readable; a schema cannot say that a file starts like a PDF."""
    body = case.body if isinstance(case.body, dict) else {}
    if isinstance(body.get("file"), Binary):
        body["file"] = Binary(b"%PDF-" + body["file"].data)
    if re.match("(?i)[a-z][a-z0-9+.-]*://", str(body.get("file_url"))):
        body["file_url"] = file_url


def validate_call(case: Case, sandbox: Sandbox, vendor: str) -> None:
    """Send the call to a vendor and validate the answer with the vendor's OpenAPI document."""
    case.call_and_validate(base_url=f"http://127.0.0.1:{sandbox.port}/{vendor}", headers=HEADERS)


@load_schema(smartbills_com.build_document).parametrize()
def test_smartbills_com_follows_its_openapi_document(case: Case, sandbox: Sandbox) -> None:
    make_files_readable(case)
    validate_call(case, sandbox, "smartbills_com")


@load_schema(billflowai.build_document).parametrize()
def test_billflowai_follows_its_openapi_document(case: Case, sandbox: Sandbox, file_url: str) -> None:
    make_files_readable(case, file_url)
    validate_call(case, sandbox, "billflowai")


@load_schema(smartbills_io.build_document).parametrize()
def test_smartbills_io_follows_its_openapi_document(case: Case, sandbox: Sandbox) -> None:
    validate_call(case, sandbox, "smartbills_io")


@pytest.mark.parametrize("vendor", DOCUMENTS)
def test_the_served_openapi_document_is_the_tested_one(sandbox: Sandbox, vendor: str) -> None:
    url = f"http://127.0.0.1:{sandbox.port}/{vendor}"
    assert requests.get(f"{url}/openapi.json", timeout=30).json() == DOCUMENTS[vendor](url)


DEEP_JSON = b"[" * 600 + b"]" * 600


@pytest.mark.parametrize("value", [b'"\\ud800"', DEEP_JSON, b"1e999", b"9" * 300])
def test_a_value_that_cannot_be_written_again_is_refused(sandbox: Sandbox, value: bytes) -> None:
    headers = {**HEADERS, "Content-Type": "application/json", "x-tenant-id": "1"}
    money = b'{"amount": 1, "currency": "EUR"}'
    body = b", ".join(b'"%s": %s' % (name.encode(), money) for name in MONEY_PROPERTIES)
    receipt = b'{"type": "SALE", "taxesIncluded": false, "note": %s, %s}' % (value, body)
    url = f"{sandbox.smartbills_io['base_url']}/receipts"
    assert requests.post(url, data=receipt, headers=headers, timeout=30).status_code == 400
    assert requests.get(url, headers=headers, timeout=30).status_code == 200


def test_a_very_small_amount_of_a_receipt_is_answered_unchanged(sandbox: Sandbox) -> None:
    headers = {**HEADERS, "Content-Type": "application/json", "x-tenant-id": "small"}
    money = {name: {"amount": 1e-300, "currency": "EUR"} for name in MONEY_PROPERTIES}
    url = f"{sandbox.smartbills_io['base_url']}/receipts"
    created = requests.post(url, json={**money, "type": "SALE", "taxesIncluded": False}, headers=headers, timeout=30)
    assert created.json()["total"]["amount"] == 1e-300
    assert requests.get(url, headers=headers, timeout=30).json()["data"] == [created.json()]
