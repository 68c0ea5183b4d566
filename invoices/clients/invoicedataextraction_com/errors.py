"""What this vendor's refusals mean for the caller: its codes first, then its ``retryable``, then the status.

invoices.errors
├── AccountError ── NotEnoughCredits       add credits
├── TransientError ── SubmissionsPaused    the same submission again, after ``retry_after``
├── DocumentError ── FilesRefused          set these files aside, go on with the others
├── UnknownOutcome ── Conflict             look it up first
│   ├── AlreadyUploaded                    complete the file and go on
│   └── SubmissionExists                   adopt ``extraction_id``, or take another id
└── ContractError
    ├── NotFound ── ExpiredUrl             ask for a new address
    │           └── OutputGone             there is no output (any more)
    ├── SessionGone                        upload again, in a session with a new id
    ├── PartRefused                        put the parts again, then complete
    └── TaskRefused                        as for a failed task with this ``error``

Sources: contract sheet 02 §4; the vendor's page says that ``retryable`` is the field to branch on, and sends task
errors by either channel.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from invoices.clients import classification
from invoices.clients.classification import ACCOUNT, Call, Conflict, NotFound
from invoices.clients.error_bodies import read_error, safe_text
from invoices.clients.invoicedataextraction_com.reading import integer, task_error_of
from invoices.clients.invoicedataextraction_com.values import TaskError
from invoices.clients.json_text import NotStrictJson, parse
from invoices.clients.throttling import LONGEST_WAIT, instant, retry_after
from invoices.errors import AccountError, ContractError, DocumentError, InvoicesError, TransientError

PAUSE = 300.0  # seconds to wait where a pause tells no end (contract sheet 02 §4.1)


class NotEnoughCredits(AccountError):
    """The account lacks credits; ``balance`` includes what is ``reserved``; ``required`` where the vendor tells it."""

    balance: int | None = None
    reserved: int | None = None
    required: int | None = None


class SubmissionsPaused(TransientError):
    """The vendor takes no submissions for a while; the same one is welcome after ``retry_after`` seconds."""


class FilesRefused(DocumentError):
    """Files that this vendor does not take; ``file_ids`` and ``file_names`` where it tells which."""

    file_ids: tuple[str, ...] = ()
    file_names: tuple[str, ...] = ()


class AlreadyUploaded(Conflict):
    """No part of this file is wanted: it is complete, or was given up, which ``complete`` tells."""


class SubmissionExists(Conflict):
    """The submission id belongs to another request; ``extraction_id`` is what became of that."""

    extraction_id: str | None = None
    differing_fields: tuple[str, ...] = ()


class ExpiredUrl(NotFound):
    """A presigned address is no longer good: ask for a new one."""


class OutputGone(NotFound):
    """The extraction has no output, or has it no more."""


class SessionGone(ContractError):
    """The upload session, or a file in it, cannot be used: upload again under a new session id."""


class PartRefused(ContractError):
    """The stored parts do not fit: put them again and complete with the new ETags."""


class TaskRefused(ContractError):
    """A submission is refused for what usually fails a task; ``error`` is that task's error."""

    error: TaskError = TaskError("UNKNOWN")
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error envelope as it was read; ``details`` is never None."""

    call: Call
    status: int
    text: str
    code: str
    retryable: bool | None
    details: Mapping[str, Any]
    error: Mapping[str, Any]
    wait: float | None
    date: object
    request: str | None


def of_status(call: Call, status: int, headers: Mapping[str, str], body: bytes) -> InvoicesError:
    """Return the error that an answer other than 2xx means."""
    refusal = _read(call, status, headers, body)
    if refusal is None or (status >= 500 and not call.is_repeatable):
        return classification.of_status(call, status, headers, body)
    return _by_code(refusal) or classification.of_status(call, status, headers, body)


def of_success(call: Call, status: int, headers: Mapping[str, str], body: bytes) -> InvoicesError:
    """Return the error that a 2xx with ``success`` other than true means: its envelope's."""
    refusal = _read(call, status, headers, body)
    if refusal is not None and (found := _by_code(refusal)) is not None:
        return found
    text = refusal.text if refusal else f"{call} answered {status}, but does not say that it succeeded"
    return ContractError(text, request_id=classification.request_id(call, headers))


