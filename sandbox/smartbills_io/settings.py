"""The settings of this vendor; the names are those of its contract sheet (05 §11)."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.setting_definition import SettingDefinition, build_choice, build_count, build_switch

SETTING_DEFINITIONS: Mapping[str, SettingDefinition] = {
    "dialect_by_path": build_switch("the business route uses the SDK's dialect", True),
    "create_status": build_choice("the status of a creation", "201", "200"),
    "delete": build_choice(
        "a deletion answers 200 with the receipt, 204 without, or as documented for each route",
        "by_path",
        "receipt",
        "204",
    ),
    "unique_receipt_id": build_switch("a receiptId that exists is answered 409"),
    "idempotency_key": build_switch("the header Idempotency-Key is honoured"),
    "ambiguous_route": build_switch("the unscoped route always answers 500"),
    "price_form": build_choice("the form of items[].price in answers", "money", "number"),
    "rate_model": build_choice("how calls are counted", "token_bucket", "leaky_bucket", "off"),
    "retry_after": build_choice(
        "the header Retry-After of a 429; auto: the refill period", "auto", "5", "60", "absent", "http_date"
    ),
    "error_envelope": build_choice("which of the five known error envelopes is used", "1", "2", "3", "4", "5"),
    "require_tenant": build_switch("the header x-tenant-id is required", True),
    "scopes": SettingDefinition("scopes of the key", "names", ("receipts.read", "receipts.write")),
    "lost_response": build_count("the next n creations are done, but not answered"),
    "http_500_after_work": build_count("the next n creations are done, but answered 500"),
    "http_500_every": build_count("every n-th call is answered 500 and not processed; 0: none"),
    "garbled_create": build_count("the next n creations are done, but answered with a body that cannot be used"),
    "garbled_list": build_count("the next n lists are answered 200 with a body that cannot be used"),
    "garbled_form": build_choice(
        "what such a body is", "html", "cut", "no_list", "entry_without_id", "null", "id_only", "empty"
    ),
    "empty_list": build_count("the next n lists are answered as if there were no receipt"),
    "list_lag": build_count("a new receipt is missing from the next n list answers after its creation"),
    "refused_creations": build_count("the next n creations are refused with refusal_status"),
    "refusal_status": build_choice("the status of such a refusal", "400", "404", "405", "413", "422"),
    "refused_customer": SettingDefinition("creations for this customer's e-mail are refused with 400", "text", ""),
    "clock_shift_seconds": SettingDefinition("the vendor's clock is ahead of the machine's", "seconds", 0.0),
    "page_shift": build_count("after each of the next n list answers, somebody else's receipt is added"),
    "max_page_size": build_count("maximum pageSize; a larger one is answered 400", 100),
    "search": build_choice(
        "where ReceiptNumber and Query filter: on the business route, everywhere or nowhere", "by_path", "on", "off"
    ),
}
