"""The OpenAPI document of this API: receipts on two routes, each with its own dialect (sheet 05, sections 2 and 3)."""

from __future__ import annotations

from sandbox.openapi import (
    BOOLEAN,
    DATE_TIME,
    NUMBER,
    STRING,
    Schema,
    build_array,
    build_enum,
    build_integer,
    build_nullable,
    build_object,
    build_openapi_document,
    build_operation,
    build_parameter,
    build_ref,
    build_request_body,
    build_response,
)
from sandbox.smartbills_io.receipt_validation import (
    DATE_PROPERTIES,
    ITEM_MONEY_PROPERTIES,
    MAX_ITEMS,
    MONEY_PROPERTIES,
    TENANT_ID_PATTERN,
    TEXT_PROPERTIES,
)

_CURRENCY: Schema = {"type": "string", "pattern": "^[A-Z]{3}$"}
_NULLABLE_DATE: Schema = {"type": ["string", "null"], "format": "date-time"}
_ID_PARAMETER = build_parameter("id", "path", build_integer(1, 10**18 - 1))
_TENANT_ID: Schema = {"type": "string", "pattern": f"^{TENANT_ID_PATTERN.pattern}$"}
_BUSINESS_PARAMETER = build_parameter("business", "path", _TENANT_ID)
_TENANT_PARAMETER = build_parameter("x-tenant-id", "header", _TENANT_ID, required=True)
_IDEMPOTENCY_PARAMETER = build_parameter("Idempotency-Key", "header", STRING)
_NULLABLE_MONEY: Schema = {"anyOf": [build_ref("Money"), {"type": "null"}]}
_ITEM_PROPERTIES: Schema = {
    **dict.fromkeys(ITEM_MONEY_PROPERTIES, _NULLABLE_MONEY),
    "quantity": NUMBER,
}
_TOTAL_PROPERTIES: Schema = dict.fromkeys(MONEY_PROPERTIES, build_ref("Money"))


def _build_creation_schema(lines_property: str, *omitted_totals: str) -> Schema:
    """Return the schema of a new receipt; ``omitted_totals`` are optional in this dialect."""
    description = {"description": {"type": ["object", "null"]}} if lines_property == "items" else {}
    item_schema = build_object({**_ITEM_PROPERTIES, **description}, (), allows_additional=True)
    properties: Schema = {
        **_TOTAL_PROPERTIES,
        **dict.fromkeys(omitted_totals, _NULLABLE_MONEY),
        **dict.fromkeys(TEXT_PROPERTIES, build_nullable("string")),
        **dict.fromkeys(DATE_PROPERTIES, _NULLABLE_DATE),
        "taxesIncluded": BOOLEAN,
        "type": STRING,
        lines_property: {"type": ["array", "null"], "maxItems": MAX_ITEMS, "items": item_schema},
    }
    required = [name for name in (*MONEY_PROPERTIES, "taxesIncluded", "type") if name not in omitted_totals]
    return build_object(properties, required, allows_additional=True)


_UPDATE_SCHEMA = build_object(
    {
        "merchantId": {"type": "integer"}, "totalAmount": NUMBER, "currency": _CURRENCY,
        "items": build_array({"type": "object"}), "paymentMethod": STRING, "date": DATE_TIME,
    },
    allows_additional=True,
)  # fmt: skip
_RECEIPT_SCHEMA = build_object(
    {
        "id": build_integer(1),
        "receiptId": STRING,
        "type": STRING,
        "date": STRING,
        "dueDate": build_nullable("string"),
        "cancelledAt": build_nullable("string"),
        "items": build_array({"type": "object"}),
        "lineItems": build_array({"type": "object"}),
        **_TOTAL_PROPERTIES,
        "totalItems": build_ref("Money"),
        "payments": build_array({"type": "object"}),
        "taxes": build_array({"type": "object"}),
        "documents": build_array({"type": "object"}),
        "bankTransaction": {"type": "null"},
        "createdAt": DATE_TIME,
        "url": STRING,
    },
    ("id", "items", "payments", "taxes", "createdAt", "url"),
)
_ERROR_SCHEMA = {"type": "object"}
_SCHEMAS: Schema = {
    "Money": build_object({"amount": NUMBER, "currency": _CURRENCY}, allows_additional=True),
    "Creation": _build_creation_schema("items"),
    "BusinessCreation": _build_creation_schema("lineItems", "totalPayments"),
    "Update": _UPDATE_SCHEMA,
    "Receipt": _RECEIPT_SCHEMA,
    "Error": build_object({"error": _ERROR_SCHEMA}, (), allows_additional=True),
}
_REQUEST_ID_HEADER: Schema = {"x-request-id": {"schema": STRING, "required": True}}
_RETRY_AFTER_HEADER: Schema = {
    "Retry-After": {"schema": STRING, "description": "seconds or an HTTP date; may be absent"}
}


