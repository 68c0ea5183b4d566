"""Odd answers: when the vendor is stopped, and when a single job is given up."""

from __future__ import annotations

from invoices.extraction.resilience.contract_drift import MAX_UNREADABLE_RESPONSES, ContractDriftDetector


def test_as_many_odd_answers_in_a_row_stop_the_vendor_whatever_jobs_they_are_about() -> None:
    oddities = ContractDriftDetector()
    verdicts = [
        oddities.record_unreadable_response(f"job {number}", is_overdue=False)
        for number in range(MAX_UNREADABLE_RESPONSES)
    ]
    assert verdicts == ["look again"] * (MAX_UNREADABLE_RESPONSES - 1) + ["stop the vendor"]


def test_a_job_is_given_up_once_others_are_understood_in_between() -> None:
    oddities = ContractDriftDetector()
    verdicts = []
    for _ in range(MAX_UNREADABLE_RESPONSES):
        verdicts.append(oddities.record_unreadable_response("poison", is_overdue=False))
        oddities.record_readable_response()
    assert verdicts == ["look again"] * (MAX_UNREADABLE_RESPONSES - 1) + ["give up the job"]


def test_overdue_jobs_are_given_up_one_by_one_and_never_stop_the_vendor() -> None:
    oddities = ContractDriftDetector()
    for job in ("one", "two", "three"):
        verdicts = [oddities.record_unreadable_response(job, is_overdue=True) for _ in range(MAX_UNREADABLE_RESPONSES)]
        assert verdicts == ["look again"] * (MAX_UNREADABLE_RESPONSES - 1) + ["give up the job"]


def test_answers_that_were_understood_are_counted() -> None:
    oddities = ContractDriftDetector()
    oddities.record_unreadable_response("job", is_overdue=False)
    oddities.record_readable_response()
    assert oddities.readable_responses == 1
