"""Loading by dlt: Arrow in, merge by delete-insert on stable keys, its working directory wiped before each run.

A dlt package that died half-way is never resumed: resuming duplicates rows, merging the same keys again does not.
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
from transforms.loading.rows import TABLES, LoadTable
from transforms.loading.working import connect, create, working_path

PARTS = {"candidate_lines": "invoice_id", "candidate_taxes": "invoice_id", "findings": "finding_id"}  # of a candidate
Changed = Callable[[str], Iterator[list[Mapping[str, Any]]]]  # a ledger table's changed rows, in pieces


def load(directory: Path, changed: Changed) -> dict[str, int]:
    """Merge the ledger's changed rows into the working warehouse; return how many rows each table was given.

    Raises:
        ContractError: a value or column does not fit the frozen types; nothing of that layer was changed.
    """
    create(directory)
    given = _Given()
    with _dlt_directory(directory) as working_directory:
        for layer in ("raw", "core"):
            resources = [_resource(table, changed, given) for table in TABLES if table.layer == layer]
            _run(layer, resources, working_path(directory), working_directory)
    _tidy(directory, given)
    return dict(given.counts)


@dataclass(slots=True)
class _Given:
    """What dlt was given: rows by table, and the keys of what hangs on a candidate."""

    counts: Counter[str] = field(default_factory=Counter)
    keys: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in ("candidates", *PARTS)})

    def add(self, table: LoadTable, rows: pa.Table) -> None:
        self.counts[f"{table.layer}.{table.name}"] += rows.num_rows
        if table.name in self.keys:
            self.keys[table.name].update(rows.column(PARTS.get(table.name, "invoice_id")).to_pylist())


def _resource(table: LoadTable, changed: Changed, given: _Given) -> DltResource:
    def rows() -> Iterator[pa.Table]:
        yield table.schema.empty_table()
        for piece in changed(table.ledger_table):
            arrow = table.arrow(piece)
            given.add(table, arrow)
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


def _tidy(directory: Path, given: _Given) -> None:
    """Drop dlt's staging, and what hung on a candidate before it was judged again: a merge only replaces."""
    with connect(working_path(directory)) as connection:
        for layer in ("raw", "core"):
            connection.execute(f"drop schema if exists {layer}_staging cascade")
        for name, key in PARTS.items():
            connection.execute(
                f"delete from core.{name} where invoice_id in (select unnest($1::varchar[])) "
                f"and {key} not in (select unnest($2::varchar[]))",
                [list(given.keys["candidates"]), list(given.keys[name])],
            )
