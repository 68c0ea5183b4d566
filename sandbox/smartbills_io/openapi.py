"""The room's OpenAPI document: receipts on two routes, each with a dialect of its own (sheet 05, sections 2 and 3)."""

from __future__ import annotations

from sandbox.openapi import (
    INSTANT,
    NUMBER,
    SWITCH,
    TEXT,
    Schema,
    body,
    entity,
    listed,
    maybe,
    operation,
    parameter,
    ref,
    response,
    whole,
    words,
)
from sandbox.openapi import document as made
from sandbox.smartbills_io.shapes import DATES, ITEM_MONEY, MONEY, MOST_ITEMS, TENANT, TEXTS

_CURRENCY: Schema = {"type": "string", "pattern": "^[A-Z]{3}$"}
_DATE: Schema = {"type": ["string", "null"], "format": "date-time"}
_NUMBERED = parameter("id", "path", whole(1, 10**18 - 1))
_HOLDER: Schema = {"type": "string", "pattern": f"^{TENANT.pattern}$"}
_BUSINESS = parameter("business", "path", _HOLDER)
_TENANT = parameter("x-tenant-id", "header", _HOLDER, required=True)
_IDEMPOTENCY = parameter("Idempotency-Key", "header", TEXT)
_MAYBE_MONEY: Schema = {"anyOf": [ref("Money"), {"type": "null"}]}
_ITEM: Schema = {
    **dict.fromkeys(ITEM_MONEY, _MAYBE_MONEY),
    "quantity": NUMBER,
}
_TOTALS: Schema = dict.fromkeys(MONEY, ref("Money"))


def _creation(lines: str, *without: str) -> Schema:
    """Return what a new receipt states; ``without`` are totals this dialect does not know."""
    description = {"description": {"type": ["object", "null"]}} if lines == "items" else {}
    item = entity({**_ITEM, **description}, (), is_open=True)
    properties: Schema = {
        **_TOTALS,
        **dict.fromkeys(without, _MAYBE_MONEY),
        **dict.fromkeys(TEXTS, maybe("string")),
        **dict.fromkeys(DATES, _DATE),
        "taxesIncluded": SWITCH,
        "type": TEXT,
        lines: {"type": ["array", "null"], "maxItems": MOST_ITEMS, "items": item},
    }
    required = [name for name in (*MONEY, "taxesIncluded", "type") if name not in without]
    return entity(properties, required, is_open=True)


_UPDATE = entity(
    {
        "merchantId": {"type": "integer"}, "totalAmount": NUMBER, "currency": _CURRENCY,
        "items": listed({"type": "object"}), "paymentMethod": TEXT, "date": INSTANT,
    },
    is_open=True,
)  # fmt: skip
_RECEIPT = entity(
    {
        "id": whole(1), "receiptId": TEXT, "type": TEXT, "date": TEXT, "dueDate": maybe("string"),
        "cancelledAt": maybe("string"), "items": listed({"type": "object"}), "lineItems": listed({"type": "object"}),
        **_TOTALS, "totalItems": ref("Money"), "payments": listed({"type": "object"}),
        "taxes": listed({"type": "object"}), "documents": listed({"type": "object"}),
        "bankTransaction": {"type": "null"}, "createdAt": INSTANT, "url": TEXT,
    },
    ("id", "items", "payments", "taxes", "createdAt", "url"),
)  # fmt: skip
_ERROR = {"type": "object"}
_SCHEMAS: Schema = {
    "Money": entity({"amount": NUMBER, "currency": _CURRENCY}, is_open=True),
    "Creation": _creation("items"),
    "BusinessCreation": _creation("lineItems", "totalPayments"),
    "Update": _UPDATE,
    "Receipt": _RECEIPT,
    "Error": entity({"error": _ERROR}, (), is_open=True),
}
_REQUEST_ID: Schema = {"x-request-id": {"schema": TEXT, "required": True}}
_RETRY_AFTER: Schema = {"Retry-After": {"schema": TEXT, "description": "seconds or an HTTP date; may be absent"}}


def _answers(success: dict[int, Schema], *refusals: int) -> dict[int, Schema]:
    answers = dict(success)
    for status in sorted({*refusals, 400, 401, 403, 429, 500}):
        headers = {**_REQUEST_ID, **_RETRY_AFTER} if status == 429 else _REQUEST_ID
        answers[status] = response("refused", ref("Error"), headers)
    return answers


def _done(schema: Schema, *statuses: int) -> dict[int, Schema]:
    return {status: response("done", schema, _REQUEST_ID) for status in statuses}


def _query(dialect: str) -> tuple[Schema, ...]:
    order, direction = ("sortBy", "sortDirection") if dialect == "Business" else ("orderBy", "sortOrder")
    return (
        parameter("page", "query", whole(1, 999_999_999)),
        parameter("pageSize", "query", whole(1, 100)),
        parameter(order, "query", {"type": "string", "pattern": "^[A-Za-z]{1,40}$"}),
        parameter(direction, "query", words("asc", "desc")),
        parameter("ReceiptNumber", "query", TEXT),
        parameter("Query", "query", TEXT),
    )


def _page(meta: str, *names: str) -> Schema:
    return entity({"data": listed(ref("Receipt")), meta: entity({name: whole(0) for name in names})})


def _routes(prefix: str, dialect: str, holder: tuple[Schema, ...], page: Schema) -> Schema:
    """Return the five calls of one route; ``holder`` are the parameters that say whose receipts are meant."""
    creation, found, one = body(ref(f"{dialect}Creation")), _done(ref("Receipt"), 200), (*holder, _NUMBERED)
    gone = {**found, 204: response("done", headers=_REQUEST_ID)}
    return {
        prefix: {
            "post": operation(f"create{dialect}Receipt", "Create a receipt",
                              _answers(_done(ref("Receipt"), 200, 201), 409, 413), asks=creation,
                              parameters=(*holder, _IDEMPOTENCY)),
            "get": operation(f"list{dialect}Receipts", "One page of receipts", _answers(_done(page, 200)),
                             parameters=(*holder, *_query(dialect))),
        },
        prefix + "/{id}": {
            "get": operation(f"get{dialect}Receipt", "One receipt", _answers(found, 404), parameters=one),
            "put": operation(f"update{dialect}Receipt", "Set total, currency, items and date",
                             _answers(found, 404, 413), asks=body(ref("Update")), parameters=one),
            "delete": operation(f"delete{dialect}Receipt", "Delete for good", _answers(gone, 404), parameters=one),
        },
    }  # fmt: skip


_PATHS: Schema = {
    **_routes("/v1/receipts", "", (_TENANT,), _page("metadata", "page", "pageSize", "totalPages", "count")),
    **_routes("/v1/businesses/{business}/receipts", "Business", (_BUSINESS,),
              _page("pagination", "count", "pageCount", "currentPage", "limit")),
}  # fmt: skip


def document(server: str) -> Schema:
    """Return the OpenAPI 3.1 document of this room, served at ``server``."""
    return made("SmartBills receipts sandbox", server, _PATHS, _SCHEMAS)
