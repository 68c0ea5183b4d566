"""The knobs of this vendor, by their names in its contract sheet (05 §11)."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.knob import Knob, choice, count, switch

KNOBS: Mapping[str, Knob] = {
    "dialect_by_path": switch("the business route speaks the SDK's dialect", True),
    "create_status": choice("", "201", "200"),
    "delete": choice("200 with the receipt, 204 without, or each route as documented", "by_path", "receipt", "204"),
    "unique_receipt_id": switch("a receiptId that exists is 409"),
    "idempotency_key": switch("the header Idempotency-Key is honoured"),
    "ambiguous_route": switch("the unscoped route is broken, 500"),
    "price_form": choice("items[].price in answers", "money", "number"),
    "rate_model": choice("", "token_bucket", "leaky_bucket", "off"),
    "retry_after": choice("on 429; auto follows the minute", "auto", "5", "60", "absent", "http_date"),
    "error_envelope": choice("of the five seen", "1", "2", "3", "4", "5"),
    "require_tenant": switch("the header x-tenant-id is demanded", True),
    "scopes": Knob("what the key may do", "names", ("receipts.read", "receipts.write")),
    "lost_response": count("so many creations, done, lose their answer"),
    "http_500_after_work": count("so many creations, done, are answered 500"),
    "http_500_every": count("every n-th call is answered 500, without work"),
    "page_shift": count("after so many list answers a stranger's receipt appears"),
    "max_page_size": count("larger pageSize is 400", 100),
    "search": choice("ReceiptNumber and Query: on the business route, everywhere, nowhere", "by_path", "on", "off"),
}
