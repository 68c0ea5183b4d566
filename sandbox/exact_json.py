"""JSON whose numbers stay as they are written: Decimal in, Decimal out, no binary float between."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

MAX_DIGITS = 200
MAX_BRACKETS_WITHOUT_DEPTH_CHECK = 200
"""So many brackets cannot be too deep."""
MAX_EXPONENT = 330
"""Any number that a double can be is within bounds."""


class JsonError(ValueError):
    """The text is not JSON as RFC 8259 has it, too deep, or holds half a character or a number without bounds."""


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
            render_json(value).encode("utf-8")  # half a character and what is too deep could not be told again
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
        raise ValueError("a number without bounds")
    return number


def _parse_bounded_integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError("a number without bounds")
    return int(text)


def _reject_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")
