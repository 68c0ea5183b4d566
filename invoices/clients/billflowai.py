"""Speaking with BillflowAI: have one document read in one blocking call, as an upload or from a minted address.

There is no idempotency key and no job to look at (contract sheet 03 §3, §7): a call whose answer is missing may have
been done and charged, so it is an UnknownOutcome. The vendor's host is told to its customers and has no default.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import requests

from invoices.clients import classification
from invoices.clients.classification import Call
from invoices.clients.error_bodies import read_error
from invoices.clients.json_text import render
from invoices.clients.listings import complete_list
from invoices.clients.minted_urls import MintedUrl
from invoices.clients.throttling import RateLimit, rate_limit, retry_after
from invoices.clients.transport import Origin, Patience, Reply
from invoices.clients.uploads import document_part, field_part
from invoices.clients.wire_values import moment, opaque_id, text
from invoices.errors import ConfigurationError, DocumentError, InvoicesError, TransientError

INVOICE_KINDS = ("expense", "revenue")
TEXTS = ("invoice_number", "date", "counterparty", "currency")
AMOUNTS = ("total", "subtotal", "discount", "tax")
LINE_AMOUNTS = ("quantity", "price", "line_total")
_NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")

__all__ = ["BillflowAi", "ExtractionFailed", "RateLimit", "Reading", "StoredInvoice"]


class ExtractionFailed(DocumentError):
    """The vendor could not read the document; asking once more after 30 s may do better, and costs nothing (§4)."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the vendor read: its JSON as it came, fractions as ``Decimal``.

    ``source`` is ``extracted``, ``cache`` (not counted against the quota), ``duplicate`` (its number is stored
    already), a word we do not know, or None where the vendor tells none.
    """

    answer: dict[str, Any] = field(repr=False)
    source: str | None = None
    invoice_id: str | None = None
    limits: RateLimit | None = None


@dataclass(frozen=True, slots=True)
class StoredInvoice:
    """An invoice as the vendor's list shows it; all but the id may be missing."""

    id: str
    invoice_number: str | None = None
    counterparty: str | None = None
    created_at: dt.datetime | None = None


class BillflowAi:
    """The extraction API for one account; ``base_url`` stands before ``/api``."""

    def __init__(self, base_url: str, api_key: str, session: requests.Session, deadline: float = 150.0) -> None:
        """Take a session from ``make_session`` and the seconds one call may take altogether, reading included.

        Raises ConfigurationError for an unusable address or key.
        """
        patience = Patience(min(5.0, deadline), deadline, deadline)  # it is silent until it has read the document
        headers = {"Authorization": f"Bearer {api_key}", "Accept": "application/json"}
        self._origin = Origin(base_url, session, headers, (api_key,), patience, _meaning)

    def __repr__(self) -> str:
        """Show the address and nothing secret."""
        return f"BillflowAi({self._origin.base_url!r})"

    def extract_file(self, content: bytes, file_name: str, media_type: str, invoice_kind: str = "expense") -> Reading:
        """Upload one document with exactly one POST, and return what was read.

        Raises UnknownOutcome when it may have been done (also a success that cannot be understood), ExtractionFailed
        and DocumentError when the vendor cannot read or refuses it, TransientError, AccountError, ContractError; and
        ConfigurationError for another kind than ``expense`` and ``revenue``.
        """
        parts = {
            "invoice_kind": field_part(_checked_kind(invoice_kind)),
            "file": document_part(content, file_name, media_type),
        }
        return _reading(self._origin.exchange("POST", "api/extract-invoice-file", files=parts))

    def extract_url(self, url: MintedUrl, invoice_kind: str = "expense") -> Reading:
        """Have the vendor fetch one document at an address of ours, and return what was read; raises as extract_file.

        Only an address from ``mint_url`` will do: a TypeError is raised for a text. Where the vendor cannot fetch it,
        the same address never does better: that is a DocumentError with the reason ``fetch_failed``.
        """
        if not isinstance(url, MintedUrl):
            raise TypeError("only an address from mint_url is given to a vendor")
        body = render({"file_url": url.address, "invoice_kind": _checked_kind(invoice_kind)})
        headers, secrets = {"Content-Type": "application/json"}, (url.signature,)
        reply = self._origin.exchange("POST", "api/extract-invoice", data=body, headers=headers, secrets=secrets)
        return _reading(reply)

    def invoices(self) -> list[StoredInvoice]:
        """Return the invoices the vendor has stored.

        The list is not documented (contract sheet 03 §2): anything but one complete list of objects with ids, bare or
        as ``invoices`` or ``data``, is a ContractError, so that nobody takes a missing invoice for one that never was.
        """
        reply = self._origin.exchange("GET", "api/invoices")
        return [_stored(entry, reply) for entry in complete_list(reply.json(), ("invoices", "data"), reply)]


