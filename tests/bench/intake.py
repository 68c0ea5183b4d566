"""The benchmark of intake: a real Dovecot beside a bare loop of the same library, and passes that find nothing new."""

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

from tests.bench.intake_mails import fill
from tests.bench.intake_process import Pass, chunk_for
from tests.bench.measuring import RunError, without_settings
from tests.integration.dovecot_server import Account, DovecotServer, found_program, running

SMALLER = 0.45  # of the usual size: 20,000 mails and what is in them would need more than 2 GB otherwise


@dataclass(frozen=True, slots=True)
class Case:
    """Mails of one mailbox, and how often bare and ours take turns; in no round only what is new is collected once."""

    messages: int
    security: str
    rounds: int
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Beside:
    """Ours beside the bare loop: medians of the rounds; the ratios are of the two passes of one round."""

    case: Case
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
class NothingNew:
    """Passes that found nothing new: the median, without and with starting the process."""

    source: str
    known: int
    seconds: float
    process_seconds: float
    peak_megabytes: float
    first_seconds: float


@dataclass(frozen=True, slots=True)
class Figures:
    """All that was measured."""

    beside: Sequence[Beside]
    nothing_new: Sequence[NothingNew]


CASES = (Case(1_000, "none", 5), Case(1_000, "tls", 5), Case(2_000, "tls", 0, SMALLER), Case(20_000, "tls", 3, SMALLER))
QUICK_CASES = (Case(20, "tls", 1),)
LOOKS = 5
FOLDERS = ((100_000, 1), (100_000, 1_000))
QUICK_FOLDERS = ((20, 2),)


def measured(*, quick: bool = False) -> Figures:
    """Return the figures; ``quick`` ones only show that they can be had. Raises RunError where a pass fails."""
    program = found_program()
    if program is None:
        raise RunError("there is no Dovecot; on Debian: apt-get install dovecot-imapd")
    looks = 1 if quick else LOOKS
    beside: list[Beside] = []
    nothing_new: list[NothingNew] = []
    with running(program) as server, tempfile.TemporaryDirectory(prefix="bench-") as name:
        for number, case in enumerate(QUICK_CASES if quick else CASES):
            _tell(f"{case.messages:,} mails, security {case.security}")
            with _mailbox(server, case) as (account, total):
                told, looked = _mailbox_measured(server, account, case, total, Path(name) / f"mailbox-{number}", looks)
            beside += told
            nothing_new.append(looked)
    for count, directories in QUICK_FOLDERS if quick else FOLDERS:
        _tell(f"{count:,} files in {directories:,} folders")
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            nothing_new.append(_folder(Path(name), count, directories, looks))
    return Figures(beside, nothing_new)


@contextmanager
def _mailbox(server: DovecotServer, case: Case) -> Iterator[tuple[Account, int]]:
    account = server.account()
    try:
        yield account, fill(account, case.messages, case.scale)
    finally:
        for file in (account.maildir / "cur").iterdir():
            file.unlink()


def _mailbox_measured(
    server: DovecotServer, account: Account, case: Case, total: int, place: Path, looks: int
) -> tuple[list[Beside], NothingNew]:
    mailbox = _settings(server, account, case.security)
    asked = {"mailbox": mailbox, "chunk": chunk_for(total / case.messages)}
    _bare(asked, case)  # the server finds its mails, and the machine its files
    pairs = []
    for number in range(max(case.rounds, 1)):
        bare, home = _bare(asked, case), place / f"home-{number}"
        pairs.append((bare, _ours({"home": str(home), "mailboxes": [mailbox]}, new=case.messages)))
    looked = _looked(f"{case.messages:,} mails, {case.security}", home, {"mailboxes": [mailbox]}, pairs[-1][1], looks)
    return ([_beside(case, total, pairs)] if case.rounds else []), looked


def _settings(server: DovecotServer, account: Account, security: str) -> dict[str, Any]:
    encrypted = (
        {"port": server.tls_port, "ca_file": str(server.ca_file)} if security == "tls" else {"port": server.port}
    )
    login = {"host": server.host, "username": account.username, "password": account.password}
    return {"name": "office", "security": security, **login, **encrypted}


