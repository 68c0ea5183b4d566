"""All settings of the sandbox, one for every trap of the contract sheets, and their current values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sandbox.billflowai import settings as billflowai
from sandbox.invoicedataextraction_com import settings as invoicedataextraction_com
from sandbox.setting_definition import SettingDefinition
from sandbox.smartbills_com import settings as smartbills_com
from sandbox.smartbills_io import settings as smartbills_io


class SettingError(ValueError):
    """There is no such setting, or the value does not fit it."""


SETTING_DEFINITIONS: Mapping[str, SettingDefinition] = {
    f"{vendor_name}.{name}": definition
    for vendor_name, definitions in (
        ("smartbills_com", smartbills_com.SETTING_DEFINITIONS),
        ("invoicedataextraction_com", invoicedataextraction_com.SETTING_DEFINITIONS),
        ("billflowai", billflowai.SETTING_DEFINITIONS),
        ("smartbills_io", smartbills_io.SETTING_DEFINITIONS),
    )
    for name, definition in definitions.items()
}


class SandboxSettings:
    """The setting values of one server: one for all API keys, and others for single keys."""

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        self._values: dict[tuple[str | None, str], Any] = {}
        self.set_values(values or {})

    def set_values(self, values: Mapping[str, Any], api_key: str | None = None) -> None:
        """Set values for one API key or for all; raises SettingError, and then sets none of them."""
        parsed_values = {(api_key, name): _parse_setting_value(name, value) for name, value in values.items()}
        self._values.update(parsed_values)

    def get_value(self, name: str, api_key: str | None) -> Any:
        """Return the value of a setting for this API key."""
        return self._values.get((self._find_value_owner(name, api_key), name), SETTING_DEFINITIONS[name].default)

    def consume_fault(self, name: str, api_key: str | None) -> bool:
        """Return whether a counting setting is above 0, and count it down."""
        remaining = int(self.get_value(name, api_key))
        if remaining > 0:
            self.replace_value(name, api_key, remaining - 1)
        return remaining > 0

    def replace_value(self, name: str, api_key: str | None, value: Any) -> None:
        """Replace the value that applies to this API key, where it was set: for this key or for all keys."""
        self._values[self._find_value_owner(name, api_key), name] = value

    def _find_value_owner(self, name: str, api_key: str | None) -> str | None:
        return api_key if (api_key, name) in self._values else None


def _parse_setting_value(name: str, value: Any) -> Any:
    if name not in SETTING_DEFINITIONS:
        raise SettingError(f"there is no setting {name!r}; there are {', '.join(sorted(SETTING_DEFINITIONS))}")
    definition = SETTING_DEFINITIONS[name]
    try:
        return _convert_value(definition, value)
    except (TypeError, ValueError):
        expected = " or ".join(definition.choices) or f"a value of kind {definition.kind}"
        raise SettingError(f"setting {name!r} cannot be {value!r}; it must be {expected}") from None


def _convert_value(definition: SettingDefinition, value: Any) -> Any:
    if definition.kind == "switch":
        return ("off", "on", "false", "true", "0", "1").index(str(value).lower()) % 2 == 1
    if definition.kind == "count":
        return _check_range(int(str(value)), 2**31)
    if definition.kind == "seconds":
        return _check_range(float(value), 86_400)
    if definition.kind == "choice":
        return definition.choices[definition.choices.index(str(value))]
    if definition.kind == "names":
        return tuple(part for part in (value.split(",") if isinstance(value, str) else map(str, value)) if part)
    return str(value)


def _check_range(number: Any, maximum: float) -> Any:
    if not (math.isfinite(number) and 0 <= number <= maximum):
        raise ValueError(number)
    return number
