"""The client of BillflowAI: extract one document in one blocking call, as an upload or from a presigned URL.

The API has no idempotency key and no job to poll (contract sheet 03 §3, §7). A call without an answer may have been
done and charged, so it is an UnknownOutcome. The vendor gives its host to customers only, so there is no default.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from invoices.clients import error_mapping
from invoices.clients.error_bodies import parse_error_body
from invoices.clients.error_mapping import ApiCall
from invoices.clients.http_client import ApiResponse, HttpClient, Timeouts
from invoices.clients.json_fields import find_path_safe_id, find_text, find_timestamp
from invoices.clients.list_responses import get_complete_list
from invoices.clients.multipart_form_parts import build_field_part, build_file_part
from invoices.clients.presigned_urls import PresignedUrl
from invoices.clients.rate_limit_headers import RateLimit, find_rate_limit, find_retry_after
from invoices.clients.strict_json import InvalidJsonError, parse_json_keeping_odd_values, render_json
from invoices.errors import ConfigurationError, DocumentError, InvoicesError, TransientError

INVOICE_KINDS = ("expense", "revenue")
INVOICE_FIELDS = (
    "invoice_number", "date", "counterparty", "currency", "total", "subtotal", "discount", "tax", "items",
)  # fmt: skip

__all__ = ["BillflowAiClient", "ExtractionFailed", "ExtractionResponse", "RateLimit", "StoredInvoice"]


class ExtractionFailed(DocumentError):
    """The vendor could not read the document; a retry after 30 s may succeed and is free (contract sheet 03 §4)."""


@dataclass(frozen=True, slots=True)
class ExtractionResponse:
    """What the vendor read: its JSON with every value as stated, fractions as ``Decimal``; a text if it is no object.

    ``is_invoice`` is whether it has any field of an invoice.
    ``source`` is ``extracted``, ``cache`` (not counted against the quota), ``duplicate`` (an invoice with this number
    is already stored), an unknown word, or None if the response has none.
    """

    payload: dict[str, Any] | str = field(repr=False)
    source: str | None = None
    invoice_id: str | None = None
    rate_limit: RateLimit | None = None
    is_invoice: bool = True


@dataclass(frozen=True, slots=True)
class StoredInvoice:
    """An invoice in the vendor's list; all fields but ``id`` may be missing."""

    id: str
    invoice_number: str | None = None
    counterparty: str | None = None
    created_at: dt.datetime | None = None


class BillflowAiClient:
    """The extraction API for one account; ``base_url`` is the part before ``/api``."""

    def __init__(self, base_url: str, api_key: str, session: requests.Session, deadline: float = 150.0) -> None:
        """Use a session from ``make_session``; one call takes at most ``deadline`` seconds, extraction included.

        Raises ConfigurationError for an unusable URL or key.
        """
        timeouts = Timeouts(min(5.0, deadline), deadline, deadline)  # nothing arrives until the extraction is done
        headers = {"Authorization": f"Bearer {api_key}", "Accept": "application/json"}
        self._http_client = HttpClient(base_url, session, headers, (api_key,), timeouts, _build_refusal_error)

    def __repr__(self) -> str:
        """Return the URL without any secret."""
        return f"BillflowAiClient({self._http_client.base_url!r})"

    def extract_file(
        self, content: bytes, file_name: str, media_type: str, invoice_kind: str = "expense"
    ) -> ExtractionResponse:
        """Upload one document with exactly one POST, and return what the vendor read.

        Raises UnknownOutcome if the work may have been done and its answer is lost, ExtractionFailed if the
        vendor cannot read the document, DocumentError if it refuses it, TransientError, AccountError, ContractError;
        and ConfigurationError for an ``invoice_kind`` other than ``expense`` and ``revenue``.
        """
        form_parts = {
            "invoice_kind": build_field_part(_validate_invoice_kind(invoice_kind)),
            "file": build_file_part(content, file_name, media_type),
        }
        return _parse_extraction_response(
            self._http_client.send_request("POST", "api/extract-invoice-file", files=form_parts)
        )

    def extract_url(self, presigned_url: PresignedUrl, invoice_kind: str = "expense") -> ExtractionResponse:
        """Have the vendor download one document from a URL of ours, and return what it read; raises as extract_file.

        Raises TypeError for anything but a URL from ``build_presigned_url``. If the vendor cannot fetch the URL, a
        retry with the same one cannot succeed: that is a DocumentError with the reason code ``fetch_failed``.
        """
        if not isinstance(presigned_url, PresignedUrl):
            raise TypeError(f"the vendor gets URLs from build_presigned_url only, not {type(presigned_url).__name__}")
        body = render_json({"file_url": presigned_url.signed_url, "invoice_kind": _validate_invoice_kind(invoice_kind)})
        response = self._http_client.send_request(
            "POST",
            "api/extract-invoice",
            data=body,
            headers={"Content-Type": "application/json"},
            secrets=(presigned_url.signature,),
        )
        return _parse_extraction_response(response)

    def list_invoices(self) -> list[StoredInvoice]:
        """Return the invoices that the vendor has stored.

        The list is not documented (contract sheet 03 §2). Anything but one complete list of objects with ids, bare or
        under ``invoices`` or ``data``, is a ContractError: an invoice missing from a partial list would look as if it
        had never been stored.
        """
        response = self._http_client.send_request("GET", "api/invoices")
        return [
            _parse_stored_invoice(entry, response)
            for entry in get_complete_list(response.parse_json(), ("invoices", "data"), response)
        ]


