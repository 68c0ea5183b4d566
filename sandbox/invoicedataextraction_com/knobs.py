"""The knobs of this vendor, by their names in its contract sheet (02 §11) and a few more.

A file is named by ``all``, a part of its file name, or the beginning of its SHA-256 (6 digits and more). A route is
named as in ``limits.PER_MINUTE``'s neighbour ``app.ROUTES``: balance, session, parts, put, complete, submit, status,
output, download, delete, list, results, details, cancel, answers.
"""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.knob import Knob, choice, count, switch

_PATIENCE: Mapping[str, Knob] = {
    "rate_limits": switch("hold callers to their calls a minute", True),
    "limits": Knob("calls a minute of single buckets, e.g. submit=3,poll=10", "names", ()),
    "retry_after": choice("of a 429's header", "present", "absent", "http_date"),
    "rate_limit_body": choice("of a 429", "json", "html"),
    "http_500_every": count("every n-th call is answered 500, without work"),
    "http_500_after_work": Knob("routes whose work is done and then answered 500: submit=1,complete=2", "names", ()),
    "lost_response": Knob("routes whose work is done and whose answer is lost: submit=1,complete=2", "names", ()),
    "key_state": choice("of the API key", "valid", "expired", "revoked"),
    "team_admin": switch("scope=team is answered"),
}
_UPLOADS: Mapping[str, Knob] = {
    "part_size": count("bytes of one part, in sessions made from now on", 8_388_608),
    "put_expiry": Knob("how long presigned addresses live; else 15 minutes of the vendor's", "seconds", None),
    "complete_fail_n": count("so many completions are answered 502 UPLOAD_COMPLETE_FAILED, without work"),
    "abort_files": Knob("files whose upload was aborted", "names", ()),
    "strict_etag": switch("e_tag is refused without its double quotes", True),
    "lenient_ids": switch("an id with other content gives what exists instead of a 409"),
    "strict_properties": switch("unknown properties of a body are refused", True),
}
_TASKS: Mapping[str, Knob] = {
    "processing_polls": count("so many polls say processing"),
    "processing_seconds": Knob("so long, from submission, an extraction takes", "seconds", 0.0),
    "stall": count("so many next submissions never end by themselves"),
    "unknown_status": Knob("a status no sheet knows, in place of processing", "text", ""),
    "wait_supported": switch("?wait= holds the call", True),
    "concurrency_limit": count("running extractions of a key", 15),
    "paused_until": Knob("submissions are 503 until this instant (ISO 8601), or 'further notice'", "text", ""),
    "task_fail_code": Knob("codes the next tasks fail with: SUBMISSION_STALLED=2,INTERNAL_ERROR", "names", ()),
    "task_errors": choice("where a task's failure is told", "as_task", "as_http"),
    "encrypted_files": Knob("files that fail the whole task with ENCRYPTED_FILE", "names", ()),
    "prompt_limit": count("characters of a text prompt", 5_000),
    "task_name_required": switch("a submission without task_name is refused"),
    "credits": count("a key's credits before any charge", 1_000_000),
    "clock": count("seconds the vendor's clock is ahead"),
}
_READINGS: Mapping[str, Knob] = {
    "read_strangers": switch("unknown bytes are read as an invoice made from their hash"),
    "pages_per_file": count("pages of each file; 0: as many as it has"),
    "fail_pages": Knob("files, or single pages as name:2, that fail", "names", ()),
    "missing_rows": Knob("files whose pages succeed and whose rows are left out", "names", ()),
    "wrong_file": Knob("files whose rows claim to be of the next file of the extraction", "names", ()),
    "notes": Knob("topics of ai_uncertainty_notes", "names", ()),
    "review_needed": Knob("files whose rows need review", "names", ()),
    "null_urls": Knob("formats, or all, whose address in the status is null", "names", ()),
    "missing_outputs": Knob("formats, results or all, that are 404 OUTPUT_NOT_AVAILABLE", "names", ()),
    "typed_values": choice("whether JSON values are typed", "as_asked", "always", "never"),
    "credits_null": switch("credits_deducted is null"),
    "download_expiry": Knob("how long download addresses live; else 5 minutes of the vendor's", "seconds", None),
}
KNOBS: Mapping[str, Knob] = {**_PATIENCE, **_UPLOADS, **_TASKS, **_READINGS}
