"""Load: the changes of the ledger into the warehouse, then publish the copy that everybody reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from invoices.app import App
from invoices.ledger.changes import count_loadable_rows, get_latest_revision, iter_changed_rows
from invoices.ledger.identity import build_ledger_key
from invoices.run_report import RunReport

PROGRESS_LABEL, UNIT = "Loading", "loads"
ROWS_PER_CHUNK = 5_000  # ledger rows in memory at a time

Batch = tuple[int, int]  # load the ledger's revisions after the first, up to the second


def count_pending(_app: App) -> int | None:
    """Return None: whether a load is due depends on the warehouse."""
    return None


def iter_pending_batches(app: App, report: RunReport) -> Iterator[Batch]:
    """Yield the revisions that the warehouse of this home does not have; all of them if it cannot be continued.

    That is so if it lacks rows that were loaded, is ahead of the ledger, or was derived from the ledger before that was
    restored or upgraded. A merge would keep rows that the ledger does not have, or columns of an earlier version.
    """
    from transforms.loading.release import find_published_watermark, has_releases
    from transforms.loading.working_warehouse import (
        delete_working_warehouse,
        get_working_database_path,
        is_warehouse_complete,
    )

    warehouse_directory = app.settings.warehouse_directory
    watermark = find_published_watermark(warehouse_directory)
    after_revision = watermark.revision if watermark is not None else 0
    with app.ledger.open_snapshot() as connection:
        ledger_key, up_to_revision = build_ledger_key(connection), get_latest_revision(connection)
        is_derived = watermark is None or (watermark.ledger_key == ledger_key and after_revision <= up_to_revision)
        expected_row_counts = count_loadable_rows(connection, after_revision) if is_derived else {}
    if (
        watermark is not None and is_derived and after_revision == up_to_revision
        and get_working_database_path(warehouse_directory).exists()
    ):  # fmt: skip
        return
    if not is_derived:
        report.remarks.append("The warehouse was ahead of the ledger, or from an earlier version, and is rebuilt.")
        after_revision = 0
    elif (
        has_releases(warehouse_directory)
        if watermark is None
        else not is_warehouse_complete(warehouse_directory, expected_row_counts)
    ):
        report.remarks.append("The warehouse lacked rows that the ledger has and is rebuilt.")
        after_revision = 0
    if after_revision == 0:  # an unfinished first load may have the columns of an earlier version
        delete_working_warehouse(warehouse_directory)
    yield after_revision, up_to_revision


def process_batch(app: App, batch: Batch, report: RunReport) -> None:
    """Merge the changes, build views and marts, and publish the copy with the revision that it has."""
    from transforms.loading.dlt_loader import load_changed_rows
    from transforms.loading.release import Watermark, publish_warehouse
    from transforms.mart_builder import build_views_and_marts

    after_revision, up_to_revision = batch
    with app.ledger.open_snapshot() as connection:
        ledger_key = build_ledger_key(connection)

    def read_table_changes(table: str) -> Iterator[list[Mapping[str, Any]]]:
        with app.ledger.open_snapshot() as connection:
            yield from iter_changed_rows(connection, table, after_revision, up_to_revision, ROWS_PER_CHUNK)

    warehouse_directory = app.settings.warehouse_directory
    report.rows_loaded += sum(load_changed_rows(warehouse_directory, read_table_changes).values())
    build_views_and_marts(warehouse_directory)
    publish_warehouse(warehouse_directory, Watermark(ledger_key, up_to_revision))
    report.advance_progress(1)
