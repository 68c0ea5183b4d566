"""Publishes the warehouse: a database, Parquet files and a manifest that change together, by one rename.

``invoices.duckdb``, ``parquet`` and ``manifest.json`` are links through ``current`` into one release in
``releases``; replacing ``current`` is the only step that a reader can see. A reader that has an older release open
keeps it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from invoices.private_files import use_private_umask
from transforms.loading.working_warehouse import get_working_database_path, open_warehouse

LAYERS = ("raw", "core", "marts")
LINKS = ("invoices.duckdb", "parquet", "manifest.json")
RELEASES_KEPT = 2  # the current release, and the previous one, which a reader may just be opening


@dataclass(frozen=True, slots=True)
class Watermark:
    """What a warehouse has: every row of a ledger up to a revision. ``ledger_key``: the ledger's id and its schema."""

    ledger_key: str
    revision: int


@use_private_umask()
def publish_warehouse(warehouse_directory: Path, watermark: Watermark) -> Path:
    """Publish the working warehouse as a new release; return its directory. A kill before the end changes nothing."""
    releases_directory = warehouse_directory / "releases"
    draft = releases_directory / f"draft-{os.getpid()}"
    for unfinished_draft in releases_directory.glob("draft-*"):
        shutil.rmtree(unfinished_draft)
    draft.mkdir(parents=True, mode=0o700)
    tables = _write_parquet_files(warehouse_directory, draft)
    shutil.copyfile(get_working_database_path(warehouse_directory), draft / "invoices.duckdb")
    manifest = {
        "ledger": watermark.ledger_key,
        "revision": watermark.revision,
        "tables": tables,
        "files": _hash_files_by_path(draft),
    }
    (draft / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")
    for file in draft.rglob("*"):
        _flush_to_disk(file)
    release_directory = _choose_release_directory(releases_directory, watermark.revision)
    draft.rename(release_directory)
    _flush_to_disk(releases_directory)
    _replace_symlink(warehouse_directory / "current", f"releases/{release_directory.name}")
    for name in LINKS:
        if not (warehouse_directory / name).is_symlink():
            _replace_symlink(warehouse_directory / name, f"current/{name}")
    _flush_to_disk(warehouse_directory)
    old_releases = sorted(path for path in releases_directory.glob("[0-9]*-*") if path != release_directory)
    for old_release in old_releases[: len(old_releases) - (RELEASES_KEPT - 1)]:
        shutil.rmtree(old_release)
    return release_directory


def find_published_watermark(warehouse_directory: Path) -> Watermark | None:
    """Return what the published warehouse has; None without a valid manifest."""
    try:
        manifest = json.loads((warehouse_directory / "manifest.json").read_text(encoding="utf-8"))
        return Watermark(str(manifest["ledger"]), int(manifest["revision"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def has_releases(warehouse_directory: Path) -> bool:
    """Return whether a release is there, even if no link leads to it."""
    return any((warehouse_directory / "releases").glob("[0-9]*-*"))


def get_published_database_path(warehouse_directory: Path) -> Path:
    """Return the database that analysts open."""
    return warehouse_directory / "invoices.duckdb"


def _write_parquet_files(warehouse_directory: Path, draft: Path) -> dict[str, int]:
    """Write every table and view of the layers as Parquet; return their row counts."""
    row_counts: dict[str, int] = {}
    with open_warehouse(get_working_database_path(warehouse_directory)) as connection:
        tables = connection.execute(
            "select table_schema, table_name from information_schema.tables "
            "where list_contains(?, table_schema) and table_name not like '\\_dlt%' escape '\\' order by all",
            [list(LAYERS)],
        ).fetchall()
        for schema, name in tables:
            target = draft / "parquet" / schema / name / f"{name}.parquet"
            target.parent.mkdir(parents=True, mode=0o700)
            connection.sql(f"from {schema}.{name}").write_parquet(str(target), compression="zstd")
            row = connection.execute(f"select count(*) from {schema}.{name}").fetchone()
            row_counts[f"{schema}.{name}"] = int(row[0]) if row else 0
        connection.execute("checkpoint")
    return row_counts


def _hash_files_by_path(draft: Path) -> dict[str, str]:
    hashes: dict[str, str] = {}
    for file in sorted(path for path in draft.rglob("*") if path.is_file()):
        with file.open("rb") as stream:
            hashes[file.relative_to(draft).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
    return hashes


def _choose_release_directory(releases_directory: Path, revision: int) -> Path:
    """Return an unused name; a rebuild may publish the same revision again."""
    number = 1 + max((int(path.name.split("-")[0]) for path in releases_directory.glob("[0-9]*-*")), default=0)
    return releases_directory / f"{number:08d}-r{revision}"


def _replace_symlink(link: Path, target: str) -> None:
    new_link = link.with_name(f".{link.name}.new")
    new_link.unlink(missing_ok=True)
    new_link.symlink_to(target)
    new_link.replace(link)


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
