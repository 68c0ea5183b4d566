"""The knobs of this vendor, by their names in its contract sheet (02 §11) and a few more.

A file is named by ``all``, a part of its file name, or the beginning of its SHA-256 (6 digits and more). A route is
named as in ``limits.PER_MINUTE``'s neighbour ``app.ROUTES``: balance, session, parts, put, complete, submit, status,
output, download, delete, list, results, details, cancel, answers.
"""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.setting_definition import SettingDefinition, build_choice, build_count, build_switch

_CALL_SETTINGS: Mapping[str, SettingDefinition] = {
    "rate_limits": build_switch("hold callers to their calls a minute", True),
    "limits": SettingDefinition("calls a minute of single buckets, e.g. submit=3,poll=10", "names", ()),
    "retry_after": build_choice("of a 429's header", "present", "absent", "http_date"),
    "rate_limit_body": build_choice("of a 429", "json", "html"),
    "http_500_every": build_count("every n-th call is answered 500, without work"),
    "http_500_after_work": SettingDefinition(
        "routes whose work is done and then answered 500: submit=1,complete=2", "names", ()
    ),
    "lost_response": SettingDefinition(
        "routes whose work is done and whose answer is lost: submit=1,complete=2", "names", ()
    ),
    "key_state": build_choice("of the API key", "valid", "expired", "revoked"),
    "team_admin": build_switch("scope=team is answered"),
}
_UPLOAD_SETTINGS: Mapping[str, SettingDefinition] = {
    "part_size": build_count("bytes of one part, in sessions made from now on", 8_388_608),
    "put_expiry": SettingDefinition(
        "how long presigned addresses live; else 15 minutes of the vendor's", "seconds", None
    ),
    "complete_fail_n": build_count("so many completions are answered 502 UPLOAD_COMPLETE_FAILED, without work"),
    "abort_files": SettingDefinition("files whose upload was aborted", "names", ()),
    "strict_etag": build_switch("e_tag is refused without its double quotes", True),
    "lenient_ids": build_switch("an id with other content gives what exists instead of a 409"),
    "strict_properties": build_switch("unknown properties of a body are refused", True),
}
_TASK_SETTINGS: Mapping[str, SettingDefinition] = {
    "processing_polls": build_count("so many polls say processing"),
    "processing_seconds": SettingDefinition("so long, from submission, an extraction takes", "seconds", 0.0),
    "stall": build_count("so many next submissions never end by themselves"),
    "unknown_status": SettingDefinition("a status no sheet knows, in place of processing", "text", ""),
    "wait_supported": build_switch("?wait= holds the call", True),
    "concurrency_limit": build_count("running extractions of a key", 15),
    "paused_until": SettingDefinition(
        "submissions are 503 until this instant (ISO 8601), or 'further notice'", "text", ""
    ),
    "task_fail_code": SettingDefinition(
        "codes the next tasks fail with: SUBMISSION_STALLED=2,INTERNAL_ERROR", "names", ()
    ),
    "task_errors": build_choice("where a task's failure is told", "as_task", "as_http"),
    "encrypted_files": SettingDefinition("files that fail the whole task with ENCRYPTED_FILE", "names", ()),
    "prompt_limit": build_count("characters of a text prompt", 5_000),
    "task_name_required": build_switch("a submission without task_name is refused"),
    "credits": build_count("a key's credits before any charge", 1_000_000),
    "clock": build_count("seconds the vendor's clock is ahead"),
}
_RESULT_SETTINGS: Mapping[str, SettingDefinition] = {
    "read_strangers": build_switch("unknown bytes are read as an invoice made from their hash"),
    "pages_per_file": build_count("pages of each file; 0: as many as it has"),
    "fail_pages": SettingDefinition("files, or single pages as name:2, that fail", "names", ()),
    "missing_rows": SettingDefinition("files whose pages succeed and whose rows are left out", "names", ()),
    "wrong_file": SettingDefinition("files whose rows claim to be of the next file of the extraction", "names", ()),
    "notes": SettingDefinition("topics of ai_uncertainty_notes", "names", ()),
    "review_needed": SettingDefinition("files whose rows need review", "names", ()),
    "null_urls": SettingDefinition("formats, or all, whose address in the status is null", "names", ()),
    "missing_outputs": SettingDefinition("formats, results or all, that are 404 OUTPUT_NOT_AVAILABLE", "names", ()),
    "typed_values": build_choice("whether JSON values are typed", "as_asked", "always", "never"),
    "credits_null": build_switch("credits_deducted is null"),
    "download_expiry": SettingDefinition(
        "how long download addresses live; else 5 minutes of the vendor's", "seconds", None
    ),
}
SETTING_DEFINITIONS: Mapping[str, SettingDefinition] = {
    **_CALL_SETTINGS,
    **_UPLOAD_SETTINGS,
    **_TASK_SETTINGS,
    **_RESULT_SETTINGS,
}
