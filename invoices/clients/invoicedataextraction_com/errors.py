"""What this vendor's refusals mean for the caller: decided by the code, then by ``retryable``, then by the status.

invoices.errors
├── AccountError ── NotEnoughCredits       add credits
├── TransientError ── SubmissionsPaused    send the same submission again, after ``retry_after``
├── DocumentError ── FilesRefused          leave these files out, continue with the others
├── UnknownOutcome ── Conflict             look it up first
│   ├── AlreadyUploaded                    complete the file and continue
│   └── SubmissionExists                   adopt ``extraction_id``, or use another id
└── ContractError
    ├── NotFound ── ExpiredUrl             request a new URL
    │           └── OutputGone             there is no output (any more)
    ├── SessionGone                        upload again, in a session with a new id
    ├── PartRefused                        upload the parts again, then complete
    └── TaskRefused                        as for a failed task with this ``error``

Sources: contract sheet 02 §4. The vendor documents ``retryable`` as the field to branch on, and returns task errors
either as a state or as an HTTP error.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from invoices.clients import error_mapping
from invoices.clients.error_bodies import parse_error_body, redact_secrets
from invoices.clients.error_mapping import ACCOUNT_STATUSES, ApiCall, Conflict, NotFound
from invoices.clients.invoicedataextraction_com.api_models import TaskError
from invoices.clients.invoicedataextraction_com.response_parsers import find_integer, parse_task_error
from invoices.clients.json_fields import list_objects, list_texts
from invoices.clients.rate_limit_headers import MAX_WAIT_SECONDS, find_retry_after, try_parse_timestamp
from invoices.clients.strict_json import InvalidJsonError, parse_json
from invoices.errors import AccountError, ContractError, DocumentError, InvoicesError, TransientError

DEFAULT_PAUSE_SECONDS = 300.0  # for a pause without an end (contract sheet 02 §4.1)


class NotEnoughCredits(AccountError):
    """The account lacks credits; ``balance`` includes ``reserved``; None for what the vendor does not state."""

    balance: int | None = None
    reserved: int | None = None
    required: int | None = None


class SubmissionsPaused(TransientError):
    """The vendor accepts no submissions for a while; the same one may be sent after ``retry_after`` seconds."""


class FilesRefused(DocumentError):
    """The vendor does not accept some files; ``file_ids`` and ``file_names`` are those that it names."""

    file_ids: tuple[str, ...] = ()
    file_names: tuple[str, ...] = ()


class AlreadyUploaded(Conflict):
    """The vendor accepts no more parts: the file is complete or aborted, which ``finish_file_upload`` finds out."""


class SubmissionExists(Conflict):
    """The submission id belongs to another request; ``extraction_id`` is the extraction of that request."""

    extraction_id: str | None = None
    differing_fields: tuple[str, ...] = ()


class ExpiredUrl(NotFound):
    """A presigned URL has expired: request a new one."""


class OutputGone(NotFound):
    """The extraction has no output, or its output has expired."""


class SessionGone(ContractError):
    """The upload session, or a file in it, cannot be used: upload again under a new session id."""


class PartRefused(ContractError):
    """The stored parts do not match: upload them again and complete with the new ETags."""


class TaskRefused(ContractError):
    """A submission is refused for a reason that usually fails a task; ``error`` is the error of that task."""

    error: TaskError = TaskError("UNKNOWN")
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class ErrorEnvelope:
    """A parsed error envelope; ``details`` is never None."""

    call: ApiCall
    status: int
    message: str
    code: str
    is_retryable: bool | None
    details: Mapping[str, Any]
    error_fields: Mapping[str, Any]
    retry_after: float | None
    response_date: object
    request_id: str | None


def build_status_error(call: ApiCall, status: int, headers: Mapping[str, str], body: bytes) -> InvoicesError:
    """Return the error for a response other than 2xx."""
    envelope = _find_error_envelope(call, status, headers, body)
    if envelope is None or (status >= 500 and not call.is_idempotent):
        return error_mapping.build_status_error(call, status, headers, body)
    return _find_error_by_code(envelope) or error_mapping.build_status_error(call, status, headers, body)


def build_envelope_error(call: ApiCall, status: int, headers: Mapping[str, str], body: bytes) -> InvoicesError:
    """Return the error for a 2xx whose ``success`` is not true: the one in its envelope."""
    envelope = _find_error_envelope(call, status, headers, body)
    if envelope is not None and (mapped_error := _find_error_by_code(envelope)) is not None:
        return mapped_error
    request_id = error_mapping.find_request_id(call, headers)
    if envelope is None:
        return error_mapping.build_unreadable_response_error(
            call, "it reports neither success nor an error", request_id
        )
    return ContractError(envelope.message, request_id=request_id)


def _find_error_by_code(envelope: ErrorEnvelope) -> InvoicesError | None:
    """Return the error by the code, else by ``retryable``; None if only the status can decide."""
    if envelope.code in ERROR_BUILDERS:
        return ERROR_BUILDERS[envelope.code](envelope)
    if envelope.status in ACCOUNT_STATUSES or envelope.status == 429:
        return None
    if envelope.is_retryable:
        return _build_transient_error(envelope)
    if envelope.is_retryable is False and envelope.status >= 500:
        return _build_contract_error(envelope)
    return None


def _find_error_envelope(call: ApiCall, status: int, headers: Mapping[str, str], body: bytes) -> ErrorEnvelope | None:
    """Return the envelope in ``body``, or None if there is none."""
    try:
        value = parse_json(body)
    except InvalidJsonError:
        return None
    error_fields = value.get("error") if isinstance(value, dict) else None
    if not isinstance(error_fields, dict):
        return None
    detail, details = parse_error_body(body, call.secrets), error_fields.get("details")
    retryable = error_fields.get("retryable")
    return ErrorEnvelope(
        call=call,
        status=status,
        message=error_mapping.format_error_message(call, status, detail),
        code=detail.code or "",
        is_retryable=retryable if isinstance(retryable, bool) else None,
        details=details if isinstance(details, dict) else {},
        error_fields=error_fields,
        retry_after=find_retry_after(headers, detail.retry_after),
        response_date=headers.get("Date"),
        request_id=error_mapping.find_request_id(call, headers, detail),
    )


def _build_transient_error(envelope: ErrorEnvelope) -> InvoicesError:
    return TransientError(envelope.message, retry_after=envelope.retry_after, request_id=envelope.request_id)


def _build_submissions_paused_error(envelope: ErrorEnvelope) -> InvoicesError:
    now = try_parse_timestamp(envelope.response_date) or dt.datetime.now(dt.UTC)
    resumes_at = try_parse_timestamp(envelope.details.get("resumes_at"))
    wait_seconds = (resumes_at - now).total_seconds() if resumes_at else 0.0
    wait_seconds = wait_seconds if wait_seconds > 0 else envelope.retry_after or DEFAULT_PAUSE_SECONDS
    return SubmissionsPaused(
        envelope.message, retry_after=min(wait_seconds, MAX_WAIT_SECONDS), request_id=envelope.request_id
    )


def _build_account_error(envelope: ErrorEnvelope) -> InvoicesError:
    return AccountError(envelope.message, request_id=envelope.request_id)


def _build_not_enough_credits_error(envelope: ErrorEnvelope) -> InvoicesError:
    error = NotEnoughCredits(envelope.message, request_id=envelope.request_id)
    details = envelope.details
    error.balance, error.reserved = find_integer(details, "credits_balance"), find_integer(details, "credits_reserved")
    required = find_integer(details, "credits_required")
    error.required = find_integer(details, "file_count") if required is None else required
    return error


def _build_contract_error(envelope: ErrorEnvelope) -> InvoicesError:
    return ContractError(_format_message_with_issues(envelope), request_id=envelope.request_id)


def _build_invalid_input_error(envelope: ErrorEnvelope) -> InvoicesError:
    """Return SessionGone if all issues are about the session or its files, else ContractError.

    The vendor refuses a file that is not (any more) in its session as invalid input, with the path ``["file_ids", i]``.
    """
    paths = [issue.get("path") for issue in list_objects(envelope.details.get("issues"))]
    if paths and all(
        isinstance(path, list) and (path[:1] == ["upload_session_id"] or (path[:1] == ["file_ids"] and len(path) == 2))
        for path in paths
    ):
        return SessionGone(_format_message_with_issues(envelope), request_id=envelope.request_id)
    return _build_contract_error(envelope)


def _make_files_refused_builder(reason_code: str) -> Callable[[ErrorEnvelope], InvoicesError]:
    def build_files_refused_error(envelope: ErrorEnvelope) -> InvoicesError:
        file_ids = _list_detail_values(envelope.details, "file_id")
        file_names = _list_detail_values(envelope.details, "file_name")
        file_list = ", ".join(repr(file) for file in (*file_ids, *file_names)[:10])
        message = redact_secrets(
            f"{envelope.message}{': ' + file_list if file_list else ''}", envelope.call.secrets, 500
        )
        error = FilesRefused(message or "", reason_code=reason_code, request_id=envelope.request_id)
        error.file_ids, error.file_names = file_ids, file_names
        return error

    return build_files_refused_error


def _make_error_builder(error_type: type[InvoicesError]) -> Callable[[ErrorEnvelope], InvoicesError]:
    return lambda envelope: error_type(envelope.message, request_id=envelope.request_id)


def _build_submission_exists_error(envelope: ErrorEnvelope) -> InvoicesError:
    error = SubmissionExists(envelope.message, request_id=envelope.request_id)
    extraction_id, differing_fields = envelope.details.get("extraction_id"), envelope.details.get("differing_fields")
    error.extraction_id = extraction_id if isinstance(extraction_id, str) and extraction_id else None
    error.differing_fields = list_texts(differing_fields)
    return error


def _build_task_refused_error(envelope: ErrorEnvelope) -> InvoicesError:
    error = TaskRefused(envelope.message, request_id=envelope.request_id)
    error.error = parse_task_error(envelope.error_fields, envelope.call.secrets) or TaskError(envelope.code)
    error.retry_after = envelope.retry_after
    return error


def _list_detail_values(details: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return the ids or names under ``name``, its plural, and in ``files`` and ``issues``, in that order."""
    values = [details.get(name), *list_texts(details.get(f"{name}s"))]
    values += [entry.get(name) for key in ("files", "issues") for entry in list_objects(details.get(key))]
    return tuple(dict.fromkeys(value for value in values if isinstance(value, str) and value))


