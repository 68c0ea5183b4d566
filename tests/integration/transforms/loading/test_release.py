"""Publishing the warehouse: everything changes at once, and readers keep the release they have open."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from invoices.ledger.changes import LOADABLE_TABLES
from tests.sweep_size import spread
from transforms.loading.release import (
    LINKS,
    RELEASES_KEPT,
    Watermark,
    find_published_watermark,
    get_published_database_path,
    publish_warehouse,
)
from transforms.loading.working_warehouse import (
    create_working_warehouse,
    delete_working_warehouse,
    get_working_database_path,
    is_warehouse_complete,
    open_warehouse,
)

RELEASE_AND_DIE_SCRIPT = """
import os, signal, sys
from pathlib import Path

calls = int(sys.argv[2])

def die(event, arguments):
    global calls
    if event in ("os.rename", "os.symlink", "shutil.copyfile", "os.mkdir", "os.remove", "shutil.rmtree"):
        calls -= 1
        if calls < 0:
            os.kill(os.getpid(), signal.SIGKILL)

from transforms.loading.release import Watermark, publish_warehouse
sys.addaudithook(die)
publish_warehouse(Path(sys.argv[1]), Watermark("ledger", 2))
"""

LOSE_LOG_SCRIPT = """
import os, signal, sys
from pathlib import Path
from transforms.loading.working_warehouse import get_working_database_path, open_warehouse

connection = open_warehouse(get_working_database_path(Path(sys.argv[1])))
connection.execute("set checkpoint_threshold = '1GB'")
connection.execute("insert into raw.documents values ('c'), ('d')")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def warehouse_directory(tmp_path: Path) -> Path:
    """A warehouse of two documents and an invoice."""
    create_working_warehouse(tmp_path / "warehouse")
    with open_warehouse(get_working_database_path(tmp_path / "warehouse")) as connection:
        for layer in ("raw", "core", "marts", "other"):
            connection.execute(f"create schema {layer}")
        connection.execute("create table raw.documents as select unnest(['a', 'b']) as document_sha256")
        connection.execute("create table core.documents as from raw.documents")
        connection.execute("create table core.candidates as select 'i1' as invoice_id, 1.10::decimal(18,4) as total")
        connection.execute("create view core.invoices as from core.candidates")
        connection.execute("create table marts.spend as select 1 as month")
        connection.execute("create table raw._dlt_loads as select 1 as id")
        connection.execute("create table other.private as select 1 as id")
    return tmp_path / "warehouse"


def count_rows(path: Path, table: str = "raw.documents") -> int:
    with duckdb.connect(path, read_only=True) as connection:
        row = connection.execute(f"select count(*) from {table}").fetchone()
    assert row is not None
    return int(row[0])


def insert_documents(warehouse_directory: Path, *hashes: str) -> None:
    with open_warehouse(get_working_database_path(warehouse_directory)) as connection:
        connection.executemany("insert into raw.documents values (?)", [[sha256] for sha256 in hashes])


def list_releases(warehouse_directory: Path) -> list[str]:
    return sorted(path.name for path in (warehouse_directory / "releases").iterdir())


# The release


def test_the_manifest_has_the_row_counts_and_hashes_of_the_release(warehouse_directory: Path) -> None:
    final = publish_warehouse(warehouse_directory, Watermark("ledger", 7))
    manifest = json.loads((warehouse_directory / "manifest.json").read_text())
    assert manifest["revision"] == 7
    assert find_published_watermark(warehouse_directory) == Watermark("ledger", 7)
    assert manifest["tables"] == {
        "core.candidates": 1, "core.documents": 2, "core.invoices": 1, "marts.spend": 1, "raw.documents": 2,
    }  # fmt: skip
    files = {path.relative_to(final).as_posix(): path for path in final.rglob("*") if path.is_file()}
    assert set(manifest["files"]) == set(files) - {"manifest.json"}
    for name, expected in manifest["files"].items():
        assert hashlib.sha256(files[name].read_bytes()).hexdigest() == expected
    for name, rows in manifest["tables"].items():
        schema, table = name.split(".")
        assert pq.read_metadata(warehouse_directory / "parquet" / schema / table / f"{table}.parquet").num_rows == rows
        assert count_rows(get_published_database_path(warehouse_directory), name) == rows


