"""The SQL macros for amounts in messages, and the SQL list of currencies, agree with ``invoices.model.currencies``."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from invoices.model.currencies import MINOR_DIGITS, format_money
from transforms.sql_runner import open_in_memory_database, read_sql_models

amounts = st.decimals(min_value=-(10**20), max_value=10**20, places=6)


@pytest.fixture(scope="module")
def memory_database() -> Iterator[duckdb.DuckDBPyConnection]:
    with open_in_memory_database() as connection:
        yield connection


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(amounts, min_size=20, max_size=40), st.sampled_from(["EUR", "JPY", "KWD", "CLF", "EURO"]))
def test_sql_prints_amounts_like_python(
    memory_database: duckdb.DuckDBPyConnection, values: list[Decimal], currency: str
) -> None:
    query = "SELECT format_money(amount::DECIMAL(38, 6), $2) FROM (SELECT unnest($1::VARCHAR[]) AS amount)"
    rows = memory_database.execute(query, [[format(value, "f") for value in values], currency]).fetchall()
    assert [text for (text,) in rows] == [format_money(value + 0, currency) for value in values]


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("format_money(NULL::DECIMAL(18, 4), 'EUR')", None), ("format_money(1234.5, NULL)", "1,234.50"),
        ("format_money(5.00::DECIMAL(18, 4), 'JPY')", "5 JPY"), ("format_money(-1000000, 'EUR')", "-1,000,000.00 EUR"),
        ("format_rate(19.000000::DECIMAL(18, 6))", "19"), ("format_rate(7.700000::DECIMAL(18, 6))", "7.7"),
        ("format_rate(100::DECIMAL(18, 6))", "100"), ("format_rate(0::DECIMAL(18, 6))", "0"),
        ("format_rate(NULL::DECIMAL(18, 6))", None),
    ],
)  # fmt: skip
def test_amounts_and_rates_are_printed_plainly(
    memory_database: duckdb.DuckDBPyConnection, expression: str, text: str | None
) -> None:
    assert memory_database.execute(f"SELECT {expression}").fetchone() == (text,)


def test_every_current_currency_of_iso_4217_is_in_the_sql_list(memory_database: duckdb.DuckDBPyConnection) -> None:
    query = f"SELECT currency FROM ({read_sql_models('core')['currencies']}) WHERE withdrawn_on IS NULL"
    current_codes = {code for (code,) in memory_database.execute(query).fetchall()}
    assert set(MINOR_DIGITS) <= current_codes
