"""Every trap of the contract sheets as a knob: its name, its default, what it may be set to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["count", "seconds", "switch", "choice", "names", "text"]


class KnobError(ValueError):
    """No such knob, or not a value for it."""


@dataclass(frozen=True, slots=True)
class Knob:
    """One knob: what it does, its kind, its default and, for a choice, what it may be."""

    says: str
    kind: Kind
    default: Any
    choices: tuple[str, ...] = ()


def _switch(says: str, default: bool = False) -> Knob:
    return Knob(says, "switch", default)


def _count(says: str, default: int = 0) -> Knob:
    return Knob(says, "count", default)


def _choice(says: str, *choices: str) -> Knob:
    return Knob(says, "choice", choices[0], choices)


_COM = {
    "plan": _choice("10/100, 100/1,000 or 1,000/10,000 calls a minute/an hour", "free", "pro", "enterprise"),
    "rate_limits": _switch("hold callers to their plan", True),
    "envelope": _choice("bare bodies, or {success, data, error}", "bare", "wrapped"),
    "reset_encoding": _choice("of X-RateLimit-Reset", "epoch_seconds", "epoch_ms", "iso8601", "http_date"),
    "retry_after_on_429": _choice("", "absent", "seconds"),
    "processing_polls": _count("so many polls say processing"),
    "processing_seconds": Knob("so long polls say processing", "seconds", 0.0),
    "fail_ids": Knob("job ids or document hashes that end failed", "names", ()),
    "post_lost_response": _count("so many accepted uploads, charged, lose their answer"),
    "get_lost_response": _count("so many polls lose their answer"),
    "http_500_every": _count("every n-th call is answered 500, without work"),
    "http_500_after_work": _count("so many accepted uploads, charged, are answered 500"),
    "unknown_status": Knob("a status no sheet knows, shown at the first poll and while processing", "text", ""),
    "missing_fields": Knob("fields left out of extracted_data", "names", ()),
    "vendor_info_shape": _switch("vendor as vendor_info.company_name"),
    "list_route": _switch("GET /v1/invoices answers", True),
    "max_file_bytes": _count("larger files are 413", 10_000_000),
}

_IO = {
    "dialect_by_path": _switch("the business route speaks the SDK's dialect", True),
    "create_status": _choice("", "201", "200"),
    "delete": _choice("200 with the receipt, 204 without, or each route as documented", "by_path", "receipt", "204"),
    "unique_receipt_id": _switch("a receiptId that exists is 409"),
    "idempotency_key": _switch("the header Idempotency-Key is honoured"),
    "ambiguous_route": _switch("the unscoped route is broken, 500"),
    "price_form": _choice("items[].price in answers", "money", "number"),
    "rate_model": _choice("", "token_bucket", "leaky_bucket", "off"),
    "retry_after": _choice("on 429; auto follows the minute", "auto", "5", "60", "absent", "http_date"),
    "error_envelope": _choice("of the five seen", "1", "2", "3", "4", "5"),
    "require_tenant": _switch("the header x-tenant-id is demanded", True),
    "scopes": Knob("what the key may do", "names", ("receipts.read", "receipts.write")),
    "lost_response": _count("so many creations, done, lose their answer"),
    "http_500_after_work": _count("so many creations, done, are answered 500"),
    "http_500_every": _count("every n-th call is answered 500, without work"),
    "page_shift": _count("after so many list answers a stranger's receipt appears"),
    "max_page_size": _count("larger pageSize is 400", 100),
    "search": _choice("ReceiptNumber and Query: on the business route, everywhere, nowhere", "by_path", "on", "off"),
}

KNOBS: Mapping[str, Knob] = {
    **{f"smartbills_com.{name}": knob for name, knob in _COM.items()},
    **{f"smartbills_io.{name}": knob for name, knob in _IO.items()},
}


class Knobs:
    """The knobs of one server: a value for everyone, and another for single API keys."""

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        self._values: dict[tuple[str | None, str], Any] = {}
        self.turn(values or {})

    def turn(self, values: Mapping[str, Any], api_key: str | None = None) -> None:
        """Set knobs, for one API key or for all; raises KnobError and then sets none of them."""
        checked = {(api_key, name): _checked(name, value) for name, value in values.items()}
        self._values.update(checked)

    def get(self, name: str, api_key: str | None) -> Any:
        """Return the knob's value for this key."""
        for holder in (api_key, None):
            if (holder, name) in self._values:
                return self._values[holder, name]
        return KNOBS[name].default

    def take(self, name: str, api_key: str | None) -> bool:
        """Return whether a counting knob still counts, and count it down."""
        left = int(self.get(name, api_key))
        if left > 0:
            holder = api_key if (api_key, name) in self._values else None
            self._values[holder, name] = left - 1
        return left > 0


def _checked(name: str, value: Any) -> Any:
    if name not in KNOBS:
        raise KnobError(f"no knob {name!r}; there are {', '.join(sorted(KNOBS))}")
    knob = KNOBS[name]
    try:
        return _read(knob, value)
    except (TypeError, ValueError):
        wanted = " or ".join(knob.choices) or knob.kind
        raise KnobError(f"knob {name!r} cannot be {value!r}: it is a {wanted}") from None


def _read(knob: Knob, value: Any) -> Any:
    if knob.kind == "switch":
        return ("off", "on", "false", "true", "0", "1").index(str(value).lower()) % 2 == 1
    if knob.kind == "count":
        return _bounded(int(str(value)), 2**31)
    if knob.kind == "seconds":
        return _bounded(float(value), 86_400)
    if knob.kind == "choice":
        return knob.choices[knob.choices.index(str(value))]
    if knob.kind == "names":
        return tuple(part for part in (value.split(",") if isinstance(value, str) else map(str, value)) if part)
    return str(value)


def _bounded(number: Any, most: float) -> Any:
    if not (math.isfinite(number) and 0 <= number <= most):
        raise ValueError(number)
    return number