def test_amounts_stay_decimals_in_the_parquet_files(warehouse_directory: Path) -> None:
    publish_warehouse(warehouse_directory, Watermark("ledger", 1))
    schema = pq.read_schema(warehouse_directory / "parquet" / "core" / "candidates" / "candidates.parquet")
    assert str(schema.field("total").type) == "decimal128(18, 4)"


def test_database_parquet_and_manifest_flip_together(warehouse_directory: Path) -> None:
    publish_warehouse(warehouse_directory, Watermark("ledger", 1))
    insert_documents(warehouse_directory, "c")
    publish_warehouse(warehouse_directory, Watermark("ledger", 2))
    places = {(warehouse_directory / name).resolve().parent for name in LINKS}
    assert places == {(warehouse_directory / "current").resolve()}
    assert count_rows(get_published_database_path(warehouse_directory)) == 3
    assert find_published_watermark(warehouse_directory) == Watermark("ledger", 2)


def test_a_reader_keeps_the_release_that_it_has_open(warehouse_directory: Path) -> None:
    publish_warehouse(warehouse_directory, Watermark("ledger", 1))
    with duckdb.connect(get_published_database_path(warehouse_directory), read_only=True) as reader:
        assert reader.execute("select count(*) from raw.documents").fetchone() == (2,)
        for revision in range(2, 6):
            insert_documents(warehouse_directory, f"new-{revision}")
            publish_warehouse(warehouse_directory, Watermark("ledger", revision))
            assert reader.execute("select count(*) from raw.documents").fetchone() == (2,)
    assert count_rows(get_published_database_path(warehouse_directory)) == 6


def test_only_the_current_release_and_the_one_before_are_kept(warehouse_directory: Path) -> None:
    for revision in (3, 3, 12, 5):  # a rebuild may publish an earlier revision again
        final = publish_warehouse(warehouse_directory, Watermark("ledger", revision))
        assert (warehouse_directory / "current").resolve() == final
        assert find_published_watermark(warehouse_directory) == Watermark("ledger", revision)
    assert list_releases(warehouse_directory) == ["00000003-r12", "00000004-r5"]
    assert len(list_releases(warehouse_directory)) == RELEASES_KEPT


def test_leftovers_of_a_killed_run_are_removed(warehouse_directory: Path) -> None:
    leftover = warehouse_directory / "releases" / "draft-1"
    (leftover / "parquet").mkdir(parents=True)
    (leftover / "invoices.duckdb").write_bytes(b"half")
    (warehouse_directory / ".current.new").symlink_to("nowhere")
    publish_warehouse(warehouse_directory, Watermark("ledger", 1))
    assert list_releases(warehouse_directory) == ["00000001-r1"]
    assert count_rows(get_published_database_path(warehouse_directory)) == 2


@pytest.mark.sweep
@pytest.mark.parametrize("step", spread(range(18), 6))
def test_a_kill_at_any_step_shows_readers_the_old_release_or_the_new_one_whole(
    warehouse_directory: Path, step: int
) -> None:
    publish_warehouse(warehouse_directory, Watermark("ledger", 1))
    insert_documents(warehouse_directory, "c")
    killed = subprocess.run(
        [sys.executable, "-c", RELEASE_AND_DIE_SCRIPT, str(warehouse_directory), str(step)], check=False, timeout=60
    )
    assert killed.returncode in (-signal.SIGKILL, 0)
    watermark = find_published_watermark(warehouse_directory)
    assert watermark is not None
    assert (watermark.revision, count_rows(get_published_database_path(warehouse_directory))) in ((1, 2), (2, 3))
    parquet = warehouse_directory / "parquet" / "raw" / "documents" / "documents.parquet"
    assert pq.read_metadata(parquet).num_rows == (2 if watermark.revision == 1 else 3)
    publish_warehouse(warehouse_directory, Watermark("ledger", 3))
    assert find_published_watermark(warehouse_directory) == Watermark("ledger", 3)
    assert count_rows(get_published_database_path(warehouse_directory)) == 3
    assert not list((warehouse_directory / "releases").glob("draft-*"))


def test_before_the_first_release_there_is_none(tmp_path: Path) -> None:
    assert find_published_watermark(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"revision": null}', "\ufffd"])
