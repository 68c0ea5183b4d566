"""A process that has imported everything that is slow to import, and forks one ``invoices`` per request.

One JSON object per line in: ``arguments``, ``environment``, ``directory``, ``output`` and ``errors`` (files to append
stdout and stderr to), and ``kill`` (``root``, ``at``, ``when``, ``counter``, ``sockets``) or null; one per line out:
``status``, negative for a signal. For kill points it is started with killpoint.so preloaded; each child arms it for
itself, so the calls are counted as if the process had just been started.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import sys
from typing import Any, NoReturn

SLOW_IMPORTS = (
    "dlt", "great_expectations", "pandas", "alembic.command", "expectations.validation", "expectations.suites",
    "flows.cli.commands", "flows.mailboxes", "flows.runner", "flows.reports.doctor", "flows.reports.doctor_sources",
    "flows.reports.reconcile", "flows.reports.run_summary", "flows.verdict_recorder", "transforms.mart_builder",
    "transforms.loading.accepted_invoice_reader", "transforms.loading.dlt_loader", "transforms.loading.release",
)  # fmt: skip


def main() -> None:
    """Answer requests until stdin ends."""
    for name in SLOW_IMPORTS:
        importlib.import_module(name)
    gc.freeze()  # no child has to look through what is imported
    print(json.dumps({"ready": True}), flush=True)  # noqa: T201  the protocol
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _run_request_and_exit(request)
        _, status = os.waitpid(child, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status)}), flush=True)  # noqa: T201  the protocol


def _run_request_and_exit(request: dict[str, Any]) -> NoReturn:
    """Be the command line of this request; it ends the process.

    It ends it without the destructors of C++ libraries, which look for the threads that their parent had.
    """
    from flows.cli import main as invoices

    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for name, target in (("output", 1), ("errors", 2)):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), target)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    if request["kill"] is not None:
        _set_kill_point(**request["kill"])
    try:
        invoices(request["arguments"])
        status = 0
    except SystemExit as exit_request:
        status = int(exit_request.code or 0)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _set_kill_point(root: str, at: int, when: str, counter: str, sockets: int) -> None:
    """Arm the preloaded shim for this process."""
    arm = ctypes.CDLL(None).killpoint_arm
    arm.argtypes = (ctypes.c_char_p, ctypes.c_uint64, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int)
    arm.restype = None
    arm(root.encode(), at, when.encode(), counter.encode(), sockets)


if __name__ == "__main__":
    main()