def _by_code(refusal: Refusal) -> InvoicesError | None:
    """Return the error by the code, else by ``retryable``; None where only the status can decide."""
    if refusal.code in REACTIONS:
        return REACTIONS[refusal.code](refusal)
    if refusal.status in ACCOUNT or refusal.status == 429:
        return None
    if refusal.retryable:
        return _later(refusal)
    return _stop(refusal) if refusal.retryable is False and refusal.status >= 500 else None


def _read(call: Call, status: int, headers: Mapping[str, str], body: bytes) -> Refusal | None:
    """Return the envelope in ``body``, or None where there is none."""
    try:
        value = parse(body)
    except NotStrictJson:
        return None
    error = value.get("error") if isinstance(value, dict) else None
    if not isinstance(error, dict):
        return None
    detail, details = read_error(body, call.secrets), error.get("details")
    retryable = error.get("retryable")
    return Refusal(
        call=call,
        status=status,
        text=classification.sentence(call, status, detail),
        code=detail.code or "",
        retryable=retryable if isinstance(retryable, bool) else None,
        details=details if isinstance(details, dict) else {},
        error=error,
        wait=retry_after(headers, detail.wait),
        date=headers.get("Date"),
        request=classification.request_id(call, headers, detail),
    )


def _later(refusal: Refusal) -> InvoicesError:
    return TransientError(refusal.text, retry_after=refusal.wait, request_id=refusal.request)


def _paused(refusal: Refusal) -> InvoicesError:
    now = instant(refusal.date) or dt.datetime.now(dt.UTC)
    resumes_at = instant(refusal.details.get("resumes_at"))
    wait = (resumes_at - now).total_seconds() if resumes_at else 0.0
    wait = wait if wait > 0 else refusal.wait or PAUSE
    return SubmissionsPaused(refusal.text, retry_after=min(wait, LONGEST_WAIT), request_id=refusal.request)


def _account(refusal: Refusal) -> InvoicesError:
    return AccountError(refusal.text, request_id=refusal.request)


def _no_credits(refusal: Refusal) -> InvoicesError:
    error = NotEnoughCredits(refusal.text, request_id=refusal.request)
    details = refusal.details
    error.balance, error.reserved = integer(details, "credits_balance"), integer(details, "credits_reserved")
    required = integer(details, "credits_required")
    error.required = integer(details, "file_count") if required is None else required
    return error


def _stop(refusal: Refusal) -> InvoicesError:
    return ContractError(_with_issues(refusal), request_id=refusal.request)


def _input(refusal: Refusal) -> InvoicesError:
    """A file that is not (any more) in its session is refused as input, with the path ``["file_ids", i]``."""
    paths = [issue.get("path") for issue in _issues(refusal)]
    if paths and all(isinstance(path, list) and _names_session(path) for path in paths):
        return SessionGone(_with_issues(refusal), request_id=refusal.request)
    return _stop(refusal)


def _names_session(path: list[Any]) -> bool:
    return path[:1] == ["upload_session_id"] or (path[:1] == ["file_ids"] and len(path) == 2)


def _files(reason_code: str) -> Callable[[Refusal], InvoicesError]:
    def react(refusal: Refusal) -> InvoicesError:
        ids, names = (_told(refusal.details, one) for one in ("file_id", "file_name"))
        told = ", ".join(repr(item) for item in (*ids, *names)[:10])
        text = safe_text(f"{refusal.text}{': ' + told if told else ''}", refusal.call.secrets, 500) or ""
        error = FilesRefused(text, reason_code=reason_code, request_id=refusal.request)
        error.file_ids, error.file_names = ids, names
        return error

    return react


def _of(kind: type[InvoicesError]) -> Callable[[Refusal], InvoicesError]:
    return lambda refusal: kind(refusal.text, request_id=refusal.request)


