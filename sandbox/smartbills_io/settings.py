"""The knobs of this vendor, by their names in its contract sheet (05 §11)."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.setting_definition import SettingDefinition, build_choice, build_count, build_switch

SETTING_DEFINITIONS: Mapping[str, SettingDefinition] = {
    "dialect_by_path": build_switch("the business route speaks the SDK's dialect", True),
    "create_status": build_choice("", "201", "200"),
    "delete": build_choice(
        "200 with the receipt, 204 without, or each route as documented", "by_path", "receipt", "204"
    ),
    "unique_receipt_id": build_switch("a receiptId that exists is 409"),
    "idempotency_key": build_switch("the header Idempotency-Key is honoured"),
    "ambiguous_route": build_switch("the unscoped route is broken, 500"),
    "price_form": build_choice("items[].price in answers", "money", "number"),
    "rate_model": build_choice("", "token_bucket", "leaky_bucket", "off"),
    "retry_after": build_choice("on 429; auto follows the minute", "auto", "5", "60", "absent", "http_date"),
    "error_envelope": build_choice("of the five seen", "1", "2", "3", "4", "5"),
    "require_tenant": build_switch("the header x-tenant-id is demanded", True),
    "scopes": SettingDefinition("what the key may do", "names", ("receipts.read", "receipts.write")),
    "lost_response": build_count("so many creations, done, lose their answer"),
    "http_500_after_work": build_count("so many creations, done, are answered 500"),
    "http_500_every": build_count("every n-th call is answered 500, without work"),
    "page_shift": build_count("after so many list answers a stranger's receipt appears"),
    "max_page_size": build_count("larger pageSize is 400", 100),
    "search": build_choice(
        "ReceiptNumber and Query: on the business route, everywhere, nowhere", "by_path", "on", "off"
    ),
}
