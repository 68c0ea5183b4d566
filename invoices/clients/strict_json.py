"""Strict JSON: parsed with exact numbers, and rendered with ``Decimal`` as a plain number; answers keep odd values.

The standard parser keeps the last of two equal keys, turns ``NaN`` into a float and rounds to 17 digits. Which parser
``requests`` uses depends on what is installed. Money must not depend on either.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

MAX_NESTING_DEPTH = 64
MAX_NUMBER_CHARS = 64
MAX_EXPONENT = 40  # far beyond any amount, quantity or id


class InvalidJsonError(ValueError):
    """The text is not JSON that we accept; the message gives the reason and quotes nothing of the text."""


def parse_json(content: bytes) -> Any:
    """Return the value in ``content`` (UTF-8), with fractions as ``Decimal`` and whole numbers as ``int``.

    Raises InvalidJsonError for another encoding or a byte order mark, for NaN and Infinity, for a duplicate key in an
    object, for numbers beyond any business use, and for nesting deeper than 64 levels.
    """
    return _load_json(content, "utf-8", _parse_number, _parse_number, _build_object_with_unique_keys)


def parse_json_keeping_odd_values(content: bytes) -> Any:
    """Return the value in ``content`` as ``parse_json`` does, but refuse no value of it.

    A paid answer is kept whatever it states. NaN, Infinity and a number beyond any business use become their text, and
    the different values of a key that an object has several times become a list; neither is an amount for staging. Any
    encoding of JSON is read.

    Raises InvalidJsonError for what is not JSON, and for nesting deeper than 64 levels.
    """
    return _load_json(
        content,
        json.detect_encoding(content),
        _parse_number_or_keep_text,
        str,
        _build_object_with_lists_of_repeated_keys,
    )


def _load_json(
    content: bytes,
    encoding: str,
    parse_number: Callable[[str], Any],
    parse_constant: Callable[[str], Any],
    build_object: Callable[[list[tuple[str, Any]]], Any],
) -> Any:
    """Return the value in ``content``; raises InvalidJsonError, which never quotes it."""
    try:
        value = json.loads(
            content.decode(encoding),
            parse_float=parse_number,
            parse_int=parse_number,
            parse_constant=parse_constant,
            object_pairs_hook=build_object,
        )
    except UnicodeDecodeError:
        raise InvalidJsonError(f"it is not {encoding.upper()} text") from None
    except RecursionError:
        raise InvalidJsonError(f"it is nested deeper than {MAX_NESTING_DEPTH} levels") from None
    except json.JSONDecodeError as error:
        raise InvalidJsonError(f"{error.msg} at character {error.pos}") from None
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
        if not value.is_finite():
            raise TypeError("a JSON number is finite")
        return format(abs(value) if value.is_zero() else value, "f")
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_render_string(key)}:{_render_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return "[" + ",".join(map(_render_value, value)) + "]"
    raise TypeError(f"{type(value).__name__} has no exact JSON form")


def _render_string(text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"a JSON key is text, not {type(text).__name__}")
    return json.dumps(text, ensure_ascii=any("\ud800" <= character <= "\udfff" for character in text))


def _parse_number(text: str) -> Decimal | int:
    """Return the exact number; raises InvalidJsonError if it is too long or too large, and for NaN and Infinity."""
    if len(text) > MAX_NUMBER_CHARS:
        raise InvalidJsonError(f"a number has {len(text)} characters")
    if text.removeprefix("-").isdigit():
        return int(text)
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise InvalidJsonError("a number has an exponent out of range") from None
    if not number.is_finite():
        raise InvalidJsonError(f"{text} is not a number")
    if abs(number.adjusted()) > MAX_EXPONENT:
        raise InvalidJsonError(f"a number has the exponent {number.adjusted()}")
    return number


def _parse_number_or_keep_text(text: str) -> Decimal | int | str:
    try:
        return _parse_number(text)
    except InvalidJsonError:
        return text


def _build_object_with_lists_of_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    json_object = dict(pairs)
    if len(json_object) < len(pairs):
        values_by_key: dict[str, list[Any]] = {key: [] for key in json_object}
        for key, value in pairs:
            values_by_key[key].append(value)
        return {key: values[0] if _are_identical(values) else values for key, values in values_by_key.items()}
    return json_object


def _are_identical(values: list[Any]) -> bool:
    return all(value == values[0] and type(value) is type(values[0]) for value in values)


def _build_object_with_unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    json_object = dict(pairs)
    if len(json_object) < len(pairs):
        raise InvalidJsonError("an object has a duplicate key")
    return json_object


def _check_nesting_depth(value: Any) -> None:
    level, depth = [value], 0
    while containers := [item for item in level if isinstance(item, (dict, list))]:
        depth += 1
        if depth > MAX_NESTING_DEPTH:
            raise InvalidJsonError(f"it is nested deeper than {MAX_NESTING_DEPTH} levels")
        level = [child for item in containers for child in (item.values() if isinstance(item, dict) else item)]
