"""What a failed call means for the caller: the one place where a status or a broken connection becomes our error.

The question that decides is whether the work may have been done. A request that was never sent, or that only reads,
may be sent again. A POST that was sent and got no clear answer must be looked up first. Sources: contract sheets
01 §4 and 05 §8, and the retry policy in the contracts' overview.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from invoices.clients.error_bodies import ErrorDetail, find_plausible_request_id, parse_error_body, redact_secrets
from invoices.clients.rate_limit_headers import find_retry_after
from invoices.errors import (
    AccountError,
    ContractError,
    DocumentError,
    InvoicesError,
    TransientError,
    UnknownOutcome,
    UnreadableResponse,
)

DOCUMENT_REFUSAL_REASONS = {  # for requests that carry a document
    400: "request_refused",
    413: "document_too_large",
    415: "media_type_refused",
    422: "content_refused",
}
RETRYABLE_STATUSES = {408, 425, 429}
ACCOUNT_STATUSES = {401, 402, 403}
NOT_FOUND_STATUSES = {404, 410}
IDEMPOTENT_METHODS = {"GET", "HEAD", "PUT", "DELETE"}  # RFC 9110 §9.2.2
READING_METHODS = {"GET", "HEAD"}  # these have no effect (RFC 9110 §9.2.1), so a repeat costs nothing


class RequestRefused(ContractError):
    """The API refused the request for a reason that may lie in the request, its route or the settings (4xx).

    Nothing was done.
    """


class NotFound(RequestRefused):
    """The API does not have the requested resource (404, 410)."""


class Conflict(UnknownOutcome):
    """The API already has this resource, or another one under the same key (409): look it up."""


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One call as messages name it: ``POST api.example.com/v1/things``; ``secrets`` never appear in a message.

    ``has_idempotency_id`` marks a POST that carries an id of ours for its work, so a repeat does nothing new.
    """

    method: str
    endpoint: str
    secrets: tuple[str, ...] = ()
    has_idempotency_id: bool = False

    def __repr__(self) -> str:
        return f"ApiCall({self})"

    def __str__(self) -> str:
        return f"{self.method} {self.endpoint}"

    @property
    def is_idempotent(self) -> bool:
        """Whether sending the call twice has the same effect as sending it once."""
        return self.has_idempotency_id or self.method in IDEMPOTENT_METHODS

    @property
    def carries_document(self) -> bool:
        """Whether a refusal can be about the content of the request."""
        return self.method in ("POST", "PUT", "PATCH")


def build_status_error(call: ApiCall, status: int, headers: Mapping[str, str], body: bytes) -> InvoicesError:
    """Return the error for a response other than 2xx."""
    detail = parse_error_body(body, call.secrets)
    message = format_error_message(call, status, detail)
    request_id = find_request_id(call, headers, detail)
    if 300 <= status < 400:
        return ContractError(message, request_id=request_id)
    if status in ACCOUNT_STATUSES:
        return AccountError(message, request_id=request_id)
    if status in RETRYABLE_STATUSES or (status >= 500 and call.is_idempotent):
        return TransientError(message, retry_after=find_retry_after(headers, detail.retry_after), request_id=request_id)
    if status >= 500:
        return UnknownOutcome(message, request_id=request_id)
    if not call.is_idempotent and (status == 409 or "idempotency" in (detail.code or "").lower()):
        return Conflict(message, request_id=request_id)
    if status in DOCUMENT_REFUSAL_REASONS and call.carries_document:
        return DocumentError(message, reason_code=DOCUMENT_REFUSAL_REASONS[status], request_id=request_id)
    if status in NOT_FOUND_STATUSES:
        return NotFound(message, request_id=request_id)
    return (RequestRefused if 400 <= status < 500 else ContractError)(message, request_id=request_id)


def build_redirect_error(call: ApiCall, status: int, target: str, request_id: str | None) -> InvoicesError:
    """Return the error for a redirect. None is followed, because credentials and bodies must stay with their host."""
    message = f"{call} answered {status} with a redirect to {target!r}; redirects are not followed"
    return ContractError(message, request_id=request_id)


def build_connection_error(call: ApiCall, problem: str, *, was_sent: bool) -> InvoicesError:
    """Return the error for a call that broke with ``problem``; if ``was_sent``, the request may have arrived."""
    if not was_sent:
        return TransientError(f"{call} was not sent: {problem}")
    if call.is_idempotent:
        return TransientError(f"{call} got no answer: {problem}")
    return UnknownOutcome(f"{call} was sent but got no answer, so the work may have been done: {problem}")


def build_certificate_error(call: ApiCall) -> InvoicesError:
    """Return the error for a server whose certificate is not valid; nothing was sent to it."""
    return ContractError(f"{call} was not sent: the server's certificate cannot be verified")


def build_unreadable_response_error(
    call: ApiCall, problem: str, request_id: str | None, *, is_truncated: bool = False
) -> InvoicesError:
    """Return the error for a 2xx that cannot be used; a POST has done its work all the same.

    A POST that carries an id of ours may be sent again; its response then shows what it has done. A read may be sent
    again as well, and costs nothing.
    """
    message = f"{call} succeeded, but its response cannot be used: {problem}"
    if not call.is_idempotent:
        return UnknownOutcome(message, request_id=request_id)
    if is_truncated or call.has_idempotency_id:
        return TransientError(message, request_id=request_id)
    error_type = UnreadableResponse if call.method in READING_METHODS else ContractError
    return error_type(message, request_id=request_id)


def build_forbidden_address_error(call: ApiCall, address: str) -> InvoicesError:
    """Return the error for a host name that resolved to a forbidden address; nothing was sent to it."""
    return ContractError(f"{call} was not sent: its host resolved to {address}, which is not a public address")


def find_request_id(call: ApiCall, headers: Mapping[str, str], detail: ErrorDetail | None = None) -> str | None:
    """Return the vendor's id of this call, from the headers or the body, unless it contains a secret."""
    header_values: Sequence[str | None] = [
        headers.get(name) for name in ("X-Request-ID", "Request-Id", "X-Correlation-ID")
    ]
    candidate = find_plausible_request_id(*header_values, detail.request_id if detail else None)
    return None if candidate is None or any(secret in candidate for secret in call.secrets if secret) else candidate


def format_error_message(call: ApiCall, status: int, detail: ErrorDetail) -> str:
    """Return an error's message: the call, the status, and the vendor's code and message, without any secret."""
    vendor_message = " ".join(filter(None, [detail.code, repr(detail.message) if detail.message else None]))
    return redact_secrets(
        f"{call} answered {status}{': ' + vendor_message if vendor_message else ''}", call.secrets, 500
    ) or str(call)
