"""One question to the API: the request, and the fields of an answer that says it succeeded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import requests

from invoices.clients.invoicedataextraction_com.errors import of_status, of_success
from invoices.clients.json_text import render
from invoices.clients.transport import LARGEST_ANSWER, Origin, Patience, Reply
from invoices.clients.wire_values import is_opaque_id
from invoices.errors import ContractError

Fields = dict[str, Any]
_OUR_ID = re.compile(r"[A-Za-z0-9._:-]{1,200}")  # contract sheet 02 §1


class Api:
    """The API of one account."""

    __slots__ = ("_origin",)

    def __init__(self, base_url: str, api_key: str, session: requests.Session, patience: Patience) -> None:
        headers = {"Authorization": f"Bearer {api_key}", "Accept": "application/json"}
        self._origin = Origin(base_url, session, headers, (api_key,), patience, of_status)

    @property
    def base_url(self) -> str:
        """The address, without a closing slash."""
        return self._origin.base_url

    def get(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        largest: int = LARGEST_ANSWER,
        held: float = 0.0,
    ) -> Reply:
        """Return the 2xx to a question."""
        return self._origin.exchange("GET", path, params=params, largest=largest, held=held)

    def post(self, path: str, body: Mapping[str, Any] | None = None, *, has_own_id: bool) -> Reply:
        """Return the 2xx to an order; ``has_own_id`` says that ids of ours make it safe to send again."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        data = None if body is None else render(body)
        return self._origin.exchange("POST", path, headers=headers, data=data, has_own_id=has_own_id)

    def delete(self, path: str) -> Reply:
        """Return the 2xx to a deletion."""
        return self._origin.exchange("DELETE", path)


def fields_of(reply: Reply) -> Fields:
    """Return the answer's object."""
    fields = reply.json()
    if not isinstance(fields, dict):
        raise reply.unreadable("it is not an object")
    return fields


def succeeded(reply: Reply) -> Fields:
    """Return the fields of an answer that says ``success: true``; raises what its envelope means otherwise."""
    fields = fields_of(reply)
    if fields.get("success") is not True:
        raise of_success(reply.call, reply.status, reply.headers, reply.body)
    return fields


def check_about(reply: Reply, fields: Mapping[str, Any], name: str, expected: str) -> None:
    """Raise ContractError for an answer about something else; one that does not say is taken as ours."""
    told = fields.get(name)
    if told is not None and told != expected:
        raise ContractError(f"{reply.call} answered about another {name} than {expected!r}: {str(told)[:200]!r}")


def check_our_ids(*ids: str) -> None:
    """Raise ContractError for an id that this vendor does not take, or that would change a path."""
    for one in ids:
        if not _OUR_ID.fullmatch(one) or one in (".", ".."):
            raise ContractError(f"{one!r} is not an id this API takes")


def check_their_id(extraction_id: str) -> None:
    """Raise ContractError for an id that would change a path."""
    if not is_opaque_id(extraction_id):
        raise ContractError(f"{extraction_id!r} is not an id this API gives")


def unique(values: Sequence[str], what: str) -> None:
    """Raise ContractError where a value stands twice."""
    if len(set(values)) < len(values):
        raise ContractError(f"{what} stands twice")