def _bare(asked: Mapping[str, Any], case: Case) -> Pass:
    found = _process("bare", asked)[0]
    if found.messages != case.messages:
        raise RunError(f"the bare loop saw {found.messages} mails of {case.messages}")
    return found


def _ours(settings: Mapping[str, Any], new: int) -> Pass:
    found = _process("ours", settings)[0]
    if found.new_documents < new * 0.9 or (found.new_documents and not new):
        raise RunError(f"{found.new_documents} new documents, where about {new} were expected")
    return found


def _looked(source: str, home: Path, settings: Mapping[str, Any], first: Pass, looks: int) -> NothingNew:
    found = [_process("ours", {"home": str(home), **settings}) for _ in range(looks)]
    if any(one.new_documents for one, _ in found):
        raise RunError(f"{source}: something was new")
    return NothingNew(
        source=source,
        known=found[0][0].known,
        seconds=round(statistics.median(one.seconds for one, _ in found), 3),
        process_seconds=round(statistics.median(seconds for _, seconds in found), 2),
        peak_megabytes=round(max(one.peak_bytes for one, _ in found) / 1e6),
        first_seconds=round(first.seconds, 2),
    )


def _folder(place: Path, count: int, directories: int, looks: int) -> NothingNew:
    for directory in range(directories):
        (place / "in" / f"{directory:04d}").mkdir(parents=True)
    for number in range(count):
        (place / "in" / f"{number % directories:04d}" / f"{number:06d}.pdf").write_bytes(b"%%PDF-1.7 %d" % number)
    settings = {"folders": [{"name": "scans", "url": str(place / "in")}]}
    first = _ours({"home": str(place / "home"), **settings}, new=count)
    return _looked(f"{count:,} files in {directories:,} folders", place / "home", settings, first, looks)


def _process(what: str, told: Mapping[str, Any]) -> tuple[Pass, float]:
    """Return what a pass in a process of its own came to, and the seconds of that process as a whole."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.intake_process", what, json.dumps(told)],
        check=False, capture_output=True, text=True, env=without_settings(),
    )  # fmt: skip
    seconds = time.monotonic() - started
    if done.returncode:
        raise RunError(f"{what} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")
    return Pass(**json.loads(done.stdout.splitlines()[-1])), seconds


def _beside(case: Case, total: int, pairs: Sequence[tuple[Pass, Pass]]) -> Beside:
    ratios = [bare.seconds / ours.seconds for bare, ours in pairs]
    return Beside(
        case=case,
        kilobytes_each=round(total / case.messages / 1000, 1),
        bare_seconds=round(statistics.median(bare.seconds for bare, _ in pairs), 2),
        ours_seconds=round(statistics.median(ours.seconds for _, ours in pairs), 2),
        ratio=round(statistics.median(ratios), 3),
        lowest_ratio=round(min(ratios), 3),
        highest_ratio=round(max(ratios), 3),
        bare_cpu_seconds=round(statistics.median(bare.cpu_seconds for bare, _ in pairs), 2),
        ours_cpu_seconds=round(statistics.median(ours.cpu_seconds for _, ours in pairs), 2),
        peak_megabytes=round(max(ours.peak_bytes for _, ours in pairs) / 1e6),
        child_peak_megabytes=round(max(ours.child_peak_bytes for _, ours in pairs) / 1e6),
    )


def _tell(what: str) -> None:
    print(f"{what} …", file=sys.stderr, flush=True)  # noqa: T201  progress


def table(figures: Figures) -> str:
    """Return the figures for a person."""
    head = ("beside a bare loop", "mails/s", "bare", "MB/s", "bare", "ratio", "from … to", "CPU s", "bare", "peak MB")
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
    looks = [
        (n.source, f"{n.known:,}", n.seconds, n.process_seconds, n.peak_megabytes, n.first_seconds)
        for n in figures.nothing_new
    ]
    again = ("nothing new", "known", "seconds", "with its start", "peak MB", "first, s")
    return "\n".join(_line(row) for row in (head, *rows)) + "\n\n" + "\n".join(_line(row) for row in (again, *looks))


def _line(cells: Sequence[object]) -> str:
    return f"{cells[0]!s:30}" + "".join(f"{cell!s:>15}" for cell in cells[1:])
