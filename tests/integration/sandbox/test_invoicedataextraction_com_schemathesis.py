"""Schemathesis tests the stand-in for Invoice Data Extraction against the OpenAPI document that it serves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from sandbox.invoicedataextraction_com.openapi import build_document
from sandbox.process import Sandbox, start_sandbox
from tests.sweep_size import choose_point_count

SCHEMA = schemathesis.openapi.from_dict(build_document("http://127.0.0.1/invoicedataextraction_com/v1"))
HEADERS = {"Authorization": "Bearer sk_test_schemathesis"}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    settings = {"invoicedataextraction_com.rate_limits": "off"}
    with start_sandbox(tmp_path_factory.mktemp("sandbox"), settings=settings) as running_sandbox:
        yield running_sandbox


@SCHEMA.parametrize()
@settings(max_examples=choose_point_count(2, 5), deadline=None, suppress_health_check=list(HealthCheck))
def test_every_route_follows_its_openapi_document(case: schemathesis.Case, sandbox: Sandbox) -> None:
    case.call_and_validate(
        base_url=sandbox.invoicedataextraction_com["base_url"],
        headers=HEADERS,
        excluded_checks=[positive_data_acceptance],  # names must be unique and files uploaded: no schema can say so
        timeout=20,
    )


def test_the_document_is_served_without_a_key(sandbox: Sandbox) -> None:
    base = sandbox.invoicedataextraction_com["base_url"]
    served = requests.get(base.removesuffix("/v1") + "/openapi.json", timeout=10)
    assert served.json() == build_document(base)
