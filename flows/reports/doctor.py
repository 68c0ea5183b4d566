"""Checks for ``invoices doctor``: nothing is changed, and no paid API is called."""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flows.plurals import format_count
from flows.reports.doctor_sources import check_sources
from flows.unrecorded_documents import UNRECORDED_HINT, list_unrecorded_hashes
from invoices.app import format_mode_mismatch, get_rehearsal_mode, list_vendor_settings_problems
from invoices.documents.document_reader_pool import DocumentReaderPool
from invoices.documents.store import DocumentStore
from invoices.errors import ConfigurationError
from invoices.extraction.vendor_change_guard import describe_missing_fields
from invoices.ledger import Ledger
from invoices.ledger.changes import count_loadable_rows
from invoices.ledger.identity import build_ledger_key
from invoices.ledger.vendor_changes import read_vendor_changes
from invoices.private_files import open_privately
from invoices.run_lock import describe_stuck_run
from invoices.settings import PAID_EXTRACTORS, Settings
from transforms.loading.release import find_published_watermark
from transforms.loading.working_warehouse import get_working_database_path, is_warehouse_complete

MIN_FREE_BYTES = 1 << 30
INCOMPATIBLE_VERSIONS = {
    "fastapi": ("0.151", "because Prefect cannot deploy with newer ones"),
    "duckdb": ("2", "because newer ones have no extension wheels yet"),
}

CheckResult = dict[str, Any]


def run_health_checks(settings: Settings) -> list[CheckResult]:
    """Return the checks, each with ``name``, ``ok`` and a ``detail``, which names the remedy if it is not ok."""
    return [
        *_check_home_and_disk_space(settings),
        *_check_package_versions(),
        *_check_vendor_keys(settings),
        *_check_ledger_and_warehouse(settings),
        _check_document_readers(),
        *(_build_check_result(f"source {name!r}", ok, detail) for name, ok, detail in check_sources(settings)),
    ]


def _build_check_result(name: str, ok: bool, detail: str) -> CheckResult:
    return {"name": name, "ok": ok, "detail": detail}


def _check_home_and_disk_space(settings: Settings) -> Iterator[CheckResult]:
    home = settings.home
    existing_directory = next(path for path in (home, *home.parents) if path.exists())
    yield _build_check_result(
        "home",
        os.access(existing_directory, os.W_OK),
        str(home) + ("" if home.exists() else " (created by the first run)"),
    )
    free_bytes = shutil.disk_usage(existing_directory).free
    yield _build_check_result(
        "disk", free_bytes > MIN_FREE_BYTES, f"{free_bytes / (1 << 30):.1f} GiB free, at least 1 GiB is needed"
    )


def _check_package_versions() -> Iterator[CheckResult]:
    for package, (first_bad_version, reason) in INCOMPATIBLE_VERSIONS.items():
        version = importlib.metadata.version(package)
        ok = _parse_version(version) < _parse_version(first_bad_version)
        yield _build_check_result(
            package, ok, version if ok else f"{version}: install a version below {first_bad_version}, {reason}"
        )


def _parse_version(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:3] if part.isdigit())


def _check_vendor_keys(settings: Settings) -> Iterator[CheckResult]:
    problems = list_vendor_settings_problems(settings)
    for name, problem in problems.items():
        yield _build_check_result(name, False, problem)
    if settings.is_rehearsal:
        yield _build_check_result("vendors", True, "no key is set: runs are rehearsals against the sandbox")
        return
    for name in (*PAID_EXTRACTORS, "smartbills_io"):
        if name in problems:
            continue
        vendor_settings = getattr(settings, name)
        if vendor_settings.api_key is not None:
            detail = f"{vendor_settings.base_url} (not called)"
        elif name == "smartbills_io":
            detail = "no key is set: receipts wait"
        else:
            detail = "no key is set: this extractor is not used"
        yield _build_check_result(name, True, detail)


def _check_ledger_and_warehouse(settings: Settings) -> Iterator[CheckResult]:
    if settings.ledger_url is None and not (settings.home / "ledger.sqlite").exists():
        yield _build_check_result("ledger", True, "none yet (created by the first run)")
        return
    try:
        ledger = Ledger(settings.effective_ledger_url)
    except ConfigurationError as error:
        yield _build_check_result("ledger", False, str(error))
        return
    watermark = find_published_watermark(settings.warehouse_directory)
    revision = watermark.revision if watermark is not None else 0
    with ledger.open_snapshot() as connection:
        is_derived = watermark is None or watermark.ledger_key == build_ledger_key(connection)
        expected_row_counts = count_loadable_rows(connection, revision)
        missing_fields = {name: read_vendor_changes(connection, name).missing_fields for name in PAID_EXTRACTORS}
    mode, recorded_mode = get_rehearsal_mode(settings), ledger.find_note("mode")
    store_check = _check_store(settings, ledger)
    ledger.close()
    for name, fields in missing_fields.items():
        if fields:
            yield _build_check_result(f"answers of {name}", False, describe_missing_fields(name, name, fields))
    yield _build_check_result(
        "ledger",
        True,
        f"{format_count(expected_row_counts['documents'], 'document')} loaded, up to revision {revision}",
    )
    yield store_check
    if mode != (recorded_mode or mode):
        yield _build_check_result("kind", False, format_mode_mismatch(settings, recorded_mode or mode))
    if not is_derived:
        detail = "it was made from the ledger before that was restored or upgraded; run: invoices rebuild"
        yield _build_check_result("warehouse", False, detail)
        return
    yield _check_warehouse(settings.home / "run.lock", settings.warehouse_directory, expected_row_counts)


def _check_store(settings: Settings, ledger: Ledger) -> CheckResult:
    """List the document store against the ledger."""
    if not settings.documents_directory.is_dir():
        return _build_check_result("documents", True, "none yet (created by the first run)")
    count = len(list_unrecorded_hashes(ledger, DocumentStore(settings.documents_directory)))
    detail = UNRECORDED_HINT.format(count=format_count(count, "document"))
    return _build_check_result("documents", not count, detail if count else "the ledger has every stored document")


def _check_warehouse(lock_path: Path, directory: Path, expected_row_counts: Mapping[str, int]) -> CheckResult:
    """Check the working warehouse, but only while no run is active: a load fails if another process has it open."""
    with open(lock_path, "a+", encoding="utf-8", opener=open_privately) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            stuck_run = describe_stuck_run(lock_path)
            return _build_check_result("warehouse", stuck_run is None, f"not checked: {stuck_run or 'a run is active'}")
        is_published = find_published_watermark(directory) is not None
        is_sound = is_warehouse_complete(directory, expected_row_counts) and (
            is_published or not get_working_database_path(directory).exists()
        )
    return _build_check_result(
        "warehouse", is_sound, str(directory) if is_sound else "it lacks rows that were loaded; run: invoices rebuild"
    )


def _check_document_readers() -> CheckResult:
    with DocumentReaderPool(worker_count=1) as reader_pool:
        from sandbox import get_samples_directory

        sample = next(iter(sorted((get_samples_directory() / "inbox").rglob("*.xml"))))
        reading = reader_pool.read(sample)
    return _build_check_result(
        "readers", reading.outcome == "einvoice", f"a sample document is read as {reading.outcome!r}"
    )
