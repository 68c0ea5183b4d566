"""A rule: its id, how severe it is when it does not hold, and what must hold in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["critical", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; ``transforms/core/checks_*.sql`` decides it, in exact decimals.

    ``rule_id`` is the one of EN 16931-1 or Peppol BIS Billing 3.0 where those have the rule. ``critical`` quarantines a
    candidate, ``warning`` puts it before a person, ``info`` is counted. ``verdict`` overrides that.
    """

    rule_id: str
    severity: Severity
    wording: str
    verdict: Literal["duplicate"] | None = None
