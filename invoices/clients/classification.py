"""What a failed call means for the caller: the one place where a status or a broken line becomes one of our errors.

The deciding question is whether something may have happened. A request that never left this machine, and one that only
reads, may be sent again; a POST that left and got no clear answer must be looked up first. Sources: contract sheets
01 §4 and 05 §8, and the retry policy in the contracts' overview.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from invoices.clients.error_bodies import ErrorDetail, read_error, safe_request_id, safe_text
from invoices.clients.throttling import retry_after
from invoices.errors import AccountError, ContractError, DocumentError, InvoicesError, TransientError, UnknownOutcome

REFUSED = {  # of a request that carries a document
    400: "request_refused",
    413: "document_too_large",
    415: "media_type_refused",
    422: "content_refused",
}
TRY_LATER = {408, 425, 429}
ACCOUNT = {401, 402, 403}
GONE = {404, 410}
REPEATABLE = {"GET", "HEAD", "PUT", "DELETE"}  # RFC 9110 §9.2.2


class NotFound(ContractError):
    """The other side does not know what was asked for (404, 410)."""


class Conflict(UnknownOutcome):
    """The other side says that this, or something under the same key, is already there (409): look it up."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call as messages name it: ``POST api.example.com/v1/things``; ``secrets`` never appear in a message.

    ``has_own_id`` marks a POST that names its work by an id of ours, so that sending it again does nothing new.
    """

    method: str
    place: str
    secrets: tuple[str, ...] = ()
    has_own_id: bool = False

    def __repr__(self) -> str:
        return f"Call({self})"

    def __str__(self) -> str:
        return f"{self.method} {self.place}"

    @property
    def is_repeatable(self) -> bool:
        """Whether sending it twice has the effect of sending it once."""
        return self.has_own_id or self.method in REPEATABLE

    @property
    def carries_document(self) -> bool:
        """Whether a refusal can be about what was sent."""
        return self.method in ("POST", "PUT", "PATCH")


def of_status(call: Call, status: int, headers: Mapping[str, str], body: bytes) -> InvoicesError:
    """Return the error that an answer other than 2xx means."""
    detail = read_error(body, call.secrets)
    text = sentence(call, status, detail)
    request = request_id(call, headers, detail)
    if 300 <= status < 400:
        return ContractError(text, request_id=request)
    if status in ACCOUNT:
        return AccountError(text, request_id=request)
    if status in TRY_LATER or (status >= 500 and call.is_repeatable):
        return TransientError(text, retry_after=retry_after(headers, detail.wait), request_id=request)
    if status >= 500:
        return UnknownOutcome(text, request_id=request)
    if not call.is_repeatable and (status == 409 or "idempotency" in (detail.code or "").lower()):
        return Conflict(text, request_id=request)
    if status in REFUSED and call.carries_document:
        return DocumentError(text, reason_code=REFUSED[status], request_id=request)
    if status in GONE:
        return NotFound(text, request_id=request)
    return ContractError(text, request_id=request)


def of_redirect(call: Call, status: int, target: str, request: str | None) -> InvoicesError:
    """Return the error for a redirect, which is never followed: credentials and bodies stay with their host."""
    text = f"{call} answered {status} and points to {target!r}; redirects are not followed"
    return ContractError(text, request_id=request)


def of_broken_line(call: Call, what: str, *, was_sent: bool) -> InvoicesError:
    """Return the error for a call that broke: ``what`` says how, ``was_sent`` whether the request may have arrived."""
    if not was_sent:
        return TransientError(f"{call} was not sent: {what}")
    if call.is_repeatable:
        return TransientError(f"{call} got no answer: {what}")
    return UnknownOutcome(f"{call} was sent, but its answer is missing: {what}")


def of_untrusted_certificate(call: Call) -> InvoicesError:
    """Return the error for a server that cannot prove who it is; nothing was sent to it."""
    return ContractError(f"{call} was not sent: the server's certificate cannot be verified")


def of_unreadable(call: Call, what: str, request: str | None, *, is_cut: bool = False) -> InvoicesError:
    """Return the error for a 2xx that cannot be understood; a POST has done its work all the same.

    A POST under an id of ours may be sent again, and then shows what it has done.
    """
    text = f"{call} answered success, but {what}"
    if not call.is_repeatable:
        return UnknownOutcome(text, request_id=request)
    if is_cut or call.has_own_id:
        return TransientError(text, request_id=request)
    return ContractError(text, request_id=request)


def of_forbidden_place(call: Call, place: str) -> InvoicesError:
    """Return the error for a name that led to an address which must not be asked; nothing was sent to it."""
    return ContractError(f"{call} was not sent: its host is at {place}, which is not a public address")


def request_id(call: Call, headers: Mapping[str, str], detail: ErrorDetail | None = None) -> str | None:
    """Return the vendor's id of this call, from the headers or the body, unless it repeats a secret."""
    named: Sequence[str | None] = [headers.get(name) for name in ("X-Request-ID", "Request-Id", "X-Correlation-ID")]
    found = safe_request_id(*named, detail.request_id if detail else None)
    return None if found is None or any(secret in found for secret in call.secrets if secret) else found


def sentence(call: Call, status: int, detail: ErrorDetail) -> str:
    """Return what an error says: the call, the status, and the vendor's own code and words, without any secret."""
    told = " ".join(filter(None, [detail.code, repr(detail.message) if detail.message else None]))
    return safe_text(f"{call} answered {status}{': ' + told if told else ''}", call.secrets, 500) or str(call)
