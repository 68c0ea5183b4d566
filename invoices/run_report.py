"""The result of a run: counts for programs, sentences for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class RunReport:
    """The result of one run; ``problems`` make it end with an error, ``remarks`` are only reported."""

    new_documents: int = 0
    known_files: int = 0
    local_outcomes: Counter[str] = field(default_factory=Counter)  # by outcome
    paid_calls: int = 0
    paid_pages: int = 0
    remote_outcomes: dict[str, Counter[str]] = field(default_factory=dict)  # by extractor, then by outcome
    verdicts: Counter[str] = field(default_factory=Counter)  # by verdict
    rows_loaded: int = 0
    receipt_statuses: Counter[str] = field(default_factory=Counter)  # by status
    export_batches: list[str] = field(default_factory=list)
    exported_invoices: int = 0
    remarks: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    suspended_vendors: set[str] = field(default_factory=set)  # vendors that are not called again in this run
    advance_progress: Callable[[int], None] = lambda _: None  # called with the number of completed units
    record_activity: Callable[[str], None] = lambda _: None  # called with what the work begins on, such as a file
    stage_seconds: dict[str, float] = field(default_factory=dict)  # by stage

    @property
    def total_seconds(self) -> float:
        """The time that all stages took, in seconds."""
        return sum(self.stage_seconds.values())
