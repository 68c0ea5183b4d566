"""Answers to uploading: how files are cut, where parts go, and whether a file is complete."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from invoices.clients.invoicedataextraction_com.asking import check_about, check_our_ids, succeeded, unique
from invoices.clients.invoicedataextraction_com.values import FileToUpload, UploadSession
from invoices.clients.transport import Reply
from invoices.clients.wire_values import text, whole
from invoices.errors import ContractError

MOST_FILES = 6_000
MOST_PARTS = 10_000  # of one file
MOST_PARTS_AT_ONCE = 1_000


def session_body(session_id: str, files: Sequence[FileToUpload]) -> dict[str, Any]:
    """Return the request that opens a session; raises ContractError for what the vendor would refuse."""
    check_our_ids(session_id, *(file.file_id for file in files))
    unique([file.file_id for file in files], "a file id")
    unique([file.file_name for file in files], "a file name")
    if not 1 <= len(files) <= MOST_FILES:
        raise ContractError(f"a session takes 1 to {MOST_FILES:,} files, not {len(files):,}")
    told = [{"file_id": f.file_id, "file_name": f.file_name, "file_size_bytes": f.size} for f in files]
    return {"upload_session_id": session_id, "files": told}


def session_of(reply: Reply, session_id: str, files: Sequence[FileToUpload]) -> UploadSession:
    """Return the session; raises TransientError unless each file is told how it is cut."""
    fields = succeeded(reply)
    check_about(reply, fields, "upload_session_id", session_id)
    told = {text(entry, "file_id"): whole(entry, "part_size") for entry in _objects(fields.get("files"))}
    sizes = {file.file_id: told.get(file.file_id) or 0 for file in files}
    for file in files:
        if sizes[file.file_id] * MOST_PARTS < file.size:
            raise reply.unreadable(f"it tells no usable part size for {file.file_id!r}")
    return UploadSession(session_id, sizes)


def parts_body(file_id: str, part_numbers: Sequence[int]) -> dict[str, Any]:
    """Return the request for the addresses of parts; raises ContractError for what the vendor would refuse."""
    check_our_ids(file_id)
    if not 1 <= len(part_numbers) <= MOST_PARTS_AT_ONCE or not all(1 <= n <= MOST_PARTS for n in part_numbers):
        raise ContractError(f"1 to {MOST_PARTS_AT_ONCE:,} parts are asked for at once, numbered from 1")
    return {"file_id": file_id, "part_numbers": list(part_numbers)}


def part_urls_of(reply: Reply, session_id: str, file_id: str, part_numbers: Iterable[int]) -> dict[int, str]:
    """Return the address of each part that was asked for; raises TransientError where one is missing."""
    fields = succeeded(reply)
    check_about(reply, fields, "upload_session_id", session_id)
    check_about(reply, fields, "file_id", file_id)
    told = {whole(entry, "part_number"): text(entry, "url") for entry in _objects(fields.get("part_urls"))}
    found = {number: url for number in part_numbers if (url := told.get(number)) is not None}
    if len(found) < len(set(part_numbers)):
        raise reply.unreadable(f"it tells no address for a part of {file_id!r}")
    return found


def completion_body(file_id: str, e_tags: Mapping[int, str]) -> dict[str, Any]:
    """Return the request that completes a file; raises ContractError unless the parts are 1 to n."""
    check_our_ids(file_id)
    if not e_tags or sorted(e_tags) != list(range(1, len(e_tags) + 1)):
        raise ContractError(f"the parts of {file_id!r} are not 1 to {len(e_tags)}: {sorted(e_tags)[:20]!r}")
    return {"file_id": file_id, "parts": [{"part_number": n, "e_tag": e_tags[n]} for n in sorted(e_tags)]}


def check_completed(reply: Reply, session_id: str, file_id: str) -> None:
    """Raise ContractError or TransientError unless the file is complete; no status means it was so before."""
    fields = succeeded(reply)
    check_about(reply, fields, "upload_session_id", session_id)
    check_about(reply, fields, "file_id", file_id)
    if fields.get("status") not in (None, "completed"):
        raise reply.unreadable(f"the file {file_id!r} is {str(fields['status'])[:60]!r}, not completed")


def _objects(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
