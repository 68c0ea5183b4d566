"""Candidate batches: no document is lost, no amount is rounded, and no content of a document fails the batch."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expectations.validation import RULES
from invoices.errors import ContractError
from invoices.model import compute_invoice_id
from tests.integration.extraction_payloads import (
    build_billflowai_payload,
    build_einvoice_payload,
    build_einvoice_table,
    build_extraction_table,
    build_rows_payload,
)
from tests.sweep_size import choose_point_count
from transforms.candidate_batch import EXTRACTIONS_SCHEMA, KNOWN_KEYS_SCHEMA, CandidateBatch, build_candidate_batch
from transforms.loading.warehouse_tables import CANDIDATES_SCHEMA, LINES_SCHEMA, TAXES_SCHEMA, WAREHOUSE_TABLES
from transforms.mart_builder import build_marts, build_views
from transforms.sql_runner import build_models, open_in_memory_database, read_sql_models, sort_by_dependency

SCALES = {"line_total": "line_total_amount", "tax_exclusive": "net_amount", "tax_inclusive": "total_amount"}
EXTRACTOR = "invoicedataextraction_com"
SAMPLE_ROW_KEYS = sorted(json.loads(build_rows_payload())["rows"][0])
PLAIN_NUMBER_PATTERN = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)")

few_examples = settings(
    max_examples=choose_point_count(6, 60), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
amounts = st.one_of(
    st.decimals(allow_nan=True, allow_infinity=True).map(str),
    st.decimals(min_value=-(10**15), max_value=10**15, places=4).map(lambda value: format(value, "f")),
    st.decimals(min_value=-(10**6), max_value=10**6, places=6).map(lambda value: format(value, "f")),
    st.sampled_from(["1,250.00", "1.250,00", "99999999999999.9999", "-99999999999999.9999", "", "-", "true", "1e40"]),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def _build_batch(extractions: pa.Table) -> CandidateBatch:
    return build_candidate_batch(extractions, KNOWN_KEYS_SCHEMA.empty_table(), [])


def _parse_exact_decimal(text: str) -> Decimal | None:
    """Return what DECIMAL(18,4) holds of a text without rounding, by Python's own arithmetic."""
    if not PLAIN_NUMBER_PATTERN.fullmatch(text):
        return None
    value = Decimal(text)
    return value if abs(value) < 10**14 and value == round(value, 4) else None


@pytest.mark.sweep
@few_examples
@given(st.lists(st.fixed_dictionaries(dict.fromkeys(SCALES, amounts)), min_size=1, max_size=20))
def test_an_amount_is_exactly_what_was_stated_or_absent_and_told(totals: list[dict[str, str]]) -> None:
    batch = _build_batch(build_einvoice_table(*(build_einvoice_payload({"totals": some}) for some in totals)))
    broken = {
        row["invoice_id"]: row["message"] or ""
        for row in batch.checks.to_pylist()
        if row["rule_id"] == "AMOUNT-EXACT" and row["outcome"] == "broken"
    }
    for some, row in zip(totals, batch.candidates.to_pylist(), strict=True):
        for key, column in SCALES.items():
            assert row[column] == _parse_exact_decimal(some[key])
            is_reported = row[column] is None and some[key].strip() != ""
            assert (f" {column} '" in broken.get(row["invoice_id"], "")) == is_reported


@pytest.mark.sweep
@few_examples
@given(
    st.lists(
        st.dictionaries(st.sampled_from(sorted(json.loads(build_einvoice_payload())["invoices"][0])), anything),
        max_size=5,
    )
)
def test_no_value_of_any_shape_stops_the_batch_or_loses_a_document(changes: list[dict[str, Any]]) -> None:
    batch = _build_batch(
        build_einvoice_table(build_einvoice_payload(), *(build_einvoice_payload(change) for change in changes))
    )
    with_invoice = set(batch.candidates.column("document_sha256").to_pylist())
    without = set(batch.empty_answers.column("document_sha256").to_pylist())
    assert with_invoice | without == {f"d{number}" for number in range(1, len(changes) + 2)}
    assert not with_invoice & without
    assert batch.checks.num_rows == batch.candidates.num_rows * len(RULES)


