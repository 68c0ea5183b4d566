"""Speaking with api.smartbills.com: submit a document, look at its job, list jobs, fetch the original back.

One call here is one request on the wire. The API has no idempotency key: each accepted submission is a new job
(contract sheet 01 §6), so an unclear outcome is an UnknownOutcome and never repeated here. Answers are read bare, as
the vendor's own page shows them, or wrapped in ``{success, data, error}``.
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
from invoices.clients.multipart_form import build_field_part, build_file_part
from invoices.clients.rate_limit_headers import RateLimit, find_rate_limit
from invoices.errors import AccountError, ContractError, DocumentError, TransientError

FILE_HOST = "files.smartbills.com"
MAX_FILE_BYTES = 25 * MEGABYTE

__all__ = ["JobSummary", "RateLimit", "RemoteJob", "SmartBillsComClient", "SubmittedJob"]


@dataclass(frozen=True, slots=True)
class SubmittedJob:
    """An accepted submission; ``id`` is the only handle to it."""

    id: str
    status: str
    created_at: dt.datetime | None
    file_url: str | None
    rate_limit: RateLimit | None = None


@dataclass(frozen=True, slots=True)
class RemoteJob:
    """A job's state: ``processing``, ``completed``, ``failed``, or a word we do not know, which means not yet done.

    ``extracted_data`` is the vendor's JSON as it came, fractions as ``Decimal``.
    """

    id: str
    status: str
    extracted_data: dict[str, Any] | None = field(default=None, repr=False)
    error_code: str | None = None
    error_message: str | None = None
    rate_limit: RateLimit | None = None
    created_at: dt.datetime | None = None
    file_url: str | None = None


@dataclass(frozen=True, slots=True)
class JobSummary:
    """A job as the list shows it; all but the id may be missing."""

    id: str
    status: str | None = None
    created_at: dt.datetime | None = None
    file_url: str | None = None


class SmartBillsComClient:
    """The extraction API for one account; ``base_url`` stands before ``/v1``."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        session: requests.Session,
        deadline: float = 120.0,
        version: str | None = None,
        extract_line_items: bool | None = None,
    ) -> None:
        """Take a session from ``make_session`` and the seconds one call may take altogether.

        ``version`` pins the vendor's API (``1.2.0``; its latest stable one without), ``extract_line_items`` asks for
        lines or declines them (the default has changed between versions). Both are left out unless given. Raises
        ConfigurationError for an unusable address, key or version.
        """
        self._timeouts = Timeouts.from_deadline(deadline)
        headers = {"Authorization": f"Bearer {api_key}", "Accept": "application/json"}
        if version is not None:
            headers["SmartBills-Version"] = version
        self._extract_line_items = extract_line_items
        self._http_client = HttpClient(base_url, session, headers, (api_key,), self._timeouts)

    def __repr__(self) -> str:
        """Show the address and nothing secret."""
        return f"SmartBillsCom({self._http_client.base_url!r})"

    def submit_document(self, content: bytes, file_name: str, media_type: str) -> SubmittedJob:
        """Upload one document with exactly one POST, and return the job it became.

        Raises UnknownOutcome when it may have arrived (also a success without a job id), DocumentError when the vendor
        refuses the document, TransientError, AccountError, ContractError.
        """
        form_parts = {"file": build_file_part(content, file_name, media_type)}
        if self._extract_line_items is not None:
            form_parts["extract_line_items"] = build_field_part("true" if self._extract_line_items else "false")
        response = self._http_client.send_request("POST", "v1/invoices/extract", files=form_parts)
        fields = _parse_response_object(response)
        job_id = find_path_safe_id(fields, "id")
        if job_id is None:
            raise response.build_unreadable_error("it names no job id")
        return SubmittedJob(
            id=job_id,
            status=find_text(fields, "status", 100) or "unknown",
            created_at=find_timestamp(fields, "created_at"),
            file_url=find_text(fields, "file_url"),
            rate_limit=find_rate_limit(response.headers),
        )

    def poll_job(self, job_id: str) -> RemoteJob:
        """Return the state of a job; raises NotFound for an unknown one, ContractError when told about another one."""
        if not is_path_safe_id(job_id):
            raise ContractError(f"{job_id!r} is not an id this API gives")
        response = self._http_client.send_request("GET", f"v1/invoices/{job_id}")
        fields = _parse_response_object(response)
        if fields.get("id") != job_id:
            raise response.build_unreadable_error(f"it is not about the job {job_id!r}")
        extracted_data = fields.get("extracted_data")
        if extracted_data is not None and not isinstance(extracted_data, dict):
            raise response.build_unreadable_error(f"the extracted_data of {job_id!r} is no object")
        status = find_text(fields, "status", 100)
        if status is None:
            raise response.build_unreadable_error(f"it tells no status for {job_id!r}")
        error_code, error_message = _parse_job_error(fields, response)
        return RemoteJob(
            job_id, status, extracted_data, error_code, error_message, find_rate_limit(response.headers),
            find_timestamp(fields, "created_at"), find_text(fields, "file_url"),
        )  # fmt: skip

    def list_jobs(self) -> list[JobSummary]:
        """Return the jobs the vendor lists.

        The list is not documented (contract sheet 01 §2): anything but one complete list of objects with ids, bare or
        as ``data``, is a ContractError, so that nobody takes a missing job for a job that never was.
        """
        response = self._http_client.send_request("GET", "v1/invoices")
        entries = get_complete_list(_unwrap_success_envelope(response.parse_json(), response), ("data",), response)
        return [_parse_job_summary(entry, response) for entry in entries]

    def fetch_job_file(self, file_url: str) -> bytes:
        """Return the document a job was made from, fetched without any credential.

        Only this API's own origin, or https on files.smartbills.com, is asked; raises ContractError for another
        address and for a file that is not given out (NotFound where it is gone), TransientError when it may be cut.
        """
        self._check_file_url(file_url)
        request = requests.Request("GET", file_url, headers={"Accept-Encoding": "identity"})
        with make_session() as anonymous_session:
            try:
                response = send_request_once(anonymous_session, request, self._timeouts, max_bytes=MAX_FILE_BYTES)
            except AccountError as error:  # no account was shown, so none is to blame
                raise ContractError(f"a file is not given out: {error}") from None
        if not response.is_length_declared:
            raise TransientError(f"{response.call} does not tell whether its answer is complete")
        return response.body

    def _check_file_url(self, file_url: str) -> None:
        try:
            url_parts = urlsplit(file_url)
            origin = _get_url_origin(url_parts)
        except ValueError:
            url_parts, origin = SplitResult("", "", "", "", ""), ("", None, None)
        allowed_origins = {_get_url_origin(urlsplit(self._http_client.base_url)), ("https", FILE_HOST, 443)}
        is_plain = file_url.isascii() and file_url.isprintable() and not set(file_url) & set(' \\"<>')
        if not is_plain or "@" in url_parts.netloc or origin not in allowed_origins:
            raise ContractError(
                f"a file is said to be at {url_parts.hostname!r}, which is not this API's place for files"
            )


def _get_url_origin(url_parts: SplitResult) -> tuple[str, str | None, int | None]:
    return url_parts.scheme, url_parts.hostname, url_parts.port or {"https": 443, "http": 80}.get(url_parts.scheme)


def _parse_response_object(response: ApiResponse) -> dict[str, Any]:
    """Return the answer's object, unwrapped."""
    fields = _unwrap_success_envelope(response.parse_json(), response)
    if not isinstance(fields, dict):
        raise response.build_unreadable_error("it is not an object")
    return fields


def _unwrap_success_envelope(value: Any, response: ApiResponse) -> Any:
    """Return ``data`` of ``{success, data, error}``, else the value; a false success is the vendor's refusal."""
    if not isinstance(value, dict) or not isinstance(value.get("success"), bool):
        return value
    if value["success"]:
        return value.get("data")
    detail = parse_error_body(response.body, response.call.secrets)
    message = f"{response.call} answered {response.status} but refuses: {detail.code} {detail.message!r}"
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
        raise response.build_unreadable_error("an entry of its list has no job id")
    return JobSummary(
        job_id, find_text(entry, "status", 100), find_timestamp(entry, "created_at"), find_text(entry, "file_url")
    )
