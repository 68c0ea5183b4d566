"""The definition of one sandbox setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

SettingKind = Literal["count", "seconds", "switch", "choice", "names", "text"]


@dataclass(frozen=True, slots=True)
class SettingDefinition:
    """One setting: what it does, its kind, its default and the allowed values of a choice."""

    description: str
    kind: SettingKind
    default: Any
    choices: tuple[str, ...] = ()


def build_switch(description: str, default: bool = False) -> SettingDefinition:
    """Return a setting that is on or off."""
    return SettingDefinition(description, "switch", default)


def build_count(description: str, default: int = 0) -> SettingDefinition:
    """Return a setting that is a whole number."""
    return SettingDefinition(description, "count", default)


def build_choice(description: str, *choices: str) -> SettingDefinition:
    """Return a setting that is one of ``choices``, the first by default."""
    return SettingDefinition(description, "choice", choices[0], choices)
