"""JSON as it travels: read strictly with exact numbers, written with ``Decimal`` as the number it is.

The standard parser keeps the last of two equal keys, turns ``NaN`` into a float and rounds to 17 digits; which parser
``requests`` uses depends on what is installed. Money cannot depend on either.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

MAX_NESTING_DEPTH = 64
MAX_NUMBER_CHARS = 64  # characters
MAX_EXPONENT = 40  # no amount, quantity or id comes near


class InvalidJsonError(ValueError):
    """The text is not JSON that we accept; the message says why and quotes nothing of it."""


def parse_json(content: bytes) -> Any:
    """Return the value in ``content`` (UTF-8), with fractions as ``Decimal`` and whole numbers as ``int``.

    Raises NotStrictJson on another encoding or a byte order mark, NaN and Infinity, a key that stands twice in one
    object, numbers beyond any business use, and nesting deeper than 64.
    """
    try:
        value = json.loads(
            content.decode("utf-8"),
            parse_float=_parse_decimal,
            parse_int=_parse_integer,
            parse_constant=_refuse_non_finite_number,
            object_pairs_hook=_build_object_with_unique_keys,
        )
    except UnicodeDecodeError:
        raise InvalidJsonError("not UTF-8 text") from None
    except RecursionError:
        raise InvalidJsonError(f"nested deeper than {MAX_NESTING_DEPTH}") from None
    except json.JSONDecodeError as error:
        raise InvalidJsonError(f"not JSON: {error.msg} at character {error.pos}") from None
    _check_nesting_depth(value)
    return value


def render_json(value: Any) -> bytes:
    """Return ``value`` as compact UTF-8 JSON: ``Decimal("0.30")`` as ``0.30``; a float is refused with a TypeError."""
    return _render_value(value).encode("utf-8", "backslashreplace")


def _render_value(value: Any) -> str:
    if value is None or isinstance(value, (bool, int)):
        return json.dumps(value)
    if isinstance(value, str):
        return _render_string(value)
    if isinstance(value, Decimal):
        return _render_decimal(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_render_string(key)}:{_render_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return "[" + ",".join(map(_render_value, value)) + "]"
    raise TypeError(f"{type(value).__name__} has no exact JSON form")


def _render_string(text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"a JSON key is text, not {type(text).__name__}")
    return json.dumps(text, ensure_ascii=any("\ud800" <= character <= "\udfff" for character in text))


def _render_decimal(number: Decimal) -> str:
    if not number.is_finite():
        raise TypeError("a JSON number is finite")
    return format(abs(number) if number.is_zero() else number, "f")


def _parse_decimal(text: str) -> Decimal:
    if len(text) > MAX_NUMBER_CHARS:
        raise InvalidJsonError(f"a number of {len(text)} characters")
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise InvalidJsonError("a number beyond any range") from None
    if abs(number.adjusted()) > MAX_EXPONENT:
        raise InvalidJsonError(f"a number with the exponent {number.adjusted()}")
    return number


def _parse_integer(text: str) -> int:
    if len(text) > MAX_NUMBER_CHARS:
        raise InvalidJsonError(f"a number of {len(text)} characters")
    return int(text)


def _refuse_non_finite_number(name: str) -> None:
    raise InvalidJsonError(f"{name} is not a JSON number")


def _build_object_with_unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    json_object = dict(pairs)
    if len(json_object) < len(pairs):
        raise InvalidJsonError("a key stands twice in one object")
    return json_object


def _check_nesting_depth(value: Any) -> None:
    level, depth = [value], 0
    while containers := [item for item in level if isinstance(item, (dict, list))]:
        depth += 1
        if depth > MAX_NESTING_DEPTH:
            raise InvalidJsonError(f"nested deeper than {MAX_NESTING_DEPTH}")
        level = [child for item in containers for child in (item.values() if isinstance(item, dict) else item)]
