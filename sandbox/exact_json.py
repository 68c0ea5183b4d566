"""JSON whose numbers stay as they are written: Decimal in, Decimal out, no binary float between."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

MAX_DIGITS = 200


class JsonError(ValueError):
    """The text is not JSON as RFC 8259 has it, or too deep, or holds a number without bounds."""


def loads(text: bytes) -> Any:
    """Return the value of a JSON text, numbers with a point as Decimal. Raises JsonError."""
    try:
        return json.loads(text.decode("utf-8"), parse_float=_decimal, parse_int=_integer, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise JsonError(f"not JSON: {str(error)[:200]}") from None


def dumps(value: Any) -> str:
    """Return the JSON text of a value that may hold Decimals."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(str(key))}:{dumps(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(dumps(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _decimal(text: str) -> Decimal:
    number = Decimal(text)
    if len(text) > MAX_DIGITS or abs(number.adjusted()) > MAX_DIGITS:
        raise ValueError("a number without bounds")
    return number


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError("a number without bounds")
    return int(text)


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")
