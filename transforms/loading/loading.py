"""Loading by dlt: Arrow in, merge by delete-insert on stable keys, its working directory wiped before each run.

A dlt package that died half-way is never resumed: resuming duplicates rows, merging the same keys again does not.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
from dlt.extract import DltResource
from dlt.pipeline.exceptions import PipelineStepFailed

from invoices.errors import ContractError
from transforms.loading.rows import TABLES, LoadTable
from transforms.loading.working import connect, create, working_path

Changed = Callable[[str], Iterator[list[Mapping[str, Any]]]]  # a ledger table's changed rows, in pieces


def load(directory: Path, changed: Changed) -> dict[str, int]:
    """Merge the ledger's changed rows into the working warehouse; return how many rows each table was given.

    Raises:
        ContractError: a value or column does not fit the frozen types; nothing of that layer was changed.
    """
    create(directory)
    counts: dict[str, int] = {}
    with _dlt_directory(directory) as working_directory:
        for layer in ("raw", "core"):
            resources = [_resource(table, changed, counts) for table in TABLES if table.layer == layer]
            _run(layer, resources, working_path(directory), working_directory)
    _drop_staging(directory)
    return counts


def _resource(table: LoadTable, changed: Changed, counts: dict[str, int]) -> DltResource:
    def rows() -> Iterator[pa.Table]:
        yield table.schema.empty_table()
        for piece in changed(table.ledger_table):
            arrow = table.arrow(piece)
            counts[f"{table.layer}.{table.name}"] = counts.get(f"{table.layer}.{table.name}", 0) + arrow.num_rows
            yield arrow

    resource: DltResource = dlt.resource(
        rows,
        name=table.name,
        merge_key=list(table.key),
        columns={name: {"data_type": "json"} for name in table.schema.names if name == "payload"},
        write_disposition={"disposition": "merge", "strategy": "delete-insert"},
        schema_contract={"tables": "evolve", "columns": "evolve", "data_type": "freeze"},
    )
    return resource


def _run(layer: str, resources: list[DltResource], database: Path, working_directory: Path) -> None:
    pipeline = dlt.pipeline(
        pipeline_name=f"invoices_{layer}",
        pipelines_dir=str(working_directory),
        destination=dlt.destinations.duckdb(credentials=str(database)),
        dataset_name=layer,
    )
    try:
        info = pipeline.run(resources, loader_file_format="parquet")
        info.raise_on_failed_jobs()
    except PipelineStepFailed as error:
        raise ContractError(f"loading the layer {layer!r} failed: {_root_cause(error)}") from error
    finally:
        pipeline.deactivate()


def _root_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


@contextmanager
def _dlt_directory(directory: Path) -> Iterator[Path]:
    """Give dlt an empty working directory, with the temporary files on the same filesystem, and remove both after."""
    working_directory = directory / ".dlt"
    shutil.rmtree(working_directory, ignore_errors=True)
    temporary = working_directory / "tmp"
    temporary.mkdir(parents=True, mode=0o700)
    before = tempfile.tempdir
    tempfile.tempdir = os.fspath(temporary)
    dlt.config["runtime.dlthub_telemetry"] = False
    logging.getLogger("dlt").addFilter(_is_serious)
    try:
        yield working_directory
    finally:
        tempfile.tempdir = before
        logging.getLogger("dlt").removeFilter(_is_serious)
        shutil.rmtree(working_directory, ignore_errors=True)


def _is_serious(record: logging.LogRecord) -> bool:
    """Whether a message of dlt is for people; it warns that ``payload`` is JSON to us and text to Arrow, as meant."""
    return record.levelno >= logging.ERROR


def _drop_staging(directory: Path) -> None:
    with connect(working_path(directory)) as connection:
        for layer in ("raw", "core"):
            connection.execute(f"drop schema if exists {layer}_staging cascade")
