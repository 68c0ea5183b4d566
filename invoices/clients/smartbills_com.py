"""The client of api.smartbills.com: submit a document, poll its job, list jobs, download the original.

Each call is one request. The API has no idempotency key: each accepted submission is a new job (contract sheet 01 §6),
so an unclear outcome is an UnknownOutcome and is never repeated here. Responses may be bare, as in the vendor's
documentation, or wrapped in ``{success, data, error}``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

import requests

from invoices.clients.error_bodies import parse_error_body, redact_secrets
from invoices.clients.http_client import MEGABYTE, ApiResponse, HttpClient, Timeouts, make_session, send_request_once
from invoices.clients.json_fields import find_path_safe_id, find_text, find_timestamp, is_path_safe_id
from invoices.clients.list_responses import get_complete_list
from invoices.clients.multipart_form_parts import build_field_part, build_file_part
from invoices.clients.rate_limit_headers import RateLimit, find_rate_limit
from invoices.errors import AccountError, ContractError, DocumentError, TransientError

FILE_HOST = "files.smartbills.com"
MAX_FILE_BYTES = 25 * MEGABYTE

__all__ = ["JobSummary", "RateLimit", "RemoteJob", "SmartBillsComClient", "SubmittedJob"]


@dataclass(frozen=True, slots=True)
class SubmittedJob:
    """An accepted submission; it can be identified by ``id`` only."""

    id: str
    status: str
    created_at: dt.datetime | None
    file_url: str | None
    rate_limit: RateLimit | None = None


@dataclass(frozen=True, slots=True)
class RemoteJob:
    """A job's state: ``processing``, ``completed``, ``failed``, or an unknown word, which means not yet done.

    ``extracted_data`` is the vendor's JSON with every value as stated, fractions as ``Decimal``; usually an object.
    """

    id: str
    status: str
    extracted_data: Any = field(default=None, repr=False)
    error_code: str | None = None
    error_message: str | None = None
    rate_limit: RateLimit | None = None
    created_at: dt.datetime | None = None
    file_url: str | None = None


@dataclass(frozen=True, slots=True)
class JobSummary:
    """A job in the vendor's list; all fields but ``id`` may be missing."""

    id: str
    status: str | None = None
    created_at: dt.datetime | None = None
    file_url: str | None = None


