"""One request to the API, the object in its response, and checks of ids."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import requests

from invoices.clients.http_client import MAX_RESPONSE_BYTES, ApiResponse, HttpClient, Timeouts
from invoices.clients.invoicedataextraction_com.errors import build_envelope_error, build_status_error
from invoices.clients.json_fields import is_path_safe_id
from invoices.clients.strict_json import render_json
from invoices.errors import ContractError

JsonObject = dict[str, Any]
_CLIENT_CHOSEN_ID_PATTERN = re.compile(r"[A-Za-z0-9._:-]{1,200}")  # contract sheet 02 §1


class RestApi:
    """The API of one account."""

    __slots__ = ("_http_client",)

    def __init__(self, base_url: str, api_key: str, session: requests.Session, timeouts: Timeouts) -> None:
        headers = {"Authorization": f"Bearer {api_key}", "Accept": "application/json"}
        self._http_client = HttpClient(base_url, session, headers, (api_key,), timeouts, build_status_error)

    @property
    def base_url(self) -> str:
        """The URL, without trailing slashes."""
        return self._http_client.base_url

    def send_get(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        max_bytes: int = MAX_RESPONSE_BYTES,
        hold_seconds: float = 0.0,
    ) -> ApiResponse:
        """Send a GET and return its 2xx response."""
        return self._http_client.send_request(
            "GET", path, params=params, max_bytes=max_bytes, hold_seconds=hold_seconds
        )

    def send_post(self, path: str, body: Mapping[str, Any] | None = None, *, has_idempotency_id: bool) -> ApiResponse:
        """Send a POST and return its 2xx response; with ``has_idempotency_id``, ids of ours make it safe to repeat."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        data = None if body is None else render_json(body)
        return self._http_client.send_request(
            "POST", path, headers=headers, data=data, has_idempotency_id=has_idempotency_id
        )

    def send_delete(self, path: str) -> ApiResponse:
        """Send a DELETE and return its 2xx response."""
        return self._http_client.send_request("DELETE", path)


def parse_response_object(response: ApiResponse) -> JsonObject:
    """Return the object in the response."""
    fields = response.parse_answer()
    if not isinstance(fields, dict):
        raise response.build_unreadable_error("it is not an object")
    return fields


def parse_success_object(response: ApiResponse) -> JsonObject:
    """Return the object of a response with ``success: true``; raises the error of its envelope otherwise."""
    fields = parse_response_object(response)
    if fields.get("success") is not True:
        raise build_envelope_error(response.call, response.status, response.headers, response.body)
    return fields


def check_echoed_id(response: ApiResponse, fields: Mapping[str, Any], name: str, expected: str) -> None:
    """Raise the error of an unreadable response if it is for another id; one without the field is accepted."""
    echoed_id = fields.get(name)
    if echoed_id is not None and echoed_id != expected:
        raise response.build_unreadable_error(f"it is for another {name} than {expected!r}: {str(echoed_id)[:200]!r}")


def check_client_chosen_ids(*ids: str) -> None:
    """Raise ContractError for an id that this vendor does not accept, or that would change a path."""
    for client_chosen_id in ids:
        if not _CLIENT_CHOSEN_ID_PATTERN.fullmatch(client_chosen_id) or client_chosen_id in (".", ".."):
            raise ContractError(f"{client_chosen_id!r} is not an id that this API accepts")


def check_extraction_id(extraction_id: str) -> None:
    """Raise ContractError for an id that would change a path."""
    if not is_path_safe_id(extraction_id):
        raise ContractError(f"{extraction_id!r} is not a valid extraction id of this API")


def check_no_duplicates(values: Sequence[str], label: str) -> None:
    """Raise ContractError if a value occurs twice."""
    if len(set(values)) < len(values):
        duplicate = next(value for value in values if values.count(value) > 1)
        raise ContractError(f"the session has the {label} {duplicate!r} twice")
