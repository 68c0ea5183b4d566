"""One question to the API: the request, and the fields of an answer that says it succeeded."""

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
        """The address, without a closing slash."""
        return self._http_client.base_url

    def send_get(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        max_bytes: int = MAX_RESPONSE_BYTES,
        hold_seconds: float = 0.0,
    ) -> ApiResponse:
        """Return the 2xx to a question."""
        return self._http_client.send_request(
            "GET", path, params=params, max_bytes=max_bytes, hold_seconds=hold_seconds
        )

    def send_post(self, path: str, body: Mapping[str, Any] | None = None, *, has_idempotency_id: bool) -> ApiResponse:
        """Return the 2xx to an order; ``has_own_id`` says that ids of ours make it safe to send again."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        data = None if body is None else render_json(body)
        return self._http_client.send_request(
            "POST", path, headers=headers, data=data, has_idempotency_id=has_idempotency_id
        )

    def send_delete(self, path: str) -> ApiResponse:
        """Return the 2xx to a deletion."""
        return self._http_client.send_request("DELETE", path)


def parse_response_object(response: ApiResponse) -> JsonObject:
    """Return the answer's object."""
    fields = response.parse_json()
    if not isinstance(fields, dict):
        raise response.build_unreadable_error("it is not an object")
    return fields


def parse_success_object(response: ApiResponse) -> JsonObject:
    """Return the fields of an answer that says ``success: true``; raises what its envelope means otherwise."""
    fields = parse_response_object(response)
    if fields.get("success") is not True:
        raise build_envelope_error(response.call, response.status, response.headers, response.body)
    return fields


def check_echoed_id(response: ApiResponse, fields: Mapping[str, Any], name: str, expected: str) -> None:
    """Raise ContractError for an answer about something else; one that does not say is taken as ours."""
    echoed_id = fields.get(name)
    if echoed_id is not None and echoed_id != expected:
        raise ContractError(
            f"{response.call} answered about another {name} than {expected!r}: {str(echoed_id)[:200]!r}"
        )


def check_client_chosen_ids(*ids: str) -> None:
    """Raise ContractError for an id that this vendor does not take, or that would change a path."""
    for client_chosen_id in ids:
        if not _CLIENT_CHOSEN_ID_PATTERN.fullmatch(client_chosen_id) or client_chosen_id in (".", ".."):
            raise ContractError(f"{client_chosen_id!r} is not an id this API takes")


def check_extraction_id(extraction_id: str) -> None:
    """Raise ContractError for an id that would change a path."""
    if not is_path_safe_id(extraction_id):
        raise ContractError(f"{extraction_id!r} is not an id this API gives")


def check_no_duplicates(values: Sequence[str], label: str) -> None:
    """Raise ContractError where a value stands twice."""
    if len(set(values)) < len(values):
        raise ContractError(f"{label} stands twice")
