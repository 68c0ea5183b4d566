"""The settings of this vendor; the names are those of its contract sheet (03 §9)."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.setting_definition import SettingDefinition, build_choice, build_count, build_switch

SETTING_DEFINITIONS: Mapping[str, SettingDefinition] = {
    "rate_limit_per_minute": build_count("calls per minute; more are answered 429; 0: no limit", 60),
    "retry_after": build_choice("the header Retry-After of a 429", "absent", "seconds", "http_date"),
    "concurrency_limit": build_count("extractions at the same time; more are answered 429; 0: no limit"),
    "quota_total": build_count("extractions within 30 of the vendor's days; 0: no quota"),
    "quota_used": build_count("extractions of the quota that were used before the journal began"),
    "jwt_ttl": SettingDefinition("seconds for which a session token is valid after its iat", "seconds", 3600.0),
    "allow_private_urls": build_switch("downloads from private, loopback and link-local addresses are allowed"),
    "latency_ms": build_count("milliseconds that an extraction takes"),
    "source": build_choice(
        "the value of meta.source; none omits meta and stores nothing",
        "auto",
        "extracted",
        "cache",
        "duplicate",
        "none",
    ),
    "duplicate_answer": build_choice(
        "whether a duplicate invoice number is answered with the new or the stored extraction", "fresh", "stored"
    ),
    "null_fields": SettingDefinition("fields that are null in answers; items becomes []", "names", ()),
    "drop_fields": SettingDefinition("fields that are missing in answers", "names", ()),
    "line_total_null": build_switch("line_total is null, as in the vendor's published sample"),
    "numbers_as_strings": build_switch("amounts, quantities and prices are strings"),
    "vendor_sample": build_switch("amounts and line are those of the vendor's published sample: 1200, 1300, 100, 180"),
    "read_strangers": build_switch(
        "unknown PDF, JPG and PNG files are extracted as small correct invoices generated from their hash"
    ),
    "fail_code": SettingDefinition(
        "extractions fail with this code or status and are not charged; CODE=2: the next two", "text", ""
    ),
    "lost_response": build_count("the next n extractions are stored and charged, but not answered"),
    "http_500_after_work": build_count(
        "the next n extractions are charged, answered 500 PERSIST_FAILED and not stored"
    ),
    "http_500_every": build_count("every n-th call is answered 500 and not processed; 0: none"),
    "max_file_bytes": build_count("maximum size of a file; larger ones are refused", 20_000_000),
}
