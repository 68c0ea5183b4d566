"""A vendor's text is parsed if it has exactly one reading; with none or two, the value is empty."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from transforms.sql_runner import open_in_memory_database

few_examples = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
texts = st.lists(st.text("0123456789., '-+()€", max_size=9), min_size=20, max_size=60)
LARGEST = Decimal("99999999999999.9999")


@pytest.fixture(scope="module")
def memory_database() -> Iterator[duckdb.DuckDBPyConnection]:
    with open_in_memory_database() as connection:
        yield connection


def _parse_amounts_with_sql(connection: duckdb.DuckDBPyConnection, texts: list[str]) -> list[Decimal | None]:
    query = "SELECT parse_amount(normalise_amount(stated_text)) FROM (SELECT unnest($1::VARCHAR[]) AS stated_text)"
    return [amount for (amount,) in connection.execute(query, [texts]).fetchall()]


def _list_possible_amounts(stated_text: str) -> set[Decimal]:
    """Return every amount that a text can mean, with each sign as the decimal or the thousands separator.

    A run of blanks is one blank, as in the text of a PDF whose letters are spaced.
    """
    text = re.sub(" +", " ", stated_text.strip())
    money = re.fullmatch(r"€? *([-+(]?) *€? *(.*?) *€? *([-)]?) *€?", text)
    if money is None or (money[1] + money[3]) not in ("", "+", "-", "()"):
        return set()
    if max(text[: money.start(2)].count("€"), text[money.end(2) :].count("€")) > 1:
        return set()
    possible_amounts = set()
    for decimal_sign, thousands_signs in ((".", ",' "), (",", ".' ")):
        for thousands_sign in thousands_signs:
            pattern = rf"(?:\d*|[1-9]\d{{0,2}}(?:\{thousands_sign}\d{{3}})+)(?:\{decimal_sign}\d+)?"
            if re.fullmatch(pattern, money[2]) and re.search(r"\d", money[2]):
                possible_amounts.add(Decimal(money[2].replace(thousands_sign, "").replace(decimal_sign, ".")))
    if re.fullmatch(r"\d+\.", money[2]):
        possible_amounts.add(Decimal(money[2][:-1]))
    return {-amount for amount in possible_amounts} if money[1] in ("-", "(") or money[3] == "-" else possible_amounts


@few_examples
@given(texts)
@example(stated_texts=["1  000", "1 000", "10 00"])
def test_a_text_is_an_amount_if_it_has_exactly_one_reading(
    memory_database: duckdb.DuckDBPyConnection, stated_texts: list[str]
) -> None:
    for text, amount in zip(stated_texts, _parse_amounts_with_sql(memory_database, stated_texts), strict=True):
        readings = {reading for reading in _list_possible_amounts(text) if reading == round(reading, 4)}
        assert amount == (readings.pop() if len(_list_possible_amounts(text)) == 1 and readings else None), text


@few_examples
@given(
    st.lists(st.decimals(min_value=-LARGEST, max_value=LARGEST, places=2), min_size=1, max_size=20),
    st.sampled_from([(",", "."), (".", ","), (" ", ","), ("'", "."), ("’", "."), ("\u202f", ","), ("\xa0", ".")]),
    st.sampled_from(["{}", "€ {}", "{} EUR", "US${}", "CHF{}", "kr. {}", "{} zł"]),
    st.sampled_from(["-{}", "{}-", "({})", "−{}", "- {}"]),
)
def test_an_amount_of_two_decimals_is_read_in_every_spelling(
    memory_database: duckdb.DuckDBPyConnection, amounts: list[Decimal], signs: tuple[str, str], money: str, minus: str
) -> None:
    thousands, point = signs
    stated_texts = []
    for amount in amounts:
        plain = f"{abs(amount):,.2f}".replace(",", "#").replace(".", point).replace("#", thousands)
        stated_texts.append(minus.format(money.format(plain)) if amount < 0 else money.format(plain))
    assert _parse_amounts_with_sql(memory_database, stated_texts) == amounts


@few_examples
@given(st.lists(st.text(max_size=40), min_size=1, max_size=20))
def test_no_text_makes_a_macro_fail(memory_database: duckdb.DuckDBPyConnection, stated_texts: list[str]) -> None:
    stated_texts = [text.encode("utf-8", "replace").decode() for text in stated_texts]
    macros = ("parse_amount(normalise_amount(t))", "parse_quantity(normalise_quantity(t))",
              "parse_quantity(normalise_rate(t))", "parse_date(normalise_date(t))", "mentions_money(t)",
              "negate_decimal(t)")  # fmt: skip
    query = f"SELECT {', '.join(macros)} FROM (SELECT unnest($1::VARCHAR[]) AS t)"
    assert len(memory_database.execute(query, [stated_texts]).fetchall()) == len(stated_texts)


@pytest.mark.parametrize(
    ("stated_text", "day"),
    [
        ("2026-03-05", "2026-03-05"), ("2026-03-05T23:59:59.123Z", "2026-03-05"), ("2026-03-05 00:00", "2026-03-05"),
        ("25.3.2026", "2026-03-25"), ("03-25-2026", "2026-03-25"), ("05/05/2026", "2026-05-05"),
        ("29/02/2024", "2024-02-29"), ("29/02/2026", None), ("05/03/2026", None), ("25.03/2026", None),
        ("25.03.26", None), ("00/13/2026", None), ("32/13/2026", None), ("20260305", None), ("2026-3-5", None),
        ("25/12/0000", None), ("2026-02-30T00:00:00", None), ("2026-03-05T", None),
    ],
)  # fmt: skip
def test_a_date_is_the_one_day_that_its_text_can_mean(
    memory_database: duckdb.DuckDBPyConnection, stated_text: str, day: str | None
) -> None:
    assert memory_database.execute("SELECT parse_date(normalise_date($1))::VARCHAR", [stated_text]).fetchone() == (day,)
