"""Fields that used to be in a vendor's answers and are missing in most of those of a run: its API has changed."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from invoices.ledger.vendor_changes import AnswerText, MissingField

MIN_BASELINE_ANSWERS = 30  # with fewer earlier answers, nothing is compared
MIN_PRESENT_SHARE = 0.95  # of the earlier answers: a field that is missing more often is not expected
MIN_ANSWERS = 5  # of a run in which a field is missing: fewer are odd documents and not a change
PILOT_DOCUMENTS = 7  # of a run that a vendor gets before its first answers are compared

_MAX_DEPTH = 6
_MAX_VALUES = 2_000  # of one answer
_MAX_NAME_CHARS = 100
_IGNORED_ROOTS = ("meta",)  # about the call and not about the invoice


def find_stated_fields(payload: str | None) -> frozenset[str]:
    """Return the names of the fields with a value in an answer (JSON), such as ``total`` and ``items[].price``.

    A value that is null, an empty text, list or object is no value. Of an answer that is not JSON, no field is stated.
    """
    try:
        answer = json.loads(payload or "null", parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        return frozenset()
    names: set[str] = set()
    remaining: deque[tuple[str, Any, int]] = deque([("", answer, 0)])
    for _ in range(_MAX_VALUES):
        if not remaining:
            break
        name, value, depth = remaining.popleft()
        if value in (None, "", [], {}):
            continue
        if name:
            names.add(name)
        if depth < _MAX_DEPTH and isinstance(value, dict):
            prefix = f"{name}." if name else ""
            remaining += [(f"{prefix}{key}"[:_MAX_NAME_CHARS], item, depth + 1) for key, item in value.items()
                          if name or key not in _IGNORED_ROOTS]  # fmt: skip
        elif depth < _MAX_DEPTH and isinstance(value, list):
            remaining += [(f"{name}[]", item, depth + 1) for item in value[:100]]
    return frozenset(names)


@dataclass(slots=True)
class FieldDriftDetector:
    """Compares a run's answers with the vendor's earlier ones.

    ``accepted_at`` has the fields that a person has accepted to be missing: only answers since then count for them.
    """

    earlier_answers: Sequence[AnswerText]
    accepted_at: Mapping[str, dt.datetime]
    _expected_counts: dict[str, tuple[int, int]] = field(init=False)  # missing, answers
    _present: Counter[str] = field(default_factory=Counter)
    _answer_count: int = 0

    def __post_init__(self) -> None:
        """Count in how many earlier answers each field is."""
        stated = [
            (answer.answered_at, find_stated_fields(answer.payload))
            for answer in self.earlier_answers
            if answer.payload is not None
        ]
        names = {name for _, fields in stated for name in fields}
        self._expected_counts = {}
        for name in sorted(names):
            since = self.accepted_at.get(name)
            counted = [name in fields for answered_at, fields in stated if since is None or answered_at > since]
            if len(counted) >= MIN_BASELINE_ANSWERS and sum(counted) >= MIN_PRESENT_SHARE * len(counted):
                self._expected_counts[name] = (len(counted) - sum(counted), len(counted))

    @property
    def needs_pilot(self) -> bool:
        """Whether fields are expected, and too few answers of this run are compared to say whether they are there."""
        return bool(self._expected_counts) and self._answer_count < MIN_ANSWERS

    def add_answers(self, answers: Iterable[AnswerText]) -> None:
        """Count the fields of answers of this run."""
        for answer in answers:
            if answer.payload is not None:
                self._answer_count += 1
                self._present.update(find_stated_fields(answer.payload))

    def list_missing_fields(self) -> list[MissingField]:
        """Return the expected fields that are missing in at least five answers of this run, and in most of them."""
        missing_fields = []
        for name, (missing_before, answers_before) in self._expected_counts.items():
            missing_count = self._answer_count - self._present[name]
            if missing_count >= MIN_ANSWERS and 2 * missing_count > self._answer_count:
                missing_fields.append(
                    MissingField(name, missing_count, self._answer_count, missing_before, answers_before)
                )
        return missing_fields
