"""One knob: a trap of a contract sheet that can be set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

SettingKind = Literal["count", "seconds", "switch", "choice", "names", "text"]


@dataclass(frozen=True, slots=True)
class SettingDefinition:
    """One knob: what it does, its kind, its default and, for a choice, what it may be."""

    description: str
    kind: SettingKind
    default: Any
    choices: tuple[str, ...] = ()


def build_switch(description: str, default: bool = False) -> SettingDefinition:
    """Return a knob that is on or off."""
    return SettingDefinition(description, "switch", default)


def build_count(description: str, default: int = 0) -> SettingDefinition:
    """Return a knob that is a whole number."""
    return SettingDefinition(description, "count", default)


def build_choice(description: str, *choices: str) -> SettingDefinition:
    """Return a knob that is one of several words, the first by default."""
    return SettingDefinition(description, "choice", choices[0], choices)
