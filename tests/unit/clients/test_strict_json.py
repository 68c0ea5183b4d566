"""Strict JSON: exact numbers, and nothing that two parsers would read differently."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.clients.strict_json import InvalidJsonError, parse_json, render_json

NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15, places=6)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_written_is_read_back_the_same(value: Any) -> None:
    assert parse_json(render_json(value)) == value


@given(NUMBERS)
def test_a_decimal_keeps_every_digit_on_the_wire(number: Decimal) -> None:
    written = render_json(number).decode()
    assert "e" not in written.lower()
    assert Decimal(written) == number
    assert len(written.rpartition(".")[2]) == 6


@pytest.mark.parametrize(
    ("number", "text"),
    [("0.30", "0.30"), ("1E+2", "100"), ("1E-7", "0.0000001"), ("-0.00", "0.00"), ("115", "115"), ("-2.50", "-2.50")],
)
def test_a_decimal_is_written_as_a_plain_number(number: str, text: str) -> None:
    assert render_json(Decimal(number)).decode() == text


@pytest.mark.parametrize("value", [0.1, {"a": [1.0]}, b"x", {1, 2}, {1: "x"}, Decimal("NaN"), Decimal("Infinity")])
def test_what_has_no_exact_form_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        render_json(value)


def test_a_lone_surrogate_is_written_as_an_escape() -> None:
    assert render_json({"a": "x\udcff"}) == b'{"a":"x\\udcff"}'


def test_sixty_four_levels_are_read_and_sixty_five_are_not() -> None:
    assert parse_json(b"[" * 64 + b"]" * 64)
    with pytest.raises(InvalidJsonError, match="deeper"):
        parse_json(b'{"a":' * 64 + b"[]" + b"}" * 64)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"{'a': 1}", b"NaN", b"[Infinity]", b'{"a":1,"a":1}', b'{"b":{"a":1,"a":2}}', b"\xff", b"\xef\xbb\xbf1",
     b"1e999", b"1e99999999999999999999", b"1" * 65, b"0." + b"1" * 64, b"{} {}", b"1e-400"],
)  # fmt: skip
def test_what_is_not_strict_is_refused_without_being_quoted(text: bytes) -> None:
    with pytest.raises(InvalidJsonError) as caught:
        parse_json(text)
    assert len(str(caught.value)) < 100
