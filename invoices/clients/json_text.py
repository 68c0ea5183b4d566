"""JSON as it travels: read strictly with exact numbers, written with ``Decimal`` as the number it is.

The standard parser keeps the last of two equal keys, turns ``NaN`` into a float and rounds to 17 digits; which parser
``requests`` uses depends on what is installed. Money cannot depend on either.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

DEEPEST = 64
LONGEST_NUMBER = 64  # characters
LARGEST_EXPONENT = 40  # no amount, quantity or id comes near


class NotStrictJson(ValueError):
    """The text is not JSON that we accept; the message says why and quotes nothing of it."""


def parse(content: bytes) -> Any:
    """Return the value in ``content`` (UTF-8), with fractions as ``Decimal`` and whole numbers as ``int``.

    Raises NotStrictJson on another encoding or a byte order mark, NaN and Infinity, a key that stands twice in one
    object, numbers beyond any business use, and nesting deeper than 64.
    """
    try:
        value = json.loads(
            content.decode("utf-8"),
            parse_float=_fraction,
            parse_int=_whole,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object,
        )
    except UnicodeDecodeError:
        raise NotStrictJson("not UTF-8 text") from None
    except RecursionError:
        raise NotStrictJson(f"nested deeper than {DEEPEST}") from None
    except json.JSONDecodeError as error:
        raise NotStrictJson(f"not JSON: {error.msg} at character {error.pos}") from None
    _check_depth(value)
    return value


def render(value: Any) -> bytes:
    """Return ``value`` as compact UTF-8 JSON: ``Decimal("0.30")`` as ``0.30``; a float is refused with a TypeError."""
    return _text(value).encode("utf-8", "backslashreplace")


def _text(value: Any) -> str:
    if value is None or isinstance(value, (bool, int)):
        return json.dumps(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_string(key)}:{_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return "[" + ",".join(map(_text, value)) + "]"
    raise TypeError(f"{type(value).__name__} has no exact JSON form")


def _string(text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"a JSON key is text, not {type(text).__name__}")
    return json.dumps(text, ensure_ascii=any("\ud800" <= character <= "\udfff" for character in text))


def _number(number: Decimal) -> str:
    if not number.is_finite():
        raise TypeError("a JSON number is finite")
    return format(abs(number) if number.is_zero() else number, "f")


def _fraction(text: str) -> Decimal:
    if len(text) > LONGEST_NUMBER:
        raise NotStrictJson(f"a number of {len(text)} characters")
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise NotStrictJson("a number beyond any range") from None
    if abs(number.adjusted()) > LARGEST_EXPONENT:
        raise NotStrictJson(f"a number with the exponent {number.adjusted()}")
    return number


def _whole(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise NotStrictJson(f"a number of {len(text)} characters")
    return int(text)


def _refuse_constant(name: str) -> None:
    raise NotStrictJson(f"{name} is not a JSON number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise NotStrictJson("a key stands twice in one object")
    return found


def _check_depth(value: Any) -> None:
    level, depth = [value], 0
    while containers := [item for item in level if isinstance(item, (dict, list))]:
        depth += 1
        if depth > DEEPEST:
            raise NotStrictJson(f"nested deeper than {DEEPEST}")
        level = [inner for item in containers for inner in (item.values() if isinstance(item, dict) else item)]