def _checked_kind(invoice_kind: str) -> str:
    if invoice_kind not in INVOICE_KINDS:
        raise ConfigurationError(f"an invoice is one of {INVOICE_KINDS!r}, not {invoice_kind!r}")
    return invoice_kind


REFUSALS: Mapping[tuple[int, str], tuple[type[DocumentError], str]] = {  # contract sheet 03 §4
    (400, "VALIDATION"): (DocumentError, "request_refused"),
    (400, "INVALID_URL"): (DocumentError, "url_refused"),
    (422, "FETCH_FAILED"): (DocumentError, "fetch_failed"),
    (422, "EXTRACTION_FAILED"): (ExtractionFailed, "extraction_failed"),
}


def _meaning(call: Call, status: int, headers: Mapping[str, str], body: bytes) -> InvoicesError:
    """Return what a refusal means with this vendor; what the sheet does not name means what it means everywhere.

    503 comes from a server that did not take the request, so it may be sent again. 502 and 504 come from a gateway
    which lost patience with a call of up to 120 s: the work behind it may go on and be charged, as after a 500.
    """
    detail = read_error(body, call.secrets)
    request = classification.request_id(call, headers, detail)
    sentence = classification.sentence(call, status, detail)
    if status == 503 and call.carries_document:
        return TransientError(sentence, retry_after=retry_after(headers, detail.wait), request_id=request)
    if call.carries_document and (status, detail.code or "") in REFUSALS:
        kind, reason_code = REFUSALS[status, detail.code or ""]
        return kind(sentence, reason_code=reason_code, request_id=request)
    return classification.of_status(call, status, headers, body)


def _reading(reply: Reply) -> Reading:
    answer = reply.json()
    problem = _problem(answer)
    if problem:
        raise reply.unreadable(problem)
    meta = answer.get("meta") or {}
    source = opaque_id(meta, "source") or ("duplicate" if meta.get("duplicate") is True else None)
    return Reading(answer, source, opaque_id(meta, "invoiceId"), rate_limit(reply.headers))


def _problem(answer: Any) -> str | None:
    """Return what keeps the answer from being an invoice of contract sheet 03 §2.3, or None."""
    if not isinstance(answer, dict):
        return "it is not an object"
    if not any(name in answer for name in (*TEXTS, *AMOUNTS, "items")):
        return "it has no field of an invoice"
    if not isinstance(answer.get("meta", {}), dict | None):
        return "its meta is no object"
    if any(isinstance(answer.get(name), (bool, dict, list)) for name in TEXTS):
        return "a text of it is none"
    items = answer.get("items")
    if items is not None and not (isinstance(items, list) and all(isinstance(item, dict) for item in items)):
        return "its items are no list of objects"
    amounts = [answer.get(name) for name in AMOUNTS]
    amounts += [item.get(name) for item in items or () for name in LINE_AMOUNTS]
    return None if all(map(_is_amount, amounts)) else "an amount of it is no number"


def _is_amount(value: object) -> bool:
    if isinstance(value, str):
        return _NUMBER.fullmatch(value) is not None
    return value is None or (isinstance(value, (int, Decimal)) and not isinstance(value, bool))


def _stored(entry: Any, reply: Reply) -> StoredInvoice:
    invoice_id = opaque_id(entry, "id") if isinstance(entry, dict) else None
    if invoice_id is None:
        raise reply.unreadable("an entry of its list has no id")
    number, counterparty = text(entry, "invoice_number", 200), text(entry, "counterparty", 500)
    return StoredInvoice(invoice_id, number, counterparty, moment(entry, "created_at"))
