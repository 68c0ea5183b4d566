"""The settings of this vendor; the names are those of its contract sheet (01 §10)."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.setting_definition import SettingDefinition, build_choice, build_count, build_switch

SETTING_DEFINITIONS: Mapping[str, SettingDefinition] = {
    "plan": build_choice("calls per minute / per hour: 10/100, 100/1,000 or 1,000/10,000", "free", "pro", "enterprise"),
    "rate_limits": build_switch("the limits of the plan are enforced", True),
    "envelope": build_choice("bodies are bare, or in {success, data, error}", "bare", "wrapped"),
    "reset_encoding": build_choice(
        "the format of X-RateLimit-Reset", "epoch_seconds", "epoch_ms", "iso8601", "http_date"
    ),
    "retry_after_on_429": build_choice("whether a 429 has the header Retry-After", "absent", "seconds"),
    "processing_polls": build_count("number of polls that answer processing"),
    "processing_seconds": SettingDefinition("seconds for which polls answer processing", "seconds", 0.0),
    "fail_ids": SettingDefinition("ids of jobs or hashes of documents that fail", "names", ()),
    "post_lost_response": build_count("the next n uploads are accepted and charged, but not answered"),
    "get_lost_response": build_count("the next n polls are not answered"),
    "http_500_every": build_count("every n-th call is answered 500 and not processed; 0: none"),
    "http_500_after_work": build_count("the next n uploads are accepted and charged, but answered 500"),
    "unknown_status": SettingDefinition(
        "an undocumented status, answered at the first poll and while processing", "text", ""
    ),
    "missing_fields": SettingDefinition("fields that are missing in extracted_data", "names", ()),
    "vendor_info_shape": build_switch("the vendor's name is in vendor_info.company_name"),
    "read_strangers": build_switch(
        "unknown PDF, JPG and PNG files are extracted as small correct invoices generated from their hash"
    ),
    "list_route": build_switch("GET /v1/invoices exists", True),
    "max_file_bytes": build_count("maximum size of a file; larger ones are answered 413", 10_000_000),
}