@pytest.mark.sweep
@few_examples
@given(st.lists(st.text(max_size=30) | anything.map(json.dumps), min_size=1, max_size=5))
def test_no_answer_of_a_vendor_fails_the_batch_or_loses_a_document(payloads: list[str]) -> None:
    payloads = [payload.encode("utf-8", "replace").decode() for payload in payloads]
    answers = [(f"d{number}", "smartbills_com", payload) for number, payload in enumerate(payloads)]
    batch = _build_batch(build_extraction_table(answers))
    assert batch.candidates.num_rows + batch.empty_answers.num_rows == len(payloads)


@pytest.mark.sweep
@few_examples
@given(
    st.lists(st.tuples(st.sampled_from([*SAMPLE_ROW_KEYS, "Review Needed"]), anything), max_size=30), anything, anything
)
def test_no_row_of_invoicedataextraction_com_fails_the_batch_or_loses_a_document(
    changes: list[tuple[str, Any]], notes: Any, items: Any
) -> None:
    answers = [
        ("d1", EXTRACTOR, build_rows_payload()),
        ("d2", EXTRACTOR, build_rows_payload([{name: value} for name, value in changes])),
    ]
    answers += [
        (
            "d3",
            EXTRACTOR,
            build_rows_payload(uncertainty_notes=notes, review_needed=items, pages=notes, page_count=items),
        )
    ]
    answers += [
        ("d4", EXTRACTOR, json.dumps({"rows": notes})),
        ("d5", EXTRACTOR, build_rows_payload(review_needed=[{"rows": notes}, items])),
    ]
    _assert_no_document_lost(answers)


@pytest.mark.sweep
@few_examples
@given(st.lists(st.tuples(st.sampled_from(["total", "tax", "discount", "items", "date", "meta"]), anything | amounts)))
def test_no_body_of_billflowai_fails_the_batch_or_loses_a_document(changes: list[tuple[str, Any]]) -> None:
    bodies = [build_billflowai_payload({name: value}) for name, value in changes]
    bodies += [
        build_billflowai_payload({"items": [{key: value} for _, value in changes]})
        for key in ("quantity", "line_total")
    ]
    _assert_no_document_lost([(f"d{number}", "billflowai", body) for number, body in enumerate(bodies)])


def _assert_no_document_lost(answers: list[tuple[str, str, str]]) -> None:
    batch = _build_batch(
        build_extraction_table(
            [(name, extractor, payload.encode("utf-8", "replace").decode()) for name, extractor, payload in answers]
        )
    )
    with_invoice = set(batch.candidates.column("document_sha256").to_pylist())
    without = set(batch.empty_answers.column("document_sha256").to_pylist())
    assert with_invoice | without == {name for name, _, _ in answers}
    assert not with_invoice & without
    assert batch.checks.num_rows == batch.candidates.num_rows * len(RULES)


def test_every_extractor_that_staging_reads_is_known_and_no_other() -> None:
    read = {
        name.removeprefix("stg_").removesuffix("__invoices")
        for name in read_sql_models("staging")
        if "__invoices" in name
    }
    with open_in_memory_database() as connection:
        connection.execute(f"CREATE TABLE extractors AS {read_sql_models('staging')['extractors']}")
        known = {name for (name,) in connection.execute("FROM extractors").fetchall()}
    assert known == read


@pytest.mark.parametrize(
    "payload", ["[" * 100_000, '{"a":' * 5_000 + "1" + "}" * 5_000, '{"a": "\\ud800"}', "\x00", ""]
)
def test_an_answer_that_is_not_json_does_not_affect_others(payload: str) -> None:
    batch = _build_batch(
        build_extraction_table([("d1", "smartbills_com", payload), ("d2", "einvoice", build_einvoice_payload())])
    )
    assert batch.candidates.column("document_sha256").to_pylist() == ["d2"]
    assert batch.empty_answers.column("document_sha256").to_pylist() == ["d1"]


@pytest.mark.parametrize("number", ["-Infinity", "NaN", "Infinity", "-inf", "1E400", "-0", "1.0e-2"])
def test_an_invalid_number_leaves_the_other_values_unchanged(number: str) -> None:
    payload = f'{{"total_amount": {number}, "invoice_number": "5 \\" -7, 8", "currency": "EUR"}}'
    batch = _build_batch(build_extraction_table([("d1", "smartbills_com", payload)]))
    row = batch.candidates.to_pylist()[0]
    assert (row["invoice_number"], row["currency"]) == ('5 " -7, 8', "EUR")
    assert row["total_amount"] == (0 if number == "-0" else None)


