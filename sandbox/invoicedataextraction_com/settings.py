"""The settings of this vendor: those of its contract sheet (02 §11) and a few more.

Files are selected by ``all``, a part of the file name, or 6 or more first digits of the SHA-256. Routes are selected by
the names in ``app.ROUTES``: balance, session, parts, complete, submit, status, output, delete, list, results, details,
cancel, answers; and by put and download for the presigned URLs.
"""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.setting_definition import SettingDefinition, build_choice, build_count, build_switch

_CALL_SETTINGS: Mapping[str, SettingDefinition] = {
    "rate_limits": build_switch("the limits of calls per minute are enforced", True),
    "limits": SettingDefinition("calls per minute of single buckets, e.g. submit=3,poll=10", "names", ()),
    "retry_after": build_choice("the header Retry-After of a 429", "present", "absent", "http_date"),
    "rate_limit_body": build_choice("the body of a 429", "json", "html"),
    "http_500_every": build_count("every n-th call is answered 500 and not processed; 0: none"),
    "http_500_after_work": SettingDefinition(
        "routes that do their work and then answer 500: submit=1,complete=2", "names", ()
    ),
    "lost_response": SettingDefinition("routes that do their work and do not answer: submit=1,complete=2", "names", ()),
    "garbled_response": SettingDefinition(
        "routes that do their work and answer 200 with a page, half a body or an empty object: balance=1,status=2",
        "names",
        (),
    ),
    "key_state": build_choice("the state of the API key", "valid", "expired", "revoked"),
    "team_admin": build_switch("scope=team is allowed"),
}
_UPLOAD_SETTINGS: Mapping[str, SettingDefinition] = {
    "part_size": build_count("bytes of one part in new sessions", 8_388_608),
    "put_expiry": SettingDefinition(
        "how long presigned URLs are valid; default: 15 of the vendor's minutes", "seconds", None
    ),
    "put_busy_seconds": build_count("seconds from the first PUT on in which PUTs are answered 503 with Retry-After"),
    "complete_fail_n": build_count("the next n completions are answered 502 UPLOAD_COMPLETE_FAILED and not processed"),
    "abort_files": SettingDefinition("files whose upload was aborted", "names", ()),
    "strict_etag": build_switch("an e_tag without its double quotes is refused", True),
    "lenient_ids": build_switch("a known id with other content returns what exists instead of a 409"),
    "strict_properties": build_switch("unknown properties of a body are refused", True),
}
_TASK_SETTINGS: Mapping[str, SettingDefinition] = {
    "processing_polls": build_count("number of polls that answer processing"),
    "processing_seconds": SettingDefinition("seconds that an extraction takes after its submission", "seconds", 0.0),
    "stall": build_count("the next n submissions never end by themselves"),
    "unknown_status": SettingDefinition("an undocumented status, answered instead of processing", "text", ""),
    "wait_supported": build_switch("?wait= delays the answer until the status changes", True),
    "concurrency_limit": build_count("extractions of a key that may run at the same time", 15),
    "paused_until": SettingDefinition(
        "submissions are answered 503 until this instant (ISO 8601), or 'further notice'", "text", ""
    ),
    "task_fail_code": SettingDefinition(
        "codes with which the next tasks fail: SUBMISSION_STALLED=2,INTERNAL_ERROR", "names", ()
    ),
    "task_errors": build_choice(
        "whether a task fails in its status or in the answer to its submission", "as_task", "as_http"
    ),
    "encrypted_files": SettingDefinition("files that fail the whole task with ENCRYPTED_FILE", "names", ()),
    "prompt_limit": build_count("maximum number of characters of a text prompt", 5_000),
    "task_name_required": build_switch("a submission without task_name is refused"),
    "credits": build_count("credits of a key before any charge", 1_000_000),
    "clock": build_count("seconds by which the vendor's clock is ahead"),
}
_RESULT_SETTINGS: Mapping[str, SettingDefinition] = {
    "read_strangers": build_switch("unknown files are extracted as invoices generated from their hash"),
    "pages_per_file": build_count("number of pages of each file; 0: the real number"),
    "fail_pages": SettingDefinition("files, or single pages as name:2, that fail", "names", ()),
    "missing_rows": SettingDefinition("files whose pages succeed and whose rows are missing", "names", ()),
    "wrong_file": SettingDefinition(
        "files whose rows name the next file of the extraction as their source", "names", ()
    ),
    "notes": SettingDefinition("topics of ai_uncertainty_notes", "names", ()),
    "review_needed": SettingDefinition("files whose rows need review", "names", ()),
    "null_urls": SettingDefinition("formats, or all, whose URL in the status is null", "names", ()),
    "missing_outputs": SettingDefinition(
        "formats, results or all, that are answered 404 OUTPUT_NOT_AVAILABLE", "names", ()
    ),
    "typed_values": build_choice("whether JSON values have types", "as_asked", "always", "never"),
    "credits_null": build_switch("credits_deducted is null"),
    "download_expiry": SettingDefinition(
        "how long download URLs are valid; default: 5 of the vendor's minutes", "seconds", None
    ),
}
SETTING_DEFINITIONS: Mapping[str, SettingDefinition] = {
    **_CALL_SETTINGS,
    **_UPLOAD_SETTINGS,
    **_TASK_SETTINGS,
    **_RESULT_SETTINGS,
}
