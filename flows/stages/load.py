"""Load: the changes of the ledger into the warehouse, then publish the copy that everybody reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from invoices.app import App
from invoices.ledger.changes import (
    WATERMARK_COUNTER,
    count_loadable_rows,
    get_latest_revision,
    get_loaded_revision,
    iter_changed_rows,
)
from invoices.ledger.ledger import set_counter_value
from invoices.run_report import RunReport

PROGRESS_LABEL, UNIT = "Loading", "loads"
ROWS_PER_CHUNK = 5_000  # ledger rows in memory at a time

Batch = tuple[int, int]  # load the ledger's revisions after the first, up to the second


def count_pending(_app: App) -> int | None:
    """Return None: whether a load is due depends on the warehouse."""
    return None


def iter_pending_batches(app: App, report: RunReport) -> Iterator[Batch]:
    """Yield the revisions that the warehouse does not have; all of them if it lacks rows that were loaded.

    All of them, too, if the warehouse is ahead of the ledger: the ledger was restored or upgraded, or a run was killed
    just after publishing. A merge would keep rows that the ledger does not have, or columns of an earlier version.
    """
    from transforms.loading.release import find_published_revision
    from transforms.loading.working_warehouse import (
        delete_working_warehouse,
        get_working_database_path,
        is_warehouse_complete,
    )

    with app.ledger.open_snapshot() as connection:
        after_revision, up_to_revision = get_loaded_revision(connection), get_latest_revision(connection)
    warehouse_directory = app.settings.warehouse_directory
    published_revision = find_published_revision(warehouse_directory)
    if after_revision >= up_to_revision and published_revision == after_revision:
        return
    with app.ledger.open_snapshot() as connection:
        expected_row_counts = count_loadable_rows(connection, after_revision)
    if get_working_database_path(warehouse_directory).exists() and (published_revision or 0) > after_revision:
        report.remarks.append("The warehouse was ahead of the ledger, or from an earlier version, and is rebuilt.")
        delete_working_warehouse(warehouse_directory)
        after_revision = 0
    elif (
        after_revision == 0
    ):  # nothing was published; an unfinished first load may have the columns of an earlier version
        delete_working_warehouse(warehouse_directory)
    elif not is_warehouse_complete(warehouse_directory, expected_row_counts):
        report.remarks.append("The warehouse lacked rows that the ledger has and is rebuilt.")
        delete_working_warehouse(warehouse_directory)
        after_revision = 0
    yield after_revision, up_to_revision


def process_batch(app: App, batch: Batch, report: RunReport) -> None:
    """Merge the changes, build views and marts, publish the copy, and record the loaded revision."""
    from transforms.loading.dlt_loader import load_changed_rows
    from transforms.loading.release import publish_warehouse
    from transforms.mart_builder import build_views_and_marts

    after_revision, up_to_revision = batch

    def read_table_changes(table: str) -> Iterator[list[Mapping[str, Any]]]:
        with app.ledger.open_snapshot() as connection:
            yield from iter_changed_rows(connection, table, after_revision, up_to_revision, ROWS_PER_CHUNK)

    warehouse_directory = app.settings.warehouse_directory
    report.rows_loaded += sum(load_changed_rows(warehouse_directory, read_table_changes).values())
    build_views_and_marts(warehouse_directory)
    publish_warehouse(warehouse_directory, up_to_revision)
    with app.ledger.begin_transaction() as tx:
        set_counter_value(tx, WATERMARK_COUNTER, up_to_revision)
    report.advance_progress(1)