def test_invoice_ids_are_those_of_compute_invoice_id() -> None:
    document = "ab" * 32
    batch = _build_batch(
        build_extraction_table([(document, "einvoice", build_einvoice_payload({}, {"invoice_number": "2"}))])
    )
    assert batch.candidates.column("invoice_id").to_pylist() == [
        compute_invoice_id(document, 1),
        compute_invoice_id(document, 2),
    ]


def test_candidates_are_in_the_order_of_their_answers() -> None:
    answers = build_extraction_table(
        [(f"d{number}", "einvoice", build_einvoice_payload({"invoice_number": f"{number}"})) for number in (9, 1, 5)]
    )
    assert _build_batch(answers.take([2, 0, 1])).candidates.column("document_sha256").to_pylist() == [
        "d9",
        "d1",
        "d5",
    ]


@pytest.mark.parametrize(
    ("name", "loaded"), [("candidates", CANDIDATES_SCHEMA), ("lines", LINES_SCHEMA), ("taxes", TAXES_SCHEMA)]
)
def test_a_batch_has_the_column_types_of_the_warehouse(name: str, loaded: pa.Schema) -> None:
    batch: pa.Table = getattr(_build_batch(build_einvoice_table(build_einvoice_payload())), name)
    validation_columns = {"verdict", "validated_at", "decided_by"}
    numbers = {"ordinal", "line_number", "tax_number"}  # counted in 32 bits here
    for field in loaded:
        if field.name not in validation_columns | numbers:
            assert batch.schema.field(field.name).type == field.type, field.name


def _list_known_keys(batch: CandidateBatch, verdict: str = "accepted") -> list[dict[str, str | None]]:
    """Return the keys of a batch as the ledger returns them to later ones."""
    return [row | {"verdict": verdict, "duplicate_of": None} for row in batch.candidate_keys.to_pylist()]


@pytest.mark.parametrize(("verdict", "rule"), [("accepted", "DUPLICATE-CONTENT"), ("review", "DUPLICATE-UNDECIDED")])
def test_known_keys_may_be_looked_up_by_the_keys_of_the_batch(verdict: str, rule: str) -> None:
    known_keys = _list_known_keys(_build_batch(build_einvoice_table(build_einvoice_payload())), verdict)
    requested: list[list[str]] = []

    def query_known_keys(keys: list[str]) -> list[dict[str, str | None]]:
        requested.append(keys)
        return [row for row in known_keys if row["key"] in keys]

    again = build_candidate_batch(
        build_extraction_table([("d7", "einvoice", build_einvoice_payload())]), query_known_keys, []
    )
    broken = [row["rule_id"] for row in again.checks.to_pylist() if row["outcome"] == "broken"]
    assert broken == [rule]
    assert len(requested) == 1
    assert len({len(key) for key in requested[0]}) == 2  # of the old ledgers and of this version
    (duplicate,) = again.duplicates.to_pylist()
    assert (duplicate["duplicate_of"], duplicate["is_decided"]) == (compute_invoice_id("d1", 1), verdict == "accepted")


def test_a_copy_that_waits_for_this_candidate_is_not_its_original() -> None:
    known_keys = _list_known_keys(_build_batch(build_einvoice_table(build_einvoice_payload())), "review")
    waiting = [row | {"duplicate_of": compute_invoice_id("d7", 1)} for row in known_keys]
    table = build_extraction_table([("d7", "einvoice", build_einvoice_payload())])
    checks = build_candidate_batch(table, lambda _: waiting, []).checks.to_pylist()
    assert [row["rule_id"] for row in checks if row["outcome"] == "broken"] == []


@pytest.mark.parametrize("supplier", ["DE111111111", "papierhausnordgmbh"])
def test_the_keys_of_ledgers_before_version_5_are_still_found(supplier: str) -> None:
    """Their rows have the number by tax id, else by name, as it was hashed then."""
    stated = "\x1f".join(("number", supplier, "R-2026-001", "invoice"))
    key = hashlib.sha256(stated.encode()).hexdigest()
    known_key = {"key": key, "invoice_id": "old", "verdict": "accepted", "duplicate_of": None}
    batch = build_candidate_batch(build_einvoice_table(build_einvoice_payload()), lambda _: [known_key], [])
    broken = [row["rule_id"] for row in batch.checks.to_pylist() if row["outcome"] == "broken"]
    assert broken == ["DUPLICATE-NUMBER"]


