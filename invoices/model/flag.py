"""Something odd about a document, which decides nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flag:
    """Something odd that a person may want to know; ``rule_id`` as in docs/rules.md, the text may quote a document."""

    rule_id: str
    message: str
