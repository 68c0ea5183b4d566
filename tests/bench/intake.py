"""The benchmark of intake: a real Dovecot, compared with a bare loop of the same library, and idle passes."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.intake_mails import deliver_mails
from tests.bench.intake_process import IntakePass, compute_chunk_size
from tests.bench.run_measurement import RunError, build_clean_environment
from tests.servers.dovecot_server import DovecotServer, MailAccount, find_program, run_server

REDUCED_SCALE = 0.45  # of the usual size; otherwise 20,000 mails and their documents need more than 2 GB


@dataclass(frozen=True, slots=True)
class MailboxCase:
    """One mailbox: its mails, and the rounds in which bare loop and collecting take turns (0: only collected, once)."""

    messages: int
    security: str
    rounds: int
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class FetchComparison:
    """Collecting compared with the bare loop: medians of the rounds; each ratio is of the two passes of one round."""

    case: MailboxCase
    kilobytes_each: float
    bare_seconds: float
    ours_seconds: float
    ratio: float
    lowest_ratio: float
    highest_ratio: float
    bare_cpu_seconds: float
    ours_cpu_seconds: float
    peak_megabytes: float
    child_peak_megabytes: float

    @property
    def megabytes(self) -> float:
        """The size of all mails."""
        return self.case.messages * self.kilobytes_each / 1000


@dataclass(frozen=True, slots=True)
class IdleMeasurement:
    """Passes that found nothing new: median seconds, without and with the start of the process."""

    source: str
    known: int
    seconds: float
    process_seconds: float
    peak_megabytes: float
    first_seconds: float


@dataclass(frozen=True, slots=True)
class IntakeBenchmark:
    """All figures of the intake benchmark."""

    beside: Sequence[FetchComparison]
    nothing_new: Sequence[IdleMeasurement]


CASES = (
    MailboxCase(1_000, "none", 5),
    MailboxCase(1_000, "tls", 5),
    MailboxCase(2_000, "tls", 0, REDUCED_SCALE),
    MailboxCase(20_000, "tls", 3, REDUCED_SCALE),
)
QUICK_CASES = (MailboxCase(20, "tls", 1),)
REPEAT_COUNT = 5
FOLDER_CASES = ((100_000, 1), (100_000, 1_000))
QUICK_FOLDER_CASES = ((20, 2),)


def run_benchmark(*, quick: bool = False) -> IntakeBenchmark:
    """Return the figures; with ``quick`` they only show that the benchmark works. Raises RunError if a pass fails."""
    program = find_program()
    if program is None:
        raise RunError("Dovecot is not installed; on Debian, run: apt-get install dovecot-imapd")
    repeat_count = 1 if quick else REPEAT_COUNT
    beside: list[FetchComparison] = []
    nothing_new: list[IdleMeasurement] = []
    with run_server(program) as server, tempfile.TemporaryDirectory(prefix="bench-") as name:
        for number, case in enumerate(QUICK_CASES if quick else CASES):
            _print_progress(f"{case.messages:,} mails, security {case.security}")
            with _open_filled_mailbox(server, case) as (account, total_bytes):
                comparisons, idle_measurement = _measure_mailbox(
                    server, account, case, total_bytes, Path(name) / f"mailbox-{number}", repeat_count
                )
            beside += comparisons
            nothing_new.append(idle_measurement)
    for count, folder_count in QUICK_FOLDER_CASES if quick else FOLDER_CASES:
        _print_progress(f"{count:,} files in {folder_count:,} folders")
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            nothing_new.append(_measure_folder(Path(name), count, folder_count, repeat_count))
    return IntakeBenchmark(beside, nothing_new)


@contextmanager
def _open_filled_mailbox(server: DovecotServer, case: MailboxCase) -> Iterator[tuple[MailAccount, int]]:
    account = server.create_account()
    try:
        yield account, deliver_mails(account, case.messages, case.scale)
    finally:
        for file in (account.maildir / "cur").iterdir():
            file.unlink()


def _measure_mailbox(
    server: DovecotServer, account: MailAccount, case: MailboxCase, total_bytes: int, directory: Path, repeat_count: int
) -> tuple[list[FetchComparison], IdleMeasurement]:
    mailbox = _build_mailbox_settings(server, account, case.security)
    request = {"mailbox": mailbox, "chunk": compute_chunk_size(total_bytes / case.messages)}
    _run_bare_pass(request, case)  # warms the caches of the server and the machine
    pairs = []
    for number in range(max(case.rounds, 1)):
        bare_pass, home = _run_bare_pass(request, case), directory / f"home-{number}"
        pairs.append(
            (bare_pass, _run_collect_pass({"home": str(home), "mailboxes": [mailbox]}, expected_new=case.messages))
        )
    idle_measurement = _measure_idle_passes(
        f"{case.messages:,} mails, {case.security}", home, {"mailboxes": [mailbox]}, pairs[-1][1], repeat_count
    )
    return ([_build_fetch_comparison(case, total_bytes, pairs)] if case.rounds else []), idle_measurement


def _build_mailbox_settings(server: DovecotServer, account: MailAccount, security: str) -> dict[str, Any]:
    encrypted = (
        {"port": server.tls_port, "ca_file": str(server.ca_file)} if security == "tls" else {"port": server.port}
    )
    login = {"host": server.host, "username": account.username, "password": account.password}
    return {"name": "office", "security": security, **login, **encrypted}


def _run_bare_pass(request: Mapping[str, Any], case: MailboxCase) -> IntakePass:
    result = _run_pass_process("bare", request)[0]
    if result.messages != case.messages:
        raise RunError(f"the bare loop fetched {result.messages} of {case.messages} mails")
    return result


def _run_collect_pass(settings: Mapping[str, Any], expected_new: int) -> IntakePass:
    result = _run_pass_process("ours", settings)[0]
    if result.new_documents < expected_new * 0.9 or (result.new_documents and not expected_new):
        raise RunError(f"there are {result.new_documents} new documents; about {expected_new} were expected")
    return result


def _measure_idle_passes(
    source: str, home: Path, settings: Mapping[str, Any], first_pass: IntakePass, repeat_count: int
) -> IdleMeasurement:
    passes = [_run_pass_process("ours", {"home": str(home), **settings}) for _ in range(repeat_count)]
    if any(idle_pass.new_documents for idle_pass, _ in passes):
        raise RunError(f"{source}: a pass found new documents, but nothing is new")
    return IdleMeasurement(
        source=source,
        known=passes[0][0].known,
        seconds=round(statistics.median(idle_pass.seconds for idle_pass, _ in passes), 3),
        process_seconds=round(statistics.median(seconds for _, seconds in passes), 2),
        peak_megabytes=round(max(idle_pass.peak_bytes for idle_pass, _ in passes) / 1e6),
        first_seconds=round(first_pass.seconds, 2),
    )


def _measure_folder(root: Path, count: int, folder_count: int, repeat_count: int) -> IdleMeasurement:
    for folder_number in range(folder_count):
        (root / "in" / f"{folder_number:04d}").mkdir(parents=True)
    for number in range(count):
        (root / "in" / f"{number % folder_count:04d}" / f"{number:06d}.pdf").write_bytes(b"%%PDF-1.7 %d" % number)
    settings = {"folders": [{"name": "scans", "url": str(root / "in")}]}
    first_pass = _run_collect_pass({"home": str(root / "home"), **settings}, expected_new=count)
    return _measure_idle_passes(
        f"{count:,} files in {folder_count:,} folders", root / "home", settings, first_pass, repeat_count
    )


def _run_pass_process(kind: str, arguments: Mapping[str, Any]) -> tuple[IntakePass, float]:
    """Run a pass in a process of its own; return its result and the seconds of the whole process."""
    started = time.monotonic()
    completed = subprocess.run(
        [sys.executable, "-m", "tests.bench.intake_process", kind, json.dumps(arguments)],
        check=False, capture_output=True, text=True, env=build_clean_environment(),
    )  # fmt: skip
    seconds = time.monotonic() - started
    if completed.returncode:
        raise RunError(f"{kind} ended with {completed.returncode}:\n{(completed.stdout + completed.stderr)[-4000:]}")
    return IntakePass(**json.loads(completed.stdout.splitlines()[-1])), seconds


def _build_fetch_comparison(
    case: MailboxCase, total_bytes: int, pairs: Sequence[tuple[IntakePass, IntakePass]]
) -> FetchComparison:
    ratios = [bare_pass.seconds / collect_pass.seconds for bare_pass, collect_pass in pairs]
    return FetchComparison(
        case=case,
        kilobytes_each=round(total_bytes / case.messages / 1000, 1),
        bare_seconds=round(statistics.median(bare_pass.seconds for bare_pass, _ in pairs), 2),
        ours_seconds=round(statistics.median(collect_pass.seconds for _, collect_pass in pairs), 2),
        ratio=round(statistics.median(ratios), 3),
        lowest_ratio=round(min(ratios), 3),
        highest_ratio=round(max(ratios), 3),
        bare_cpu_seconds=round(statistics.median(bare_pass.cpu_seconds for bare_pass, _ in pairs), 2),
        ours_cpu_seconds=round(statistics.median(collect_pass.cpu_seconds for _, collect_pass in pairs), 2),
        peak_megabytes=round(max(collect_pass.peak_bytes for _, collect_pass in pairs) / 1e6),
        child_peak_megabytes=round(max(collect_pass.child_peak_bytes for _, collect_pass in pairs) / 1e6),
    )


def _print_progress(message: str) -> None:
    print(f"{message} …", file=sys.stderr, flush=True)  # noqa: T201  progress


def render_table(figures: IntakeBenchmark) -> str:
    """Return the figures as text tables."""
    header = (
        "compared with a bare loop",
        "mails/s",
        "bare",
        "MB/s",
        "bare",
        "ratio",
        "from … to",
        "CPU s",
        "bare",
        "peak MB",
    )
    rows = [
        (
            f"{b.case.messages:,} × {b.kilobytes_each:g} KB, {b.case.security}",
            f"{b.case.messages / b.ours_seconds:.0f}", f"{b.case.messages / b.bare_seconds:.0f}",
            f"{b.megabytes / b.ours_seconds:.0f}", f"{b.megabytes / b.bare_seconds:.0f}",
            f"{b.ratio:.0%}", f"{b.lowest_ratio:.0%} … {b.highest_ratio:.0%}",
            b.ours_cpu_seconds, b.bare_cpu_seconds, f"{b.peak_megabytes:.0f} + {b.child_peak_megabytes:.0f}",
        )
        for b in figures.beside
    ]  # fmt: skip
    idle_rows = [
        (n.source, f"{n.known:,}", n.seconds, n.process_seconds, n.peak_megabytes, n.first_seconds)
        for n in figures.nothing_new
    ]
    idle_header = ("nothing new", "known", "seconds", "with start", "peak MB", "first, s")
    return (
        "\n".join(_render_row(row) for row in (header, *rows))
        + "\n\n"
        + "\n".join(_render_row(row) for row in (idle_header, *idle_rows))
    )


def _render_row(cells: Sequence[object]) -> str:
    return f"{cells[0]!s:30}" + "".join(f"{cell!s:>15}" for cell in cells[1:])