def test_the_cost_of_duplicates_does_not_grow_with_the_square_of_their_number() -> None:
    copies = [(f"d{number}", "einvoice", build_einvoice_payload()) for number in range(400)]
    batch = _build_batch(build_extraction_table(copies))
    originals = {row["duplicate_of"] for row in batch.duplicates.to_pylist()}
    assert originals == {None, compute_invoice_id("d0", 1)}


def test_an_invoice_paid_as_a_page_is_recognised_when_its_e_invoice_comes_later() -> None:
    page = '{"invoice_number": "R-2026-001", "total_amount": 113.05, "vendor": {"name": "PAPIERHAUS  Nord GmbH"}}'
    earlier = _list_known_keys(_build_batch(build_extraction_table([("page", "smartbills_com", page)])))
    batch = build_candidate_batch(
        build_einvoice_table(build_einvoice_payload(), build_einvoice_payload({"invoice_number": "2"})),
        lambda _: earlier,
        [],
    )
    broken = [row for row in batch.checks.to_pylist() if row["outcome"] == "broken"]
    assert [(row["invoice_id"], row["rule_id"]) for row in broken] == [
        (compute_invoice_id("d1", 1), "DUPLICATE-NUMBER")
    ]


def _list_keys(batch: CandidateBatch, document: str) -> set[str]:
    invoice_id = compute_invoice_id(document, 1)
    return {row["key"] for row in batch.candidate_keys.to_pylist() if row["invoice_id"] == invoice_id}


def test_the_content_key_does_not_depend_on_how_numbers_are_written() -> None:
    keys = _build_batch(
        build_einvoice_table(
            build_einvoice_payload(),
            build_einvoice_payload({"totals": {"payable": "100"}}),
            build_einvoice_payload({"iban": "X"}),
        )
    )
    first, same, other = (_list_keys(keys, f"d{number}") for number in (1, 2, 3))
    assert first == same != other
    assert len(first & other) >= 3  # the supplier and the number are the same


def test_two_different_unparsed_values_are_different_content() -> None:
    two = [build_einvoice_payload({"totals": {"rounding": text}}) for text in ("1,00", "2,00")]
    batch = _build_batch(build_einvoice_table(*two))
    assert _list_keys(batch, "d1") != _list_keys(batch, "d2")


def test_a_missing_column_raises_a_contract_error() -> None:
    with pytest.raises(ContractError, match="the table 'extractions' needs the columns"):
        _build_batch(EXTRACTIONS_SCHEMA.empty_table().drop_columns(["payload"]))


def test_an_empty_batch_gives_empty_tables() -> None:
    batch = _build_batch(EXTRACTIONS_SCHEMA.empty_table())
    assert (batch.candidates.num_rows, batch.checks.num_rows, batch.document_count) == (0, 0, 0)


@pytest.mark.parametrize(
    "statement", ["SELECT * FROM read_text('/etc/hostname')", "SET enable_external_access = true", "INSTALL httpfs"]
)
def test_the_database_in_memory_reaches_nothing(statement: str) -> None:
    with open_in_memory_database() as connection, pytest.raises(duckdb.Error):
        connection.execute(statement)


def test_a_circle_of_models_is_named() -> None:
    with pytest.raises(ContractError, match="circle"):
        sort_by_dependency({"a": "select * from b", "b": "select * from a -- from c"})


def test_a_model_that_fails_is_named() -> None:
    with open_in_memory_database() as connection, pytest.raises(ContractError, match="'answers' failed"):
        build_models(connection, read_sql_models("staging"))


def test_building_the_marts_again_changes_no_row() -> None:
    with duckdb.connect(":memory:") as connection:
        for table in WAREHOUSE_TABLES:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {table.layer}")
            connection.register("empty", table.schema.empty_table())
            connection.execute(f"CREATE TABLE {table.layer}.{table.name} AS SELECT * FROM empty")
        connection.execute(
            "INSERT INTO core.candidates (invoice_id, verdict, kind, direction, due_on, total_amount) "
            "SELECT 'i' || n, 'accepted', 'invoice', 'expense', DATE '2026-01-01' + n::INTEGER, n FROM range(50) r (n)"
        )
        build_views(connection)
        snapshots = []
        for _ in range(2):
            build_marts(connection, dt.date(2026, 1, 31))
            snapshots.append(connection.execute("FROM marts.payables_aging").fetchall())
        assert snapshots[0] == snapshots[1]
        assert len(snapshots[0]) == 49
