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

from transforms.loading.working import connect, working_path

LAYERS = ("raw", "core", "marts")
LINKS = ("invoices.duckdb", "parquet", "manifest.json")
KEPT = 2  # releases: the current one, and the one that a reader may just be opening


def release(directory: Path, revision: int) -> Path:
    """Publish the working warehouse as it is; return the new release's directory. Killed half-way, nothing changes."""
    releases = directory / "releases"
    draft = releases / f"draft-{os.getpid()}"
    _discard_drafts(releases)
    draft.mkdir(parents=True, mode=0o700)
    tables = _write_parquet(directory, draft)
    shutil.copyfile(working_path(directory), draft / "invoices.duckdb")
    manifest = {"revision": revision, "tables": tables, "files": _hashes(draft)}
    (draft / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")
    for file in draft.rglob("*"):
        _flush(file)
    final = _final(releases, revision)
    draft.rename(final)
    _flush(releases)
    _point(directory / "current", f"releases/{final.name}")
    for name in LINKS:
        if not (directory / name).is_symlink():
            _point(directory / name, f"current/{name}")
    _flush(directory)
    _forget_old(releases, final)
    return final


def released_revision(directory: Path) -> int | None:
    """Return up to which ledger revision the published warehouse has everything; None without a sound one."""
    try:
        return int(json.loads((directory / "manifest.json").read_text(encoding="utf-8"))["revision"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def published_path(directory: Path) -> Path:
    """Return the database that analysts open."""
    return directory / "invoices.duckdb"


def _write_parquet(directory: Path, draft: Path) -> dict[str, int]:
    """Write every table and view of the layers as Parquet; return their row counts."""
    counts: dict[str, int] = {}
    with connect(working_path(directory)) as connection:
        found = connection.execute(
            "select table_schema, table_name from information_schema.tables "
            "where list_contains(?, table_schema) and table_name not like '\\_dlt%' escape '\\' order by all",
            [list(LAYERS)],
        ).fetchall()
        for schema, name in found:
            target = draft / "parquet" / schema / name / f"{name}.parquet"
            target.parent.mkdir(parents=True, mode=0o700)
            connection.sql(f"from {schema}.{name}").write_parquet(str(target), compression="zstd")
            row = connection.execute(f"select count(*) from {schema}.{name}").fetchone()
            counts[f"{schema}.{name}"] = int(row[0]) if row else 0
        connection.execute("checkpoint")
    return counts


def _hashes(draft: Path) -> dict[str, str]:
    files = sorted(file for file in draft.rglob("*") if file.is_file())
    return {file.relative_to(draft).as_posix(): _sha256(file) for file in files}


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _final(releases: Path, revision: int) -> Path:
    """Return a free name; the same revision may be released again after a rebuild."""
    number = 1 + max((int(path.name.split("-")[0]) for path in releases.glob("[0-9]*-*")), default=0)
    return releases / f"{number:08d}-r{revision}"


def _point(link: Path, target: str) -> None:
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard_drafts(releases: Path) -> None:
    for draft in releases.glob("draft-*"):
        shutil.rmtree(draft)


def _forget_old(releases: Path, final: Path) -> None:
    older = sorted(path for path in releases.glob("[0-9]*-*") if path != final)
    for path in older[: len(older) - (KEPT - 1)]:
        shutil.rmtree(path)