def test_a_damaged_manifest_counts_as_none_so_that_the_next_load_publishes_anew(
    warehouse_directory: Path, text: str
) -> None:
    publish_warehouse(warehouse_directory, Watermark("ledger", 1))
    (warehouse_directory / "manifest.json").resolve().write_text(text)
    assert find_published_watermark(warehouse_directory) is None


def test_the_release_is_for_its_owner_only(warehouse_directory: Path) -> None:
    assert publish_warehouse(warehouse_directory, Watermark("ledger", 1)).stat().st_mode & 0o077 == 0


# The working warehouse

EXPECTED_COUNTS = dict.fromkeys(LOADABLE_TABLES, 0) | {"documents": 2, "candidates": 1}


def test_a_warehouse_with_all_its_rows_is_complete(warehouse_directory: Path) -> None:
    assert is_warehouse_complete(warehouse_directory, EXPECTED_COUNTS)
    assert not is_warehouse_complete(warehouse_directory, EXPECTED_COUNTS | {"documents": 3})
    assert not is_warehouse_complete(warehouse_directory, EXPECTED_COUNTS | {"findings": 1})


@pytest.mark.parametrize("content", [b"", b"garbage" * 10_000, b"\0" * 4096])
def test_a_file_that_is_not_a_warehouse_is_not_complete(warehouse_directory: Path, content: bytes) -> None:
    get_working_database_path(warehouse_directory).write_bytes(content)
    assert not is_warehouse_complete(warehouse_directory, EXPECTED_COUNTS)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_warehouse_cut_short_is_not_complete(warehouse_directory: Path, kept: float) -> None:
    path = get_working_database_path(warehouse_directory)
    publish_warehouse(warehouse_directory, Watermark("ledger", 1))
    assert is_warehouse_complete(warehouse_directory, EXPECTED_COUNTS)
    os.truncate(path, int(path.stat().st_size * kept))
    assert not is_warehouse_complete(warehouse_directory, EXPECTED_COUNTS)


@pytest.mark.parametrize("kept", [None, 0, 0.5])
def test_a_log_that_was_lost_or_cut_is_noticed_by_the_missing_rows(
    warehouse_directory: Path, kept: float | None
) -> None:
    subprocess.run([sys.executable, "-c", LOSE_LOG_SCRIPT, str(warehouse_directory)], check=False, timeout=60)
    log = get_working_database_path(warehouse_directory).with_name("working.duckdb.wal")
    assert log.stat().st_size > 0
    if kept is None:
        log.unlink()
    else:
        os.truncate(log, int(log.stat().st_size * kept))
    assert not is_warehouse_complete(warehouse_directory, EXPECTED_COUNTS | {"documents": 4})


def test_a_killed_process_with_its_log_in_place_has_lost_nothing(warehouse_directory: Path) -> None:
    subprocess.run([sys.executable, "-c", LOSE_LOG_SCRIPT, str(warehouse_directory)], check=False, timeout=60)
    with open_warehouse(get_working_database_path(warehouse_directory)) as connection:
        assert connection.execute("select count(*) from raw.documents").fetchone() == (4,)


def test_a_missing_warehouse_is_complete_only_if_no_rows_are_expected(tmp_path: Path) -> None:
    assert is_warehouse_complete(tmp_path, dict.fromkeys(EXPECTED_COUNTS, 0))
    assert not is_warehouse_complete(tmp_path, EXPECTED_COUNTS)


def test_a_deleted_warehouse_leaves_neither_file_nor_log(warehouse_directory: Path) -> None:
    get_working_database_path(warehouse_directory).with_name("working.duckdb.wal").touch()
    delete_working_warehouse(warehouse_directory)
    delete_working_warehouse(warehouse_directory)
    assert not list(warehouse_directory.glob("working.duckdb*"))


def test_creating_a_warehouse_keeps_an_existing_one(warehouse_directory: Path) -> None:
    (warehouse_directory / "creating.duckdb").write_bytes(b"left by a killed run")
    create_working_warehouse(warehouse_directory)
    assert is_warehouse_complete(warehouse_directory, EXPECTED_COUNTS)
    delete_working_warehouse(warehouse_directory)
    create_working_warehouse(warehouse_directory)
    assert is_warehouse_complete(warehouse_directory, dict.fromkeys(EXPECTED_COUNTS, 0))