class SmartBillsComClient:
    """The extraction API for one account; ``base_url`` is the part before ``/v1``."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        session: requests.Session,
        deadline: float = 120.0,
        version: str | None = None,
        extract_line_items: bool | None = None,
    ) -> None:
        """Use a session from ``make_session``; one call takes at most ``deadline`` seconds.

        ``version`` pins the vendor's API (for example ``1.2.0``); without it the vendor uses its latest stable one.
        ``extract_line_items`` requests or declines lines; the vendor's default has changed between versions. Neither
        is sent unless given. Raises ConfigurationError for an unusable URL, key or version.
        """
        self._timeouts = Timeouts.from_deadline(deadline)
        headers = {"Authorization": f"Bearer {api_key}", "Accept": "application/json"}
        if version is not None:
            headers["SmartBills-Version"] = version
        self._extract_line_items = extract_line_items
        self._http_client = HttpClient(base_url, session, headers, (api_key,), self._timeouts)

    def __repr__(self) -> str:
        """Return the URL without any secret."""
        return f"SmartBillsComClient({self._http_client.base_url!r})"

    def submit_document(self, content: bytes, file_name: str, media_type: str) -> SubmittedJob:
        """Upload one document with exactly one POST, and return its job.

        Raises UnknownOutcome if the document may have arrived (also after a 2xx without a job id), DocumentError if
        the vendor refuses it, TransientError, AccountError, ContractError.
        """
        form_parts = {"file": build_file_part(content, file_name, media_type)}
        if self._extract_line_items is not None:
            form_parts["extract_line_items"] = build_field_part("true" if self._extract_line_items else "false")
        response = self._http_client.send_request("POST", "v1/invoices/extract", files=form_parts)
        fields = _parse_response_object(response)
        job_id = find_path_safe_id(fields, "id")
        if job_id is None:
            raise response.build_unreadable_error("it has no usable job id")
        return SubmittedJob(
            id=job_id,
            status=find_text(fields, "status", 100) or "unknown",
            created_at=find_timestamp(fields, "created_at"),
            file_url=find_text(fields, "file_url"),
            rate_limit=find_rate_limit(response.headers),
        )

    def poll_job(self, job_id: str) -> RemoteJob:
        """Return the state of a job; raises NotFound if there is none, ContractError if the response is for another."""
        if not is_path_safe_id(job_id):
            raise ContractError(f"{job_id!r} is not a valid job id of this API")
        response = self._http_client.send_request("GET", f"v1/invoices/{job_id}")
        fields = _parse_response_object(response)
        if fields.get("id") != job_id:
            raise response.build_unreadable_error(f"it is not for the job {job_id!r}")
        status = find_text(fields, "status", 100)
        if status is None:
            raise response.build_unreadable_error(f"it has no status for {job_id!r}")
        error_code, error_message = _parse_job_error(fields, response)
        return RemoteJob(
            job_id, status, fields.get("extracted_data"), error_code, error_message, find_rate_limit(response.headers),
            find_timestamp(fields, "created_at"), find_text(fields, "file_url"),
        )  # fmt: skip

    def list_jobs(self) -> list[JobSummary]:
        """Return the jobs in the vendor's list.

        The list is not documented (contract sheet 01 §2). Anything but one complete list of objects with ids, bare or
        under ``data``, is a ContractError: a job missing from a partial list would look as if it had never existed.
        """
        response = self._http_client.send_request("GET", "v1/invoices")
        entries = get_complete_list(_unwrap_success_envelope(response.parse_json(), response), ("data",), response)
        return [_parse_job_summary(entry, response) for entry in entries]

    def fetch_job_file(self, file_url: str) -> bytes:
        """Download the document of a job, without sending any credential.

        Requests go only to this API's own origin, or to https on files.smartbills.com. Raises ContractError for any
        other URL and if access is refused, NotFound if the file is gone, TransientError if it may be incomplete.
        """
        self._check_file_url(file_url)
        request = requests.Request("GET", file_url, headers={"Accept-Encoding": "identity"})
        with make_session() as anonymous_session:
            try:
                response = send_request_once(anonymous_session, request, self._timeouts, max_bytes=MAX_FILE_BYTES)
            except AccountError as error:  # no credential was sent, so the account is not the reason
                raise ContractError(f"access to the file of a job is refused: {error}") from None
        if not response.is_length_declared:
            raise TransientError(f"{response.call} answered without a length, so the file may be incomplete")
        return response.body

    def _check_file_url(self, file_url: str) -> None:
        """Raise ContractError unless the URL belongs to this API; the message never quotes more than the host."""
        try:
            url_parts = urlsplit(file_url)
            origin = _get_url_origin(url_parts)
        except ValueError:
            url_parts, origin = SplitResult("", "", "", "", ""), ("", None, None)
        allowed_origins = {_get_url_origin(urlsplit(self._http_client.base_url)), ("https", FILE_HOST, 443)}
        is_plain = file_url.isascii() and file_url.isprintable() and not set(file_url) & set(' \\"<>')
        if not is_plain or "@" in url_parts.netloc or origin not in allowed_origins:
            host = url_parts.hostname or ""
            raise ContractError(f"the file URL of a job names the host {host!r}, from which this API serves no files")


def _get_url_origin(url_parts: SplitResult) -> tuple[str, str | None, int | None]:
    return url_parts.scheme, url_parts.hostname, url_parts.port or {"https": 443, "http": 80}.get(url_parts.scheme)


def _parse_response_object(response: ApiResponse) -> dict[str, Any]:
    """Return the object in the response, without the envelope."""
    fields = _unwrap_success_envelope(response.parse_answer(), response)
    if not isinstance(fields, dict):
        raise response.build_unreadable_error("it is not an object")
    return fields


def _unwrap_success_envelope(value: Any, response: ApiResponse) -> Any:
    """Return ``data`` of ``{success, data, error}``, else ``value`` itself; ``success: false`` is a refusal."""
    if not isinstance(value, dict) or not isinstance(value.get("success"), bool):
        return value
    if value["success"]:
        return value.get("data")
    detail = parse_error_body(response.body, response.call.secrets)
    message = " ".join(filter(None, [detail.code, repr(detail.message) if detail.message else None])) or "no reason"
    message = f"{response.call} answered {response.status} but refuses the request: {message}"
    if response.call.carries_document:
        raise DocumentError(message, reason_code="request_refused", request_id=response.request_id)
    raise ContractError(message, request_id=response.request_id)


def _parse_job_error(fields: Mapping[str, Any], response: ApiResponse) -> tuple[str | None, str | None]:
    error = fields.get("error")
    if isinstance(error, str):
        return redact_secrets(error, response.call.secrets, 64), None
    if not isinstance(error, dict):
        return None, None
    secrets = response.call.secrets
    return redact_secrets(error.get("code"), secrets, 64), redact_secrets(error.get("message"), secrets)


def _parse_job_summary(entry: Any, response: ApiResponse) -> JobSummary:
    job_id = find_path_safe_id(entry, "id") if isinstance(entry, dict) else None
    if job_id is None:
        raise response.build_unreadable_error("an entry in its list has no usable job id")
    return JobSummary(
        job_id, find_text(entry, "status", 100), find_timestamp(entry, "created_at"), find_text(entry, "file_url")
    )
