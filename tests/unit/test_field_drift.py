"""Which fields an answer states, and which of those that used to be there are missing in a run."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

import pytest

from invoices.extraction.resilience.field_drift import MIN_BASELINE_ANSWERS, FieldDriftDetector, find_stated_fields
from invoices.ledger.vendor_changes import AnswerText

EARLIER = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
LATER = EARLIER + dt.timedelta(days=1)
WHOLE = {"number": "1", "total": 5, "items": [{"price": 1}]}
WITHOUT_TOTAL = {"number": "1", "total": None, "items": [{"price": 1}]}


def build_answers(answer: Mapping[str, Any], count: int, answered_at: dt.datetime = EARLIER) -> list[AnswerText]:
    return [AnswerText(answered_at, json.dumps(answer))] * count


def compare(earlier: list[AnswerText], present: list[AnswerText], **accepted_at: dt.datetime) -> list[str]:
    detector = FieldDriftDetector(earlier, accepted_at)
    detector.add_answers(present)
    return [str(field) for field in detector.list_missing_fields()]


@pytest.mark.parametrize(
    ("payload", "names"),
    [
        ('{"a": 1, "b": null, "c": "", "d": [], "e": {}, "f": 0, "g": false}', {"a", "f", "g"}),
        ('{"items": [{"x": null}, {"x": 2, "y": {"z": "t"}}]}', {"items", "items[]", "items[].x", "items[].y",
                                                                 "items[].y.z"}),
        ('{"meta": {"source": "cache"}, "inner": {"meta": 1}}', {"inner", "inner.meta"}),
        ('"a text"', set()), ("no json", set()), (None, set()), ("[" * 100_000, set()),
    ],
)  # fmt: skip
def test_the_fields_of_an_answer_are_those_with_a_value(payload: str | None, names: set[str]) -> None:
    assert find_stated_fields(payload) == names


def test_a_field_that_most_answers_of_a_run_lack_is_named_with_both_counts() -> None:
    earlier = build_answers(WHOLE, 138) + build_answers(WITHOUT_TOTAL, 2)
    present = build_answers(WITHOUT_TOTAL, 6) + build_answers(WHOLE, 1)
    assert compare(earlier, present) == ["'total' is missing in 6 of 7 answers, before in 2 of 140"]


def test_answers_without_any_field_lack_all_of_them() -> None:
    earlier = build_answers(WHOLE, 40)
    assert len(compare(earlier, [AnswerText(LATER, '"an error page"')] * 5)) == 5


@pytest.mark.parametrize(
    ("earlier", "present"),
    [
        (build_answers(WHOLE, 140), build_answers(WITHOUT_TOTAL, 4)),  # a few odd documents
        (build_answers(WHOLE, 140), build_answers(WITHOUT_TOTAL, 6) + build_answers(WHOLE, 6)),  # not most of them
        (build_answers(WHOLE, MIN_BASELINE_ANSWERS - 1), build_answers(WITHOUT_TOTAL, 9)),  # too few earlier ones
        (build_answers(WHOLE, 90) + build_answers(WITHOUT_TOTAL, 10), build_answers(WITHOUT_TOTAL, 9)),  # often missing
        (build_answers(WHOLE, 140), [AnswerText(LATER, None)] * 9),  # too long to compare
    ],
)
def test_what_is_no_change_of_the_vendor_is_no_alarm(earlier: list[AnswerText], present: list[AnswerText]) -> None:
    assert compare(earlier, present) == []


def test_a_field_that_may_be_missing_counts_only_since_that_was_accepted() -> None:
    earlier = build_answers(WHOLE, 140)
    assert compare(earlier, build_answers(WITHOUT_TOTAL, 7), total=LATER) == []
    later = earlier + build_answers(WHOLE, 40, LATER + dt.timedelta(days=1))
    assert compare(later, build_answers(WITHOUT_TOTAL, 7), total=LATER) == [
        "'total' is missing in 7 of 7 answers, before in 0 of 40"
    ]


def test_a_pilot_is_needed_until_enough_answers_are_compared() -> None:
    detector = FieldDriftDetector(build_answers(WHOLE, 40), {})
    assert detector.needs_pilot
    detector.add_answers(build_answers(WHOLE, 5))
    assert not detector.needs_pilot
    assert not FieldDriftDetector(build_answers(WHOLE, 5), {}).needs_pilot
