"""Builds canonical candidates from a batch of stored answers, with every check decided in exact decimals."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa

from invoices.errors import ContractError
from transforms.candidate_slices import (
    DEFAULT_SLICE_LIMITS,
    DOCUMENT_MODELS,
    SliceLimits,
    exclude_invoices,
    list_candidate_slices,
    read_keys_of_originals,
    select_candidates,
)
from transforms.sql_runner import (
    build_models,
    drop_unread_tables,
    execute_model,
    open_in_memory_database,
    read_sql_models,
)

EXTRACTIONS_SCHEMA = pa.schema([
    ("extraction_id", pa.string()),
    ("document_sha256", pa.string()),
    ("extracted_by", pa.string()),
    ("payload", pa.string()),
    ("received_at", pa.timestamp("us", tz="UTC")),
    ("sequence", pa.int64()),
])  # fmt: skip
KNOWN_KEYS_SCHEMA = pa.schema([
    ("key", pa.string()),
    ("invoice_id", pa.string()),
    ("verdict", pa.string()),
    ("duplicate_of", pa.string()),
])  # fmt: skip

OFFICIAL_RUNS_SCHEMA = pa.schema([
    ("document_sha256", pa.string()),
    ("rule_set", pa.string()),
    ("status", pa.string()),
    ("reason", pa.string()),
])  # fmt: skip
OFFICIAL_FAILURES_SCHEMA = pa.schema([
    ("document_sha256", pa.string()),
    ("ordinal", pa.int64()),
    ("rule_id", pa.string()),
    ("severity", pa.string()),
    ("message", pa.string()),
])  # fmt: skip
OFFICIAL_RULE_IDS_SCHEMA = pa.schema([("rule_set", pa.string()), ("rule_id", pa.string())])


@dataclass(frozen=True, slots=True)
class OfficialOutcomes:
    """What the official rules say about the documents of a batch, as Arrow tables.

    - ``runs``: ``OFFICIAL_RUNS_SCHEMA``, one row per document and rule set; ``status`` is ``valid``, ``invalid``,
      ``not_applicable`` or ``not_run``
    - ``failures``: ``OFFICIAL_FAILURES_SCHEMA``, one row per invoice (``ordinal`` from 1) and failed rule
    - ``rule_ids``: ``OFFICIAL_RULE_IDS_SCHEMA``, the ids of our rules that a rule set decides
    """

    runs: pa.Table = field(default_factory=OFFICIAL_RUNS_SCHEMA.empty_table)
    failures: pa.Table = field(default_factory=OFFICIAL_FAILURES_SCHEMA.empty_table)
    rule_ids: pa.Table = field(default_factory=OFFICIAL_RULE_IDS_SCHEMA.empty_table)


SMALL_BATCH_BYTES = 1_000_000  # below it, sharing the work out to threads takes longer than the work

_create_statements: dict[str, str] = {}  # of each staging table, once this process has built it

KnownKeysLookup = Callable[[list[str]], Sequence[Mapping[str, str | None]]]


@dataclass(frozen=True, slots=True)
class CandidateBatch:
    """The candidates of one batch; every field except ``document_count`` is an Arrow table.

    Each document of the batch has either rows in ``candidates`` or one row in ``empty_answers``.

    - ``candidates``, ``lines``, ``taxes``: columns as in ``core.candidates``, ``core.candidate_lines``,
      ``core.candidate_taxes``, without the columns of the verdict
    - ``checks``: ``invoice_id``, ``rule_id``, ``outcome`` (``holds``, ``broken``, ``not_applicable``), ``message``
    - ``candidate_keys``: ``invoice_id``, ``key``: the keys by which later batches find the candidates
    - ``duplicates``: ``invoice_id``, ``duplicate_of`` (the other candidate, or null), ``relation``, ``is_decided``
    - ``empty_answers``: ``document_sha256``, ``extraction_id``, ``reason_code`` (``nothing_found``,
      ``unreadable_answer``, ``unknown_extractor``), ``reason``
    - ``official_failures``: ``invoice_id``, ``rule_id``, ``severity``, ``message``: the official rules that fail
    - ``document_count``: the number of documents in the batch
    """

    candidates: pa.Table
    lines: pa.Table
    taxes: pa.Table
    checks: pa.Table
    candidate_keys: pa.Table
    duplicates: pa.Table
    empty_answers: pa.Table
    official_failures: pa.Table
    document_count: int


def build_candidate_batch(
    extractions: pa.Table,
    known_keys: pa.Table | KnownKeysLookup,
    company_tax_ids: Sequence[str],
    critical_rule_ids: Collection[str] = (),
    validated_at: dt.datetime | None = None,
    warning_rule_ids: Collection[str] = (),
    official: OfficialOutcomes | None = None,
) -> CandidateBatch:
    """Return the candidates of a batch of answers as ``iter_candidate_batches`` does, all in one."""
    limits = SliceLimits(sys.maxsize, sys.maxsize)
    [candidate_batch] = iter_candidate_batches(
        extractions, known_keys, company_tax_ids, critical_rule_ids, validated_at, warning_rule_ids, limits, official
    )
    return candidate_batch


def iter_candidate_batches(
    extractions: pa.Table,
    known_keys: pa.Table | KnownKeysLookup,
    company_tax_ids: Sequence[str],
    critical_rule_ids: Collection[str] = (),
    validated_at: dt.datetime | None = None,
    warning_rule_ids: Collection[str] = (),
    limits: SliceLimits = DEFAULT_SLICE_LIMITS,
    official: OfficialOutcomes | None = None,
) -> Iterator[CandidateBatch]:
    """Yield the candidates of a batch of answers, in the order of ``sequence``, in slices within ``limits``.

    Each slice is a CandidateBatch of its own. A document with many candidates may be in several; the first slice has
    all ``empty_answers``. ``extractions`` has the columns of ``EXTRACTIONS_SCHEMA``; of several answers about one
    document the last counts.
    ``known_keys`` are the keys of candidates of other batches that are accepted or in review: a table with the columns
    of ``KNOWN_KEYS_SCHEMA``, or a function that looks them up by the keys that this batch seeks, so that not all of
    them must be in memory. ``critical_rule_ids`` are the rules that quarantine a candidate: a quarantined candidate is
    not the original of later ones. ``warning_rule_ids`` are those that send it to review: its copies wait with it. An
    invoice may be issued up to the day after it was received or, if that is later, after ``validated_at``: the clock
    may have been wrong when it was received. ``official`` is what the official rules say about the documents.
    Raises ContractError if a column is missing or has another type, or if a model fails.
    """
    thread_count = 1 if extractions.nbytes < SMALL_BATCH_BYTES else None
    with open_in_memory_database(thread_count=thread_count) as connection:
        connection.register("extractions", _convert_to_schema("extractions", extractions, EXTRACTIONS_SCHEMA))
        connection.register("company_tax_ids", pa.table({"tax_id": pa.array(company_tax_ids, pa.string())}))
        connection.register("critical_rules", pa.table({"rule_id": pa.array(sorted(critical_rule_ids), pa.string())}))
        connection.register("warning_rules", pa.table({"rule_id": pa.array(sorted(warning_rule_ids), pa.string())}))
        register_official_outcomes(connection, official or OfficialOutcomes())
        connection.execute("SET VARIABLE validated_at = $1::TIMESTAMPTZ", [validated_at])
        _build_staging(connection)
        core_models, duplicate_models = read_sql_models("core"), read_sql_models("core/duplicates")
        build_models(connection, {name: core_models.pop(name) for name in DOCUMENT_MODELS})
        drop_unread_tables(connection, {**core_models, **duplicate_models})
        slices = list_candidate_slices(connection, core_models["stated_lines"], limits)
        sliced_ids = {invoice_id for part in slices for invoice_id in part.invoice_ids} if len(slices) > 1 else set()
        missing_documents = set(extractions["document_sha256"].to_pylist()).difference(
            *(part.document_hashes for part in slices)
        )
        keys_of_slices = KNOWN_KEYS_SCHEMA.empty_table()
        for number, part in enumerate(slices):
            if len(slices) > 1:
                select_candidates(connection, part.invoice_ids)
            build_models(connection, core_models)
            earlier_keys = exclude_invoices(_resolve_known_keys(known_keys, connection), sliced_ids)
            connection.register("known_keys", pa.concat_tables([earlier_keys, keys_of_slices]))
            build_models(connection, duplicate_models)
            if number + 1 < len(slices):
                keys_of_slices = pa.concat_tables([keys_of_slices, read_keys_of_originals(connection)])
            empty_answers = _read_table(connection, "empty_answers")
            yield CandidateBatch(
                candidates=_read_table(connection, "candidates"),
                lines=_read_table(connection, "candidate_lines"),
                taxes=_read_table(connection, "candidate_taxes"),
                checks=_read_table(connection, "candidate_checks"),
                candidate_keys=_read_table(connection, "candidate_keys"),
                duplicates=_read_table(connection, "candidate_duplicates"),
                official_failures=_read_official_failures(connection),
                empty_answers=empty_answers if number == 0 else empty_answers.slice(0, 0),
                document_count=len(part.document_hashes) + (len(missing_documents) if number == 0 else 0),
            )


def _build_staging(connection: duckdb.DuckDBPyConnection) -> None:
    """Build the staging models; those of an extractor with no answer stay empty, their columns as in an earlier batch.

    Planning a model takes DuckDB ten times as long as reading no rows with it.
    """
    models = read_sql_models("staging")
    extractors = {name for (name,) in connection.execute("SELECT DISTINCT extracted_by FROM extractions").fetchall()}
    unused_models = {
        name for name in models if name.startswith("stg_") and _get_extractor(name) not in extractors
    } & set(_create_statements)
    for name in unused_models:
        execute_model(connection, name, _create_statements[name])
        del models[name]
    build_models(connection, models)
    if not set(models) <= set(_create_statements):
        statements = connection.execute("SELECT table_name, sql FROM duckdb_tables()").fetchall()
        _create_statements.update((name, sql) for name, sql in statements if name in models)


def _get_extractor(staging_model: str) -> str:
    return staging_model.removeprefix("stg_").partition("__")[0]


def register_official_outcomes(connection: duckdb.DuckDBPyConnection, official: OfficialOutcomes) -> None:
    """Make the outcomes of the official rules tables that the models read."""
    connection.register("official_runs", _convert_to_schema("official_runs", official.runs, OFFICIAL_RUNS_SCHEMA))
    connection.register(
        "official_failures", _convert_to_schema("official_failures", official.failures, OFFICIAL_FAILURES_SCHEMA)
    )
    connection.register(
        "official_rule_ids", _convert_to_schema("official_rule_ids", official.rule_ids, OFFICIAL_RULE_IDS_SCHEMA)
    )


def _read_official_failures(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    return connection.execute(
        "SELECT c.invoice_id, f.rule_id, f.severity, f.message FROM official_failures AS f "
        "JOIN candidates AS c ON c.document_sha256 = f.document_sha256 AND c.ordinal = f.ordinal "
        "AND c.extracted_by = 'einvoice' ORDER BY ALL"
    ).to_arrow_table()


def _resolve_known_keys(known_keys: pa.Table | KnownKeysLookup, connection: duckdb.DuckDBPyConnection) -> pa.Table:
    if callable(known_keys):
        sought_keys = connection.execute("SELECT DISTINCT key FROM sought_keys ORDER BY key").fetchall()
        rows = known_keys([key for (key,) in sought_keys])
        known_keys = pa.Table.from_pylist([dict(row) for row in rows], schema=KNOWN_KEYS_SCHEMA)
    return _convert_to_schema("known_keys", known_keys, KNOWN_KEYS_SCHEMA)


def _convert_to_schema(name: str, table: pa.Table, schema: pa.Schema) -> pa.Table:
    try:
        return table.select(schema.names).cast(schema)
    except (KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ContractError(
            f"the table {name!r} needs the columns {schema.names!r}, but has {table.schema.names!r}: {error}"
        ) from error


def _read_table(connection: duckdb.DuckDBPyConnection, name: str) -> pa.Table:
    return connection.table(name).to_arrow_table()
