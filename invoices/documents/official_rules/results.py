"""The result of the official rules about one document, as the limited process reports it and the ledger keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

RunStatus = Literal["valid", "invalid", "not_applicable", "not_run"]


@dataclass(frozen=True, slots=True)
class FailedRule:
    """A rule that an invoice fails: official id and text, the first place as a short XPath, and how many places.

    ``is_error`` is the rule set's own opinion: False for a mere warning.
    """

    rule_id: str
    text: str
    location: str = ""
    count: int = 1
    is_error: bool = True


@dataclass(frozen=True, slots=True)
class RuleRun:
    """One rule set on the invoices of one document.

    ``valid`` means that no rule which the rule set calls an error fails. ``not_applicable``: no rule set is for this
    document, and ``rule_set`` is empty. ``not_run``: the run was stopped or failed; ``reason`` says why.
    ``is_temporary``: the machine is the cause and not the document, so a later run tries again.
    ``failed_rules`` has a sequence per invoice, in their order in the document.
    """

    status: RunStatus
    rule_set: str = ""
    version: str = ""
    standard: str = ""
    reason: str = ""
    failed_rules: Sequence[Sequence[FailedRule]] = ()
    is_temporary: bool = False
