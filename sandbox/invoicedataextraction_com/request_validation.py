"""Validates bodies and queries against the schemas of the OpenAPI document, so that the two cannot differ."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from sandbox.invoicedataextraction_com.errors import ApiError, build_invalid_input_error
from sandbox.invoicedataextraction_com.schemas import SCHEMAS

JsonPath = tuple[str | int, ...]
ValidationIssue = tuple[str, JsonPath]
MAX_ISSUES = 20


def parse_valid_body(content: bytes, schema_name: str, *, strict: bool) -> dict[str, Any]:
    """Return the JSON object of a body that fits the named schema; raises ApiError with at most 20 issues.

    ``strict`` refuses unknown properties.
    """
    body = _parse_json(content)
    issues = []
    for issue in _iter_issues(body, SCHEMAS[schema_name], (), strict=strict):
        issues.append(issue)
        if len(issues) == MAX_ISSUES:
            break
    if issues:
        details = {"issues": [{"message": message, "path": list(path)} for message, path in issues]}
        raise ApiError("INVALID_INPUT", issues[0][0], details)
    assert isinstance(body, dict)  # noqa: S101 - each named schema is an object's
    return body


def parse_query_integer(query: Mapping[str, str], name: str, minimum: int, maximum: int, default: int) -> int:
    """Return a whole number of a query; raises ApiError if it is not a number or out of bounds."""
    text = query.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,12}", text) or not minimum <= int(text) <= maximum:
        raise build_invalid_input_error(f"{name} is a whole number from {minimum} to {maximum}", name)
    return int(text)


def parse_query_choice(query: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str | None:
    """Return a choice of a query or None; raises ApiError if it is not one of ``choices``."""
    text = query.get(name)
    if text is not None and text not in choices:
        raise build_invalid_input_error(f"{name} is one of {', '.join(choices)}", name)
    return text


def _parse_json(content: bytes) -> Any:
    try:
        text = content.decode("utf-8")
        body = json.loads(text, parse_float=_parse_json_number, parse_constant=_reject_constant)
        if "\\ud" in text.lower():
            json.dumps(body, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise build_invalid_input_error("The body is not JSON.") from None
    return body


def _parse_json_number(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() else number


def _reject_constant(text: str) -> Any:
    raise ValueError(text)


def _iter_issues(value: Any, schema: Mapping[str, Any], path: JsonPath, *, strict: bool) -> Iterator[ValidationIssue]:
    schema = _resolve_schema_reference(schema)
    if "oneOf" in schema:
        matching_schemas = [
            candidate
            for candidate in schema["oneOf"]
            if _has_schema_type(value, _resolve_schema_reference(candidate).get("type"))
        ]
        if not matching_schemas:
            yield ("has a type that is not allowed here", path)
            return
        schema = _resolve_schema_reference(matching_schemas[0])
    if not _has_schema_type(value, schema.get("type")):
        yield (f"must be {schema['type']}", path)
    elif isinstance(value, dict):
        yield from _iter_object_issues(value, schema, path, strict=strict)
    elif isinstance(value, list):
        yield from _iter_list_issues(value, schema, path, strict=strict)
    else:
        yield from _iter_scalar_issues(value, schema, path)


def _resolve_schema_reference(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return SCHEMAS[schema["$ref"].rsplit("/", 1)[-1]] if "$ref" in schema else schema


def _has_schema_type(value: Any, type_name: Any) -> bool:
    python_types = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}
    if type_name == "integer" and isinstance(value, bool):
        return False
    return type_name is None or isinstance(value, python_types[type_name])


def _iter_object_issues(
    value: dict[str, Any], schema: Mapping[str, Any], path: JsonPath, *, strict: bool
) -> Iterator[ValidationIssue]:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield ("is required", (*path, name))
    for name, item in value.items():
        if name in properties:
            yield from _iter_issues(item, properties[name], (*path, name), strict=strict)
        elif strict and schema.get("additionalProperties") is False:
            yield ("is an unknown property", (*path, name[:100]))


def _iter_list_issues(
    value: list[Any], schema: Mapping[str, Any], path: JsonPath, *, strict: bool
) -> Iterator[ValidationIssue]:
    min_items, max_items = schema.get("minItems", 0), schema.get("maxItems", len(value))
    if not min_items <= len(value) <= max_items:
        yield (f"must have {min_items} to {max_items} items", path)
        return
    for index, item in enumerate(value):
        yield from _iter_issues(item, schema["items"], (*path, index), strict=strict)


def _iter_scalar_issues(value: Any, schema: Mapping[str, Any], path: JsonPath) -> Iterator[ValidationIssue]:
    if "const" in schema and value != schema["const"]:
        yield (f"must be {schema['const']!r}", path)
    if "enum" in schema and value not in schema["enum"]:
        yield (f"must be one of {', '.join(schema['enum'])}", path)
    if isinstance(value, str):
        min_length, max_length = schema.get("minLength", 0), schema.get("maxLength", len(value))
        if not min_length <= len(value) <= max_length:
            yield (f"must have {min_length} to {max_length} characters", path)
        elif "pattern" in schema and not re.fullmatch(schema["pattern"], value):
            yield (f"must match {schema['pattern']}", path)
    elif isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield (f"must be {schema.get('minimum')} to {schema.get('maximum', 'any')}", path)