def _format_message_with_issues(envelope: ErrorEnvelope) -> str:
    issues = list_objects(envelope.details.get("issues"))[:5]
    issue_list = "; ".join(f"{issue.get('path')!r} {issue.get('message')!r}" for issue in issues)
    message = f"{envelope.message}{': ' + issue_list if issue_list else ''}"
    return redact_secrets(message, envelope.call.secrets, 700) or envelope.message


ERROR_BUILDERS: Mapping[str, Callable[[ErrorEnvelope], InvoicesError]] = {  # contract sheet 02 §4.1, then §4.2
    "RATE_LIMITED": _build_transient_error,
    "INTERNAL_ERROR": _build_transient_error,
    "UPLOAD_COMPLETE_FAILED": _build_transient_error,
    "SUBMISSIONS_PAUSED": _build_submissions_paused_error,
    "UNAUTHENTICATED": _build_account_error,
    "API_KEY_EXPIRED": _build_account_error,
    "API_KEY_REVOKED": _build_account_error,
    "FORBIDDEN": _build_account_error,
    "INSUFFICIENT_CREDITS": _build_not_enough_credits_error,
    "INVALID_INPUT": _build_invalid_input_error,
    "DUPLICATE_FILE_NAME": _build_contract_error,
    "DUPLICATE_FILE_ID": _build_contract_error,
    "FILE_TOO_LARGE": _make_files_refused_builder("document_too_large"),
    "TOTAL_UPLOAD_SIZE_LIMIT_EXCEEDED": _make_files_refused_builder("upload_too_large"),
    "FILE_LINK_UNREADABLE": _make_files_refused_builder("content_refused"),
    "SESSION_ALREADY_INITIALIZED": _make_error_builder(SessionGone),
    "FILE_NOT_FOUND": _make_error_builder(SessionGone),
    "FILE_ABORTED": _make_error_builder(SessionGone),
    "UPLOAD_ID_NOT_FOUND": _make_error_builder(SessionGone),
    "OBJECT_SIZE_MISMATCH": _make_error_builder(SessionGone),
    "FILE_NOT_UPLOADABLE": _make_error_builder(AlreadyUploaded),
    "INVALID_COMPLETION_PARTS": _make_error_builder(PartRefused),
    "SUBMISSION_ID_ALREADY_USED": _build_submission_exists_error,
    "EXTRACTION_NOT_FOUND": _make_error_builder(NotFound),
    "NOT_FOUND": _make_error_builder(NotFound),
    "OUTPUT_NOT_AVAILABLE": _make_error_builder(OutputGone),
    "OUTPUT_EXPIRED": _make_error_builder(OutputGone),
    "EXTRACTION_IN_PROGRESS": _make_error_builder(Conflict),
    "EXTRACTION_NOT_CANCELLABLE": _make_error_builder(Conflict),
    **dict.fromkeys(
        (
            "CONCURRENT_TASK_LIMIT", "SUBMISSION_STALLED", "ENCRYPTED_FILE", "FILE_PAGE_LIMIT_EXCEEDED",
            "NO_PAGES_FOUND", "PROMPT_REJECTED", "PROMPT_UNCLEAR", "VALIDATION_FAILED", "FILE_SIZE_LIMIT_EXCEEDED",
            "PROCESSING_FILE_SIZE_LIMIT_EXCEEDED",
        ),
        _build_task_refused_error,
    ),
}  # fmt: skip
