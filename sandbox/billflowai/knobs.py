"""The knobs of this vendor, by their names in its contract sheet (03 §9)."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.knob import Knob, choice, count, switch

KNOBS: Mapping[str, Knob] = {
    "rate_limit_per_minute": count("more calls a minute are 429; 0 is no limit", 60),
    "retry_after": choice("on 429", "absent", "seconds", "http_date"),
    "concurrency_limit": count("more extractions at a time are 429; 0 is no limit"),
    "quota_total": count("extractions in 30 of the vendor's days; 0 is no quota"),
    "quota_used": count("so many of them were used before the journal began"),
    "jwt_ttl": Knob("seconds a session token lives after its iat", "seconds", 3600.0),
    "allow_private_urls": switch("download also from private, loopback and link-local addresses"),
    "latency_ms": count("milliseconds an extraction takes"),
    "source": choice(
        "what meta.source says; none leaves meta out and stores nothing",
        "auto", "extracted", "cache", "duplicate", "none",
    ),
    "duplicate_answer": choice("a number that came before is answered as read now, or as stored", "fresh", "stored"),
    "null_fields": Knob("fields that are null in answers; items become []", "names", ()),
    "drop_fields": Knob("fields left out of answers", "names", ()),
    "line_total_null": switch("line_total is null, as in the vendor's sample"),
    "numbers_as_strings": switch("amounts, quantities and prices are told as strings"),
    "vendor_sample": switch("amounts and line are those of the vendor's sample: 1200, 1300, 100, 180"),
    "read_strangers": switch("unknown PDF, JPG and PNG files are read as small sound invoices made from their hash"),
    "fail_code": Knob("extractions fail with this code or status, without charge; CODE=2: two of them", "text", ""),
    "lost_response": count("so many extractions, stored and charged, lose their answer"),
    "http_500_after_work": count("so many extractions, charged, are answered 500 PERSIST_FAILED and not stored"),
    "http_500_every": count("every n-th call is answered 500, without work"),
    "max_file_bytes": count("larger files are refused", 20_000_000),
}  # fmt: skip
