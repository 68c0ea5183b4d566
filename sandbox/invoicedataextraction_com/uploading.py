"""The routes that take files in: session, parts, PUT, complete (sheet 02 §2.1-2.4)."""

from __future__ import annotations

import math
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sandbox.invoicedataextraction_com.checking import body_of
from sandbox.invoicedataextraction_com.outcomes import File, is_named
from sandbox.invoicedataextraction_com.refusals import Refused, invalid, storage_refusal
from sandbox.invoicedataextraction_com.uploads import SESSION_LIVES, Row
from sandbox.invoicedataextraction_com.vendor import Vendor
from sandbox.visits import Json

MAX_PDF, MAX_IMAGE, MAX_SESSION = 157_286_400, 5_242_880, 2_000_000_000
PUT_LIVES = 900.0


async def create_session(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Register files under the caller's session id, or return the session that has it."""
    body = body_of(await request.body(), "CreateSession", strict=vendor.knob("strict_properties", api_key))
    files, session_id = body["files"], body["upload_session_id"]
    session = vendor.uploads.session(api_key, session_id)
    if session is None:
        _check_files(files)
        _check_credits(vendor, api_key, len(files))
        now, part_size = vendor.now(api_key), max(1, vendor.knob("part_size", api_key))
        session = vendor.uploads.create(api_key, session_id, files, part_size, now)
    elif not vendor.knob("lenient_ids", api_key) and not _is_same(vendor.uploads.files(session), files):
        raise Refused("SESSION_ALREADY_INITIALIZED", "This upload_session_id was used for other files.")
    rows = vendor.uploads.files(session)
    told = [{"file_id": row["file_id"], "file_name": row["name"], "part_size": session["part_size"]} for row in rows]
    return Json({"success": True, "upload_session_id": session_id, "files": told})


async def part_addresses(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Return presigned addresses for the parts of one file."""
    body = body_of(await request.body(), "PartsRequest", strict=vendor.knob("strict_properties", api_key))
    session, file = _session_and_file(vendor, request, api_key, body["file_id"])
    is_gone = vendor.now(api_key) >= session["created"] + SESSION_LIVES
    if is_gone or _state(vendor, file, api_key) != "open":
        raise Refused("FILE_NOT_UPLOADABLE", "This file was completed or aborted.")
    count = _part_count(session, file)
    for position, number in enumerate(body["part_numbers"]):
        if number > count:
            raise invalid(f"this file has {count} parts", "part_numbers", position)
    told = [
        {"part_number": number, "url": _put_address(vendor, request, api_key, file, number)}
        for number in dict.fromkeys(body["part_numbers"])
    ]
    return Json({**_echo(session, file), "part_size": session["part_size"], "part_urls": told})


async def put_part(vendor: Vendor, request: Request) -> Response:
    """Keep one part; the address is all the permission there is."""
    content = await request.body()
    if "authorization" in request.headers:
        return storage_refusal(400, "InvalidArgument", "Only one auth mechanism allowed")
    is_ours = vendor.addresses.is_ours(request)
    file = vendor.uploads.file_and_key(request.path_params["file"]) if is_ours else None
    refused = vendor.addresses.refusal(request, vendor.now(file["api_key"] if file else None))
    if refused is not None:
        return refused
    if file is None or _state(vendor, file, file["api_key"]) != "open":
        return storage_refusal(404, "NoSuchUpload", "The specified upload does not exist.")
    e_tag = vendor.uploads.put(file, request.path_params["part"], content)
    return vendor.spoilt(Response(status_code=200, headers={"ETag": e_tag}), "put", file["api_key"])


async def complete_file(vendor: Vendor, request: Request, api_key: str) -> Response:
    """Make a document of the parts; once more is success too."""
    body = body_of(await request.body(), "CompleteRequest", strict=vendor.knob("strict_properties", api_key))
    session, file = _session_and_file(vendor, request, api_key, body["file_id"])
    state = _state(vendor, file, api_key)
    if state == "aborted":
        raise Refused("FILE_ABORTED", "This upload was aborted; a new session is needed.")
    if state == "completed":
        return Json(_echo(session, file))
    if vendor.now(api_key) >= session["created"] + SESSION_LIVES:
        raise Refused("UPLOAD_ID_NOT_FOUND", "This upload is gone; a new session is needed.")
    if vendor.take("complete_fail_n", api_key):
        raise Refused("UPLOAD_COMPLETE_FAILED", "The upload could not be completed; please repeat the call.")
    stored = vendor.uploads.parts(file)
    _check_parts(body["parts"], stored, _part_count(session, file), strict=vendor.knob("strict_etag", api_key))
    size = sum(part["size"] for part in stored)
    if size != file["size"]:
        vendor.uploads.abort(file)
        details = {"declared_size_bytes": file["size"], "actual_size_bytes": size}
        raise Refused("OBJECT_SIZE_MISMATCH", "The stored bytes are not as many as declared.", details)
    vendor.uploads.complete(file, stored)
    return Json({**_echo(session, file), "status": "completed"})


def _check_files(files: list[dict[str, Any]]) -> None:
    for code, member in (("DUPLICATE_FILE_ID", "file_id"), ("DUPLICATE_FILE_NAME", "file_name")):
        if len({file[member] for file in files}) < len(files):
            raise Refused(code, f"Each {member} may occur once in a session.")
    for file in files:
        most = MAX_PDF if file["file_name"].lower().endswith(".pdf") else MAX_IMAGE
        if file["file_size_bytes"] > most:
            details = {"file_id": file["file_id"], "max_file_size_bytes": most}
            raise Refused("FILE_TOO_LARGE", f"{file['file_name']} is larger than {most} bytes.", details)
    total = sum(file["file_size_bytes"] for file in files)
    if total > MAX_SESSION:
        details = {"total_size_bytes": total, "max_total_size_bytes": MAX_SESSION}
        raise Refused("TOTAL_UPLOAD_SIZE_LIMIT_EXCEEDED", "The session is larger than 2 GB.", details)


def _check_credits(vendor: Vendor, api_key: str, file_count: int) -> None:
    balance, reserved = vendor.credits(api_key)
    if balance - reserved < file_count:
        details = {"credits_balance": balance, "credits_reserved": reserved, "file_count": file_count}
        raise Refused("INSUFFICIENT_CREDITS", "There are fewer free credits than files.", details)


def _is_same(rows: list[Row], files: list[dict[str, Any]]) -> bool:
    kept = sorted((row["file_id"], row["name"], row["size"]) for row in rows)
    return kept == sorted((file["file_id"], file["file_name"], file["file_size_bytes"]) for file in files)


def _session_and_file(vendor: Vendor, request: Request, api_key: str, file_id: str) -> tuple[Row, Row]:
    session = vendor.uploads.session(api_key, request.path_params["upload_session_id"])
    file = vendor.uploads.file(session, file_id) if session else None
    if session is None or file is None:
        raise Refused("FILE_NOT_FOUND", "No such file in this session.")
    return session, file


def _state(vendor: Vendor, file: Row, api_key: str) -> str:
    is_aborted = is_named(File(file["file_id"], file["name"], ""), vendor.knob("abort_files", api_key))
    return "aborted" if file["state"] == "open" and is_aborted else str(file["state"])


def _part_count(session: Row, file: Row) -> int:
    return max(1, math.ceil(int(file["size"]) / int(session["part_size"])))


def _put_address(vendor: Vendor, request: Request, api_key: str, file: Row, number: int) -> str:
    lives = vendor.knob("put_expiry", api_key)
    lives = vendor.scaled(PUT_LIVES) if lives is None else lives
    return vendor.addresses.sign(request, "PUT", f"/storage/uploads/{file['seq']}/{number}", vendor.now(api_key), lives)


def _echo(session: Row, file: Row) -> dict[str, Any]:
    return {
        "success": True,
        "upload_session_id": session["id"],
        "file_id": file["file_id"],
        "file_name": file["name"],
    }


def _check_parts(parts: list[dict[str, Any]], stored: list[Row], count: int, *, strict: bool) -> None:
    told = {part["part_number"]: part["e_tag"] for part in parts}
    kept = {row["number"]: row["e_tag"] for row in stored}
    if len(told) < len(parts) or set(told) != set(range(1, count + 1)):
        raise _wrong_parts(f"the parts must be 1 to {count}, each once")
    for number, e_tag in told.items():
        wanted = kept.get(number)
        if wanted is None:
            raise _wrong_parts(f"part {number} was not uploaded")
        if e_tag != wanted and (strict or e_tag.strip('"') != wanted.strip('"')):
            raise _wrong_parts(f"the e_tag of part {number} is not the one that was answered, quotes included")


def _wrong_parts(reason: str) -> Refused:
    return Refused("INVALID_COMPLETION_PARTS", "The parts cannot be completed.", {"reason": reason})
