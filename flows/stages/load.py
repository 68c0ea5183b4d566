"""Load: what changed in the ledger, into the warehouse; then the copy that everybody reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from invoices.house import House
from invoices.ledger.changes import WATERMARK, changed_rows, latest_revision, loaded_revision, row_counts
from invoices.ledger.ledger import set_counter
from invoices.report import Report

UNIT = "loads"
PIECE = 5_000  # ledger rows in memory at a time

Batch = tuple[int, int]  # the ledger's revisions (after, up to) that the warehouse is to get


def total(_house: House) -> int | None:
    """Return how many loads are due: none or one."""
    return None


def pending(house: House, report: Report) -> Iterator[Batch]:
    """Yield what the warehouse has not got; everything, if the warehouse lacks rows that it was given.

    Everything, too, if the warehouse is ahead of the ledger: the ledger was restored, or a run was killed just after
    publishing; a merge would keep rows that the ledger does not have.
    """
    with house.ledger.reading() as connection:
        after, up_to = loaded_revision(connection), latest_revision(connection)
    from transforms.loading.release import released_revision
    from transforms.loading.working import discard, is_complete, working_path

    directory = house.settings.warehouse_directory
    released = released_revision(directory)
    if after >= up_to and released == after:
        return
    if working_path(directory).exists() and (released or 0) > after:
        report.remarks.append("The warehouse was ahead of the ledger; it is made anew.")
        discard(directory)
        after = 0
    elif not is_complete(directory, _expected(house, after)):
        report.remarks.append("The warehouse lacked rows that the ledger has; it is made anew.")
        discard(directory)
        after = 0
    yield after, up_to


def _expected(house: House, up_to: int) -> dict[str, int]:
    with house.ledger.reading() as connection:
        return row_counts(connection, up_to)


def work(house: House, batch: Batch, report: Report) -> None:
    """Merge the changes, renew views and marts, publish the copy, and note how far the warehouse is."""
    from transforms.building import build
    from transforms.loading.loading import load
    from transforms.loading.release import release

    after, up_to = batch

    def changed(table: str) -> Iterator[list[Mapping[str, Any]]]:
        with house.ledger.reading() as connection:
            yield from changed_rows(connection, table, after, up_to, PIECE)

    directory = house.settings.warehouse_directory
    report.rows_loaded += sum(load(directory, changed).values())
    build(directory)
    release(directory, up_to)
    with house.ledger.transaction() as tx:
        set_counter(tx, WATERMARK, up_to)
    report.tick(1)
