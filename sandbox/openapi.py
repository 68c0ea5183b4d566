"""What the OpenAPI documents of the rooms are made of, and the route that serves one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response

from sandbox.visits import Json, visit_of

Schema = dict[str, Any]
JSON = "application/json"
DOCUMENTS = ("application/pdf", "image/jpeg", "image/png")


def serve(app: FastAPI, room: str, document: Callable[[str], Schema]) -> None:
    """Add the route ``/openapi.json``, which needs no key; ``document`` makes it for the room's address."""

    @app.get("/openapi.json")
    async def contract(request: Request) -> Response:
        visit_of(request).route = "/openapi.json"
        host, port = request.scope["server"]
        return Json(document(f"http://{host}:{port}/{room}"))


def document(title: str, server: str, paths: Schema, schemas: Schema) -> Schema:
    """Return an OpenAPI 3.1 document in which every call needs a bearer key unless it says otherwise."""
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1"},
        "servers": [{"url": server}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}, "schemas": schemas},
    }


def operation(
    name: str,
    says: str,
    answers: Mapping[int, Schema],
    *,
    asks: Schema | None = None,
    parameters: Sequence[Schema] = (),
) -> Schema:
    """Return one operation; ``answers`` are responses by status, ``asks`` is its request body."""
    described: Schema = {"operationId": name, "summary": says}
    if parameters:
        described["parameters"] = list(parameters)
    if asks:
        described["requestBody"] = asks
    return {**described, "responses": {str(status): answer for status, answer in answers.items()}}


def response(says: str, schema: Schema | None = None, headers: Schema | None = None, kind: str = JSON) -> Schema:
    """Return a response, with a body of that media type where there is a schema."""
    answer: Schema = {"description": says}
    if headers:
        answer["headers"] = headers
    return {**answer, "content": {kind: {"schema": schema}}} if schema else answer


def body(schema: Schema, kind: str = JSON) -> Schema:
    """Return a request body that must be there."""
    return {"required": True, "content": {kind: {"schema": schema}}}


def form(schema: Schema, *kinds: str) -> Schema:
    """Return a multipart body whose part ``file`` is of one of these media types."""
    return {
        "required": True,
        "content": {"multipart/form-data": {"schema": schema, "encoding": {"file": {"contentType": ", ".join(kinds)}}}},
    }


def parameter(name: str, place: str, schema: Schema, *, required: bool = False) -> Schema:
    """Return a parameter in ``path``, ``query`` or ``header``."""
    return {"name": name, "in": place, "required": required or place == "path", "schema": schema}


def entity(properties: Schema, required: Sequence[str] | None = None, *, is_open: bool = False) -> Schema:
    """Return an object's schema: all properties required unless named otherwise, none beside them unless open."""
    names = list(properties) if required is None else list(required)
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": is_open}


def listed(items: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


def words(*values: str) -> Schema:
    """Return the schema of one of several words."""
    return {"type": "string", "enum": list(values)}


def maybe(*kinds: str) -> Schema:
    """Return the schema of one of these types, or null."""
    return {"type": [*kinds, "null"]}


def ref(name: str) -> Schema:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
SWITCH: Schema = {"type": "boolean"}
INSTANT: Schema = {"type": "string", "format": "date-time"}
UUID: Schema = {"type": "string", "format": "uuid"}


def whole(least: int, most: int | None = None) -> Schema:
    """Return the schema of a whole number within bounds."""
    return {"type": "integer", "minimum": least, **({} if most is None else {"maximum": most})}
