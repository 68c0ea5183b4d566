"""One measured pass over a source, in a process of its own: ``python -m tests.bench.intake_process bare|ours <JSON>``.

``bare`` is a loop of IMAPClient that fetches and counts; ``ours`` is everything that ``invoices collect`` does once it
has started. All imports are done before the clock starts. Prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import resource
import ssl
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from imapclient import IMAPClient  # type: ignore[import-untyped]  # the library ships no types

from flows import folders, mailboxes  # noqa: F401  imported before the clock starts
from flows.bootstrap import open_app
from flows.runner import run_stages
from flows.stages import collect
from invoices.run_report import RunReport
from invoices.settings import MailboxSettings, Settings
from sources.mailbox.account import ImapLimits

FETCH_ITEMS = ("BODY.PEEK[]", "INTERNALDATE", "RFC822.SIZE")


@dataclass(frozen=True, slots=True)
class IntakePass:
    """The result of one pass; memory is the peak resident memory of the process and of its largest child."""

    seconds: float
    cpu_seconds: float  # of the process and its children, without the server
    messages: int
    bytes_fetched: int
    new_documents: int
    known: int
    peak_bytes: int
    child_peak_bytes: int


def main() -> None:
    """Run the pass that the arguments name and print its result."""
    arguments = json.loads(sys.argv[2])
    result = (
        fetch_all_mails(MailboxSettings(**arguments["mailbox"]), arguments["chunk"])
        if sys.argv[1] == "bare"
        else collect_all_mails(arguments)
    )
    print(json.dumps(asdict(result)))  # noqa: T201  the parent process reads it


def fetch_all_mails(mailbox: MailboxSettings, chunk: int) -> IntakePass:
    """Fetch all mails with a bare loop, ``chunk`` at a time, and return the result."""
    started, cpu_before = time.monotonic(), _measure_cpu_seconds()
    message_count = byte_count = 0
    context = ssl.create_default_context(cafile=mailbox.ca_file) if mailbox.security == "tls" else None
    with IMAPClient(mailbox.host, mailbox.effective_port, ssl=context is not None, ssl_context=context) as client:
        client.login(mailbox.username, mailbox.password.get_secret_value() if mailbox.password else "")
        client.select_folder("INBOX", readonly=True)
        uids = client.search("ALL")
        for start in range(0, len(uids), chunk):
            for message in client.fetch(uids[start : start + chunk], FETCH_ITEMS).values():
                message_count += 1
                byte_count += len(message[b"BODY[]"])
    return _build_pass(time.monotonic() - started, cpu_before, message_count, byte_count)


def collect_all_mails(settings_values: Mapping[str, Any]) -> IntakePass:
    """Collect all mails into the store and the ledger, on disk, and return the result."""
    settings = Settings(**settings_values)
    with open_app(settings) as app:
        report = RunReport()
        started, cpu_before = time.monotonic(), _measure_cpu_seconds()
        run_stages(app, (collect,), report)
        seconds = time.monotonic() - started
        child_peak_bytes = max((_read_peak_bytes(child.pid) for child in psutil.Process().children()), default=0)
        app.container_opener_pool.close()  # the CPU time of children counts only after they end
        result = _build_pass(seconds, cpu_before, 0, 0, report, child_peak_bytes)
    if report.problems:
        raise SystemExit("; ".join(report.problems))
    return result


def compute_chunk_size(bytes_each: float) -> int:
    """Return the number of mails of this size that the application fetches at once."""
    return max(int(ImapLimits().max_batch_bytes / bytes_each), 1)


def _build_pass(
    seconds: float,
    cpu_before: float,
    message_count: int,
    byte_count: int,
    report: RunReport | None = None,
    child_peak_bytes: int = 0,
) -> IntakePass:
    new, known = (report.new_documents, report.known_files) if report else (0, 0)
    return IntakePass(
        seconds,
        _measure_cpu_seconds() - cpu_before,
        message_count,
        byte_count,
        new,
        known,
        _read_peak_bytes(os.getpid()),
        child_peak_bytes,
    )


def _read_peak_bytes(pid: int) -> int:
    """Return the peak resident bytes of a process; ``resource`` would start with the parent's peak."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _measure_cpu_seconds() -> float:
    usages = [resource.getrusage(target) for target in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
