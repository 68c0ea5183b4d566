"""Prefect sends no usage data, wherever the flows are imported and whatever starts in the project's directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.run_environment import CHECKOUT

SWITCHES = ("DO_NOT_TRACK", "PREFECT_SERVER_ANALYTICS_ENABLED")
CI_VARIABLES = ("CI", "GITHUB_ACTIONS", "BUILD_ID", "BUILD_NUMBER")  # with them, Prefect sends none anyway
IMPORT_FLOWS = "import flows.ingest; "
PRINT_STATE = (
    "import prefect.analytics, prefect.settings; "
    "print(prefect.analytics.is_telemetry_enabled(), "
    "prefect.settings.get_current_settings().server.analytics_enabled)"
)


@pytest.mark.parametrize(
    ("code", "in_checkout", "expected"),
    [(IMPORT_FLOWS + PRINT_STATE, False, "False False"), (PRINT_STATE, True, " False")],
)
def test_usage_data_is_off(tmp_path: Path, code: str, in_checkout: bool, expected: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in (*SWITCHES, *CI_VARIABLES)}
    completed = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT if in_checkout else tmp_path,
        env=environment | {"PREFECT_HOME": str(tmp_path), "PYTHONPATH": str(CHECKOUT)},
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert completed.stdout.rstrip().endswith(expected)
