"""Requests and responses of an upload: the part sizes of the files, the URLs of parts, the completion of a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from invoices.clients.http_client import ApiResponse
from invoices.clients.invoicedataextraction_com.api_models import FileToUpload, UploadSession
from invoices.clients.invoicedataextraction_com.api_transport import (
    check_client_chosen_ids,
    check_echoed_id,
    check_no_duplicates,
    parse_success_object,
)
from invoices.clients.json_fields import find_text, find_whole_number, list_objects
from invoices.errors import ContractError

MAX_FILES = 6_000
MAX_PARTS = 10_000  # of one file
MAX_PARTS_PER_REQUEST = 1_000


def build_session_body(session_id: str, files: Sequence[FileToUpload]) -> dict[str, Any]:
    """Return the body that opens a session; raises ContractError for what the vendor would refuse."""
    check_client_chosen_ids(session_id, *(file.file_id for file in files))
    check_no_duplicates([file.file_id for file in files], "file id")
    check_no_duplicates([file.file_name for file in files], "file name")
    if not 1 <= len(files) <= MAX_FILES:
        raise ContractError(f"a session takes 1 to {MAX_FILES:,} files, not {len(files):,}")
    file_entries = [
        {"file_id": file.file_id, "file_name": file.file_name, "file_size_bytes": file.size} for file in files
    ]
    return {"upload_session_id": session_id, "files": file_entries}


def parse_upload_session(response: ApiResponse, session_id: str, files: Sequence[FileToUpload]) -> UploadSession:
    """Return the session; raises TransientError unless it has a usable part size for each file."""
    fields = parse_success_object(response)
    check_echoed_id(response, fields, "upload_session_id", session_id)
    stated_sizes = {
        find_text(entry, "file_id"): find_whole_number(entry, "part_size")
        for entry in list_objects(fields.get("files"))
    }
    part_sizes = {file.file_id: stated_sizes.get(file.file_id) or 0 for file in files}
    for file in files:
        if part_sizes[file.file_id] * MAX_PARTS < file.size:
            raise response.build_unreadable_error(f"it has no usable part size for {file.file_id!r}")
    return UploadSession(session_id, part_sizes)


def build_part_urls_body(file_id: str, part_numbers: Sequence[int]) -> dict[str, Any]:
    """Return the body that requests the URLs of parts; raises ContractError for what the vendor would refuse."""
    check_client_chosen_ids(file_id)
    if not 1 <= len(part_numbers) <= MAX_PARTS_PER_REQUEST or not all(
        1 <= part_number <= MAX_PARTS for part_number in part_numbers
    ):
        raise ContractError(
            f"one request takes the URLs of 1 to {MAX_PARTS_PER_REQUEST:,} parts, numbered 1 to {MAX_PARTS:,}"
        )
    return {"file_id": file_id, "part_numbers": list(part_numbers)}


def parse_part_urls(
    response: ApiResponse, session_id: str, file_id: str, part_numbers: Iterable[int]
) -> dict[int, str]:
    """Return the URL of each requested part; raises TransientError if one is missing."""
    fields = parse_success_object(response)
    check_echoed_id(response, fields, "upload_session_id", session_id)
    check_echoed_id(response, fields, "file_id", file_id)
    stated_urls = {
        find_whole_number(entry, "part_number"): find_text(entry, "url")
        for entry in list_objects(fields.get("part_urls"))
    }
    part_urls = {part_number: url for part_number in part_numbers if (url := stated_urls.get(part_number)) is not None}
    if len(part_urls) < len(set(part_numbers)):
        raise response.build_unreadable_error(f"it lacks the URL of a part of {file_id!r}")
    return part_urls


def build_completion_body(file_id: str, e_tags: Mapping[int, str]) -> dict[str, Any]:
    """Return the body that completes a file; raises ContractError unless the parts are 1 to n."""
    check_client_chosen_ids(file_id)
    if not e_tags or sorted(e_tags) != list(range(1, len(e_tags) + 1)):
        raise ContractError(f"the parts of {file_id!r} are not numbered 1 to n: {sorted(e_tags)[:20]!r}")
    return {
        "file_id": file_id,
        "parts": [{"part_number": part_number, "e_tag": e_tags[part_number]} for part_number in sorted(e_tags)],
    }


def check_file_completed(response: ApiResponse, session_id: str, file_id: str) -> None:
    """Raise ContractError or TransientError unless the file is complete; without a status it already was."""
    fields = parse_success_object(response)
    check_echoed_id(response, fields, "upload_session_id", session_id)
    check_echoed_id(response, fields, "file_id", file_id)
    if fields.get("status") not in (None, "completed"):
        raise response.build_unreadable_error(f"the file {file_id!r} is {str(fields['status'])[:60]!r}, not completed")
