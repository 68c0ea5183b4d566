"""The knobs of this vendor, by their names in its contract sheet (01 §10)."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.setting_definition import SettingDefinition, build_choice, build_count, build_switch

SETTING_DEFINITIONS: Mapping[str, SettingDefinition] = {
    "plan": build_choice("10/100, 100/1,000 or 1,000/10,000 calls a minute/an hour", "free", "pro", "enterprise"),
    "rate_limits": build_switch("hold callers to their plan", True),
    "envelope": build_choice("bare bodies, or {success, data, error}", "bare", "wrapped"),
    "reset_encoding": build_choice("of X-RateLimit-Reset", "epoch_seconds", "epoch_ms", "iso8601", "http_date"),
    "retry_after_on_429": build_choice("", "absent", "seconds"),
    "processing_polls": build_count("so many polls say processing"),
    "processing_seconds": SettingDefinition("so long polls say processing", "seconds", 0.0),
    "fail_ids": SettingDefinition("job ids or document hashes that end failed", "names", ()),
    "post_lost_response": build_count("so many accepted uploads, charged, lose their answer"),
    "get_lost_response": build_count("so many polls lose their answer"),
    "http_500_every": build_count("every n-th call is answered 500, without work"),
    "http_500_after_work": build_count("so many accepted uploads, charged, are answered 500"),
    "unknown_status": SettingDefinition(
        "a status no sheet knows, shown at the first poll and while processing", "text", ""
    ),
    "missing_fields": SettingDefinition("fields left out of extracted_data", "names", ()),
    "vendor_info_shape": build_switch("vendor as vendor_info.company_name"),
    "read_strangers": build_switch(
        "unknown PDF, JPG and PNG files are read as small sound invoices made from their hash"
    ),
    "list_route": build_switch("GET /v1/invoices answers", True),
    "max_file_bytes": build_count("larger files are 413", 10_000_000),
}
