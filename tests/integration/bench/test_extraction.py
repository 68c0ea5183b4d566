"""The extraction benchmark runs; its figures mean something only on a machine at rest."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.run_environment import CHECKOUT

pytestmark = pytest.mark.soak


def test_a_quick_extraction_benchmark_has_every_figure() -> None:
    command = [sys.executable, "-m", "tests.bench", "--only", "extraction", "--quick", "--json"]
    stdout = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=300, check=True).stdout
    assert "compared with a bare loop" in stdout
    figures = json.loads(stdout.splitlines()[-1])["extraction"]
    assert [(share["allowed"], share["runs"]) for share in figures["shares"]] == [(5, 1)] * 3
    assert all(measurement["sdk"] and measurement["ours"] for measurement in figures["beside_sdk"])
    vendors = {"smartbills_com", "invoicedataextraction_com", "billflowai"}
    assert {measurement["client"] for measurement in figures["clients"] if measurement["ratio"]} == vendors
    assert [measurement["documents_per_second"] > 0 for measurement in figures["memory"]] == [True]
