"""The knobs of this vendor, by their names in its contract sheet (01 §10)."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.knob import Knob, choice, count, switch

KNOBS: Mapping[str, Knob] = {
    "plan": choice("10/100, 100/1,000 or 1,000/10,000 calls a minute/an hour", "free", "pro", "enterprise"),
    "rate_limits": switch("hold callers to their plan", True),
    "envelope": choice("bare bodies, or {success, data, error}", "bare", "wrapped"),
    "reset_encoding": choice("of X-RateLimit-Reset", "epoch_seconds", "epoch_ms", "iso8601", "http_date"),
    "retry_after_on_429": choice("", "absent", "seconds"),
    "processing_polls": count("so many polls say processing"),
    "processing_seconds": Knob("so long polls say processing", "seconds", 0.0),
    "fail_ids": Knob("job ids or document hashes that end failed", "names", ()),
    "post_lost_response": count("so many accepted uploads, charged, lose their answer"),
    "get_lost_response": count("so many polls lose their answer"),
    "http_500_every": count("every n-th call is answered 500, without work"),
    "http_500_after_work": count("so many accepted uploads, charged, are answered 500"),
    "unknown_status": Knob("a status no sheet knows, shown at the first poll and while processing", "text", ""),
    "missing_fields": Knob("fields left out of extracted_data", "names", ()),
    "vendor_info_shape": switch("vendor as vendor_info.company_name"),
    "read_strangers": switch("unknown PDF, JPG and PNG files are read as small sound invoices made from their hash"),
    "list_route": switch("GET /v1/invoices answers", True),
    "max_file_bytes": count("larger files are 413", 10_000_000),
}
