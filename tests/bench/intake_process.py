"""One measured pass over a source, in a process of its own: ``python -m tests.bench.intake_process bare|ours <JSON>``.

``bare`` is a loop of IMAPClient that fetches and counts, ``ours`` is all that ``invoices collect`` does after it has
started. Both have imported what they need before the clock starts. Prints one line of JSON.
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
from flows.driving import drive
from flows.opening import open_house
from flows.stages import collect
from invoices.report import Report
from invoices.settings import Mailbox, Settings
from sources.mailbox.account import Limits

ITEMS = ("BODY.PEEK[]", "INTERNALDATE", "RFC822.SIZE")


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass came to; memory is the most resident of the process and of its largest child."""

    seconds: float
    cpu_seconds: float  # of the process and its children, the server's are not in it
    messages: int
    bytes_fetched: int
    new_documents: int
    known: int
    peak_bytes: int
    child_peak_bytes: int


def main() -> None:
    """Make the pass that the arguments name."""
    told = json.loads(sys.argv[2])
    found = bare(Mailbox(**told["mailbox"]), told["chunk"]) if sys.argv[1] == "bare" else ours(told)
    print(json.dumps(asdict(found)))  # noqa: T201  for whoever measures


def bare(mailbox: Mailbox, chunk: int) -> Pass:
    """Return what fetching all mails comes to, ``chunk`` at a time, which is about as many bytes as ours holds."""
    started, before = time.monotonic(), _cpu()
    messages = total = 0
    context = ssl.create_default_context(cafile=mailbox.ca_file) if mailbox.security == "tls" else None
    with IMAPClient(mailbox.host, mailbox.effective_port, ssl=context is not None, ssl_context=context) as client:
        client.login(mailbox.username, mailbox.password.get_secret_value() if mailbox.password else "")
        client.select_folder("INBOX", readonly=True)
        uids = client.search("ALL")
        for start in range(0, len(uids), chunk):
            for found in client.fetch(uids[start : start + chunk], ITEMS).values():
                messages += 1
                total += len(found[b"BODY[]"])
    return _pass(time.monotonic() - started, before, messages, total)


def ours(told: Mapping[str, Any]) -> Pass:
    """Return what collecting comes to: everything new is in the store and the ledger, durable."""
    settings = Settings(**told)
    with open_house(settings) as house:
        report = Report()
        started, before = time.monotonic(), _cpu()
        drive(house, (collect,), report)
        seconds, child_peak = time.monotonic() - started, max(map(_peak, _children()), default=0)
        house.unwrappers.close()  # so that what they have used is counted
        found = _pass(seconds, before, 0, 0, report, child_peak)
    if report.problems:
        raise SystemExit("; ".join(report.problems))
    return found


def chunk_for(bytes_each: float) -> int:
    """Return how many mails of this size ours fetches at once."""
    return max(int(Limits().at_once / bytes_each), 1)


def _pass(
    seconds: float, cpu_before: float, messages: int, total: int, report: Report | None = None, child_peak: int = 0
) -> Pass:
    new, known = (report.new_documents, report.known_files) if report else (0, 0)
    return Pass(seconds, _cpu() - cpu_before, messages, total, new, known, _peak(os.getpid()), child_peak)


def _children() -> list[int]:
    return [child.pid for child in psutil.Process().children()]


def _peak(pid: int) -> int:
    """Return the most bytes that a process held; what ``resource`` tells begins with its parent's."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    main()
