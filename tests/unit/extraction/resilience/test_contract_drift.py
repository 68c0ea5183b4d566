"""Unreadable responses: when the vendor is suspended, and when a single job is abandoned."""

from __future__ import annotations

import pytest

from invoices.extraction.resilience.contract_drift import MAX_UNREADABLE_RESPONSES, ContractDriftDetector


def test_too_many_unreadable_responses_in_a_row_suspend_the_vendor() -> None:
    detector = ContractDriftDetector()
    decisions = [
        detector.record_unreadable_response(f"job {number}", is_overdue=False)
        for number in range(MAX_UNREADABLE_RESPONSES)
    ]
    assert decisions == ["poll again"] * (MAX_UNREADABLE_RESPONSES - 1) + ["suspend vendor"]


def test_an_unreadable_job_is_deferred_when_other_jobs_are_readable() -> None:
    detector = ContractDriftDetector()
    decisions = []
    for _ in range(MAX_UNREADABLE_RESPONSES):
        decisions.append(detector.record_unreadable_response("broken job", is_overdue=False))
        detector.record_readable_response()
    assert decisions == ["poll again"] * (MAX_UNREADABLE_RESPONSES - 1) + ["defer job"]


def test_overdue_jobs_are_abandoned_one_by_one_and_never_suspend_the_vendor() -> None:
    detector = ContractDriftDetector()
    for job in ("one", "two", "three"):
        decisions = [detector.record_unreadable_response(job, is_overdue=True) for _ in range(MAX_UNREADABLE_RESPONSES)]
        assert decisions == ["poll again"] * (MAX_UNREADABLE_RESPONSES - 1) + ["abandon job"]


def test_one_job_never_suspends_the_vendor() -> None:
    detector = ContractDriftDetector()
    decisions = [detector.record_unreadable_response("job", is_overdue=False) for _ in range(MAX_UNREADABLE_RESPONSES)]
    assert decisions == ["poll again"] * (MAX_UNREADABLE_RESPONSES - 1) + ["defer job"]


def test_readable_responses_are_counted() -> None:
    detector = ContractDriftDetector()
    detector.record_unreadable_response("job", is_overdue=False)
    detector.record_readable_response()
    assert detector.readable_responses == 1


@pytest.mark.parametrize("condition", ["is_overdue", "is_gone"])
def test_an_unreadable_job_that_is_overdue_or_gone_is_abandoned(condition: str) -> None:
    detector = ContractDriftDetector()
    is_overdue, is_gone = condition == "is_overdue", condition == "is_gone"
    decisions = []
    for _ in range(MAX_UNREADABLE_RESPONSES):
        decisions.append(detector.record_unreadable_response("job", is_overdue=is_overdue, is_gone=is_gone))
        detector.record_readable_response("another job")
    assert decisions == ["poll again"] * (MAX_UNREADABLE_RESPONSES - 1) + ["abandon job"]


def test_a_readable_response_about_a_job_starts_its_count_again() -> None:
    detector = ContractDriftDetector()
    for _ in range(10 * MAX_UNREADABLE_RESPONSES):
        assert detector.record_unreadable_response("job", is_overdue=False) == "poll again"
        detector.record_readable_response("job")