def _build_responses(success_responses: dict[int, Schema], *error_statuses: int) -> dict[int, Schema]:
    responses = dict(success_responses)
    for status in sorted({*error_statuses, 400, 401, 403, 429, 500}):
        headers = {**_REQUEST_ID_HEADER, **_RETRY_AFTER_HEADER} if status == 429 else _REQUEST_ID_HEADER
        responses[status] = build_response("refused", build_ref("Error"), headers)
    return responses


def _build_success_responses(schema: Schema, *statuses: int) -> dict[int, Schema]:
    return {status: build_response("done", schema, _REQUEST_ID_HEADER) for status in statuses}


def _build_query_parameters(dialect: str) -> tuple[Schema, ...]:
    order_name, direction_name = ("sortBy", "sortDirection") if dialect == "Business" else ("orderBy", "sortOrder")
    return (
        build_parameter("page", "query", build_integer(1, 999_999_999)),
        build_parameter("pageSize", "query", build_integer(1, 100)),
        build_parameter(order_name, "query", {"type": "string", "pattern": "^[A-Za-z]{1,40}$"}),
        build_parameter(direction_name, "query", build_enum("asc", "desc")),
        build_parameter("ReceiptNumber", "query", STRING),
        build_parameter("Query", "query", STRING),
    )


def _build_page_schema(pagination_property: str, *count_names: str) -> Schema:
    return build_object(
        {
            "data": build_array(build_ref("Receipt")),
            pagination_property: build_object({name: build_integer(0) for name in count_names}),
        }
    )


def _build_paths(prefix: str, dialect: str, tenant_parameters: tuple[Schema, ...], page_schema: Schema) -> Schema:
    """Return the five operations of one route; ``tenant_parameters`` name the owner of the receipts."""
    creation_body = build_request_body(build_ref(f"{dialect}Creation"))
    receipt_responses = _build_success_responses(build_ref("Receipt"), 200)
    receipt_parameters = (*tenant_parameters, _ID_PARAMETER)
    delete_responses = {**receipt_responses, 204: build_response("done", headers=_REQUEST_ID_HEADER)}
    return {
        prefix: {
            "post": build_operation(
                f"create{dialect}Receipt",
                "Create a receipt",
                _build_responses(_build_success_responses(build_ref("Receipt"), 200, 201), 409, 413),
                request_body=creation_body,
                parameters=(*tenant_parameters, _IDEMPOTENCY_PARAMETER),
            ),
            "get": build_operation(
                f"list{dialect}Receipts",
                "One page of receipts",
                _build_responses(_build_success_responses(page_schema, 200)),
                parameters=(*tenant_parameters, *_build_query_parameters(dialect)),
            ),
        },
        prefix + "/{id}": {
            "get": build_operation(
                f"get{dialect}Receipt",
                "One receipt",
                _build_responses(receipt_responses, 404),
                parameters=receipt_parameters,
            ),
            "put": build_operation(
                f"update{dialect}Receipt",
                "Set total, currency, items and date",
                _build_responses(receipt_responses, 404, 413),
                request_body=build_request_body(build_ref("Update")),
                parameters=receipt_parameters,
            ),
            "delete": build_operation(
                f"delete{dialect}Receipt",
                "Delete for good",
                _build_responses(delete_responses, 404),
                parameters=receipt_parameters,
            ),
        },
    }


_PATHS: Schema = {
    **_build_paths(
        "/v1/receipts",
        "",
        (_TENANT_PARAMETER,),
        _build_page_schema("metadata", "page", "pageSize", "totalPages", "count"),
    ),
    **_build_paths(
        "/v1/businesses/{business}/receipts",
        "Business",
        (_BUSINESS_PARAMETER,),
        _build_page_schema("pagination", "count", "pageCount", "currentPage", "limit"),
    ),
}


def build_document(server_url: str) -> Schema:
    """Return the OpenAPI 3.1 document of this API, served at ``server_url``."""
    return build_openapi_document("SmartBills receipts sandbox", server_url, _PATHS, _SCHEMAS)
