"""One knob: a trap of a contract sheet that can be set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["count", "seconds", "switch", "choice", "names", "text"]


@dataclass(frozen=True, slots=True)
class Knob:
    """One knob: what it does, its kind, its default and, for a choice, what it may be."""

    says: str
    kind: Kind
    default: Any
    choices: tuple[str, ...] = ()


def switch(says: str, default: bool = False) -> Knob:
    """Return a knob that is on or off."""
    return Knob(says, "switch", default)


def count(says: str, default: int = 0) -> Knob:
    """Return a knob that is a whole number."""
    return Knob(says, "count", default)


def choice(says: str, *choices: str) -> Knob:
    """Return a knob that is one of several words, the first by default."""
    return Knob(says, "choice", choices[0], choices)