def _submission_exists(refusal: Refusal) -> InvoicesError:
    error = SubmissionExists(refusal.text, request_id=refusal.request)
    found, fields = refusal.details.get("extraction_id"), refusal.details.get("differing_fields")
    error.extraction_id = found if isinstance(found, str) and found else None
    error.differing_fields = tuple(f for f in fields if isinstance(f, str)) if isinstance(fields, list) else ()
    return error


def _task(refusal: Refusal) -> InvoicesError:
    error = TaskRefused(refusal.text, request_id=refusal.request)
    error.error = task_error_of(refusal.error, refusal.call.secrets) or TaskError(refusal.code)
    error.retry_after = refusal.wait
    return error


def _told(details: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return ids or names under ``name``, its plural, or in ``files`` and ``issues``, in the order they are told."""
    values = [details.get(name), *(_list(details.get(f"{name}s")))]
    values += [entry.get(name) for key in ("files", "issues") for entry in _list(details.get(key)) if _is_object(entry)]
    return tuple(dict.fromkeys(value for value in values if isinstance(value, str) and value))


def _issues(refusal: Refusal) -> list[dict[str, Any]]:
    return [issue for issue in _list(refusal.details.get("issues")) if _is_object(issue)]


def _with_issues(refusal: Refusal) -> str:
    told = "; ".join(f"{issue.get('path')!r} {issue.get('message')!r}" for issue in _issues(refusal)[:5])
    return safe_text(f"{refusal.text}{': ' + told if told else ''}", refusal.call.secrets, 700) or refusal.text


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


REACTIONS: Mapping[str, Callable[[Refusal], InvoicesError]] = {  # contract sheet 02 §4.1, then §4.2
    "RATE_LIMITED": _later,
    "INTERNAL_ERROR": _later,
    "UPLOAD_COMPLETE_FAILED": _later,
    "SUBMISSIONS_PAUSED": _paused,
    "UNAUTHENTICATED": _account,
    "API_KEY_EXPIRED": _account,
    "API_KEY_REVOKED": _account,
    "FORBIDDEN": _account,
    "INSUFFICIENT_CREDITS": _no_credits,
    "INVALID_INPUT": _input,
    "DUPLICATE_FILE_NAME": _stop,
    "DUPLICATE_FILE_ID": _stop,
    "FILE_TOO_LARGE": _files("document_too_large"),
    "TOTAL_UPLOAD_SIZE_LIMIT_EXCEEDED": _files("upload_too_large"),
    "FILE_LINK_UNREADABLE": _files("content_refused"),
    "SESSION_ALREADY_INITIALIZED": _of(SessionGone),
    "FILE_NOT_FOUND": _of(SessionGone),
    "FILE_ABORTED": _of(SessionGone),
    "UPLOAD_ID_NOT_FOUND": _of(SessionGone),
    "OBJECT_SIZE_MISMATCH": _of(SessionGone),
    "FILE_NOT_UPLOADABLE": _of(AlreadyUploaded),
    "INVALID_COMPLETION_PARTS": _of(PartRefused),
    "SUBMISSION_ID_ALREADY_USED": _submission_exists,
    "EXTRACTION_NOT_FOUND": _of(NotFound),
    "NOT_FOUND": _of(NotFound),
    "OUTPUT_NOT_AVAILABLE": _of(OutputGone),
    "OUTPUT_EXPIRED": _of(OutputGone),
    "EXTRACTION_IN_PROGRESS": _of(Conflict),
    "EXTRACTION_NOT_CANCELLABLE": _of(Conflict),
    **dict.fromkeys(
        (
            "CONCURRENT_TASK_LIMIT", "SUBMISSION_STALLED", "ENCRYPTED_FILE", "FILE_PAGE_LIMIT_EXCEEDED",
            "NO_PAGES_FOUND", "PROMPT_REJECTED", "PROMPT_UNCLEAR", "VALIDATION_FAILED", "FILE_SIZE_LIMIT_EXCEEDED",
            "PROCESSING_FILE_SIZE_LIMIT_EXCEEDED",
        ),
        _task,
    ),
}  # fmt: skip