def _validate_invoice_kind(invoice_kind: str) -> str:
    if invoice_kind not in INVOICE_KINDS:
        raise ConfigurationError(f"the invoice kind is {invoice_kind!r}, but must be one of {INVOICE_KINDS!r}")
    return invoice_kind


REFUSAL_ERRORS: Mapping[tuple[int, str], tuple[type[DocumentError], str]] = {  # contract sheet 03 §4
    (400, "VALIDATION"): (DocumentError, "request_refused"),
    (400, "INVALID_URL"): (DocumentError, "url_refused"),
    (422, "FETCH_FAILED"): (DocumentError, "fetch_failed"),
    (422, "EXTRACTION_FAILED"): (ExtractionFailed, "extraction_failed"),
}


def _build_refusal_error(call: ApiCall, status: int, headers: Mapping[str, str], body: bytes) -> InvoicesError:
    """Return the error for a refusal of this vendor; codes that the contract sheet does not name map as usual.

    A 503 comes from a server that did not accept the request, so it may be sent again. A 502 or 504 comes from a
    gateway that timed out on a call of up to 120 s: the work behind it may continue and be charged, as after a 500.
    """
    detail = parse_error_body(body, call.secrets)
    request_id = error_mapping.find_request_id(call, headers, detail)
    message = error_mapping.format_error_message(call, status, detail)
    if status == 503 and call.carries_document:
        return TransientError(message, retry_after=find_retry_after(headers, detail.retry_after), request_id=request_id)
    if call.carries_document and (status, detail.code or "") in REFUSAL_ERRORS:
        error_type, reason_code = REFUSAL_ERRORS[status, detail.code or ""]
        return error_type(message, reason_code=reason_code, request_id=request_id)
    return error_mapping.build_status_error(call, status, headers, body)


def _parse_extraction_response(response: ApiResponse) -> ExtractionResponse:
    """Return what the vendor read; a value of any kind is kept, because what it means is not decided here.

    Raises UnknownOutcome only for a body that is not the vendor's answer: empty, cut off, or no JSON.
    """
    rate_limit = find_rate_limit(response.headers)
    payload = _parse_payload(response)
    if isinstance(payload, str):
        return ExtractionResponse(payload, rate_limit=rate_limit, is_invoice=False)
    meta = payload.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    source = find_path_safe_id(meta, "source") or ("duplicate" if meta.get("duplicate") is True else None)
    is_invoice = any(name in payload for name in INVOICE_FIELDS)
    return ExtractionResponse(payload, source, find_path_safe_id(meta, "invoiceId"), rate_limit, is_invoice)


def _parse_payload(response: ApiResponse) -> dict[str, Any] | str:
    """Return the answer's object, or the text of an answer that is declared as JSON and is no object."""
    try:
        payload = parse_json_keeping_odd_values(response.body)
    except InvalidJsonError as error:
        payload, problem = None, f"its body is not valid JSON: {error}"
    else:
        problem = "it is not an object"
    if isinstance(payload, dict):
        return payload
    text = response.find_stated_json()
    if text is None:
        raise response.build_unreadable_error(problem)
    return text


def _parse_stored_invoice(entry: Any, response: ApiResponse) -> StoredInvoice:
    invoice_id = find_path_safe_id(entry, "id") if isinstance(entry, dict) else None
    if invoice_id is None:
        raise response.build_unreadable_error("an entry in its list has no usable id")
    number, counterparty = find_text(entry, "invoice_number", 200), find_text(entry, "counterparty", 500)
    return StoredInvoice(invoice_id, number, counterparty, find_timestamp(entry, "created_at"))
