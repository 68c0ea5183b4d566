"""Every trap of the contract sheets as a knob: its name, its default, what it may be set to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sandbox.billflowai import knobs as billflowai
from sandbox.invoicedataextraction_com import knobs as invoicedataextraction_com
from sandbox.knob import Knob
from sandbox.smartbills_com import knobs as smartbills_com
from sandbox.smartbills_io import knobs as smartbills_io


class KnobError(ValueError):
    """No such knob, or not a value for it."""


KNOBS: Mapping[str, Knob] = {
    f"{room}.{name}": knob
    for room, knobs in (
        ("smartbills_com", smartbills_com.KNOBS),
        ("invoicedataextraction_com", invoicedataextraction_com.KNOBS),
        ("billflowai", billflowai.KNOBS),
        ("smartbills_io", smartbills_io.KNOBS),
    )
    for name, knob in knobs.items()
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
        return self._values.get((self._holder(name, api_key), name), KNOBS[name].default)

    def take(self, name: str, api_key: str | None) -> bool:
        """Return whether a counting knob still counts, and count it down."""
        left = int(self.get(name, api_key))
        if left > 0:
            self.wear(name, api_key, left - 1)
        return left > 0

    def wear(self, name: str, api_key: str | None, value: Any) -> None:
        """Change the value this key meets, where it was set: for the key alone or for everyone."""
        self._values[self._holder(name, api_key), name] = value

    def _holder(self, name: str, api_key: str | None) -> str | None:
        return api_key if (api_key, name) in self._values else None


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
