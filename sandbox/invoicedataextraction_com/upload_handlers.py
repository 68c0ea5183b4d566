"""Handlers for uploads: session, parts, PUT, complete (sheet 02 §2.1-2.4)."""

from __future__ import annotations

import math
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sandbox.invoicedataextraction_com.errors import ApiError, build_invalid_input_error, build_storage_error_response
from sandbox.invoicedataextraction_com.outcomes import SubmittedFile, is_file_selected
from sandbox.invoicedataextraction_com.request_validation import parse_valid_body
from sandbox.invoicedataextraction_com.upload_store import SESSION_LIFETIME_SECONDS, Row
from sandbox.invoicedataextraction_com.vendor import Vendor
from sandbox.request_context import ExactJsonResponse, get_request_context

MAX_PDF_BYTES, MAX_IMAGE_BYTES, MAX_SESSION_BYTES = 157_286_400, 5_242_880, 2_000_000_000
PUT_URL_LIFETIME_SECONDS = 900.0


async def create_upload_session(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Register files under the caller's session id, or return the session with the same id."""
    body = parse_valid_body(
        await request.body(), "CreateSession", strict=vendor.get_setting("strict_properties", api_key)
    )
    files, session_id = body["files"], body["upload_session_id"]
    session = vendor.upload_store.find_session(api_key, session_id)
    if session is None:
        _validate_declared_files(files)
        _check_free_credits(vendor, api_key, len(files))
        now, part_size = vendor.get_current_time(api_key), max(1, vendor.get_setting("part_size", api_key))
        session = vendor.upload_store.create_session(api_key, session_id, files, part_size, now)
    elif not vendor.get_setting("lenient_ids", api_key):
        rows = vendor.upload_store.list_files(session)
        stored_files = sorted((row["file_id"], row["name"], row["size"]) for row in rows)
        if stored_files != sorted((file["file_id"], file["file_name"], file["file_size_bytes"]) for file in files):
            raise ApiError("SESSION_ALREADY_INITIALIZED", "This upload_session_id was used for other files.")
    rows = vendor.upload_store.list_files(session)
    file_bodies = [
        {"file_id": row["file_id"], "file_name": row["name"], "part_size": session["part_size"]} for row in rows
    ]
    return ExactJsonResponse({"success": True, "upload_session_id": session_id, "files": file_bodies})


async def list_part_urls(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Return presigned URLs for the parts of one file."""
    body = parse_valid_body(
        await request.body(), "PartsRequest", strict=vendor.get_setting("strict_properties", api_key)
    )
    session, file = _get_session_and_file(vendor, request, api_key, body["file_id"])
    is_expired = vendor.get_current_time(api_key) >= session["created"] + SESSION_LIFETIME_SECONDS
    if is_expired or _get_upload_state(vendor, file, api_key) != "open":
        raise ApiError("FILE_NOT_UPLOADABLE", "This file was completed or aborted.")
    part_count = _count_parts(session, file)
    for index, number in enumerate(body["part_numbers"]):
        if number > part_count:
            raise build_invalid_input_error(f"this file has {part_count} parts", "part_numbers", index)
    part_urls = [
        {"part_number": number, "url": _build_put_url(vendor, request, api_key, file, number)}
        for number in dict.fromkeys(body["part_numbers"])
    ]
    return ExactJsonResponse(
        {**_build_file_body(session, file), "part_size": session["part_size"], "part_urls": part_urls}
    )


async def store_part(vendor: Vendor, request: Request) -> Response:
    """Store one part; the signed URL is the only authorization."""
    content = await request.body()
    if "authorization" in request.headers:
        return build_storage_error_response(400, "InvalidArgument", "Only one auth mechanism allowed")
    has_valid_signature = vendor.url_signer.has_valid_signature(request)
    file = vendor.upload_store.find_file_with_api_key(request.path_params["file"]) if has_valid_signature else None
    url_error = vendor.url_signer.check_presigned_url(
        request, vendor.get_current_time(file["api_key"] if file else None)
    )
    if url_error is not None:
        return url_error
    if file is None or _get_upload_state(vendor, file, file["api_key"]) != "open":
        return build_storage_error_response(404, "NoSuchUpload", "The specified upload does not exist.")
    get_request_context(request).api_key = file["api_key"]  # the signed URL says whose file it is
    if (wait_seconds := vendor.compute_put_wait(file["api_key"])) > 0:
        headers = {"Retry-After": str(math.ceil(wait_seconds))}
        return build_storage_error_response(503, "SlowDown", "Please reduce your request rate.", headers)
    e_tag = vendor.upload_store.record_part(file, request.path_params["part"], content)
    return vendor.apply_response_faults(Response(status_code=200, headers={"ETag": e_tag}), "put", file["api_key"])


async def finish_file_upload(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Complete a file from its parts; a repeat succeeds too."""
    body = parse_valid_body(
        await request.body(), "CompleteRequest", strict=vendor.get_setting("strict_properties", api_key)
    )
    session, file = _get_session_and_file(vendor, request, api_key, body["file_id"])
    state = _get_upload_state(vendor, file, api_key)
    if state == "aborted":
        raise ApiError("FILE_ABORTED", "This upload was aborted; a new session is needed.")
    if state == "completed":
        return ExactJsonResponse(_build_file_body(session, file))
    if vendor.get_current_time(api_key) >= session["created"] + SESSION_LIFETIME_SECONDS:
        raise ApiError("UPLOAD_ID_NOT_FOUND", "This upload is gone; a new session is needed.")
    if vendor.consume_fault("complete_fail_n", api_key):
        raise ApiError("UPLOAD_COMPLETE_FAILED", "The upload could not be completed; please repeat the call.")
    stored_parts = vendor.upload_store.list_parts(file)
    _validate_completed_parts(
        body["parts"], stored_parts, _count_parts(session, file), strict=vendor.get_setting("strict_etag", api_key)
    )
    size = sum(part["size"] for part in stored_parts)
    if size != file["size"]:
        vendor.upload_store.mark_file_aborted(file)
        details = {"declared_size_bytes": file["size"], "actual_size_bytes": size}
        raise ApiError("OBJECT_SIZE_MISMATCH", "The stored bytes are not as many as declared.", details)
    vendor.upload_store.mark_file_completed(file, stored_parts)
    return ExactJsonResponse({**_build_file_body(session, file), "status": "completed"})


def _validate_declared_files(files: list[dict[str, Any]]) -> None:
    for code, field in (("DUPLICATE_FILE_ID", "file_id"), ("DUPLICATE_FILE_NAME", "file_name")):
        if len({file[field] for file in files}) < len(files):
            raise ApiError(code, f"Each {field} may occur once in a session.")
    for file in files:
        max_bytes = MAX_PDF_BYTES if file["file_name"].lower().endswith(".pdf") else MAX_IMAGE_BYTES
        if file["file_size_bytes"] > max_bytes:
            details = {"file_id": file["file_id"], "max_file_size_bytes": max_bytes}
            raise ApiError("FILE_TOO_LARGE", f"{file['file_name']} is larger than {max_bytes} bytes.", details)
    total_bytes = sum(file["file_size_bytes"] for file in files)
    if total_bytes > MAX_SESSION_BYTES:
        details = {"total_size_bytes": total_bytes, "max_total_size_bytes": MAX_SESSION_BYTES}
        raise ApiError("TOTAL_UPLOAD_SIZE_LIMIT_EXCEEDED", "The session is larger than 2 GB.", details)


def _check_free_credits(vendor: Vendor, api_key: str, file_count: int) -> None:
    balance, reserved = vendor.get_balance_and_reserved_credits(api_key)
    if balance - reserved < file_count:
        details = {"credits_balance": balance, "credits_reserved": reserved, "file_count": file_count}
        raise ApiError("INSUFFICIENT_CREDITS", "There are fewer free credits than files.", details)


def _get_session_and_file(vendor: Vendor, request: Request, api_key: str, file_id: str) -> tuple[Row, Row]:
    session = vendor.upload_store.find_session(api_key, request.path_params["upload_session_id"])
    file = vendor.upload_store.find_file(session, file_id) if session else None
    if session is None or file is None:
        raise ApiError("FILE_NOT_FOUND", "No such file in this session.")
    return session, file


def _get_upload_state(vendor: Vendor, file: Row, api_key: str) -> str:
    is_aborted = is_file_selected(
        SubmittedFile(file["file_id"], file["name"], ""), vendor.get_setting("abort_files", api_key)
    )
    return "aborted" if file["state"] == "open" and is_aborted else str(file["state"])


def _count_parts(session: Row, file: Row) -> int:
    return max(1, math.ceil(int(file["size"]) / int(session["part_size"])))


def _build_put_url(vendor: Vendor, request: Request, api_key: str, file: Row, part_number: int) -> str:
    lifetime = vendor.get_setting("put_expiry", api_key)
    lifetime = vendor.convert_to_real_seconds(PUT_URL_LIFETIME_SECONDS) if lifetime is None else lifetime
    return vendor.url_signer.sign_url(
        request, "PUT", f"/storage/uploads/{file['seq']}/{part_number}", vendor.get_current_time(api_key), lifetime
    )


def _build_file_body(session: Row, file: Row) -> dict[str, Any]:
    return {
        "success": True,
        "upload_session_id": session["id"],
        "file_id": file["file_id"],
        "file_name": file["name"],
    }


def _validate_completed_parts(
    parts: list[dict[str, Any]], stored_parts: list[Row], part_count: int, *, strict: bool
) -> None:
    claimed_tags = {part["part_number"]: part["e_tag"] for part in parts}
    stored_tags = {row["number"]: row["e_tag"] for row in stored_parts}
    if len(claimed_tags) < len(parts) or set(claimed_tags) != set(range(1, part_count + 1)):
        raise _build_invalid_parts_error(f"the parts must be 1 to {part_count}, each once")
    for number, e_tag in claimed_tags.items():
        stored_tag = stored_tags.get(number)
        if stored_tag is None:
            raise _build_invalid_parts_error(f"part {number} was not uploaded")
        if e_tag != stored_tag and (strict or e_tag.strip('"') != stored_tag.strip('"')):
            raise _build_invalid_parts_error(
                f"the e_tag of part {number} is not the one that was answered, quotes included"
            )


def _build_invalid_parts_error(reason: str) -> ApiError:
    return ApiError("INVALID_COMPLETION_PARTS", "The parts cannot be completed.", {"reason": reason})
