"""Builders for the vendors' OpenAPI documents, and the route that serves one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response

from sandbox.request_context import ExactJsonResponse, get_request_context

Schema = dict[str, Any]
JSON_MEDIA_TYPE = "application/json"
DOCUMENT_MEDIA_TYPES = ("application/pdf", "image/jpeg", "image/png")


def add_openapi_route(app: FastAPI, mount_name: str, build_document: Callable[[str], Schema]) -> None:
    """Add the route ``/openapi.json``, which needs no key; ``build_document`` gets the URL of the vendor's API."""

    @app.get("/openapi.json")
    async def get_openapi_document(request: Request) -> Response:
        get_request_context(request).route = "/openapi.json"
        host, port = request.scope["server"]
        return ExactJsonResponse(build_document(f"http://{host}:{port}/{mount_name}"))


def build_openapi_document(title: str, server_url: str, paths: Schema, schemas: Schema) -> Schema:
    """Return an OpenAPI 3.1 document in which every call needs a bearer key unless it says otherwise."""
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1"},
        "servers": [{"url": server_url}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}, "schemas": schemas},
    }


def build_operation(
    operation_id: str,
    summary: str,
    responses: Mapping[int, Schema],
    *,
    request_body: Schema | None = None,
    parameters: Sequence[Schema] = (),
) -> Schema:
    """Return one operation; ``responses`` are by status."""
    operation: Schema = {"operationId": operation_id, "summary": summary}
    if parameters:
        operation["parameters"] = list(parameters)
    if request_body:
        operation["requestBody"] = request_body
    return {**operation, "responses": {str(status): response for status, response in responses.items()}}


def build_response(
    description: str, schema: Schema | None = None, headers: Schema | None = None, media_type: str = JSON_MEDIA_TYPE
) -> Schema:
    """Return a response, with a body of ``media_type`` if there is a schema."""
    response: Schema = {"description": description}
    if headers:
        response["headers"] = headers
    return {**response, "content": {media_type: {"schema": schema}}} if schema else response


def build_request_body(schema: Schema, media_type: str = JSON_MEDIA_TYPE) -> Schema:
    """Return a required request body."""
    return {"required": True, "content": {media_type: {"schema": schema}}}


def build_multipart_body(schema: Schema, *media_types: str) -> Schema:
    """Return a multipart body whose part ``file`` is of one of these media types."""
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": schema, "encoding": {"file": {"contentType": ", ".join(media_types)}}}
        },
    }


def build_parameter(name: str, location: str, schema: Schema, *, required: bool = False) -> Schema:
    """Return a parameter in ``path``, ``query`` or ``header``."""
    return {"name": name, "in": location, "required": required or location == "path", "schema": schema}


def build_object(
    properties: Schema, required: Sequence[str] | None = None, *, allows_additional: bool = False
) -> Schema:
    """Return the schema of an object; by default all properties are required and no others are allowed."""
    required_names = list(properties) if required is None else list(required)
    return {
        "type": "object",
        "properties": properties,
        "required": required_names,
        "additionalProperties": allows_additional,
    }


def build_array(items: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


def build_enum(*values: str) -> Schema:
    """Return the schema of a string that is one of ``values``."""
    return {"type": "string", "enum": list(values)}


def build_nullable(*type_names: str) -> Schema:
    """Return the schema of one of these types, or null."""
    return {"type": [*type_names, "null"]}


def build_ref(schema_name: str) -> Schema:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{schema_name}"}


STRING: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
DATE_TIME: Schema = {"type": "string", "format": "date-time"}
UUID: Schema = {"type": "string", "format": "uuid"}


def build_integer(minimum: int, maximum: int | None = None) -> Schema:
    """Return the schema of a whole number within bounds."""
    return {"type": "integer", "minimum": minimum, **({} if maximum is None else {"maximum": maximum})}
