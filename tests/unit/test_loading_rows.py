"""The warehouse's rows: what the ledger keeps as text comes out as exact amounts, dates and instants, or not at all."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.loading.rows import AMOUNT, CANDIDATES, FINE, LINES, TABLES, TAXES, LoadTable, as_body

NOW = dt.datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=dt.UTC)


def table(name: str, layer: str = "core") -> LoadTable:
    return next(t for t in TABLES if (t.layer, t.name) == (layer, name))


def judged(body: str, **values: Any) -> dict[str, Any]:
    """Return a ledger row of a judged candidate."""
    return {"invoice_id": "i1", "verdict": "accepted", "judged_at": NOW, "judged_by": "rules", "body": body} | values


def body(candidate: dict[str, Any] | None = None, lines: Any = (), taxes: Any = ()) -> str:
    given_id = {"invoice_id": "i1"}
    return as_body(
        given_id | (candidate or {}),
        [given_id | {"line_number": n} | line for n, line in enumerate(lines, 1)],
        [given_id | {"tax_number": n} | tax for n, tax in enumerate(taxes, 1)],
    )


amounts = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**13), max_value=10**13)
fines = st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**11), max_value=10**11)


@given(amounts, fines, fines, amounts)
def test_every_amount_comes_out_as_it_went_in(total: Decimal, price: Decimal, rate: Decimal, tax: Decimal) -> None:
    row = judged(body({"total_amount": total}, [{"unit_price_amount": price}], [{"tax_rate": rate, "tax_amount": tax}]))
    assert table("candidates").arrow([row]).to_pylist()[0]["total_amount"] == total
    assert table("candidate_lines").arrow([row]).to_pylist()[0]["unit_price_amount"] == price
    (out,) = table("candidate_taxes").arrow([row]).to_pylist()
    assert (out["tax_rate"], out["tax_amount"]) == (rate, tax)


@given(st.dates(), st.datetimes(timezones=st.timezones()), st.text())
def test_dates_instants_and_texts_come_out_as_they_went_in(day: dt.date, moment: dt.datetime, text: str) -> None:
    try:
        utc = moment.astimezone(dt.UTC)  # an hour that comes twice equals nothing in another zone
    except OverflowError:
        return
    text = text.encode("utf-8", "ignore").decode()
    row = judged(body({"issued_on": day, "received_at": moment, "supplier_name": text}))
    (out,) = table("candidates").arrow([row]).to_pylist()
    assert (out["issued_on"], out["supplier_name"]) == (day, text)
    assert out["received_at"] == utc


@pytest.mark.parametrize("text", ["1200", "1250.5", "1E+3", "-0", "0.0001", "99999999999999.9999"])
def test_however_an_amount_is_written_it_is_the_same_number(text: str) -> None:
    (out,) = table("candidates").arrow([judged(body({"total_amount": text}))]).to_pylist()
    assert out["total_amount"] == Decimal(text)


@pytest.mark.parametrize("amount", ["0.00001", "100000000000000", "NaN", "Infinity", "-sNaN", "twelve", "1,50", ""])
def test_an_amount_that_does_not_fit_is_refused_and_never_rounded(amount: str) -> None:
    with pytest.raises((pa.ArrowException, ValueError, ArithmeticError)):
        table("candidates").arrow([judged(body({"total_amount": amount}))])


def test_a_float_is_refused() -> None:
    with pytest.raises(pa.ArrowException):
        table("candidates").arrow([judged(body({"total_amount": 0.1}))])


def test_the_verdict_is_the_ledgers_and_not_the_bodys() -> None:
    row = judged(body({"verdict": "review", "judged_by": "nobody"}), verdict="accepted")
    (out,) = table("candidates").arrow([row]).to_pylist()
    assert (out["verdict"], out["judged_by"], out["judged_at"]) == ("accepted", "rules", NOW)


def test_what_the_tables_do_not_name_stays_behind() -> None:
    row = judged(body({"secret": "x"}, [{"secret": "x"}]))
    assert table("candidates").arrow([row]).schema == CANDIDATES
    assert table("candidate_lines").arrow([row]).schema == LINES
    assert table("candidate_taxes").arrow([row]).num_rows == 0


def test_the_key_is_the_ledgers_whatever_the_body_says() -> None:
    row = judged(as_body({"invoice_id": "other"}, [{"invoice_id": None, "line_number": 1}], [{"tax_number": 1}]))
    for name in ("candidates", "candidate_lines", "candidate_taxes"):
        assert table(name).arrow([row]).column("invoice_id").to_pylist() == ["i1"]


@pytest.mark.parametrize(("status", "rows"), [("answered", 1), ("failed", 1), ("intended", 0), ("submitted", 0)])
def test_only_a_concluded_extraction_has_a_row(status: str, rows: int) -> None:
    row = {"extraction_id": "x1", "status": status, "payload": "{}", "requested_at": NOW}
    assert table("extractions", "raw").arrow([row]).num_rows == rows


@pytest.mark.parametrize(
    ("price", "amount"), [("0.05", Decimal("0.05")), ("0.000001", Decimal("0.000001")), (None, None)]
)
def test_the_price_of_a_page_is_exactly_the_ledgers(price: str | None, amount: Decimal | None) -> None:
    row = {"extraction_id": "x1", "status": "answered", "page_price_amount": price, "page_price_currency": "EUR"}
    (out,) = table("extractions", "raw").arrow([row]).to_pylist()
    assert (out["page_price_amount"], out["page_price_currency"]) == (amount, "EUR")


def test_a_price_finer_than_a_millionth_is_refused_and_never_rounded() -> None:
    row = {"extraction_id": "x1", "status": "failed", "page_price_amount": "0.0000001"}
    with pytest.raises(pa.ArrowException):
        table("extractions", "raw").arrow([row])


def test_the_body_keeps_every_character_and_no_float() -> None:
    kept = json.loads(
        body({"supplier_name": "\u00dc\u4e2d\U0001f9fe", "total_amount": Decimal("0.10"), "issued_on": NOW.date()})
    )
    assert kept["candidate"]["supplier_name"] == "\u00dc\u4e2d\U0001f9fe"
    assert kept["candidate"]["total_amount"] == "0.10"
    assert kept["candidate"]["issued_on"] == "2026-03-04"


def test_amounts_rates_dates_and_instants_have_the_types_of_the_contract() -> None:
    for schema in (CANDIDATES, LINES, TAXES):
        for field in schema:
            if field.name.endswith("_amount") and schema is not LINES:
                assert field.type == AMOUNT, field
            elif field.name.endswith(("_amount", "_rate", "quantity")):
                assert field.type == FINE, field
            elif field.name.endswith("_on"):
                assert field.type == pa.date32(), field
            elif field.name.endswith("_at"):
                assert field.type == pa.timestamp("us", "UTC"), field
