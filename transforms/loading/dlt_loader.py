"""Loads Arrow tables with dlt: delete-insert merges on stable keys, in a working directory that is emptied each time.

An interrupted dlt load is never resumed: resuming duplicates rows, merging the same keys again does not (ADR 0004).
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
from dlt.extract import DltResource
from dlt.pipeline.exceptions import PipelineStepFailed

from invoices.errors import ContractError
from invoices.private_files import use_private_umask
from transforms.loading.warehouse_tables import WAREHOUSE_TABLES, LoadTable
from transforms.loading.working_warehouse import create_working_warehouse, get_working_database_path, open_warehouse

CHILD_TABLE_KEYS = {
    "candidate_lines": "invoice_id",
    "candidate_taxes": "invoice_id",
    "findings": "finding_id",
}  # tables whose rows belong to a candidate
ChangedRowsReader = Callable[[str], Iterator[list[Mapping[str, Any]]]]  # a ledger table's changed rows, in chunks


@use_private_umask()
def load_changed_rows(warehouse_directory: Path, read_changed_rows: ChangedRowsReader) -> dict[str, int]:
    """Merge the ledger's changed rows into the working warehouse; return the number of rows per table.

    Raises:
        ContractError: a value or column does not fit the declared types; that layer is unchanged.
    """
    create_working_warehouse(warehouse_directory)
    loaded_rows = _LoadedRows()
    with _open_dlt_directory(warehouse_directory) as working_directory:
        for layer in ("raw", "core"):
            resources = [
                _build_resource(table, read_changed_rows, loaded_rows)
                for table in WAREHOUSE_TABLES
                if table.layer == layer
            ]
            _run_pipeline(layer, resources, get_working_database_path(warehouse_directory), working_directory)
    _drop_staging_and_stale_rows(warehouse_directory, loaded_rows)
    return dict(loaded_rows.row_counts)


@dataclass(slots=True)
class _LoadedRows:
    """The rows that dlt loaded: counts per table, and the keys of candidates and of the rows that belong to them."""

    row_counts: Counter[str] = field(default_factory=Counter)
    keys_by_table: dict[str, set[str]] = field(
        default_factory=lambda: {name: set() for name in ("candidates", *CHILD_TABLE_KEYS)}
    )

    def add_rows(self, table: LoadTable, rows: pa.Table) -> None:
        self.row_counts[f"{table.layer}.{table.name}"] += rows.num_rows
        if table.name in self.keys_by_table:
            self.keys_by_table[table.name].update(
                rows.column(CHILD_TABLE_KEYS.get(table.name, "invoice_id")).to_pylist()
            )


def _build_resource(table: LoadTable, read_changed_rows: ChangedRowsReader, loaded_rows: _LoadedRows) -> DltResource:
    def convert_rows_to_arrow() -> Iterator[pa.Table]:
        yield table.schema.empty_table()
        for ledger_rows in read_changed_rows(table.ledger_table):
            arrow_table = table.to_arrow(ledger_rows)
            loaded_rows.add_rows(table, arrow_table)
            yield arrow_table

    resource: DltResource = dlt.resource(
        convert_rows_to_arrow,
        name=table.name,
        merge_key=list(table.merge_key),
        columns={name: {"data_type": "json"} for name in table.schema.names if name == "payload"},
        write_disposition={"disposition": "merge", "strategy": "delete-insert"},
        schema_contract={"tables": "evolve", "columns": "evolve", "data_type": "freeze"},
    )
    return resource


def _run_pipeline(layer: str, resources: list[DltResource], database_path: Path, working_directory: Path) -> None:
    pipeline = dlt.pipeline(
        pipeline_name=f"invoices_{layer}",
        pipelines_dir=str(working_directory),
        destination=dlt.destinations.duckdb(credentials=str(database_path)),
        dataset_name=layer,
    )
    try:
        load_info = pipeline.run(resources, loader_file_format="parquet")
        load_info.raise_on_failed_jobs()
    except PipelineStepFailed as error:
        root_cause: BaseException = error
        while root_cause.__cause__ is not None:
            root_cause = root_cause.__cause__
        raise ContractError(f"loading the layer {layer!r} failed: {type(root_cause).__name__}: {root_cause}") from error
    finally:
        pipeline.deactivate()


@contextmanager
def _open_dlt_directory(warehouse_directory: Path) -> Iterator[Path]:
    """Yield an empty working directory for dlt, with temporary files on the same filesystem; remove both afterwards."""
    working_directory = warehouse_directory / ".dlt"
    shutil.rmtree(working_directory, ignore_errors=True)
    temporary_directory = working_directory / "tmp"
    temporary_directory.mkdir(parents=True, mode=0o700)
    previous_tempdir = tempfile.tempdir
    tempfile.tempdir = os.fspath(temporary_directory)
    dlt.config["runtime.dlthub_telemetry"] = False
    dlt.config["data_writer.buffer_max_items"] = 1  # each Arrow table is a row group, so DuckDB parses one at a time
    logging.getLogger("dlt").addFilter(_is_error_record)
    try:
        yield working_directory
    finally:
        tempfile.tempdir = previous_tempdir
        logging.getLogger("dlt").removeFilter(_is_error_record)
        shutil.rmtree(working_directory, ignore_errors=True)


def _is_error_record(record: logging.LogRecord) -> bool:
    """Return whether to show a log record of dlt; the warning about ``payload`` (JSON, text in Arrow) is expected."""
    return record.levelno >= logging.ERROR


def _drop_staging_and_stale_rows(warehouse_directory: Path, loaded_rows: _LoadedRows) -> None:
    """Drop dlt's staging schemas, and rows of revalidated candidates that a merge does not replace."""
    with open_warehouse(get_working_database_path(warehouse_directory)) as connection:
        for layer in ("raw", "core"):
            connection.execute(f"drop schema if exists {layer}_staging cascade")
        for name, key in CHILD_TABLE_KEYS.items():
            connection.execute(
                f"delete from core.{name} where invoice_id in (select unnest($1::varchar[])) "
                f"and {key} not in (select unnest($2::varchar[]))",
                [list(loaded_rows.keys_by_table["candidates"]), list(loaded_rows.keys_by_table[name])],
            )
