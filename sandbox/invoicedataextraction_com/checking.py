"""Bodies and queries held against the schemas of the room's own OpenAPI document, so that the two cannot differ."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from sandbox.invoicedataextraction_com.refusals import Refused, invalid
from sandbox.invoicedataextraction_com.schemas import SCHEMAS

Path = tuple[str | int, ...]
Issue = tuple[str, Path]
MAX_ISSUES = 20


def body_of(content: bytes, schema: str, *, strict: bool) -> dict[str, Any]:
    """Return the JSON object of a body that keeps to a named schema; raises Refused with what does not."""
    body = _parsed(content)
    issues = []
    for issue in _issues(body, SCHEMAS[schema], (), strict=strict):
        issues.append(issue)
        if len(issues) == MAX_ISSUES:
            break
    if issues:
        details = {"issues": [{"message": message, "path": list(path)} for message, path in issues]}
        raise Refused("INVALID_INPUT", issues[0][0], details)
    assert isinstance(body, dict)  # noqa: S101 - each named schema is an object's
    return body


def whole_number(query: Mapping[str, str], name: str, least: int, most: int, default: int) -> int:
    """Return a whole number of a query; raises Refused where it is none or out of bounds."""
    text = query.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,12}", text) or not least <= int(text) <= most:
        raise invalid(f"{name} is a whole number from {least} to {most}", name)
    return int(text)


def word(query: Mapping[str, str], name: str, words: tuple[str, ...]) -> str | None:
    """Return a word of a query or None; raises Refused where it is none of these."""
    text = query.get(name)
    if text is not None and text not in words:
        raise invalid(f"{name} is one of {', '.join(words)}", name)
    return text


def _parsed(content: bytes) -> Any:
    try:
        text = content.decode("utf-8")
        body = json.loads(text, parse_float=_number, parse_constant=_refuse)
        if "\\ud" in text.lower():
            json.dumps(body, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise invalid("The body is not JSON.") from None
    return body


def _number(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() else number


def _refuse(text: str) -> Any:
    raise ValueError(text)


def _issues(value: Any, schema: Mapping[str, Any], path: Path, *, strict: bool) -> Iterator[Issue]:
    if "$ref" in schema:
        schema = SCHEMAS[schema["$ref"].rsplit("/", 1)[-1]]
    if "oneOf" in schema:
        chosen = [one for one in schema["oneOf"] if _is(value, _resolved(one).get("type"))]
        if not chosen:
            yield ("is of no type that is taken here", path)
            return
        schema = _resolved(chosen[0])
    if not _is(value, schema.get("type")):
        yield (f"must be {schema['type']}", path)
    elif isinstance(value, dict):
        yield from _issues_of_object(value, schema, path, strict=strict)
    elif isinstance(value, list):
        yield from _issues_of_list(value, schema, path, strict=strict)
    else:
        yield from _issues_of_scalar(value, schema, path)


def _resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return SCHEMAS[schema["$ref"].rsplit("/", 1)[-1]] if "$ref" in schema else schema


def _is(value: Any, wanted: Any) -> bool:
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}
    if wanted == "integer" and isinstance(value, bool):
        return False
    return wanted is None or isinstance(value, kinds[wanted])


def _issues_of_object(value: dict[str, Any], schema: Mapping[str, Any], path: Path, *, strict: bool) -> Iterator[Issue]:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield ("is required", (*path, name))
    for name, item in value.items():
        if name in properties:
            yield from _issues(item, properties[name], (*path, name), strict=strict)
        elif strict and schema.get("additionalProperties") is False:
            yield ("is no property known here", (*path, name[:100]))


def _issues_of_list(value: list[Any], schema: Mapping[str, Any], path: Path, *, strict: bool) -> Iterator[Issue]:
    least, most = schema.get("minItems", 0), schema.get("maxItems", len(value))
    if not least <= len(value) <= most:
        yield (f"must have {least} to {most} items", path)
        return
    for position, item in enumerate(value):
        yield from _issues(item, schema["items"], (*path, position), strict=strict)


def _issues_of_scalar(value: Any, schema: Mapping[str, Any], path: Path) -> Iterator[Issue]:
    if "const" in schema and value != schema["const"]:
        yield (f"must be {schema['const']!r}", path)
    if "enum" in schema and value not in schema["enum"]:
        yield (f"must be one of {', '.join(schema['enum'])}", path)
    if isinstance(value, str):
        least, most = schema.get("minLength", 0), schema.get("maxLength", len(value))
        if not least <= len(value) <= most:
            yield (f"must have {least} to {most} characters", path)
        elif "pattern" in schema and not re.fullmatch(schema["pattern"], value):
            yield (f"must match {schema['pattern']}", path)
    elif isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield (f"must be {schema.get('minimum')} to {schema.get('maximum', 'any')}", path)
