"""The published warehouse: a database, Parquet files and a manifest that change together, in one rename.

``invoices.duckdb``, ``parquet`` and ``manifest.json`` are links through ``current`` into one release below
``releases``; pointing ``current`` elsewhere is the only step that a reader can see. A reader that has an older
release open keeps it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

from transforms.loading.working_warehouse import get_working_database_path, open_warehouse

LAYERS = ("raw", "core", "marts")
LINKS = ("invoices.duckdb", "parquet", "manifest.json")
RELEASES_KEPT = 2  # releases: the current one, and the one that a reader may just be opening


def publish_warehouse(warehouse_directory: Path, revision: int) -> Path:
    """Publish the working warehouse as it is; return the new release's directory. Killed half-way, nothing changes."""
    releases_directory = warehouse_directory / "releases"
    draft = releases_directory / f"draft-{os.getpid()}"
    _delete_unfinished_drafts(releases_directory)
    draft.mkdir(parents=True, mode=0o700)
    tables = _write_parquet_files(warehouse_directory, draft)
    shutil.copyfile(get_working_database_path(warehouse_directory), draft / "invoices.duckdb")
    manifest = {"revision": revision, "tables": tables, "files": _hash_files_by_path(draft)}
    (draft / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")
    for file in draft.rglob("*"):
        _flush_to_disk(file)
    release_directory = _choose_release_directory(releases_directory, revision)
    draft.rename(release_directory)
    _flush_to_disk(releases_directory)
    _replace_symlink(warehouse_directory / "current", f"releases/{release_directory.name}")
    for name in LINKS:
        if not (warehouse_directory / name).is_symlink():
            _replace_symlink(warehouse_directory / name, f"current/{name}")
    _flush_to_disk(warehouse_directory)
    _delete_old_releases(releases_directory, release_directory)
    return release_directory


def find_published_revision(warehouse_directory: Path) -> int | None:
    """Return up to which ledger revision the published warehouse has everything; None without a sound one."""
    try:
        return int(json.loads((warehouse_directory / "manifest.json").read_text(encoding="utf-8"))["revision"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


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
    files = sorted(file for file in draft.rglob("*") if file.is_file())
    return {file.relative_to(draft).as_posix(): _hash_file(file) for file in files}


def _hash_file(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _choose_release_directory(releases_directory: Path, revision: int) -> Path:
    """Return a free name; the same revision may be released again after a rebuild."""
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


def _delete_unfinished_drafts(releases_directory: Path) -> None:
    for draft in releases_directory.glob("draft-*"):
        shutil.rmtree(draft)


def _delete_old_releases(releases_directory: Path, current_release: Path) -> None:
    old_releases = sorted(path for path in releases_directory.glob("[0-9]*-*") if path != current_release)
    for path in old_releases[: len(old_releases) - (RELEASES_KEPT - 1)]:
        shutil.rmtree(path)
