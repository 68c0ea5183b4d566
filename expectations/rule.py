"""A validation rule: its id, its severity, and in words what must hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["critical", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; ``transforms/core/checks_*.sql`` decides it, in exact decimals.

    ``rule_id`` is that of EN 16931-1 or Peppol BIS Billing 3.0 if those have the rule. A broken ``critical`` rule
    quarantines a candidate, a ``warning`` sends it to review, an ``info`` is only counted; ``verdict`` overrides that.
    """

    rule_id: str
    severity: Severity
    wording: str
    verdict: Literal["duplicate"] | None = None
