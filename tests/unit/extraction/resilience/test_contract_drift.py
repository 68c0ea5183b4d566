"""Unreadable responses: when the vendor is suspended, and when a single job is abandoned."""

from __future__ import annotations

from invoices.extraction.resilience.contract_drift import MAX_UNREADABLE_RESPONSES, ContractDriftDetector


def test_as_many_odd_answers_in_a_row_stop_the_vendor_whatever_jobs_they_are_about() -> None:
    detector = ContractDriftDetector()
    decisions = [
        detector.record_unreadable_response(f"job {number}", is_overdue=False)
        for number in range(MAX_UNREADABLE_RESPONSES)
    ]
    assert decisions == ["poll again"] * (MAX_UNREADABLE_RESPONSES - 1) + ["suspend vendor"]


def test_a_job_is_given_up_once_others_are_understood_in_between() -> None:
    detector = ContractDriftDetector()
    decisions = []
    for _ in range(MAX_UNREADABLE_RESPONSES):
        decisions.append(detector.record_unreadable_response("broken job", is_overdue=False))
        detector.record_readable_response()
    assert decisions == ["poll again"] * (MAX_UNREADABLE_RESPONSES - 1) + ["abandon job"]


def test_overdue_jobs_are_given_up_one_by_one_and_never_stop_the_vendor() -> None:
    detector = ContractDriftDetector()
    for job in ("one", "two", "three"):
        decisions = [detector.record_unreadable_response(job, is_overdue=True) for _ in range(MAX_UNREADABLE_RESPONSES)]
        assert decisions == ["poll again"] * (MAX_UNREADABLE_RESPONSES - 1) + ["abandon job"]


def test_answers_that_were_understood_are_counted() -> None:
    detector = ContractDriftDetector()
    detector.record_unreadable_response("job", is_overdue=False)
    detector.record_readable_response()
    assert detector.readable_responses == 1
