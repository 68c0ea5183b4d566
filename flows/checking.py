"""Checks of a house, for ``invoices doctor``: nothing is changed, no paid API is asked."""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flows.checking_sources import check_sources
from invoices.documents.reading import Readers
from invoices.errors import ConfigurationError
from invoices.house import kind_of, of_another_kind
from invoices.ledger import Ledger
from invoices.ledger.changes import loaded_revision, row_counts
from invoices.settings import PAID_EXTRACTORS, Settings
from transforms.loading.release import released_revision
from transforms.loading.working import is_complete

SPACE_WANTED = 1 << 30
KNOWN_BAD = {
    "fastapi": ("0.151", "Prefect 3.8.8 cannot deploy with it"),
    "duckdb": ("2", "it has no extension wheels yet"),
}

Check = dict[str, Any]


def examine(settings: Settings) -> list[Check]:
    """Return what was checked, each with ``name``, ``ok`` and a ``detail`` that says what to do where it is not."""
    sources = [_check(f"source {name!r}", ok, detail) for name, ok, detail in check_sources(settings)]
    return [*_places(settings), *_versions(), *_vendors(settings), *_state(settings), _readers(), *sources]


def _check(name: str, ok: bool, detail: str) -> Check:
    return {"name": name, "ok": ok, "detail": detail}


def _places(settings: Settings) -> Iterator[Check]:
    home = settings.home
    there = next(path for path in (home, *home.parents) if path.exists())
    yield _check("home", os.access(there, os.W_OK), f"{home}" + ("" if home.exists() else " (made by the first run)"))
    free = shutil.disk_usage(there).free
    yield _check("disk", free > SPACE_WANTED, f"{free / (1 << 30):.1f} GiB free of at least 1 GiB")


def _versions() -> Iterator[Check]:
    for package, (bad, why) in KNOWN_BAD.items():
        version = importlib.metadata.version(package)
        ok = _as_numbers(version) < _as_numbers(bad)
        yield _check(package, ok, version if ok else f"{version}: install one below {bad}, {why}")


def _as_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:3] if part.isdigit())


def _vendors(settings: Settings) -> Iterator[Check]:
    if settings.rehearses:
        yield _check("vendors", True, "no key is set: runs rehearse against the sandbox")
        return
    for name in (*PAID_EXTRACTORS, "smartbills_io"):
        part = getattr(settings, name)
        set_up = part.api_key is not None
        without = "no key is set: receipts wait" if name == "smartbills_io" else "no key is set: it is passed over"
        yield _check(name, True, f"{part.base_url} (not asked)" if set_up else without)


def _state(settings: Settings) -> Iterator[Check]:
    if settings.ledger_url is None and not (settings.home / "ledger.sqlite").exists():
        yield _check("ledger", True, "none yet (made by the first run)")
        return
    try:
        ledger = Ledger(settings.effective_ledger_url)
    except ConfigurationError as error:
        yield _check("ledger", False, str(error))
        return
    with ledger.reading() as connection:
        revision = loaded_revision(connection)
        expected = row_counts(connection, revision)
    kind, kept = kind_of(settings), ledger.recall("mode")
    ledger.close()
    yield _check("ledger", True, f"{expected['documents']} documents loaded, up to revision {revision}")
    if kind != (kept or kind):
        yield _check("kind", False, of_another_kind(settings, kept or kind))
    yield _warehouse(settings.home / "run.lock", settings.warehouse_directory, expected, revision)


def _warehouse(lock_path: Path, directory: Path, expected: Mapping[str, int], revision: int) -> Check:
    """Look into the working warehouse only while no run does: a second process that has it open makes a load fail."""
    with lock_path.open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _check("warehouse", True, "not looked at: a run is at work in it")
        sound = is_complete(directory, expected) and (released_revision(directory) or 0) == revision
    return _check(
        "warehouse", sound, f"{directory}" if sound else "it lacks rows that it was given; try: invoices rebuild"
    )


def _readers() -> Check:
    with Readers(workers=1) as readers:
        from sandbox import samples_directory

        sample = next(iter(sorted((samples_directory() / "inbox").rglob("*.xml"))))
        reading = readers.read(sample)
    return _check("readers", reading.outcome == "einvoice", f"a sample document reads as {reading.outcome!r}")
