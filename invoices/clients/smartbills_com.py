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

from invoices.clients.error_bodies import read_error, safe_text
from invoices.clients.listings import complete_list
from invoices.clients.throttling import RateLimit, rate_limit
from invoices.clients.transport import MEGABYTE, Origin, Patience, Reply, exchange, make_session
from invoices.clients.uploads import document_part, field_part
from invoices.clients.wire_values import is_opaque_id, moment, opaque_id, text
from invoices.errors import AccountError, ContractError, DocumentError, TransientError

FILE_HOST = "files.smartbills.com"
LARGEST_FILE = 25 * MEGABYTE

__all__ = ["Job", "JobSummary", "RateLimit", "SmartBillsCom", "SubmittedJob"]


@dataclass(frozen=True, slots=True)
class SubmittedJob:
    """An accepted submission; ``id`` is the only handle to it."""

    id: str
    status: str
    created_at: dt.datetime | None
    file_url: str | None
    limits: RateLimit | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job's state: ``processing``, ``completed``, ``failed``, or a word we do not know, which means not yet done.

    ``extracted_data`` is the vendor's JSON as it came, fractions as ``Decimal``.
    """

    id: str
    status: str
    extracted_data: dict[str, Any] | None = field(default=None, repr=False)
    error_code: str | None = None
    error_message: str | None = None
    limits: RateLimit | None = None
    created_at: dt.datetime | None = None
    file_url: str | None = None


@dataclass(frozen=True, slots=True)
class JobSummary:
    """A job as the list shows it; all but the id may be missing."""

    id: str
    status: str | None = None
    created_at: dt.datetime | None = None
    file_url: str | None = None


class SmartBillsCom:
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
        self._patience = Patience.within(deadline)
        headers = {"Authorization": f"Bearer {api_key}", "Accept": "application/json"}
        if version is not None:
            headers["SmartBills-Version"] = version
        self._extract_line_items = extract_line_items
        self._origin = Origin(base_url, session, headers, (api_key,), self._patience)

    def __repr__(self) -> str:
        """Show the address and nothing secret."""
        return f"SmartBillsCom({self._origin.base_url!r})"

    def submit(self, content: bytes, file_name: str, media_type: str) -> SubmittedJob:
        """Upload one document with exactly one POST, and return the job it became.

        Raises UnknownOutcome when it may have arrived (also a success without a job id), DocumentError when the vendor
        refuses the document, TransientError, AccountError, ContractError.
        """
        upload = {"file": document_part(content, file_name, media_type)}
        if self._extract_line_items is not None:
            upload["extract_line_items"] = field_part("true" if self._extract_line_items else "false")
        reply = self._origin.exchange("POST", "v1/invoices/extract", files=upload)
        fields = _object(reply)
        job_id = opaque_id(fields, "id")
        if job_id is None:
            raise reply.unreadable("it names no job id")
        return SubmittedJob(
            id=job_id,
            status=text(fields, "status", 100) or "unknown",
            created_at=moment(fields, "created_at"),
            file_url=text(fields, "file_url"),
            limits=rate_limit(reply.headers),
        )

    def job(self, job_id: str) -> Job:
        """Return the state of a job; raises NotFound for an unknown one, ContractError when told about another one."""
        if not is_opaque_id(job_id):
            raise ContractError(f"{job_id!r} is not an id this API gives")
        reply = self._origin.exchange("GET", f"v1/invoices/{job_id}")
        fields = _object(reply)
        if fields.get("id") != job_id:
            raise reply.unreadable(f"it is not about the job {job_id!r}")
        data = fields.get("extracted_data")
        if data is not None and not isinstance(data, dict):
            raise reply.unreadable(f"the extracted_data of {job_id!r} is no object")
        status = text(fields, "status", 100)
        if status is None:
            raise reply.unreadable(f"it tells no status for {job_id!r}")
        code, message = _failure(fields, reply)
        return Job(
            job_id, status, data, code, message, rate_limit(reply.headers),
            moment(fields, "created_at"), text(fields, "file_url"),
        )  # fmt: skip

    def jobs(self) -> list[JobSummary]:
        """Return the jobs the vendor lists.

        The list is not documented (contract sheet 01 §2): anything but one complete list of objects with ids, bare or
        as ``data``, is a ContractError, so that nobody takes a missing job for a job that never was.
        """
        reply = self._origin.exchange("GET", "v1/invoices")
        listed = complete_list(_unwrapped(reply.json(), reply), ("data",), reply)
        return [_summary(entry, reply) for entry in listed]

    def file(self, file_url: str) -> bytes:
        """Return the document a job was made from, fetched without any credential.

        Only this API's own origin, or https on files.smartbills.com, is asked; raises ContractError for another
        address and for a file that is not given out (NotFound where it is gone), TransientError when it may be cut.
        """
        self._check_place(file_url)
        request = requests.Request("GET", file_url, headers={"Accept-Encoding": "identity"})
        with make_session() as bare:
            try:
                reply = exchange(bare, request, self._patience, largest=LARGEST_FILE)
            except AccountError as error:  # no account was shown, so none is to blame
                raise ContractError(f"a file is not given out: {error}") from None
        if not reply.is_framed:
            raise TransientError(f"{reply.call} does not tell whether its answer is complete")
        return reply.body

    def _check_place(self, file_url: str) -> None:
        try:
            parts = urlsplit(file_url)
            place = _place(parts)
        except ValueError:
            parts, place = SplitResult("", "", "", "", ""), ("", None, None)
        allowed = {_place(urlsplit(self._origin.base_url)), ("https", FILE_HOST, 443)}
        is_plain = file_url.isascii() and file_url.isprintable() and not set(file_url) & set(' \\"<>')
        if not is_plain or "@" in parts.netloc or place not in allowed:
            raise ContractError(f"a file is said to be at {parts.hostname!r}, which is not this API's place for files")


def _place(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def _object(reply: Reply) -> dict[str, Any]:
    """Return the answer's object, unwrapped."""
    fields = _unwrapped(reply.json(), reply)
    if not isinstance(fields, dict):
        raise reply.unreadable("it is not an object")
    return fields


def _unwrapped(value: Any, reply: Reply) -> Any:
    """Return ``data`` of ``{success, data, error}``, else the value; a false success is the vendor's refusal."""
    if not isinstance(value, dict) or not isinstance(value.get("success"), bool):
        return value
    if value["success"]:
        return value.get("data")
    detail = read_error(reply.body, reply.call.secrets)
    told = f"{reply.call} answered {reply.status} but refuses: {detail.code} {detail.message!r}"
    if reply.call.carries_document:
        raise DocumentError(told, reason_code="request_refused", request_id=reply.request_id)
    raise ContractError(told, request_id=reply.request_id)


def _failure(fields: Mapping[str, Any], reply: Reply) -> tuple[str | None, str | None]:
    error = fields.get("error")
    if isinstance(error, str):
        return safe_text(error, reply.call.secrets, 64), None
    if not isinstance(error, dict):
        return None, None
    secrets = reply.call.secrets
    return safe_text(error.get("code"), secrets, 64), safe_text(error.get("message"), secrets)


def _summary(entry: Any, reply: Reply) -> JobSummary:
    job_id = opaque_id(entry, "id") if isinstance(entry, dict) else None
    if job_id is None:
        raise reply.unreadable("an entry of its list has no job id")
    return JobSummary(job_id, text(entry, "status", 100), moment(entry, "created_at"), text(entry, "file_url"))
