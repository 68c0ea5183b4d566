"""JSON with exact numbers: read as Decimal and written as Decimal, never as a binary float."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

MAX_DIGITS = 200
MAX_BRACKETS_WITHOUT_DEPTH_CHECK = 200
"""A text with fewer brackets cannot be nested too deeply."""
MAX_EXPONENT = 330
"""Every number that a double can hold is within this bound."""


class JsonError(ValueError):
    """The text is not JSON (RFC 8259), is nested too deeply, or holds a lone surrogate or an unbounded number."""


def parse_json(text: bytes) -> Any:
    """Return the value of a JSON text, numbers with a point as Decimal. Raises JsonError."""
    try:
        value = json.loads(
            text.decode("utf-8"),
            parse_float=_parse_bounded_decimal,
            parse_int=_parse_bounded_integer,
            parse_constant=_reject_constant,
        )
        if b"\\u" in text or text.count(b"[") + text.count(b"{") > MAX_BRACKETS_WITHOUT_DEPTH_CHECK:
            render_json(value).encode("utf-8")  # fails for lone surrogates and for nesting that is too deep
        return value
    except (ValueError, RecursionError) as error:
        raise JsonError(f"not JSON: {str(error)[:200]}") from None


def render_json(value: Any) -> str:
    """Return the JSON text of a value that may hold Decimals."""
    if isinstance(value, Decimal):
        return format(value, "f") if -20 < value.adjusted() < 40 else str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(str(key))}:{render_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(render_json(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _parse_bounded_decimal(text: str) -> Decimal:
    number = Decimal(text)
    has_too_many_digits = len(number.as_tuple().digits) > MAX_DIGITS or len(text) > 2 * MAX_DIGITS
    if has_too_many_digits or abs(number.adjusted()) > MAX_EXPONENT:
        raise ValueError("the number is out of bounds")
    return number


def _parse_bounded_integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError("the number is out of bounds")
    return int(text)


def _reject_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")
