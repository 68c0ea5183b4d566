"""The knobs of this vendor, by their names in its contract sheet (03 §9)."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.setting_definition import SettingDefinition, build_choice, build_count, build_switch

SETTING_DEFINITIONS: Mapping[str, SettingDefinition] = {
    "rate_limit_per_minute": build_count("more calls a minute are 429; 0 is no limit", 60),
    "retry_after": build_choice("on 429", "absent", "seconds", "http_date"),
    "concurrency_limit": build_count("more extractions at a time are 429; 0 is no limit"),
    "quota_total": build_count("extractions in 30 of the vendor's days; 0 is no quota"),
    "quota_used": build_count("so many of them were used before the journal began"),
    "jwt_ttl": SettingDefinition("seconds a session token lives after its iat", "seconds", 3600.0),
    "allow_private_urls": build_switch("download also from private, loopback and link-local addresses"),
    "latency_ms": build_count("milliseconds an extraction takes"),
    "source": build_choice(
        "what meta.source says; none leaves meta out and stores nothing",
        "auto", "extracted", "cache", "duplicate", "none",
    ),
    "duplicate_answer": build_choice("a number that came before is answered as read now, or as stored", "fresh", "stored"),
    "null_fields": SettingDefinition("fields that are null in answers; items become []", "names", ()),
    "drop_fields": SettingDefinition("fields left out of answers", "names", ()),
    "line_total_null": build_switch("line_total is null, as in the vendor's sample"),
    "numbers_as_strings": build_switch("amounts, quantities and prices are told as strings"),
    "vendor_sample": build_switch("amounts and line are those of the vendor's sample: 1200, 1300, 100, 180"),
    "read_strangers": build_switch("unknown PDF, JPG and PNG files are read as small sound invoices made from their hash"),
    "fail_code": SettingDefinition("extractions fail with this code or status, without charge; CODE=2: two of them", "text", ""),
    "lost_response": build_count("so many extractions, stored and charged, lose their answer"),
    "http_500_after_work": build_count("so many extractions, charged, are answered 500 PERSIST_FAILED and not stored"),
    "http_500_every": build_count("every n-th call is answered 500, without work"),
    "max_file_bytes": build_count("larger files are refused", 20_000_000),
}  # fmt: skip
