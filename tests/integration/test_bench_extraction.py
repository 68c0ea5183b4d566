"""The benchmark of asking can be run; its figures are for people, and for a machine at rest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unmeasured
PROJECT = Path(__file__).parents[2]


def test_a_quick_benchmark_of_asking_has_every_figure() -> None:
    command = [sys.executable, "-m", "tests.bench", "--only", "extraction", "--quick", "--json"]
    told = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=300, check=True).stdout
    assert "beside a bare loop" in told
    figures = json.loads(told.splitlines()[-1])["extraction"]
    assert [(share["allowed"], share["runs"]) for share in figures["shares"]] == [(5, 1)] * 3
    assert all(one["sdk"] and one["ours"] for one in figures["beside_sdk"])
    vendors = {"smartbills_com", "invoicedataextraction_com", "billflowai"}
    assert {one["client"] for one in figures["clients"] if one["ratio"]} == vendors
    assert [one["documents_per_second"] > 0 for one in figures["memory"]] == [True]
