"""Flags: unusual facts about a document, which decide nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flag:
    """An unusual fact for a person; ``rule_id`` as in docs/rules.md, and ``message`` may quote the document."""

    rule_id: str
    message: str
