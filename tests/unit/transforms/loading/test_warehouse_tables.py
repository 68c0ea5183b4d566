"""Rows of the warehouse: texts in the ledger become exact amounts, dates and timestamps, or are rejected."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.loading.warehouse_tables import (
    AMOUNT,
    CANDIDATES_SCHEMA,
    LINES_SCHEMA,
    MAX_PAYLOAD_CHARS,
    PRECISE_DECIMAL,
    TAXES_SCHEMA,
    WAREHOUSE_TABLES,
    LoadTable,
    serialise_candidate,
    serialise_row,
)

NOW = dt.datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=dt.UTC)


def get_table(name: str, layer: str = "core") -> LoadTable:
    return next(t for t in WAREHOUSE_TABLES if (t.layer, t.name) == (layer, name))


def build_candidate_row(body: str, **values: Any) -> dict[str, Any]:
    """Return a ledger row of a validated candidate."""
    return {
        "invoice_id": "i1",
        "verdict": "accepted",
        "validated_at": NOW,
        "decided_by": "rules",
        "body": body,
    } | values


def build_body(candidate: dict[str, Any] | None = None, lines: Any = (), taxes: Any = ()) -> str:
    identity = {"invoice_id": "i1"}
    return serialise_candidate(
        identity | (candidate or {}),
        [serialise_row(identity | {"line_number": n} | line) for n, line in enumerate(lines, 1)],
        [serialise_row(identity | {"tax_number": n} | tax) for n, tax in enumerate(taxes, 1)],
    )


amounts = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**13), max_value=10**13)
precise_amounts = st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**11), max_value=10**11)


@given(amounts, precise_amounts, precise_amounts, amounts)
def test_every_amount_comes_out_as_it_went_in(total: Decimal, price: Decimal, rate: Decimal, tax: Decimal) -> None:
    row = build_candidate_row(
        build_body({"total_amount": total}, [{"unit_price_amount": price}], [{"tax_rate": rate, "tax_amount": tax}])
    )
    assert get_table("candidates").to_arrow([row]).to_pylist()[0]["total_amount"] == total
    assert get_table("candidate_lines").to_arrow([row]).to_pylist()[0]["unit_price_amount"] == price
    (out,) = get_table("candidate_taxes").to_arrow([row]).to_pylist()
    assert (out["tax_rate"], out["tax_amount"]) == (rate, tax)


@given(st.dates(), st.datetimes(timezones=st.timezones()), st.text())
def test_dates_instants_and_texts_come_out_as_they_went_in(day: dt.date, moment: dt.datetime, text: str) -> None:
    try:
        utc = moment.astimezone(dt.UTC)  # an hour that comes twice equals nothing in another zone
    except OverflowError:
        return
    text = text.encode("utf-8", "ignore").decode()
    row = build_candidate_row(build_body({"issued_on": day, "received_at": moment, "supplier_name": text}))
    (out,) = get_table("candidates").to_arrow([row]).to_pylist()
    assert (out["issued_on"], out["supplier_name"]) == (day, text)
    assert out["received_at"] == utc


@pytest.mark.parametrize("text", ["1200", "1250.5", "1E+3", "-0", "0.0001", "99999999999999.9999"])
def test_however_an_amount_is_written_it_is_the_same_number(text: str) -> None:
    (out,) = get_table("candidates").to_arrow([build_candidate_row(build_body({"total_amount": text}))]).to_pylist()
    assert out["total_amount"] == Decimal(text)


@pytest.mark.parametrize("amount", ["0.00001", "100000000000000", "NaN", "Infinity", "-sNaN", "twelve", "1,50", ""])
def test_an_amount_that_does_not_fit_is_rejected_and_never_rounded(amount: str) -> None:
    with pytest.raises((pa.ArrowException, ValueError, ArithmeticError)):
        get_table("candidates").to_arrow([build_candidate_row(build_body({"total_amount": amount}))])


def test_a_float_is_rejected() -> None:
    with pytest.raises(pa.ArrowException):
        get_table("candidates").to_arrow([build_candidate_row(build_body({"total_amount": 0.1}))])


def test_the_verdict_comes_from_the_ledger_and_not_from_the_body() -> None:
    row = build_candidate_row(build_body({"verdict": "review", "decided_by": "nobody"}), verdict="accepted")
    (out,) = get_table("candidates").to_arrow([row]).to_pylist()
    assert (out["verdict"], out["decided_by"], out["validated_at"]) == ("accepted", "rules", NOW)


def test_fields_without_a_column_are_dropped() -> None:
    row = build_candidate_row(build_body({"secret": "x"}, [{"secret": "x"}]))
    assert get_table("candidates").to_arrow([row]).schema == CANDIDATES_SCHEMA
    assert get_table("candidate_lines").to_arrow([row]).schema == LINES_SCHEMA
    assert get_table("candidate_taxes").to_arrow([row]).num_rows == 0


def test_the_key_comes_from_the_ledger_and_not_from_the_body() -> None:
    row = build_candidate_row(
        serialise_candidate(
            {"invoice_id": "other"},
            [serialise_row({"invoice_id": None, "line_number": 1})],
            [serialise_row({"tax_number": 1})],
        )
    )
    for name in ("candidates", "candidate_lines", "candidate_taxes"):
        assert get_table(name).to_arrow([row]).column("invoice_id").to_pylist() == ["i1"]


@pytest.mark.parametrize(("status", "rows"), [("answered", 1), ("failed", 1), ("intended", 0), ("submitted", 0)])
def test_only_a_concluded_extraction_has_a_row(status: str, rows: int) -> None:
    row = {"extraction_id": "x1", "status": status, "payload": "{}", "requested_at": NOW}
    assert get_table("extractions", "raw").to_arrow([row]).num_rows == rows


@pytest.mark.parametrize(
    ("price", "amount"), [("0.05", Decimal("0.05")), ("0.000001", Decimal("0.000001")), (None, None)]
)
def test_the_price_of_a_page_is_exactly_the_ledgers(price: str | None, amount: Decimal | None) -> None:
    row = {"extraction_id": "x1", "status": "answered", "page_price_amount": price, "page_price_currency": "EUR"}
    (out,) = get_table("extractions", "raw").to_arrow([row]).to_pylist()
    assert (out["page_price_amount"], out["page_price_currency"]) == (amount, "EUR")


def test_a_price_finer_than_a_millionth_is_refused_and_never_rounded() -> None:
    row = {"extraction_id": "x1", "status": "failed", "page_price_amount": "0.0000001"}
    with pytest.raises(pa.ArrowException):
        get_table("extractions", "raw").to_arrow([row])


def test_the_body_keeps_every_character_and_no_float() -> None:
    stored_body = json.loads(
        build_body(
            {"supplier_name": "\u00dc\u4e2d\U0001f9fe", "total_amount": Decimal("0.10"), "issued_on": NOW.date()}
        )
    )
    assert stored_body["candidate"]["supplier_name"] == "\u00dc\u4e2d\U0001f9fe"
    assert stored_body["candidate"]["total_amount"] == "0.10"
    assert stored_body["candidate"]["issued_on"] == "2026-03-04"


def test_amounts_rates_dates_and_instants_have_the_types_of_the_contract() -> None:
    for schema in (CANDIDATES_SCHEMA, LINES_SCHEMA, TAXES_SCHEMA):
        for field in schema:
            if field.name.endswith("_amount") and schema is not LINES_SCHEMA:
                assert field.type == AMOUNT, field
            elif field.name.endswith(("_amount", "_rate", "quantity")):
                assert field.type == PRECISE_DECIMAL, field
            elif field.name.endswith("_on"):
                assert field.type == pa.date32(), field
            elif field.name.endswith("_at"):
                assert field.type == pa.timestamp("us", "UTC"), field


def test_an_answer_that_is_too_long_is_not_in_the_warehouse_and_its_extraction_is() -> None:
    rows = [
        {"extraction_id": f"x{length}", "status": "answered", "payload": "1" * length}
        for length in (MAX_PAYLOAD_CHARS, MAX_PAYLOAD_CHARS + 1)
    ]
    loaded = get_table("extractions", "raw").to_arrow(rows).to_pylist()
    assert [len(row["payload"] or "") for row in loaded] == [MAX_PAYLOAD_CHARS, 0]
    assert [row["status"] for row in loaded] == ["answered"] * 2
