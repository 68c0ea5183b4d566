"""The flows, deployed from prefect.yaml to a local Prefect server and run by a process worker."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.run_environment import CHECKOUT, list_coverage_variables

PREFECT = [sys.executable, "-m", "prefect"]
START_SECONDS, RUN_SECONDS, END_SECONDS, POLL_SECONDS = 90, 180, 3, 0.2
UNUSED_SERVICES = (  # of the server; they only take its time
    "CANCELLATION_CLEANUP", "FOREMAN", "LATE_RUNS", "PAUSE_EXPIRATIONS", "REPOSSESSOR", "SCHEDULER", "TRIGGERS",
)  # fmt: skip


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with a home directory for Prefect and one for the application."""
    home = tmp_path_factory.mktemp("prefect")
    inbox = home / "inbox"
    samples = CHECKOUT / "data" / "samples" / "inbox"
    for file in sorted(path for path in samples.rglob("*.xml"))[:5]:
        (inbox / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, inbox / file.parent.name / file.name)
    port = _find_free_port()
    return {
        **os.environ,
        **{f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in UNUSED_SERVICES},
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_UI_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "0.5",
        "INVOICES_HOME": str(home / "app"),
        "INVOICES_INBOX__PATH": str(inbox),
        "INVOICES_INBOX__SETTLE_SECONDS": "0",
        "NO_PROXY": "127.0.0.1",
    }


@pytest.fixture(scope="module")
def worker(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A server and a worker with the deployments of prefect.yaml; gives the directory with their output."""
    logs = tmp_path_factory.mktemp("logs")
    unmeasured_environment = _remove_coverage_variables(environment)
    with _PrefectProcess(["server", "start", "--host", "127.0.0.1"], unmeasured_environment, logs / "server.txt"):
        _wait_until_ready(f"{environment['PREFECT_API_URL']}/health")
        worker_command = ["worker", "start", "--pool", "invoices", "--type", "process"]  # creates the work pool
        with _PrefectProcess(worker_command, environment, logs / "worker.txt"):
            _wait_until_ready(f"{environment['PREFECT_API_URL']}/work_pools/invoices")
            _run_prefect(environment, "--no-prompt", "deploy", "--all")
            yield logs


def test_every_stage_and_the_whole_are_deployed(environment: dict[str, str], worker: Path) -> None:
    deployments = _call_api(environment, "deployments/filter", {})
    assert {deployment["entrypoint"].rpartition(".")[2] for deployment in deployments} == {
        "ingest_invoices", "collect_documents", "extract_invoices", "validate_candidates", "load_warehouse",
        "publish_receipts", "export_batches",
    }  # fmt: skip
    schedules = [schedule for deployment in deployments for schedule in deployment["schedules"]]
    assert [schedule["schedule"]["cron"] for schedule in schedules] == ["7 6-20 * * 1-5"]


def test_the_worker_runs_all_stages_and_a_second_run_changes_nothing(environment: dict[str, str], worker: Path) -> None:
    first = _run_deployment(environment, "ingest-invoices/scheduled")
    assert first["state"]["type"] == "COMPLETED", (worker / "worker.txt").read_text()
    warehouse = Path(environment["INVOICES_HOME"]) / "warehouse"
    with duckdb.connect(str(warehouse / "invoices.duckdb"), read_only=True) as connection:
        assert connection.execute("select count(*) from core.documents").fetchone() == (5,)
    release = (warehouse / "current").readlink()
    second = _run_deployment(environment, "ingest-invoices/scheduled")
    assert second["state"]["type"] == "COMPLETED"
    assert (warehouse / "current").readlink() == release


def test_no_usage_data_is_sent_by_server_or_flows(environment: dict[str, str], worker: Path) -> None:
    assert _call_api(environment, "admin/settings")["server"]["analytics_enabled"] is False
    for deployment in _call_api(environment, "deployments/filter", {}):
        assert deployment["job_variables"]["env"] == {"DO_NOT_TRACK": "1"}


def test_batches_are_tasks_and_no_file_name_is_in_the_database_of_prefect(
    environment: dict[str, str], worker: Path
) -> None:
    names = {task["name"] for task in _call_api(environment, "task_runs/filter", {})}
    assert {"collect-1", "extract_local-1", "validate-1", "load-1", "publish-1", "export-1"} <= names
    database = (Path(environment["PREFECT_HOME"]) / "prefect.db").read_bytes()
    for file in Path(environment["INVOICES_INBOX__PATH"]).rglob("*.xml"):
        assert file.name.encode() not in database


def test_the_old_flow_name_of_validate_still_runs(environment: dict[str, str], worker: Path) -> None:
    program = "from flows.ingest import judge_candidates; judge_candidates()"
    completed = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    flows = _call_api(environment, "flows/filter", {})
    assert {"judge-candidates", "validate-candidates"} <= {flow["name"] for flow in flows}


def _run_deployment(environment: dict[str, str], deployment: str) -> dict[str, Any]:
    """Trigger a deployment, wait until its flow run has ended, and return the flow run."""
    deployment_id = _call_api(environment, f"deployments/name/{deployment}")["id"]
    triggered_run = _call_api(environment, f"deployments/{deployment_id}/create_flow_run", {})
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline:
        run: dict[str, Any] = _call_api(environment, f"flow_runs/{triggered_run['id']}")
        if run["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            return run
        time.sleep(POLL_SECONDS)
    raise AssertionError("the flow run did not end in time")


def _call_api(environment: dict[str, str], route: str, body: dict[str, Any] | None = None) -> Any:
    """Return the response of the server to a POST of ``body``, or to a GET without one."""
    request = urllib.request.Request(  # noqa: S310  loopback
        f"{environment['PREFECT_API_URL']}/{route}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310  loopback
                return json.load(response)
        except urllib.error.HTTPError as error:  # 503: the server's database is busy, and its clients try again
            if error.code != 503 or time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)


def _run_prefect(environment: dict[str, str], *arguments: str) -> None:
    command = [*PREFECT, *arguments]
    completed = subprocess.run(
        command, env=_remove_coverage_variables(environment), cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert "Traceback" not in completed.stdout + completed.stderr


def _remove_coverage_variables(environment: dict[str, str]) -> dict[str, str]:
    """Return the environment for Prefect's own processes, which coverage would only slow down."""
    return {name: value for name, value in environment.items() if name not in list_coverage_variables(environment)}


class _PrefectProcess:
    """A Prefect process that is ended with the block."""

    def __init__(self, arguments: list[str], environment: dict[str, str], output: Path) -> None:
        self._command, self._environment, self._output = [*PREFECT, *arguments], environment, output

    def __enter__(self) -> None:
        self._stream = self._output.open("w")
        self._process = subprocess.Popen(
            self._command, env=self._environment, cwd=CHECKOUT, stdout=self._stream, stderr=subprocess.STDOUT
        )

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(END_SECONDS)  # they have nothing left to do, but are slow to exit
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stream.close()


def _wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310  loopback
                return
        except OSError:
            time.sleep(POLL_SECONDS)
    raise AssertionError(f"{url} did not answer within {START_SECONDS} s")


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
